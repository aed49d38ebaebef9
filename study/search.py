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
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import Space, find_space
from search_spaces.common import Suggest
from study.design import Design, Direction, Method
from study.ledger import Entry
from study.spec import Range
from trainables import find_learner
from trainables.errors import InputError
from trainables.streams import StreamInfo

FEWEST_FOR_IMPORTANCE = 8  # complete trials
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class SpaceTrial:
    """An Optuna trial as a search space sees it, with a study file's fixed values and ranges in
    their place.
    """

    def __init__(
        self,
        trial: Suggest,
        fixed: Mapping[str, Any],
        ranges: Mapping[str, Range],
        learner: str,
    ) -> None:
        self._trial, self._fixed, self._ranges = trial, fixed, ranges
        self._kinds = find_learner(learner).Config.kinds()

    def sample(self, space: Space, stream: StreamInfo) -> dict[str, Any]:
        """Return what the space and the study file's ranges suggest, without fixed values."""
        values = space(self, stream)
        for name in self._ranges:
            if name not in values:
                values[name] = self._from_range(name)
        return {name: value for name, value in values.items() if name not in self._fixed}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Suggest a number, unless the study file says otherwise."""
        if name in self._fixed or name in self._ranges:
            return self._given(name)  # type: ignore[no-any-return]
        return self._trial.suggest_float(name, low, high, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Suggest a whole number, unless the study file says otherwise."""
        if name in self._fixed or name in self._ranges:
            return self._given(name)  # type: ignore[no-any-return]
        return self._trial.suggest_int(name, low, high, log=log)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Suggest one of some values, unless the study file says otherwise."""
        if name in self._fixed or name in self._ranges:
            return self._given(name)
        return self._choose(name, choices)

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of some values. Optuna knows plain values only: a list is given as text."""
        texts = {encoded(choice): choice for choice in choices}
        return texts[self._trial.suggest_categorical(name, list(texts))]

    def _given(self, name: str) -> Any:
        return self._fixed[name] if name in self._fixed else self._from_range(name)

    def _from_range(self, name: str) -> Any:
        given = self._ranges[name]
        if given.choices is not None:
            return self._choose(name, given.choices)
        low, high = given.low, given.high
        if low is None or high is None:  # refused before, by the plan
            raise InputError(f"space.{name}: give low and high, or choices.")
        if self._kinds[name] in (int, int | None):
            return self._trial.suggest_int(name, int(low), int(high), log=given.log)
        return self._trial.suggest_float(name, low, high, log=given.log)


def encoded(value: Any) -> Any:
    """Return a value as Optuna may hold it."""
    return json.dumps(value) if isinstance(value, list) else value


class Published:
    """Answers a space with the published values wherever they lie within it, and keeps those.

    They are the first trial of every sweep; what a replaced range excludes is left to the sampler.
    """

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.base, self.values = dict(base), {}  # type: dict[str, Any], dict[str, Any]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return the published number if it lies between the limits, else the lower one."""
        value = self.base.get(name)
        return float(self._keep(name, value is not None and low <= value <= high, low))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return the published whole number if it lies between the limits, else the lower one."""
        value = self.base.get(name)
        return int(self._keep(name, value is not None and low <= value <= high, low))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the published value if it is one of the choices, else the first of them."""
        return self._keep(name, encoded(self.base.get(name)) in choices, choices[0])

    def _keep(self, name: str, inside: bool, otherwise: Any) -> Any:
        if not inside:
            return otherwise
        self.values[name] = encoded(self.base[name])
        return self.values[name]


class Remembered:
    """Answers a space with the values a trial had; ``LookupError`` where it had none that fits."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return the number the trial had."""
        return float(self._keep(name, low <= self._params[name] <= high))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Return the whole number the trial had."""
        return int(self._keep(name, low <= self._params[name] <= high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the choice the trial had."""
        return self._keep(name, self._params[name] in choices)

    def _keep(self, name: str, inside: bool) -> Any:
        if not inside:
            raise LookupError(f"{name} = {self._params[name]!r} is not in the space")
        return self._params[name]


def suggested(design: Design, method: Method, trial: Suggest) -> dict[str, Any]:
    """Return the whole configuration that a trial's suggestions make."""
    within = SpaceTrial(trial, method.fixed, method.space, method.learner)
    stream = design.streams["tune"].info
    return method.configuration(within.sample(find_space(method.learner), stream))


class Search:
    """One method's search: asks for trial numbers, is told results.

    Args:
        directions: ``maximize`` or ``minimize`` of each objective.
        sampler: ``random``, ``tpe``, ``gp`` or ``nsga2``.
        seed: names the search; trial n is drawn with a seed made of it and n.
        known: finished trials; what they reported counts for the pruner too.
        pruner: ``none`` or ``asha``.
    """

    def __init__(
        self,
        directions: list[Direction],
        sampler: str,
        seed: str,
        known: list[Entry],
        pruner: str = "none",
    ) -> None:
        self._sampler, self._seed = sampler, seed
        self.study = new_study(directions, make_pruner(pruner))
        for entry in sorted(known, key=lambda entry: entry.number or 0):
            self.study.add_trial(frozen(entry))

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
        return self.study.ask()

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
