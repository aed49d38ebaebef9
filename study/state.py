"""The state of a study: the trials and seeds asked for, those in the ledger, those missing.

Each question first takes in the entries that the ledger has gained since the last one, so that a
finished trial costs the same after ten trials as after ten thousand.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.records import DECIDED
from search_spaces.space import values_within
from study import NO_PACKAGES, installed
from study.check import resolve
from study.design import FRESH_PHASES, Design, Method, method_of, seeds_of_sweep
from study.family import planned_comparisons
from study.folder import Folder
from study.ledger import Entry, Ledger
from study.scores import seed_scores
from study.spec import Request, Spec
from study.stopping import seeds_to_run
from trainables.engine.assignment import seedless_key
from trainables.errors import InputError

CONSTRAINT = "constraints:"  # Optuna's prefix for how much a trial misses a requirement
NOTHING_TO_CONFIRM = "no trial of the sweep gave a configuration to confirm"
DIVERGED = "a loss or an output was not finite"


class Study:
    """One study: its design, its folder and its ledger.

    A trial that failed has ended, like any other. With ``retry_failed`` it is missing instead, and
    runs again.

    >>> study = Study(design, folder, ledger)
    >>> study.sweep("ewc").best.values, study.confirmation("ewc").missing
    ([0.8731], [107, 108, 109])
    """

    def __init__(
        self, design: Design, folder: Folder, ledger: Ledger, retry_failed: bool = False
    ) -> None:
        self.design, self.folder, self.ledger = design, folder, ledger
        self.retry_failed = retry_failed
        self._taking = threading.Lock()  # the thread of the mirror asks too
        self._reset()

    def _reset(self) -> None:
        self._sweeps = {
            name: Sweep(self.design, method, self.retry_failed)
            for name, method in self.methods.items()
        }
        self._fresh = {
            phase: {
                name: [
                    FreshSeeds(self.design, sweep, self.ledger, phase, rank)
                    for rank in range(self.design.configurations(sweep.method, phase))
                ]
                for name, sweep in self._sweeps.items()
            }
            for phase in FRESH_PHASES
        }
        if self.spec.confirm.stop == DECIDED:
            self._limit_confirmation()
        self._times = {name: Times() for name in self.methods}
        self._taken = 0  # number of entries of the ledger's history that are accounted for

    @classmethod
    def open(cls, place: Path) -> Study:
        """Open the folder of a study that has been run.

        Raises:
            InputError: if the study cannot be resolved; names packages of its trials that are not
                installed.
        """
        folder, spec = Folder.open(place)
        try:
            return cls(resolve(spec, str(place / "study.json")), folder, folder.ledger())
        except InputError as error:
            missing = sorted(
                f"{name} {', '.join(versions)}"
                for name, versions in folder.ledger(lambda text: None).software().items()
                if name not in NO_PACKAGES and not installed(name)
            )
            if not missing:
                raise
            raise InputError(
                f"{error} Its trials ran with {' and '.join(missing)}, which is not installed here."
            ) from None

    @property
    def spec(self) -> Spec:
        """The study file."""
        return self.design.spec

    @property
    def methods(self) -> dict[str, Method]:
        """The methods by name."""
        return self.design.methods

    def keep_to_data(self, hashes: Mapping[str, str]) -> None:
        """Use only trials on data with these hashes, by data set."""
        with self._taking:
            self.ledger.data = hashes
            self._reset()

    def sweep(self, method: str) -> Sweep:
        """Return the state of a method's sweep."""
        self._take_new_entries()
        return self._sweeps[method]

    def confirmation(self, method: str) -> FreshSeeds:
        """Return the state of a method's confirmation."""
        return self.fresh_seeds(method, "confirm")

    def recheck(self, method: str) -> FreshSeeds:
        """Return the state of a method's recheck."""
        return self.fresh_seeds(method, "recheck")

    def fresh_seeds(self, method: str, phase: str) -> FreshSeeds:
        """Return the state of a method's confirmation or recheck."""
        return self.all_fresh_seeds(method, phase)[0]

    def all_fresh_seeds(self, method: str, *phases: str) -> list[FreshSeeds]:
        """Return the state of each configuration of a method in the phases, the best one first.

        Args:
            phases: default, confirmation and recheck.
        """
        self._take_new_entries()
        return [state for phase in phases or FRESH_PHASES for state in self._fresh[phase][method]]

    def times(self, method: str) -> Times:
        """Return the training times of a method so far."""
        self._take_new_entries()
        return self._times[method]

    def read_new(self) -> None:
        """Take in what another process, which runs the study, has written since."""
        self.folder.read_facts()
        self.ledger.read_new()

    def _take_new_entries(self) -> None:
        with self._taking:
            self._take(self.ledger.history[self._taken :])

    def _take(self, new: Sequence[Entry]) -> None:
        self._taken += len(new)
        for entry in new:
            if entry.method in self.methods and self.ledger.learnt_study_data(entry):
                states: Sequence[Sweep | FreshSeeds] = [self._sweeps[entry.method]]
                if entry.phase != "tune":
                    states = self._fresh[entry.phase][entry.method]
                for state in states:
                    state.take(entry)
                self._times[entry.method].take(entry)
        # a new trial of a sweep may change the configuration whose seeds decide
        if self.spec.confirm.stop == DECIDED and any(entry.phase != "recheck" for entry in new):
            self._limit_confirmation()

    def _limit_confirmation(self) -> None:
        """Ask for the confirmation seeds that the comparisons still need.

        The verdicts decide, those of the best configuration of each first sweep. Everything else is
        confirmed on as many seeds.
        """
        states = self._fresh["confirm"]
        asked = seeds_to_run(
            self.design.comparisons,
            {name: states[name][0].scores() for name in self.spec.methods},
            self.spec.confirm_seeds,
            self.design.rules(self.planned_comparisons),
        )
        for name, of_method in states.items():
            seeds = self.spec.confirm_seeds[: asked[method_of(name)]]
            for state in of_method:
                state.seeds = seeds_of_sweep(seeds, state.sweep.method.repeat)

    @property
    def planned_comparisons(self) -> tuple[tuple[str, str], ...]:
        """Every comparison that was asked for since before the first confirmation."""
        return planned_comparisons(self.folder.facts, self.ledger)

    def request(self, method: str) -> Request:
        """Return the CPUs and GPUs of a trial of a method."""
        return self.spec.request(method_of(method))

    def entry(
        self,
        method: str,
        configuration: Mapping[str, Any],
        phase: str,
        seeds: Sequence[int] | None = None,
        number: int | None = None,
    ) -> Entry:
        """Return the entry of a trial that is about to run."""
        work = self.design.assignment(self.methods[method], configuration, phase, seeds)
        return self.ledger.entry_for(work, method, number)

    @property
    def complete(self) -> bool:
        """Whether no trial is missing."""
        return not any(
            self.sweep(name).missing or any(state.missing for state in self.all_fresh_seeds(name))
            for name in self.methods
        )

    def failures(self) -> dict[str, str]:
        """Return the trials and seeds that failed, each with the reason.

        A failure is a learner that raised, a trial given up after losing its workers, or a seed of
        a confirmation or recheck that diverged. A diverged configuration of a sweep is a result.
        """
        found: dict[str, str] = {}
        for name in self.methods:
            found |= self.failures_of(name)
        return found

    def failures_of(self, method: str) -> dict[str, str]:
        """Return the trials and seeds of one method that failed, each with the reason."""
        sweep, confirmation = self.sweep(method), self.confirmation(method)
        found = {entry.folder: reason_of(entry) for entry in sweep.failed}
        if confirmation.configuration is None and sweep.has_ended:
            found[f"confirm/{method}"] = confirmation.obstacle
        for state in self.all_fresh_seeds(method):
            reasons = state.failures()
            found |= {f"{state.name} seed {seed}": reasons[seed] for seed in sorted(reasons)}
        return found

    @property
    def crashed(self) -> int:
        """The number of trials and seeds that `retry_failed` runs again."""
        trials = sum(len(self.sweep(name).failed) for name in self.methods)
        fresh = (state for name in self.methods for state in self.all_fresh_seeds(name))
        return trials + sum(len(state.places().failures) for state in fresh)


