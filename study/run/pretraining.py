"""Long first tasks that trials of a study have in common, each learnt once.

Which pre-training a trial would take is decided where it runs, by what it computes; here it is only
foreseen, so that nothing worse than a first task learnt twice comes of a wrong guess.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study import check
from study.check import Method
from study.console import Console
from study.ledger import PRETRAINING, Entry, Ledger
from study.run.confirmation import confirmed, parts_of_each, spread
from study.run.driver import Source, fit
from study.run.sweep import finished_trials, suggested
from study.search import new_study
from study.spec import Spec
from trainables.engine.assignment import Assignment, pretraining_of, seedless_key
from trainables.engine.foundation import Foundation, joined
from trainables.streams.datasets import Split

DRAWS = 10  # configurations that tell whether a pre-training depends on what is searched
OBJECTIVE = "average_accuracy"  # a metric that one task has: a score is asked of every trial


@dataclass(frozen=True)
class Shared:
    """A pre-training that trials have in common.

    Attributes:
        work: what it computes, for all the seeds those trials need.
        methods: theirs; it takes the size of a stack of the first.
    """

    work: Assignment
    methods: tuple[str, ...]

    @property
    def key(self) -> str:
        """What trials find it under."""
        return seedless_key(dataclasses.asdict(self.work), self.work.versions())


def before_sweeps(spec: Spec, methods: Mapping[str, Method], ledger: Ledger) -> list[Shared]:
    """Return the pre-trainings of the sweeps that have not ended."""
    return _merged(
        (method.name, _of_any_trial(spec, method))
        for method in methods.values()
        if len(finished_trials(spec, method, ledger)) < spec.tune.trials
    )


def before_confirmation(spec: Spec, methods: Mapping[str, Method], ledger: Ledger) -> list[Shared]:
    """Return the pre-trainings of the seeds that have not been confirmed."""
    found: list[tuple[str, Assignment | None]] = []
    for method in methods.values():
        state = confirmed(spec, method, ledger)
        missing = tuple(seed for seed in spec.confirm_seeds if seed not in state.places)
        if state.configuration is not None and missing:
            work = check.assignment(spec, method, state.configuration, "confirm", missing)
            found.append((method.name, pretraining_of(work)))
    return _merged(found)


def foreseen(spec: Spec, methods: Mapping[str, Method], phase: str) -> list[Shared]:
    """Return the pre-trainings of a whole phase, before anything is known of its trials; those of
    the confirmation as if the published values were the best.
    """
    if phase == "tune":
        tuned = methods.values() if spec.tune.trials else ()
        return _merged((method.name, _of_any_trial(spec, method)) for method in tuned)
    return _merged(
        (
            method.name,
            pretraining_of(
                check.assignment(
                    spec, method, check.configuration(method, {}), phase, spec.confirm_seeds
                )
            ),
        )
        for method in methods.values()
    )


def _of_any_trial(spec: Spec, method: Method) -> Assignment | None:
    """Return the pre-training of a method's trials; None where it depends on what is searched."""
    search = new_study()
    drawn = [suggested(spec, method, search.ask()) for _ in range(DRAWS)]
    first, *others = (
        pretraining_of(check.assignment(spec, method, configuration, "tune", spec.tune_seeds))
        for configuration in drawn
    )
    return first if all(other == first for other in others) else None


def _merged(found: Iterable[tuple[str, Assignment | None]]) -> list[Shared]:
    """Join what methods need: equal pre-trainings are one, with the seeds of all of them."""
    merged: dict[str, Shared] = {}
    for method, work in found:
        if work is None:
            continue
        new = Shared(work, ())
        known = merged.get(new.key, new)
        seeds = tuple(dict.fromkeys((*known.work.seeds, *work.seeds)))
        methods = (*known.methods, method)
        merged[new.key] = Shared(dataclasses.replace(work, seeds=seeds), methods)
    return list(merged.values())


class Pretraining(Source):
    """Proposes the pre-trainings of a queue, each with the size of its stacks."""

    def __init__(
        self,
        queue: Iterable[tuple[Entry, int]],
        ledger: Ledger,
        settings: Mapping[str, Any],
        console: Console,
        task_minutes: float | None = None,
    ) -> None:
        own = {**settings, "objectives": [OBJECTIVE], "foundation": True}
        super().__init__(ledger, own, 1, console, task_minutes)
        self.queue = list(queue)
        self.stacks = {entry.folder: stack for entry, stack in self.queue}

    def propose(self) -> Entry | None:
        return self.queue.pop(0)[0] if self.queue else None

    def settings_of(self, entry: Entry) -> dict[str, Any]:
        return {**self.settings, "stack": self.stacks[entry.folder]}


def finished(shared: Shared, ledger: Ledger) -> list[Entry]:
    """Return the trials of a pre-training that need not run again."""
    entries = ledger.entries(shared.work.phase, PRETRAINING)
    done = [e for e in entries if e.state != "failed" and {*e.seeds} & {*shared.work.seeds}]
    return [e for e in done if seedless_key(e.work, e.versions) == shared.key]


def pending(
    wanted: Sequence[Shared], ledger: Ledger, slots: int, stacks: Mapping[str, int]
) -> list[tuple[Entry, int]]:
    """Return the missing trials and the size of their stacks. Their seeds are spread over slots,
    but not more than a stack to a trial: what has been learnt is then kept stack by stack.
    """
    lacking = []
    for shared in wanted:
        done = {seed for entry in finished(shared, ledger) for seed in entry.seeds}
        if missing := [seed for seed in shared.work.seeds if seed not in done]:
            lacking.append((shared, missing))
    queue = []
    cuts = parts_of_each(len(lacking), slots)
    for (shared, missing), parts in zip(lacking, cuts, strict=True):
        stack = stacks[shared.methods[0]]
        parts = max(parts, math.ceil(len(missing) / stack))
        for seeds in spread(missing, min(len(missing), parts)):
            work = dataclasses.replace(shared.work, seeds=seeds)
            queue.append((ledger.entry_for(work, PRETRAINING, None), stack))
    return queue


def run_pretraining(
    spec: Spec,
    wanted: Sequence[Shared],
    ledger: Ledger,
    data: dict[str, Split],
    settings: Mapping[str, Any],
    stacks: Mapping[str, int],
    slots: int,
    storage: Path,
    console: Console,
) -> dict[str, Foundation]:
    """Run the pre-trainings that the ledger lacks, each once; return what all of them have left
    behind, by what trials find it under.

    Where one has left nothing, trials learn the first task themselves.
    """
    if not wanted:
        return {}
    phase = wanted[0].work.phase
    queue = pending(wanted, ledger, slots, stacks)
    done = sum(len(finished(shared, ledger)) for shared in wanted)
    console.phase(f"pretrain {phase}", done + len(queue), done)
    name = f"pretrain-{phase}"
    settings, limit = {**settings, "storage": str(storage / name)}, spec.resources.task_minutes
    if queue:
        source = Pretraining(queue, ledger, settings, console, limit)
        fit(source, name, data, {}, spec.resources, storage)
    return _left_behind(wanted, ledger)


def _left_behind(wanted: Sequence[Shared], ledger: Ledger) -> dict[str, Foundation]:
    kept = {shared.key: [e for e in finished(shared, ledger) if e.foundation] for shared in wanted}
    return {
        key: joined([ledger.foundation(entry) for entry in entries])
        for key, entries in kept.items()
        if entries
    }
