"""A study as it stands: what it asks for, what its ledger has of that, and what is missing.

Everything is kept up to date by the entries that the ledger has gained since it was last asked, so
that a finished trial costs the same after ten trials as after ten thousand.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_spaces.space import values_within
from study import installed
from study.check import resolve
from study.design import Design, Method
from study.folder import Folder
from study.ledger import Entry, Ledger
from study.spec import Spec
from trainables.engine.assignment import seedless_key
from trainables.errors import InputError

NOTHING_TO_CONFIRM = "no trial of its sweep gave a configuration to confirm"
DIVERGED = "a loss or an output was not finite"


class Study:
    """One study: its file, resolved, its folder and its ledger.

    >>> study = Study(design, folder, ledger)
    >>> study.sweep("ewc").best.values, study.confirmation("ewc").missing
    ([0.8731], [107, 108, 109])
    """

    def __init__(self, design: Design, folder: Folder, ledger: Ledger) -> None:
        self.design, self.folder, self.ledger = design, folder, ledger
        self._forget()

    def _forget(self) -> None:
        self._sweeps = {name: Sweep(self.design, m) for name, m in self.methods.items()}
        self._confirmations = {
            name: Confirmation(self.design, sweep, self.ledger)
            for name, sweep in self._sweeps.items()
        }
        self._taken = 0  # entries of the ledger's history that are accounted for

    @classmethod
    def open(cls, place: Path) -> Study:
        """Open the folder of a study that has been run.

        Raises:
            InputError: with the packages its trials ran with that are missing here.
        """
        folder, spec = Folder.open(place)
        try:
            return cls(resolve(spec, str(place / "study.json")), folder, folder.ledger())
        except InputError as error:
            missing = sorted(
                f"{name} {', '.join(versions)}"
                for name, versions in folder.ledger(lambda text: None).software().items()
                if name != "git" and not installed(name)
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

    def use_data(self, hashes: Mapping[str, str]) -> None:
        """Keep to the trials that learnt data of these hashes."""
        self.ledger.data = hashes
        self._forget()

    def sweep(self, method: str) -> Sweep:
        """Return how the sweep of a method stands."""
        self._take_new_entries()
        return self._sweeps[method]

    def confirmation(self, method: str) -> Confirmation:
        """Return how the confirmation of a method stands."""
        self._take_new_entries()
        return self._confirmations[method]

    def _take_new_entries(self) -> None:
        new = self.ledger.history[self._taken :]
        self._taken += len(new)
        for entry in new:
            if entry.method in self.methods and self.ledger.learnt_these_data(entry):
                states: Mapping[str, Sweep | Confirmation]
                states = self._sweeps if entry.phase == "tune" else self._confirmations
                states[entry.method].take(entry)

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
        """Whether nothing has to run."""
        return not any(
            self.sweep(name).missing or self.confirmation(name).missing for name in self.methods
        )

    def failures(self) -> dict[str, str]:
        """Return what failed of the trials and seeds the study uses, and why: learners that raised,
        workers that were lost, and seeds of the confirmation that diverged. A diverged
        configuration of a sweep is a result.
        """
        found: dict[str, str] = {}
        for name in self.methods:
            found |= self.failures_of(name)
        return found

    def failures_of(self, method: str) -> dict[str, str]:
        """Return the same of one method."""
        sweep, confirmation = self.sweep(method), self.confirmation(method)
        found = {entry.folder: reason_of(entry) for entry in sweep.failed}
        if confirmation.configuration is None and not sweep.missing:
            found[f"confirm/{method}"] = confirmation.obstacle
        reasons = confirmation.places().failures | confirmation.diverged()
        return found | {f"confirm/{method} seed {s}": why for s, why in sorted(reasons.items())}


class Sweep:
    """How the sweep of a method stands: the trials of today's space and protocol, within today's
    budget.
    """

    def __init__(self, design: Design, method: Method) -> None:
        self.design, self.method = design, method
        self.asked = design.spec.tune.trials
        self.best: Entry | None = None  # complete, with the best value; earliest of equals
        self.beyond: set[str] = set()  # trials of this sweep whose number is over the budget
        self._entries: dict[str, Entry] = {}
        self._sign = -1 if design.directions[0] == "maximize" else 1

    @property
    def entries(self) -> list[Entry]:
        """Trials that ended, failed ones too, in the order of their numbers."""
        return [self._entries[folder] for folder in sorted(self._entries)]

    @property
    def finished(self) -> list[Entry]:
        """Trials that need not run again."""
        return [entry for entry in self.entries if entry.state != "failed"]

    @property
    def failed(self) -> list[Entry]:
        """Trials that failed; they run again."""
        return [entry for entry in self.entries if entry.state == "failed"]

    @property
    def missing(self) -> list[int]:
        """Numbers of the trials that have to run."""
        finished = {entry.number for entry in self.finished}
        return [number for number in range(self.asked) if number not in finished]

    def includes(self, entry: Entry) -> bool:
        """Whether a trial is one of this sweep, whatever its number: its parameters lie in the
        space, and would compute the same work now. It may have some that are no longer searched.
        """
        if entry.phase != "tune" or entry.method != self.method.name:
            return False
        params = values_within(self.method.space, entry.params)
        if params.keys() < self.method.space.keys():
            return False  # of another space
        configuration = self.method.configuration(params)
        return entry.computes(self.design.assignment(self.method, configuration, "tune"))

    def take(self, entry: Entry) -> None:
        """Account for a trial that has ended."""
        if entry.number is None or not self.includes(entry):
            return
        if entry.number >= self.asked:
            self.beyond.add(entry.folder)
            return
        self._entries[entry.folder] = entry
        if entry.state == "complete" and math.isfinite(entry.values[0]):
            ranked = [entry, self.best] if self.best else [entry]
            self.best = min(ranked, key=self._rank)

    def _rank(self, entry: Entry) -> tuple[float, int, str]:
        return self._sign * entry.values[0], entry.number or 0, entry.folder


@dataclass(frozen=True)
class Places:
    """Where the seeds of a configuration are.

    Attributes:
        found: of each seed, its trial and its position in it.
        failures: why seeds failed that were run alone.
        apart: seeds of a trial of several that failed: which seeds share a trial is chance, so
            that tells nothing of any one of them, and they run one by one.
    """

    found: dict[int, tuple[Entry, int]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    apart: set[int] = field(default_factory=set)

    def of(self, seeds: Iterable[int]) -> Places:
        """Return the places of some seeds."""
        wanted = set(seeds)
        return Places(
            {seed: place for seed, place in self.found.items() if seed in wanted},
            {seed: reason for seed, reason in self.failures.items() if seed in wanted},
            self.apart & wanted,
        )


class Confirmation:
    """How the confirmation of a method stands: the seeds of its best configuration."""

    def __init__(self, design: Design, sweep: Sweep, ledger: Ledger) -> None:
        self.design, self.sweep, self.ledger = design, sweep, ledger
        self._entries: dict[str, dict[str, Entry]] = {}  # by what they compute, but for seeds

    def take(self, entry: Entry) -> None:
        """Account for a trial that has ended."""
        self._entries.setdefault(_seedless_key_of(entry), {})[entry.folder] = entry

    @property
    def configuration(self) -> dict[str, Any] | None:
        """What is confirmed: the sweep's best, or the defaults where nothing is tuned; None where
        no trial of the sweep has finished.
        """
        if not self.sweep.asked:
            return self.sweep.method.configuration({})
        best = self.sweep.best
        return None if best is None else dict(best.work["configuration"])

    @property
    def missing(self) -> list[int]:
        """Seeds that have to run; none where there is nothing to confirm yet."""
        if self.configuration is None:
            return []
        found = self.places().found
        return [seed for seed in self.design.spec.confirm_seeds if seed not in found]

    @property
    def obstacle(self) -> str:
        """Why there is nothing to confirm; empty where there is."""
        if self.configuration is not None:
            return ""
        trials = self.sweep.entries
        if len(trials) < self.sweep.asked:
            return "its sweep has not ended"
        reasons = dict.fromkeys(reason_of(entry) for entry in self.sweep.failed)
        diverged = sum(entry.state == "diverged" for entry in trials)
        if diverged:
            reasons[f"{diverged} of {len(trials)} trials diverged: {DIVERGED}"] = None
        return "; ".join([NOTHING_TO_CONFIRM, *reasons])

    def includes(self, entry: Entry) -> bool:
        """Whether a trial confirms today's configuration."""
        mine = (entry.phase, entry.method) == ("confirm", self.sweep.method.name)
        return mine and _seedless_key_of(entry) == self._key()

    def places(self, seeds: Iterable[int] | None = None) -> Places:
        """Return where seeds are: the study's own unless told."""
        entries = self._entries.get(self._key(), {})
        places = _places(entries[folder] for folder in sorted(entries))
        return places.of(self.design.spec.confirm_seeds if seeds is None else seeds)

    def diverged(self) -> dict[int, str]:
        """Return the seeds whose training diverged, and what that means."""
        return {
            seed: DIVERGED
            for seed, (entry, position) in self.places().found.items()
            if entry.state == "diverged" and not self.ledger.outcome(entry).finite[position].all()
        }

    def _key(self) -> str:
        """Name what is confirmed, whatever the seeds; empty where nothing is."""
        if self.configuration is None:
            return ""
        work = self.design.assignment(self.sweep.method, self.configuration, "confirm")
        return seedless_key(dataclasses.asdict(work), work.versions())


def _seedless_key_of(entry: Entry) -> str:
    return seedless_key(entry.work, entry.versions)


def _places(entries: Iterable[Entry]) -> Places:
    """Find the seeds of trials of one configuration."""
    places = Places()
    for entry in entries:
        for position, seed in enumerate(entry.seeds):
            if entry.state != "failed":
                places.found[seed] = (entry, position)
            elif len(entry.seeds) == 1:
                places.failures[seed] = reason_of(entry)
            else:
                places.apart.add(seed)
    for seed in places.found:
        places.failures.pop(seed, None)
    return places


def reason_of(entry: Entry) -> str:
    """Return in a line why a trial failed."""
    return entry.reason or (entry.failure.strip().splitlines() or ["no reason is known"])[-1]
