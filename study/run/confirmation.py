"""The best configuration of every method on fresh seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study import check
from study.check import Method
from study.console import Console
from study.ledger import Entry, Ledger
from study.run.driver import Source, fit
from study.run.sweep import best_trial, finished_trials, within_budget
from study.spec import Spec
from trainables.engine.foundation import Foundation
from trainables.streams.datasets import Split

NOTHING_TO_CONFIRM = "no trial of its sweep gave a configuration to confirm"
DIVERGED = "a loss or an output was not finite"


@dataclass(frozen=True)
class Confirmed:
    """What the confirmation of one method has so far: where each seed is, and which failed."""

    configuration: dict[str, Any] | None  # None: no trial of its sweep finished
    places: dict[int, tuple[Entry, int]] = field(
        default_factory=dict
    )  # seed -> entry, position of the seed in it
    failures: dict[int, str] = field(default_factory=dict)  # seed -> reason, of seeds run alone
    alone: set[int] = field(default_factory=set)  # seeds of a trial of several that failed


def why(entry: Entry) -> str:
    """Return in a line why a trial failed."""
    return entry.reason or (entry.failure.strip().splitlines() or ["no reason is known"])[-1]


def best_configuration(spec: Spec, method: Method, ledger: Ledger) -> dict[str, Any] | None:
    """Return what is confirmed: the sweep's best, or the defaults where nothing is tuned."""
    if spec.tune.trials == 0:
        return check.configuration(method, {})
    best = best_trial(spec, method, ledger)
    return None if best is None else dict(best.work["configuration"])


