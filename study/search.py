"""Optuna's ask and tell as a Ray Tune searcher whose state is the ledger.

Nothing of the search is stored but the trials themselves: on start every finished trial is added to
a fresh Optuna study, the interrupted ones are asked again, and the search goes on. The sampler is
seeded anew for each trial from the study's seed, the method and the trial's number; so a resumed
search asks what an uninterrupted one would have asked (exactly so for ``random``, and for the
others when trials run one at a time).
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_spaces import Space
from study.ledger import Entry
from study.spec import Range
from trainables import find_learner
from trainables.errors import InputError
from trainables.streams import StreamInfo

Direction = Literal["minimize", "maximize"]
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class SpaceTrial:
    """An Optuna trial as a search space sees it, with a study file's fixed values and ranges in
    their place.
    """

    def __init__(
        self,
        trial: optuna.Trial,
        fixed: Mapping[str, Any],
        ranges: Mapping[str, Range],
        learner: str,
        where: str = "",
    ) -> None:
        self._trial, self._fixed, self._ranges, self._where = trial, fixed, ranges, where
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
        return self._trial.suggest_categorical(name, choices)

    def _given(self, name: str) -> Any:
        return self._fixed[name] if name in self._fixed else self._from_range(name)

    def _from_range(self, name: str) -> Any:
        given = self._ranges[name]
        if given.choices is not None:
            return self._trial.suggest_categorical(name, given.choices)
        whole = self._kinds[name] in (int, int | None)
        if not whole and self._kinds[name] not in (float, float | None):
            raise InputError(
                f"{self._where}.{name}: give choices = [...] for this option; it is not a number."
            )
        if given.low is None or given.high is None:
            raise InputError(f"{self._where}.{name}: give low and high, or choices.")
        if not given.low < given.high or (given.log and given.low <= 0):
            limits = "0 < low < high with log = true" if given.log else "low < high"
            raise InputError(
                f"{self._where}.{name}: low = {given.low}, high = {given.high}; needed: {limits}."
            )
        if whole:
            return self._trial.suggest_int(name, int(given.low), int(given.high), log=given.log)
        return self._trial.suggest_float(name, given.low, given.high, log=given.log)


class Search:
    """One method's search: asks for trial numbers, is told results.

    Args:
        directions: ``maximize`` or ``minimize`` of each objective.
        sampler: ``random``, ``tpe``, ``gp`` or ``nsga2``.
        seed: names the search; trial n is drawn with a seed made of it and n.
    """

    def __init__(
        self, directions: list[Direction], sampler: str, seed: str, known: list[Entry]
    ) -> None:
        self._sampler, self._seed = sampler, seed
        self.study = new_study(directions)
        for entry in sorted(known, key=lambda entry: entry.number or 0):
            self.study.add_trial(frozen(entry))

    def ask(self, number: int, wanted: Mapping[str, Any] | None = None) -> optuna.Trial:
        """Return trial ``number``; ``wanted`` are values it must take where its space allows."""
        self.study.sampler = make_sampler(self._sampler, f"{self._seed}/{number}")
        if wanted is not None:
            self.study.enqueue_trial(dict(wanted))
        return self.study.ask()

    def tell(self, trial: optuna.Trial, state: str, values: list[float]) -> FrozenTrial:
        """Pass on how a trial ended; anything but complete or pruned is a failure to Optuna."""
        final = STATES.get(state, TrialState.FAIL)
        return self.study.tell(trial, values if final is TrialState.COMPLETE else None, final)


def new_study(directions: list[Direction] | None = None) -> optuna.Study:
    """Return an empty study that keeps quiet."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        directions=directions or ["maximize"], sampler=optuna.samplers.RandomSampler(seed=0)
    )


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
            return samplers.NSGAIISampler(seed=number, population_size=10)
        return samplers.TPESampler(seed=number, n_startup_trials=5)


def defaults_within(
    space: Space,
    base: Mapping[str, Any],
    probe: SpaceTrial,
    trial: optuna.Trial,
    stream: StreamInfo,
) -> dict[str, Any]:
    """Return the published values that a space contains: the first trial of every sweep.

    ``probe`` wraps ``trial``, an Optuna trial that takes the published values wherever it is asked
    for them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Optuna warns of a value outside its range; it is left out below
        probe.sample(space, stream)
    return {
        n: base[n] for n, d in trial.distributions.items() if n in base and _contains(d, base[n])
    }


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if not isinstance(distribution, FloatDistribution | IntDistribution) or value is None:
        return False
    return bool(distribution.low <= value <= distribution.high)


def frozen(entry: Entry) -> FrozenTrial:
    """Return a ledger entry as the Optuna trial it was."""
    state = STATES.get(entry.state, TrialState.FAIL)
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


def described(trial: optuna.Trial) -> dict[str, Any]:
    """Return what the ledger keeps of an Optuna trial."""
    notes = trial.study.get_trials(deepcopy=False)[trial.number].system_attrs
    return {
        "params": trial.params,
        "distributions": {name: distribution_to_json(d) for name, d in trial.distributions.items()},
        "attributes": {k: v for k, v in notes.items() if k != "fixed_params"},
    }
