"""The best configuration of every method on fresh seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from study.data import Data
from study.ledger import Entry
from study.run.context import RunContext
from study.run.driver import Source
from study.state import Study
from trainables.engine.foundation import Foundation


class ConfirmationTrials(Source):
    """Proposes the trials of a queue."""

    def __init__(self, run: RunContext, queue: Iterable[Entry]) -> None:
        tasks, limit = run.study.design.stream.tasks, run.study.spec.resources.task_minutes
        super().__init__(run.study.ledger, run.settings("confirm"), tasks, run.console, limit)
        self.stacks, self.queue = run.stacks, list(queue)
        for entry in self.queue:  # so that a resumed confirmation keeps the same stacks of seeds
            self.ledger.begin(entry)

    def propose(self) -> Entry | None:
        return self.queue.pop(0) if self.queue else None

    def settings_of(self, entry: Entry) -> dict[str, Any]:
        return {**self.settings, "stack": self.stacks[entry.method]}


def confirmation_queue(study: Study, slots: int) -> list[Entry]:
    """Return the missing trials: interrupted ones as they were, seeds of failed ones alone, the
    rest spread over slots.
    """
    queue: list[Entry] = []
    spread_out: dict[str, list[int]] = {}  # seeds by method
    for name in study.methods:
        interrupted = _interrupted(study, name)
        queue += interrupted
        begun = {seed for entry in interrupted for seed in entry.seeds}
        missing = [seed for seed in study.confirmation(name).missing if seed not in begun]
        places = study.confirmation(name).places()
        alone = [seed for seed in missing if seed in places.apart or seed in places.failures]
        queue += [_entry(study, name, (seed,)) for seed in alone]
        if rest := [seed for seed in missing if seed not in alone]:
            spread_out[name] = rest
    cuts = parts_of_each(len(spread_out), slots)
    for (name, missing), parts in zip(spread_out.items(), cuts, strict=True):
        queue += [_entry(study, name, seeds) for seeds in cut(missing, min(len(missing), parts))]
    return queue


def _interrupted(study: Study, method: str) -> list[Entry]:
    """Return the trials of a method that were begun, and whose seeds are all missing."""
    confirmation, found = study.confirmation(method), []
    missing = set(confirmation.missing)
    for entry in study.ledger.running():
        if set(entry.seeds) <= missing and confirmation.includes(entry):
            found.append(entry)
            missing -= set(entry.seeds)
    return found


def run_confirmation(run: RunContext, data: Data, first_tasks: Mapping[str, Foundation]) -> None:
    """Run what the confirmation still lacks.

    The seeds of a trial of several that failed run again at once, one by one. A seed that failed
    alone is tried once a run.
    """
    for queue in rounds(run.study, run.slots):
        run.console.phase("confirm", len(queue), 0)
        run.fit(ConfirmationTrials(run, queue), "confirm", data, first_tasks)


def rounds(study: Study, slots: int) -> Iterator[list[Entry]]:
    """Yield what is missing, until nothing is that has not been asked for; no trial twice."""
    asked: set[str] = set()
    while queue := [
        entry for entry in confirmation_queue(study, slots) if entry.folder not in asked
    ]:
        asked |= {entry.folder for entry in queue}
        yield queue


def _entry(study: Study, method: str, seeds: tuple[int, ...]) -> Entry:
    configuration = study.confirmation(method).configuration
    return study.entry(method, configuration or {}, "confirm", seeds)


def parts_of_each(count: int, slots: int) -> list[int]:
    """Return into how many trials each of ``count`` pieces of work is cut, in their order: those
    left over when the others have filled all slots share the slots.
    """
    rest = count % slots
    if not rest:
        return [1] * count
    each, more = divmod(slots, rest)
    return [1] * (count - rest) + [each + 1] * more + [each] * (rest - more)


def cut(seeds: list[int], parts: int) -> list[tuple[int, ...]]:
    """Cut seeds into parts whose sizes differ by at most one."""
    size, longer = divmod(len(seeds), parts)
    starts = [i * size + min(i, longer) for i in range(parts + 1)]
    return [tuple(seeds[a:b]) for a, b in itertools.pairwise(starts)]
