"""Optuna's ask and tell as a Ray Tune searcher whose state is the ledger.

Nothing of the search is stored but the trials themselves: on start every finished trial is added to
a fresh Optuna study, the interrupted ones are asked again, and the search goes on. The sampler is
seeded anew for each trial from the study's seed, the method and the trial's number; so a resumed
search asks what an uninterrupted one would have asked (exactly so for ``random``, and for the
others when trials run one at a time).
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
from study.design import Design, Direction, Method
from study.ledger import Entry

FEWEST_FOR_IMPORTANCE = 8  # complete trials
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class Search:
    """One method's search: asks for trial numbers, is told results.

    Args:
        space: what is searched.
        directions: ``maximize`` or ``minimize`` of each objective.
        sampler: ``random``, ``tpe``, ``gp`` or ``nsga2``.
        seed: names the search; trial n is drawn with a seed made of it and n.
        known: finished trials; what they reported counts for the pruner too.
        pruner: ``none`` or ``asha``.
    """

    def __init__(
        self,
        space: Space,
        directions: list[Direction],
        sampler: str,
        seed: str,
        known: Iterable[Entry] = (),
        pruner: str = "none",
    ) -> None:
        self._space, self._sampler, self._seed = space, sampler, seed
        self.study = new_study(directions, make_pruner(pruner))
        for entry in sorted(known, key=lambda entry: entry.number or 0):
            self.study.add_trial(frozen(entry))

    @classmethod
    def of(cls, design: Design, method: Method, known: Iterable[Entry] = ()) -> Search:
        """Return the search of a method's sweep, which knows of some finished trials."""
        tune = design.spec.tune
        seed = f"{tune.seed}/{method.name}"
        return cls(method.space, design.directions, tune.sampler, seed, known, tune.pruner)

    def ask(
        self,
        number: int,
        wanted: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> optuna.Trial:
        """Return trial ``number``; ``wanted`` are values it must take, ``attributes`` its notes."""
        self.study.sampler = make_sampler(self._sampler, f"{self._seed}/{number}")
        if wanted is not None:
            # enqueue_trial would drop the notes a sampler had left on an interrupted trial
            notes = {**(attributes or {}), "fixed_params": dict(wanted)}
            self.study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=notes))
        return self.study.ask(dict(self._space))

    def tell(self, trial: optuna.Trial, state: str, values: list[float]) -> FrozenTrial:
        """Pass on how a trial ended; anything but complete or pruned is a failure to Optuna."""
        final = final_state(state, values)
        return self.study.tell(trial, values if final is TrialState.COMPLETE else None, final)


def new_study(
    directions: list[Direction] | None = None, pruner: optuna.pruners.BasePruner | None = None
) -> optuna.Study:
    """Return an empty study that keeps quiet."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        directions=directions or ["maximize"],
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=pruner or optuna.pruners.NopPruner(),
    )


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """Return what judges trials between tasks; ``asha`` does after 1, 2, 4, ... of them."""
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.pruners.NopPruner()


class Nsga2(optuna.samplers.NSGAIISampler):
    """NSGA-II whose parents come in the order of their numbers, remembered or not.

    Optuna lists a generation's parents by rank the first time and by number afterwards, so that a
    resumed search would cross others.
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
    """Return what Optuna is told of how a trial ended; one without a value has failed."""
    final = STATES.get(state, TrialState.FAIL)
    valued = bool(values) and all(math.isfinite(value) for value in values)
    return final if valued or final is not TrialState.COMPLETE else TrialState.FAIL


def frozen(entry: Entry) -> FrozenTrial:
    """Return a ledger entry as the Optuna trial it was."""
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
    """Return how much each option matters for being among the best trials, summing to 1: how far
    its values there differ from those of all trials (PED-ANOVA, Watanabe et al. 2023). Nothing
    where the trials or options are too few, or the trials too alike, to say.
    """
    study = new_study([first])
    for entry in entries:
        if final_state(entry.state, entry.values) is TrialState.COMPLETE:
            study.add_trial(frozen(dataclasses.replace(entry, values=entry.values[:1])))
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


def described(trial: optuna.Trial) -> dict[str, Any]:
    """Return what the ledger keeps of an Optuna trial."""
    notes = trial.study.get_trials(deepcopy=False)[trial.number].system_attrs
    return {
        "params": trial.params,
        "distributions": {name: distribution_to_json(d) for name, d in trial.distributions.items()},
        "attributes": {k: v for k, v in notes.items() if k != "fixed_params"},
    }
