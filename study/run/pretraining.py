"""The trials that learn long first tasks once, for all trials that begin with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from study.data import Data
from study.first_tasks import SharedTask
from study.ledger import PRETRAINING, Entry, Ledger
from study.run.confirmation import cut, parts_of_each
from study.run.context import RunContext
from study.run.driver import Source
from trainables.engine.foundation import Foundation, joined

OBJECTIVE = "average_accuracy"  # a metric that one task has: a score is asked of every trial


class PretrainingTrials(Source):
    """Proposes the trials of a queue, each with the size of its stacks."""

    def __init__(self, run: RunContext, name: str, queue: Iterable[tuple[Entry, int]]) -> None:
        settings = run.settings(name, objectives=[OBJECTIVE], foundation=True)
        limit = run.study.spec.resources.task_minutes
        super().__init__(run.study.ledger, settings, 1, run.console, limit)
        self.queue = list(queue)
        self.stacks = {entry.folder: stack for entry, stack in self.queue}

    def propose(self) -> Entry | None:
        return self.queue.pop(0)[0] if self.queue else None

    def settings_of(self, entry: Entry) -> dict[str, Any]:
        return {**self.settings, "stack": self.stacks[entry.folder]}


def pretraining_queue(run: RunContext, wanted: Sequence[SharedTask]) -> list[tuple[Entry, int]]:
    """Return the missing trials and the size of their stacks. Their seeds are spread over slots,
    but not more than a stack to a trial: what has been learnt is then kept stack by stack.
    """
    ledger = run.study.ledger
    unfinished = [shared for shared in wanted if shared.missing(ledger)]
    queue = []
    for shared, parts in zip(unfinished, parts_of_each(len(unfinished), run.slots), strict=True):
        missing, stack = shared.missing(ledger), run.stacks[shared.methods[0]]
        parts = max(parts, math.ceil(len(missing) / stack))
        for seeds in cut(missing, min(len(missing), parts)):
            work = dataclasses.replace(shared.work, seeds=seeds)
            queue.append((ledger.entry_for(work, PRETRAINING, None), stack))
    return queue


def run_pretraining(
    run: RunContext, wanted: Sequence[SharedTask], data: Data
) -> dict[str, Foundation]:
    """Run the pre-trainings that the ledger lacks, each once; return what all of them have left
    behind, by what trials find it under.

    Where one has left nothing, trials learn the first task themselves.
    """
    if not wanted:
        return {}
    ledger, phase = run.study.ledger, wanted[0].work.phase
    queue = pretraining_queue(run, wanted)
    done = sum(len(shared.finished(ledger)) for shared in wanted)
    run.console.phase(f"pretrain {phase}", done + len(queue), done)
    if queue:
        name = f"pretrain-{phase}"
        run.fit(PretrainingTrials(run, name, queue), name, data, {})
    return _left_behind(wanted, ledger)


def _left_behind(wanted: Sequence[SharedTask], ledger: Ledger) -> dict[str, Foundation]:
    kept = {shared.key: [e for e in shared.finished(ledger) if e.foundation] for shared in wanted}
    return {
        key: joined([ledger.foundation(entry) for entry in entries])
        for key, entries in kept.items()
        if entries
    }