class Times:
    """The training times of a method."""

    def __init__(self) -> None:
        self._sweep = (0.0, 0)  # seconds and trials, stopped ones included
        self._complete = (0.0, 0)  # seconds and seeds of complete trials of all phases

    def take(self, entry: Entry) -> None:
        """Account for a trial that has ended."""
        if entry.number is not None and entry.state != "failed":
            self._sweep = (self._sweep[0] + entry.seconds, self._sweep[1] + 1)
        if entry.state == "complete":
            seconds, seeds = self._complete
            self._complete = (seconds + entry.seconds, seeds + len(entry.seeds))

    @property
    def trial(self) -> float | None:
        """Mean seconds of a trial of the sweep; None if none has ended."""
        seconds, trials = self._sweep
        return seconds / trials if trials else None

    @property
    def seed(self) -> float | None:
        """Mean seconds of a seed that learns all tasks; None if none has."""
        seconds, seeds = self._complete
        return seconds / seeds if seeds else None


class Sweep:
    """The state of a method's sweep: the trials of the current space, protocol and budget."""

    def __init__(self, design: Design, method: Method, retry_failed: bool = False) -> None:
        self.design, self.method, self.retry_failed = design, method, retry_failed
        self.budget = design.spec.tune.trials
        self.best: Entry | None = (
            None  # the complete trial that keeps the requirements best, then has the best value
        )
        self.over_budget: set[str] = set()  # folders of trials whose number exceeds the budget
        self._entries: dict[str, Entry] = {}
        self._sign = -1 if design.directions[0] == "maximize" else 1

    @property
    def entries(self) -> list[Entry]:
        """Trials that have ended, failed ones included, in the order of their numbers."""
        return [self._entries[folder] for folder in sorted(self._entries)]

    @property
    def finished(self) -> list[Entry]:
        """Trials that gave a result."""
        return [entry for entry in self.entries if entry.state != "failed"]

    @property
    def failed(self) -> list[Entry]:
        """Trials that failed."""
        return [entry for entry in self.entries if entry.state == "failed"]

    @property
    def missing(self) -> list[int]:
        """Numbers of the trials that have to run."""
        done = {e.number for e in self.finished} if self.retry_failed else self._ended
        return [number for number in range(self.budget) if number not in done]

    @property
    def has_ended(self) -> bool:
        """Whether every trial has ended, failed ones included."""
        return len(self._ended) >= self.budget

    @property
    def _ended(self) -> set[int | None]:
        """Numbers of the trials that have ended for good, unless the user asks for another try."""
        return {entry.number for entry in self.entries if not entry.is_tried_again}

    def includes(self, entry: Entry) -> bool:
        """Whether a trial belongs to this sweep, whatever its number.

        It does if its parameters lie in the search space and make the same assignment now. The
        trial may have parameters that are no longer searched.
        """
        if entry.phase != "tune" or entry.method != self.method.name:
            return False
        params = values_within(self.method.space, entry.params)
        if params.keys() < self.method.space.keys():
            return False  # a trial of another search space
        configuration = self.method.configuration(params)
        return entry.computes(self.design.assignment(self.method, configuration, "tune"))

    @property
    def ranked(self) -> list[Entry]:
        """The complete trials, the best first."""
        return sorted(filter(_has_value, self._entries.values()), key=self._rank)

    def choice(self, rank: int) -> Entry | None:
        """Return the trial with the best configuration (rank 0), the second best, and so on; None
        if there is none. Of trials with equal configurations only the best counts.
        """
        if rank == 0:
            return self.best
        distinct: dict[str, Entry] = {}
        for entry in self.ranked:
            distinct.setdefault(str(entry.work["configuration"]), entry)
        return next(itertools.islice(distinct.values(), rank, None), None)

    def take(self, entry: Entry) -> None:
        """Account for a trial that has ended."""
        if entry.number is None or not self.includes(entry):
            return
        if entry.number >= self.budget:
            self.over_budget.add(entry.folder)
            return
        self._entries[entry.folder] = entry
        if _has_value(entry):
            both = [entry, self.best] if self.best else [entry]
            self.best = min(both, key=self._rank)

    def _rank(self, entry: Entry) -> tuple[float, float, int, str]:
        return violation(entry), self._sign * entry.values[0], entry.number or 0, entry.folder


