"""Optuna's ask and tell for one sweep, whose only state is the ledger.

At the start every ended trial is added to a fresh Optuna study, and interrupted trials are asked
again with their parameters. The sampler of each trial is seeded from the sweep's seed, the method
and the trial's number. A resumed search therefore asks for the same trials as an uninterrupted one:
always with ``random``, and with the other samplers if trials run one at a time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces.space import Space
from study.design import Design, Direction, Method, method_of
from study.ledger import Entry

FEWEST_FOR_IMPORTANCE = 8  # complete trials
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class SweepSearch:
    """The search of one method's sweep.

    Args:
        space: the search space.
        directions: ``maximize`` or ``minimize``, for each objective.
        sampler: ``random``, ``tpe``, ``gp`` or ``nsga2``.
        seed: name of the search; the sampler of trial n is seeded from this name and n.
        ended: trials that do not run again; their scores by task count for the pruner too.
        pruner: ``none`` or ``asha``.

    >>> from optuna.distributions import FloatDistribution
    >>> search = SweepSearch({"lr": FloatDistribution(1e-4, 1e-2)}, ["maximize"], "random", "demo")
    >>> trial = search.ask(0, {"lr": 0.001})
    >>> search.tell(trial, "complete", [0.87]).params
    {'lr': 0.001}
    """

    def __init__(
        self,
        space: Space,
        directions: list[Direction],
        sampler: str,
        seed: str,
        ended: Iterable[Entry] = (),
        pruner: str = "none",
    ) -> None:
        self._space, self._sampler, self._seed = space, sampler, seed
        self.study = new_study(directions, make_pruner(pruner))
        for entry in sorted(ended, key=lambda entry: entry.number or 0):
            self.study.add_trial(optuna_trial(entry))

    @classmethod
    def of(cls, design: Design, method: Method, ended: Iterable[Entry] = ()) -> SweepSearch:
        """Return the search of a method's sweep, with the trials that do not run again."""
        tune = design.spec.tune
        seed = f"{tune.seed + method.repeat}/{method_of(method.name)}"
        return cls(method.space, design.directions, tune.sampler, seed, ended, tune.pruner)

    def ask(
        self,
        number: int,
        params: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> optuna.Trial:
        """Return trial ``number``.

        Args:
            params: values that the trial must take.
            attributes: notes that a sampler left on the trial before it was interrupted.
        """
        self.study.sampler = make_sampler(self._sampler, f"{self._seed}/{number}")
        if params is not None:
            # not enqueue_trial, which would drop the attributes
            notes = {**(attributes or {}), "fixed_params": dict(params)}
            self.study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=notes))
        return self.study.ask(dict(self._space))

    def tell(self, trial: optuna.Trial, state: str, values: list[float]) -> FrozenTrial:
        """Tell Optuna the end of a trial; a state other than complete or pruned is a failure."""
        final = final_state(state, values)
        return self.study.tell(trial, values if final is TrialState.COMPLETE else None, final)


def new_study(
    directions: list[Direction] | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
    storage: optuna.storages.BaseStorage | None = None,
    name: str | None = None,
) -> optuna.Study:
    """Return an empty Optuna study, and silence Optuna's log; default: in memory, without name."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        directions=directions or ["maximize"],
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=pruner or optuna.pruners.NopPruner(),
        storage=storage,
        study_name=name,
    )


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """Return the pruner of trials between tasks; ``asha`` compares after 1, 2, 4, ... tasks."""
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.pruners.NopPruner()


class Nsga2(optuna.samplers.NSGAIISampler):
    """NSGA-II with parents in the order of their numbers, so that a resumed search agrees.

    Optuna lists the parents of a generation by rank the first time and by number afterwards; a
    resumed search would then cross other parents.
    """

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of the next generation."""
        return sorted(super().select_parent(study, generation), key=lambda trial: trial.number)


def make_sampler(name: str, seed: str) -> optuna.samplers.BaseSampler:
    """Return a fresh sampler for one trial."""
    digest = hashlib.blake2b(seed.encode(), digest_size=4).digest()
    number = int.from_bytes(digest, "little") >> 1
    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            return samplers.RandomSampler(seed=number)
        if name == "gp":
            return samplers.GPSampler(
                seed=number, n_startup_trials=5, warn_independent_sampling=False
            )
        if name == "nsga2":
            return Nsga2(seed=number, population_size=10)
        return samplers.TPESampler(seed=number, n_startup_trials=5)


def final_state(state: str, values: Sequence[float]) -> TrialState:
    """Return Optuna's state for the end of a trial; a trial without a finite value has failed."""
    final = STATES.get(state, TrialState.FAIL)
    valued = bool(values) and all(math.isfinite(value) for value in values)
    return final if valued or final is not TrialState.COMPLETE else TrialState.FAIL


def optuna_trial(entry: Entry) -> FrozenTrial:
    """Return a ledger entry as the finished Optuna trial."""
    state = final_state(entry.state, entry.values)
    steps = {int(step): value for step, value in entry.steps.items() if math.isfinite(value)}
    return create_trial(
        state=state,
        values=entry.values if state is TrialState.COMPLETE else None,
        params=entry.params,
        distributions={
            name: json_to_distribution(text) for name, text in entry.distributions.items()
        },
        intermediate_values=steps,
        system_attrs=entry.attributes,
    )


def importances(entries: Sequence[Entry], first: Direction) -> dict[str, float]:
    """Return the importance of each option for being among the best trials, summing to 1.

    The importance is the difference between the option's values in the best trials and in all
    trials (PED-ANOVA, Watanabe et al. 2023). Empty if the trials or options are too few, or the
    trials too similar.
    """
    study = new_study([first])
    for entry in entries:
        if final_state(entry.state, entry.values) is TrialState.COMPLETE:
            study.add_trial(optuna_trial(dataclasses.replace(entry, values=entry.values[:1])))
    if len(study.trials) < FEWEST_FOR_IMPORTANCE:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        except (ValueError, RuntimeError):
            return {}
    usable = {name: share for name, share in found.items() if math.isfinite(share)}
    return usable if len(usable) > 1 else {}


def entry_fields(trial: optuna.Trial) -> dict[str, Any]:
    """Return the fields of an :class:`Entry` that an Optuna trial fills."""
    notes = trial.study.get_trials(deepcopy=False)[trial.number].system_attrs
    return {
        "params": trial.params,
        "distributions": {name: distribution_to_json(d) for name, d in trial.distributions.items()},
        "attributes": {k: v for k, v in notes.items() if k != "fixed_params"},
    }
