"""Fresh seeds of a method's best configurations as a source of trials: its confirmation, or its
recheck.
"""

from __future__ import annotations

from study.ledger import Entry
from study.run.context import RunContext
from study.run.pretraining import PretrainingTrials
from study.run.source import Room, Source, TrialSettings, Urgency, split_evenly
from study.run.sweep import SweepTrials
from study.spec import Request
from study.state import FreshSeeds


class FreshSeedTrials(Source):
    """The missing seeds of a method in one phase.

    Interrupted trials keep their seeds. The other seeds of a configuration are spread over trials.
    If a trial of several seeds fails, each of its seeds runs again in a trial of its own. A seed
    that fails in a trial of its own has failed; a run with `--retry-failed` tries it once.
    """

    def __init__(
        self, run: RunContext, phase: str, sweep: SweepTrials, pretraining: PretrainingTrials
    ) -> None:
        self.phase, self.method = phase, sweep.method
        self.sweep, self.pretraining = sweep, pretraining
        super().__init__(run, run.study.design.streams[phase].tasks)
        self.queue: list[Entry] = []  # trials whose seeds are settled
        self.begun = [e for e in run.unfinished if (e.phase, e.method) == (phase, self.method.name)]
        self.failed: list[Entry] = []  # trials of one seed that failed in this run
        self._seen = -1  # number of finished trials that `queue` and `_uncut` account for
        self._uncut: list[tuple[FreshSeeds, list[int]]] = []  # seeds to spread over trials

    @property
    def urgency(self) -> tuple[int, int]:
        if self.begun and self.sweep.has_ended:
            return Urgency.INTERRUPTED, 0
        return Urgency.CONFIRMATION if self.phase == "confirm" else Urgency.RECHECK, 0

    @property
    def request(self) -> Request:
        return self.study.request(self.method.name)

    @property
    def left(self) -> int:
        if not self.sweep.has_ended:
            design = self.study.design
            asked = design.seeds(self.phase, self.method.repeat)
            return design.configurations(self.method, self.phase) if asked else 0
        self._look()
        return len(self.queue) + len(self._uncut)

    @property
    def ready(self) -> int:
        waits = not self.sweep.has_ended or self.pretraining.is_pending_for(self.method.name)
        return 0 if waits else self.left

    def next(self, room: Room) -> Entry | None:
        if not self.queue:
            state, missing = self._uncut.pop(0)
            groups = split_evenly(missing, min(len(missing), room.parts))
            self.queue += [self._entry(state, seeds) for seeds in groups]
        entry = self.queue.pop(0)
        self.begun = [other for other in self.begun if other.folder != entry.folder]
        return entry

    def is_replaceable(self, entry: Entry) -> bool:
        return len(entry.seeds) > 1  # by a trial for each seed

    def settings(self, entry: Entry) -> TrialSettings:
        return {
            **self.run.settings(self.phase),
            **self.run.stacks.settings(self.method.name),
            "pretrained": self.run.foundations.of(entry),
        }

    def _look(self) -> None:
        """Find the seeds that have to run, after a trial of any method has ended."""
        if self._seen == len(self.ledger.history):
            return
        self._seen, self._uncut = len(self.ledger.history), []
        for state in self.study.all_fresh_seeds(self.method.name, self.phase):
            self._queue_interrupted(state)
            self._queue_single(state)
            if rest := self._free_seeds(state):
                self._uncut.append((state, rest))
        self.begun = [entry for entry in self.begun if entry in self.queue]

    def _queue_interrupted(self, state: FreshSeeds) -> None:
        """Queue the trials of an interrupted run whose seeds are all missing."""
        for entry in self.begun:
            if state.includes(entry) and {*entry.seeds} <= {*self._free_seeds(state)}:
                self.queue.append(entry)

    def _queue_single(self, state: FreshSeeds) -> None:
        """Queue a trial for each seed that has failed, alone or in a trial of several seeds."""
        places = state.places()
        for seed in self._free_seeds(state):
            if seed in places.isolated or seed in places.failures:
                self.queue.append(self._entry(state, (seed,)))

    def _free_seeds(self, state: FreshSeeds) -> list[int]:
        """Return the missing seeds that are in no trial and have not failed in this run."""
        taken = [entry for entry in (*self.queue, *self.running.values()) if state.includes(entry)]
        taken += [entry for entry in self.failed if state.includes(entry)]
        busy = {seed for entry in taken for seed in entry.seeds}
        return [seed for seed in state.missing if seed not in busy]

    def after_write(self, entry: Entry) -> None:
        if entry.state == "failed" and len(entry.seeds) == 1:
            self.failed.append(entry)

    def _entry(self, state: FreshSeeds, seeds: tuple[int, ...]) -> Entry:
        name, configuration = self.method.name, state.configuration or {}
        return self.study.entry(name, configuration, state.phase, seeds)
