"""The best configuration of every method on fresh seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study import plan
from study.cluster import Source, fit
from study.console import Console
from study.ledger import Entry, Ledger, entry_for
from study.plan import Method
from study.spec import Spec
from study.sweep import best_trial, finished_trials, within_budget
from trainables import find_stream
from trainables.streams.datasets import Split

NOTHING_TO_CONFIRM = "no trial of its sweep gave a configuration to confirm"


@dataclass(frozen=True)
class Confirmed:
    """What the confirmation of one method has so far: where each seed is, and which failed."""

    configuration: dict[str, Any] | None  # None: no trial of its sweep finished
    places: dict[int, tuple[Entry, int]] = field(
        default_factory=dict
    )  # seed -> entry, position of the seed in it
    failures: dict[int, str] = field(default_factory=dict)  # seed -> reason


def best_configuration(spec: Spec, method: Method, ledger: Ledger) -> dict[str, Any] | None:
    """Return what is confirmed: the sweep's best, or the defaults where nothing is tuned."""
    if spec.tune.trials == 0:
        return plan.configuration(method, {})
    best = best_trial(spec, method, ledger)
    return None if best is None else dict(best.work["configuration"])


def confirmed(
    spec: Spec, method: Method, ledger: Ledger, seeds: Iterable[int] | None = None
) -> Confirmed:
    """Return the seeds of a method's best configuration that the ledger has, of those wanted: the
    study's own unless told.
    """
    wanted = set(spec.confirm_seeds if seeds is None else seeds)
    configuration = best_configuration(spec, method, ledger)
    found = Confirmed(configuration)
    if configuration is None:
        return found
    for entry in ledger.entries("confirm", method.name):
        if not _belongs(spec, method, configuration, entry):
            continue
        for position, seed in enumerate(entry.seeds):
            if seed not in wanted:
                continue
            if entry.state == "failed":
                found.failures.setdefault(seed, entry.failure.strip().splitlines()[-1])
            else:
                found.places[seed] = (entry, position)
    for seed in found.places:
        found.failures.pop(seed, None)
    return found


def failures(spec: Spec, method: Method, ledger: Ledger) -> list[str]:
    """Name what failed of the trials and seeds a study uses: learners that raised, and seeds of
    the confirmation that diverged. A diverged configuration of a sweep is a result.
    """
    trials = [
        entry.folder
        for entry in ledger.entries("tune", method.name)
        if entry.state == "failed" and within_budget(spec, method, entry)
    ]
    state = confirmed(spec, method, ledger)
    diverged = [
        seed
        for seed, (entry, position) in state.places.items()
        if entry.state == "diverged" and not ledger.outcome(entry).finite[position].all()
    ]
    if (
        state.configuration is None
        and len(finished_trials(spec, method, ledger)) == spec.tune.trials
    ):
        trials = [*trials, f"confirm/{method.name}: {NOTHING_TO_CONFIRM}"]
    seeds = sorted([*state.failures, *diverged])
    return trials + [f"confirm/{method.name} seed {seed}" for seed in seeds]


class Confirmation(Source):
    """Proposes the confirmation trials a study still lacks."""

    def __init__(
        self,
        spec: Spec,
        methods: Iterable[Method],
        ledger: Ledger,
        settings: Mapping[str, Any],
        stacks: Mapping[str, int],
        slots: int,
        console: Console,
    ) -> None:
        super().__init__(ledger, settings, find_stream(spec.study.stream).tasks)
        self.console, self.stacks = console, dict(stacks)
        self.queue = pending(spec, list(methods), ledger, slots)
        for entry in self.queue:  # so that a resumed confirmation keeps the same stacks of seeds
            ledger.begin(entry)

    def propose(self) -> Entry | None:
        return self.queue.pop(0) if self.queue else None

    def settings_of(self, entry: Entry) -> dict[str, Any]:
        return {**self.settings, "stack": self.stacks[entry.method]}

    def written(self, entry: Entry) -> None:
        self.console.trial_done(entry, None)


def pending(spec: Spec, methods: list[Method], ledger: Ledger, slots: int) -> list[Entry]:
    """Return the missing trials: interrupted ones as they were, the rest spread over slots."""
    queue: list[Entry] = []
    lacking: dict[str, tuple[Method, dict[str, Any], list[int]]] = {}
    for method in methods:
        state = confirmed(spec, method, ledger)
        if state.configuration is None:
            continue
        missing = [seed for seed in spec.confirm_seeds if seed not in state.places]
        for entry in ledger.running():
            if set(entry.seeds) <= set(missing) and _belongs(
                spec, method, state.configuration, entry
            ):
                queue.append(entry)
                missing = [seed for seed in missing if seed not in entry.seeds]
        if missing:
            lacking[method.name] = (method, state.configuration, missing)
    for method, configuration, missing in lacking.values():
        parts = min(len(missing), math.ceil(slots / len(lacking)))
        for seeds in _spread(missing, parts):
            work = plan.assignment(spec, method, configuration, "confirm", seeds)
            queue.append(entry_for(work, method.name, None))
    return queue


def run_confirmation(
    spec: Spec,
    methods: Mapping[str, Method],
    ledger: Ledger,
    data: dict[str, Split],
    settings: Mapping[str, Any],
    stacks: Mapping[str, int],
    slots: int,
    storage: Path,
    console: Console,
) -> list[str]:
    """Run what the confirmation still lacks; return the trials that were lost."""
    settings = {**settings, "storage": str(storage / "confirm")}
    source = Confirmation(spec, methods.values(), ledger, settings, stacks, slots, console)
    count = len(source.queue)
    console.phase("confirm", count, 0)
    if count:
        fit(source, "confirm", data, spec.resources, storage, count, console.say)
    return source.lost


def _belongs(spec: Spec, method: Method, configuration: Mapping[str, Any], entry: Entry) -> bool:
    if entry.phase != "confirm" or entry.method != method.name:
        return False
    work = plan.assignment(spec, method, configuration, "confirm", entry.seeds)
    return entry.key == entry_for(work, method.name, None).key


def _spread(seeds: list[int], parts: int) -> list[tuple[int, ...]]:
    """Cut seeds into parts whose sizes differ by at most one."""
    size, longer = divmod(len(seeds), parts)
    starts = [i * size + min(i, longer) for i in range(parts + 1)]
    return [tuple(seeds[a:b]) for a, b in itertools.pairwise(starts)]
