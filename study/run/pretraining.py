"""Learn long first tasks once, for all trials that begin with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from study.data import Data
from study.first_tasks import SharedTask
from study.ledger import PRETRAINING, Entry, Ledger
from study.run.confirmation import part_counts, split_evenly
from study.run.context import RunContext
from study.run.driver import Source, TrialSettings
from trainables.engine.foundation import Foundation, joined

OBJECTIVE = "average_accuracy"  # defined for a single task: every trial needs a score


class PretrainingTrials(Source):
    """The trials of a queue, each with its stack size."""

    def __init__(self, run: RunContext, name: str, queue: Iterable[tuple[Entry, int]]) -> None:
        settings: TrialSettings = {
            **run.settings(name),
            "objectives": [OBJECTIVE],
            "foundation": True,
        }
        limit = run.study.spec.resources.task_minutes
        super().__init__(run.study.ledger, settings, 1, run.console, limit)
        self.queue = list(queue)
        self.stacks = {entry.folder: stack for entry, stack in self.queue}

    def propose(self) -> Entry | None:
        return self.queue.pop(0)[0] if self.queue else None

    def settings_of(self, entry: Entry) -> TrialSettings:
        return {**self.settings, "stack": self.stacks[entry.folder]}


def pretraining_queue(run: RunContext, tasks: Sequence[SharedTask]) -> list[tuple[Entry, int]]:
    """Return the missing trials with their stack sizes.

    The seeds of a first task are spread over the slots, with at most one stack in a trial: finished
    stacks are then kept if the run is interrupted.
    """
    ledger = run.study.ledger
    unfinished = [shared for shared in tasks if shared.missing(ledger)]
    queue = []
    for shared, parts in zip(unfinished, part_counts(len(unfinished), run.slots), strict=True):
        missing, stack = shared.missing(ledger), run.stacks[shared.methods[0]]
        parts = max(parts, math.ceil(len(missing) / stack))
        for seeds in split_evenly(missing, min(len(missing), parts)):
            work = dataclasses.replace(shared.work, seeds=seeds)
            queue.append((ledger.entry_for(work, PRETRAINING, None), stack))
    return queue


def run_pretraining(
    run: RunContext, phase: str, tasks: Sequence[SharedTask], data: Data
) -> dict[str, Foundation]:
    """Run the missing pre-trainings; return the foundations of all shared first tasks, by key.

    A first task without a foundation, after a failure, is learnt by each trial itself.
    """
    if not tasks:
        return {}
    ledger = run.study.ledger
    queue = pretraining_queue(run, tasks)
    done = sum(len(shared.finished(ledger)) for shared in tasks)
    run.console.phase(f"pretrain {phase}", done + len(queue), done)
    if queue:
        name = f"pretrain-{phase}"
        run.fit(PretrainingTrials(run, name, queue), name, data, {})
    return _foundations(tasks, ledger)


def _foundations(tasks: Sequence[SharedTask], ledger: Ledger) -> dict[str, Foundation]:
    by_key = {shared.key: [e for e in shared.finished(ledger) if e.foundation] for shared in tasks}
    return {
        key: joined([ledger.foundation(entry) for entry in entries])
        for key, entries in by_key.items()
        if entries
    }
