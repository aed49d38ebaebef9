"""Run the best configuration of every method on fresh seeds: its confirmation and its recheck."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from study.ledger import Entry
from study.run.context import RunContext
from study.run.driver import Source, TrialSettings
from study.state import FreshSeeds, Study


class FreshSeedTrials(Source):
    """The trials of a queue, each with the stack size of its method."""

    def __init__(self, run: RunContext, phase: str, queue: Iterable[Entry]) -> None:
        tasks = run.study.design.streams[phase].tasks
        limit = run.study.spec.resources.task_minutes
        super().__init__(run.study.ledger, run.settings(phase), tasks, run.console, limit)
        self.stacks, self.queue = run.stacks, list(queue)
        for entry in self.queue:  # a resumed run then keeps the same trials
            self.ledger.begin(entry)

    def propose(self) -> Entry | None:
        return self.queue.pop(0) if self.queue else None

    def settings_of(self, entry: Entry) -> TrialSettings:
        return {**self.settings, "stack": self.stacks[entry.method]}


def fresh_seed_queue(study: Study, phase: str, slots: int) -> list[Entry]:
    """Return the missing trials of a phase.

    Interrupted trials keep their seeds. Seeds of failed trials get a trial each. The other seeds of
    a configuration are spread over the slots.
    """
    queue: list[Entry] = []
    spread_out: list[tuple[FreshSeeds, list[int]]] = []
    for state in _states(study, phase):
        interrupted = _interrupted(state)
        queue += interrupted
        begun = {seed for entry in interrupted for seed in entry.seeds}
        missing = [seed for seed in state.missing if seed not in begun]
        places = state.places()
        single = [seed for seed in missing if seed in places.isolated or seed in places.failures]
        queue += [_entry(study, state, (seed,)) for seed in single]
        if rest := [seed for seed in missing if seed not in single]:
            spread_out.append((state, rest))
    counts = part_counts(len(spread_out), slots)
    for (state, missing), parts in zip(spread_out, counts, strict=True):
        groups = split_evenly(missing, min(len(missing), parts))
        queue += [_entry(study, state, seeds) for seeds in groups]
    return queue


def _states(study: Study, phase: str) -> list[FreshSeeds]:
    """Return the state of each configuration that a phase runs, the best of each sweep first."""
    states = (state for name in study.methods for state in study.all_fresh_seeds(name, phase))
    return sorted(states, key=lambda state: state.rank)


def _interrupted(state: FreshSeeds) -> list[Entry]:
    """Return the started trials of a method whose seeds are all missing."""
    interrupted, missing = [], set(state.missing)
    for entry in state.ledger.unfinished():
        if set(entry.seeds) <= missing and state.includes(entry):
            interrupted.append(entry)
            missing -= set(entry.seeds)
    return interrupted


def fresh_seed_rounds(study: Study, phase: str, slots: int) -> Iterator[list[Entry]]:
    """Yield the missing trials in rounds, until there are none; no trial is in two rounds.

    If a trial of several seeds fails, each of its seeds runs again in a trial of its own. A seed
    that fails in a trial of its own has failed; a run with `--retry-failed` tries it once. Where
    seeds are added until the comparisons are decided, a round is asked for after the one before.
    """
    queued: set[str] = set()
    while queue := [
        entry for entry in fresh_seed_queue(study, phase, slots) if entry.folder not in queued
    ]:
        queued |= {entry.folder for entry in queue}
        yield queue


def _entry(study: Study, state: FreshSeeds, seeds: tuple[int, ...]) -> Entry:
    return study.entry(state.sweep.method.name, state.configuration or {}, state.phase, seeds)


def part_counts(count: int, slots: int) -> list[int]:
    """Return the number of trials for each of ``count`` jobs, in their order.

    Jobs that fill all slots get one trial each; the jobs left over share all slots.

    >>> part_counts(count=5, slots=4), part_counts(count=2, slots=5)
    ([1, 1, 1, 1, 4], [3, 2])
    """
    rest = count % slots
    if not rest:
        return [1] * count
    each, extra = divmod(slots, rest)
    return [1] * (count - rest) + [each + 1] * extra + [each] * (rest - extra)


def split_evenly(seeds: list[int], parts: int) -> list[tuple[int, ...]]:
    """Split seeds into parts whose sizes differ by at most one.

    >>> split_evenly([0, 1, 2, 3, 4], parts=2)
    [(0, 1, 2), (3, 4)]
    """
    size, longer = divmod(len(seeds), parts)
    bounds = [i * size + min(i, longer) for i in range(parts + 1)]
    return [tuple(seeds[start:end]) for start, end in itertools.pairwise(bounds)]