def confirmed(
    spec: Spec, method: Method, ledger: Ledger, seeds: Iterable[int] | None = None
) -> Confirmed:
    """Return the seeds of a method's best configuration that the ledger has, of those wanted: the
    study's own unless told.

    A trial of several seeds that failed tells nothing of any one of them: which seeds share a trial
    is chance. Only a seed that failed alone is a failed seed.
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
            if entry.state != "failed":
                found.places[seed] = (entry, position)
            elif len(entry.seeds) == 1:
                found.failures[seed] = why(entry)
            else:
                found.alone.add(seed)
    for seed in found.places:
        found.failures.pop(seed, None)
    return found


def unconfirmed(spec: Spec, method: Method, ledger: Ledger) -> str:
    """Return why a method has nothing to confirm; empty where it has."""
    if best_configuration(spec, method, ledger) is not None:
        return ""
    trials = [e for e in ledger.entries("tune", method.name) if within_budget(spec, method, e)]
    if len(trials) < spec.tune.trials:
        return "its sweep has not ended"
    reasons = dict.fromkeys(why(e) for e in trials if e.state == "failed")
    diverged = sum(e.state == "diverged" for e in trials)
    if diverged:
        reasons[f"{diverged} of {len(trials)} trials diverged: {DIVERGED}"] = None
    return "; ".join([NOTHING_TO_CONFIRM, *reasons])


def failures(spec: Spec, method: Method, ledger: Ledger) -> dict[str, str]:
    """Return what failed of the trials and seeds a study uses, and why: learners that raised,
    workers that were lost, and seeds of the confirmation that diverged. A diverged configuration
    of a sweep is a result.
    """
    found = {
        entry.folder: why(entry)
        for entry in ledger.entries("tune", method.name)
        if entry.state == "failed" and within_budget(spec, method, entry)
    }
    state = confirmed(spec, method, ledger)
    diverged = {
        seed: DIVERGED
        for seed, (entry, position) in state.places.items()
        if entry.state == "diverged" and not ledger.outcome(entry).finite[position].all()
    }
    if (
        state.configuration is None
        and len(finished_trials(spec, method, ledger)) == spec.tune.trials
    ):
        found[f"confirm/{method.name}"] = unconfirmed(spec, method, ledger)
    seeds = sorted({**state.failures, **diverged}.items())
    return found | {f"confirm/{method.name} seed {seed}": reason for seed, reason in seeds}


class Confirmation(Source):
    """Proposes the confirmation trials of a queue."""

    def __init__(
        self,
        spec: Spec,
        queue: Iterable[Entry],
        ledger: Ledger,
        settings: Mapping[str, Any],
        stacks: Mapping[str, int],
        console: Console,
    ) -> None:
        tasks = check.tasks_of(spec)
        super().__init__(ledger, settings, tasks, console, spec.resources.task_minutes)
        self.stacks, self.queue = dict(stacks), list(queue)
        for entry in self.queue:  # so that a resumed confirmation keeps the same stacks of seeds
            ledger.begin(entry)

    def propose(self) -> Entry | None:
        return self.queue.pop(0) if self.queue else None

    def settings_of(self, entry: Entry) -> dict[str, Any]:
        return {**self.settings, "stack": self.stacks[entry.method]}


def pending(spec: Spec, methods: list[Method], ledger: Ledger, slots: int) -> list[Entry]:
    """Return the missing trials: interrupted ones as they were, seeds of failed ones alone, the
    rest spread over slots.
    """
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
        alone = [seed for seed in missing if seed in state.alone or seed in state.failures]
        queue += [_entry(spec, method, state.configuration, (seed,), ledger) for seed in alone]
        if rest := [seed for seed in missing if seed not in alone]:
            lacking[method.name] = (method, state.configuration, rest)
    cuts = parts_of_each(len(lacking), slots)
    for (method, configuration, missing), parts in zip(lacking.values(), cuts, strict=True):
        for seeds in spread(missing, min(len(missing), parts)):
            queue.append(_entry(spec, method, configuration, seeds, ledger))
    return queue


def run_confirmation(
    spec: Spec,
    methods: Mapping[str, Method],
    ledger: Ledger,
    data: dict[str, Split],
    pretrained: Mapping[str, Foundation],
    settings: Mapping[str, Any],
    stacks: Mapping[str, int],
    slots: int,
    storage: Path,
    console: Console,
) -> None:
    """Run what the confirmation still lacks.

    The seeds of a trial of several that failed run again at once, one by one. A seed that failed
    alone is tried once a run.
    """
    settings = {**settings, "storage": str(storage / "confirm")}
    for queue in rounds(spec, list(methods.values()), ledger, slots):
        source = Confirmation(spec, queue, ledger, settings, stacks, console)
        console.phase("confirm", len(queue), 0)
        fit(source, "confirm", data, pretrained, spec.resources, storage)


def rounds(spec: Spec, methods: list[Method], ledger: Ledger, slots: int) -> Iterator[list[Entry]]:
    """Yield what is missing, until nothing is that has not been asked for; no trial twice."""
    asked: set[str] = set()
    while queue := [e for e in pending(spec, methods, ledger, slots) if e.folder not in asked]:
        asked |= {entry.folder for entry in queue}
        yield queue


def _entry(
    spec: Spec,
    method: Method,
    configuration: Mapping[str, Any],
    seeds: tuple[int, ...],
    ledger: Ledger,
) -> Entry:
    work = check.assignment(spec, method, configuration, "confirm", seeds)
    return ledger.entry_for(work, method.name, None)


def _belongs(spec: Spec, method: Method, configuration: Mapping[str, Any], entry: Entry) -> bool:
    if entry.phase != "confirm" or entry.method != method.name:
        return False
    return entry.computes(check.assignment(spec, method, configuration, "confirm", entry.seeds))


def parts_of_each(count: int, slots: int) -> list[int]:
    """Return into how many trials each of ``count`` pieces of work is cut, in their order: those
    left over when the others have filled all slots share the slots.
    """
    rest = count % slots
    if not rest:
        return [1] * count
    each, more = divmod(slots, rest)
    return [1] * (count - rest) + [each + 1] * more + [each] * (rest - more)


def spread(seeds: list[int], parts: int) -> list[tuple[int, ...]]:
    """Cut seeds into parts whose sizes differ by at most one."""
    size, longer = divmod(len(seeds), parts)
    starts = [i * size + min(i, longer) for i in range(parts + 1)]
    return [tuple(seeds[a:b]) for a, b in itertools.pairwise(starts)]
