"""A source of trials, which writes each trial to the ledger as it ends. Without Ray."""

from __future__ import annotations

import dataclasses
import itertools
import math
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict

from study.ledger import Entry
from study.spec import Request
from trainables.errors import reason

if TYPE_CHECKING:
    from study.run.context import RunContext


class Urgency(IntEnum):
    """The order in which a free slot takes trials."""

    INTERRUPTED = 0
    PILOT = 1
    PRETRAINING = 2
    CONFIRMATION = 3
    SWEEP = 4
    RECHECK = 5


class Room(NamedTuple):
    """The room for a trial: how many slots its seeds may be spread over.

    Attributes:
        slots: number of trials of this kind that the cluster runs at once.
        free: number of slots that are free now, with that of the trial.
        ready: number of other trials that could start now.
        later: number of other trials that have not started, ready or not.
    """

    slots: int
    free: int
    ready: int = 0
    later: int = 0

    @property
    def parts(self) -> int:
        """The number of trials to divide a trial of several seeds into.

        One, unless slots would stay empty: the trials that could start now share the free slots,
        and the last trials of a study share all slots, which become free one after the other.

        >>> Room(slots=4, free=1, ready=7, later=9).parts, Room(slots=4, free=4, ready=1).parts
        (1, 2)
        """
        now = self.free // (self.ready + 1)
        return now if now > 1 else max(self.slots // (self.later + 1), 1)


class StackSettings(TypedDict, total=False):
    """The number of seeds that a worker trains at once."""

    stack: int
    """where the model of the device has no size of its own"""
    stacks: dict[str, int]
    """by model of the device"""


class TrialSettings(StackSettings, total=False):
    """The settings of a trial besides its assignment, as the worker reads them."""

    data: Required[list[Any]]
    """a reference to the data of the phase"""
    pretrained: list[Any]
    """a reference to the foundation of the first task, if there is one"""
    objectives: Required[list[str]]
    cpus: float
    gpus: float
    storage: Required[str]
    """folder of the checkpoints"""
    foundation: bool
    """whether to return what the first task leaves behind"""
    pilot: list[int]
    """stack sizes to time instead of running the trial"""


class Source(ABC):
    """A source of trials: the pilots, the pre-trainings of a phase, the sweep of a method, or its
    confirmation or recheck.

    Args:
        tasks: number of tasks in a complete trial.

    Attributes:
        after_loss: what becomes of a trial that has lost its worker.
    """

    after_loss = "continues from its last task"

    def __init__(self, run: RunContext, tasks: int) -> None:
        self.run, self.study, self.ledger = run, run.study, run.study.ledger
        self.tasks = tasks
        self.running: dict[str, Entry] = {}  # by folder

    @property
    @abstractmethod
    def urgency(self) -> tuple[int, int]:
        """The place of the next trial in the order of all trials; the least comes first."""

    @property
    @abstractmethod
    def request(self) -> Request:
        """The CPUs and GPUs of the next trial."""

    @property
    @abstractmethod
    def left(self) -> int:
        """The number of trials that have not started; the seeds of a configuration count once."""

    @property
    def ready(self) -> int:
        """The number of those trials that wait for no other trial."""
        return self.left

    @abstractmethod
    def next(self, room: Room) -> Entry | None:
        """Return the next trial, which starts; None if there is none after all."""

    @abstractmethod
    def settings(self, entry: Entry) -> TrialSettings:
        """Return the settings of a trial."""

    def is_replaceable(self, entry: Entry) -> bool:
        """Whether the work of a trial that is lost can be done in another way. It is then given up
        sooner.
        """
        return False

    def label(self, entry: Entry) -> str:
        """Return the name of a trial in messages."""
        return entry.folder

    def take(self, room: Room) -> Entry | None:
        """Start the next trial, and return it; None if there is none after all."""
        entry = self.next(room)
        if entry is not None:
            self.begin(entry)
            self.running[entry.folder] = entry
        return entry

    def begin(self, entry: Entry) -> None:
        """Record that a trial runs, for the first time or again after a loss."""
        self.ledger.begin(entry)

    def after_task(self, entry: Entry, task: int, score: float) -> None:
        """Take note of a finished task and its score."""

    def should_stop(self, entry: Entry) -> bool:
        """Return whether to stop a trial after a task that has been taken note of."""
        return False

    def before_write(self, entry: Entry, outcome: bytes) -> Entry:
        """Return the entry of an ended trial as it will be written to the ledger.

        Args:
            outcome: of the trial; empty for a failed one.
        """
        return entry

    def after_write(self, entry: Entry) -> None:
        """Take note of a trial that has been written to the ledger."""

    def end(self, entry: Entry, result: Mapping[str, Any]) -> None:
        """Write a trial that has ended to the ledger; ``result``: its last report."""
        entry = dataclasses.replace(entry, **result_fields(result, entry, self.tasks))
        outcome = b"" if entry.state == "failed" else result["outcome"]
        foundation = result.get("foundation", b"") if entry.state == "complete" else b""
        self._write(entry, outcome, foundation)

    def give_up(self, entry: Entry, reason: str) -> None:
        """Write a trial that has lost its workers to the ledger, as a failed one."""
        self._write(dataclasses.replace(entry, **failure_fields("", reason, entry)))

    def _write(self, entry: Entry, outcome: bytes = b"", foundation: bytes = b"") -> None:
        written = self.ledger.finish(self.before_write(entry, outcome), outcome, foundation)
        del self.running[entry.folder]
        if written.state == "failed":
            self.tell_failure(written)
        self.after_write(written)

    def tell_failure(self, entry: Entry) -> None:
        """Tell the user of a failed trial."""
        file = self.ledger.folder / entry.folder / "traceback.txt"
        traceback_ = f". Traceback: {file}" if entry.failure else ""
        self.run.console.say(f"{entry.folder} failed: {entry.reason}{traceback_}")


def result_fields(result: Mapping[str, Any], entry: Entry, tasks: int) -> dict[str, Any]:
    """Return the fields of an entry that follow from a trial's last report."""
    from study import software
    from trainables.engine.outcome import Outcome

    if "failure" in result:
        return failure_fields(result["failure"], result["reason"], entry)
    try:
        outcome = Outcome.from_bytes(result["outcome"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        return failure_fields(
            traceback.format_exc(), f"unreadable outcome ({reason(error)})", entry
        )
    state = "complete" if result["task"] >= tasks else "pruned"
    if not outcome.finite.all() or not all(math.isfinite(value) for value in result["scores"]):
        state = "diverged"
    return {
        "state": state,
        "values": list(result["scores"]),
        "seconds": float(outcome.seconds.sum()),
        "samples": int(outcome.samples.sum()) * len(entry.seeds),
        "resumed": int(result["resumed"]),
        "software": {**software(entry.work["learner"]), "torch": result["torch"]},
        "device": result["device"],
        "host": result["host"],
        "processor": result["processor"],
    }


def failure_fields(failure: str, reason: str, entry: Entry) -> dict[str, Any]:
    """Return the fields of the entry of a failed trial."""
    from study import software

    versions = software(entry.work["learner"])
    del versions["torch"]  # the worker's build of torch is known from its last report only
    return {"state": "failed", "failure": failure, "reason": reason, "software": versions}


def split_evenly(seeds: Sequence[int], parts: int) -> list[tuple[int, ...]]:
    """Split seeds into parts whose sizes differ by at most one.

    >>> split_evenly([0, 1, 2, 3, 4], parts=2)
    [(0, 1, 2), (3, 4)]
    """
    size, longer = divmod(len(seeds), parts)
    bounds = [i * size + min(i, longer) for i in range(parts + 1)]
    return [tuple(seeds[start:end]) for start, end in itertools.pairwise(bounds)]