def violation(entry: Entry) -> float:
    """Return by how much a trial misses the requirements of its study; 0 if it keeps them."""
    misses = (v for name, v in entry.attributes.items() if name.startswith(CONSTRAINT))
    return float(sum(max(miss, 0.0) for miss in misses))


def _has_value(entry: Entry) -> bool:
    return entry.state == "complete" and math.isfinite(entry.values[0])


@dataclass(frozen=True)
class Places:
    """The places of a configuration's seeds in the ledger.

    Attributes:
        found: the trial of each seed, and the seed's position in the trial.
        failures: the reason for each seed that failed in a trial of its own.
        isolated: seeds of failed trials with several seeds. The failure may be due to any of them:
            each runs again in a trial of its own.
    """

    found: dict[int, tuple[Entry, int]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    isolated: set[int] = field(default_factory=set)

    def of(self, seeds: Iterable[int]) -> Places:
        """Return the places of the given seeds."""
        chosen = set(seeds)
        return Places(
            {seed: place for seed, place in self.found.items() if seed in chosen},
            {seed: reason for seed, reason in self.failures.items() if seed in chosen},
            self.isolated & chosen,
        )


class FreshSeeds:
    """The state of a method's best configuration on fresh seeds, or of one of the next best ones.

    Args:
        phase: ``confirm``, or ``recheck``, which repeats the conditions of the sweep.
        rank: of the configuration in the sweep, from 0.
    """

    def __init__(
        self, design: Design, sweep: Sweep, ledger: Ledger, phase: str, rank: int = 0
    ) -> None:
        self.design, self.sweep, self.ledger, self.phase = design, sweep, ledger, phase
        self.rank = rank
        self.seeds = design.seeds(phase, sweep.method.repeat)  # to run
        self._entries: dict[str, dict[str, Entry]] = {}  # by key without seeds

    def take(self, entry: Entry) -> None:
        """Account for a trial that has ended."""
        self._entries.setdefault(_seedless_key_of(entry), {})[entry.folder] = entry

    @property
    def configuration(self) -> dict[str, Any] | None:
        """The configuration to confirm: that of `trial`, or the defaults if nothing is tuned.

        None if there is no such trial yet.
        """
        if not self.sweep.budget:
            return None if self.rank else self.sweep.method.configuration({})
        return None if self.trial is None else dict(self.trial.work["configuration"])

    @property
    def trial(self) -> Entry | None:
        """The trial of the sweep with the configuration to confirm."""
        return self.sweep.choice(self.rank)

    @property
    def name(self) -> str:
        """Name for messages: of the phase and the method, and of the trial if not the best."""
        number = f" trial {self.trial.number}" if self.rank and self.trial else ""
        return f"{self.phase}/{self.sweep.method.name}{number}"

    @property
    def missing(self) -> list[int]:
        """Seeds that have to run; empty if there is no configuration to confirm."""
        if self.configuration is None:
            return []
        places = self.places()
        done = {*places.found} if self.sweep.retry_failed else {*places.found, *places.failures}
        return [seed for seed in self.seeds if seed not in done]

    @property
    def obstacle(self) -> str:
        """Why there is no configuration to confirm; empty if there is one."""
        if self.configuration is not None:
            return ""
        trials = self.sweep.entries
        if not self.sweep.has_ended:
            return "the sweep has not ended"
        reasons = dict.fromkeys(reason_of(entry) for entry in self.sweep.failed)
        diverged = sum(entry.state == "diverged" for entry in trials)
        if diverged:
            reasons[f"{diverged} of {len(trials)} trials diverged: {DIVERGED}"] = None
        return "; ".join([NOTHING_TO_CONFIRM, *reasons])

    def includes(self, entry: Entry) -> bool:
        """Whether a trial trains the current configuration in this phase."""
        of_method = (entry.phase, entry.method) == (self.phase, self.sweep.method.name)
        return of_method and _seedless_key_of(entry) == self._key()

    def places(self, seeds: Iterable[int] | None = None) -> Places:
        """Return the places of seeds; default: the seeds of the phase in the study file."""
        entries = self._entries.get(self._key(), {})
        places = _places(entries[folder] for folder in sorted(entries))
        asked = self.design.seeds(self.phase, self.sweep.method.repeat)
        return places.of(asked if seeds is None else seeds)

    def scores(self, seeds: Iterable[int] | None = None) -> dict[int, float]:
        """Return the primary metric of each seed; NaN for a seed that failed or diverged."""
        places, metric = self.places(seeds), self.design.spec.study.metric
        entries = {entry.folder: entry for entry, _ in places.found.values()}
        columns = {
            folder: seed_scores(self.ledger.outcome(entry), metric)
            for folder, entry in entries.items()
        }
        return dict.fromkeys(places.failures, math.nan) | {
            seed: columns[entry.folder][position]
            for seed, (entry, position) in places.found.items()
        }

    def failures(self) -> dict[int, str]:
        """Return the seeds that failed or diverged, each with the reason."""
        return self.places().failures | self.diverged()

    def diverged(self) -> dict[int, str]:
        """Return the seeds whose training diverged, each with the reason."""
        on_task = {
            seed: self.ledger.outcome(entry).diverged_on(position)
            for seed, (entry, position) in self.places().found.items()
            if entry.state == "diverged"
        }
        return {
            seed: f"diverged on task {task}: {DIVERGED}" for seed, task in on_task.items() if task
        }

    def _key(self) -> str:
        """Return the key of the work without its seeds; empty if there is none."""
        if self.configuration is None:
            return ""
        work = self.design.assignment(self.sweep.method, self.configuration, self.phase)
        return seedless_key(dataclasses.asdict(work), work.versions())


def _seedless_key_of(entry: Entry) -> str:
    return seedless_key(entry.work, entry.versions)


def _places(entries: Iterable[Entry]) -> Places:
    """Return the places of the seeds in trials of one configuration."""
    places = Places()
    for entry in entries:
        for position, seed in enumerate(entry.seeds):
            if entry.state != "failed":
                places.found[seed] = (entry, position)
            elif len(entry.seeds) == 1:
                places.failures[seed] = reason_of(entry)
            else:
                places.isolated.add(seed)
    for seed in places.found:
        places.failures.pop(seed, None)
    return places


def reason_of(entry: Entry) -> str:
    """Return why a trial failed, in one line."""
    return entry.reason or (entry.failure.strip().splitlines() or ["the reason is unknown"])[-1]
