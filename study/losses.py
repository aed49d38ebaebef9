"""Losses of a trial's workers: when a trial is given up, and when it is tried once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

MOST_LOSSES = 3  # losses without a finished task in between, after which a trial is given up
BY_CHANCE = ("node", "worker")  # kinds of losses after which another try may succeed


class WorkerLoss(TypedDict):
    """One loss of a trial's worker."""

    kind: str
    """``memory``, ``node``, ``disk``, ``silence`` (no task ended in time), ``worker``"""
    reason: str
    """a single line"""
    tasks: int
    """number of tasks learnt before the loss"""


def losses_in_a_row(losses: Sequence[WorkerLoss]) -> int:
    """Return the number of losses of a trial since its last finished task."""
    return sum(loss["tasks"] == losses[-1]["tasks"] for loss in losses) if losses else 0


def is_given_up(losses: Sequence[WorkerLoss], replaceable: bool) -> bool:
    """Whether a lost trial is given up instead of continued.

    Args:
        replaceable: whether the work can be done in another way instead, such as each seed in a
            trial of its own. This happens after two losses in a row, and after one for lack of
            memory or over the time limit of a task.
    """
    last, row = losses[-1], losses_in_a_row(losses)
    if last["kind"] == "silence":
        return True
    if replaceable:
        return row >= (1 if last["kind"] == "memory" else 2)
    return row >= MOST_LOSSES


def final_reason(losses: Sequence[WorkerLoss]) -> str:
    """Return why a trial was given up, in one line."""
    row = losses_in_a_row(losses)
    count = f"lost {row} times without finishing a task: " if row > 1 else "lost: "
    return count + losses[-1]["reason"]


def memory_ran_out(losses: Iterable[WorkerLoss]) -> bool:
    """Whether a trial was lost for lack of memory; its seeds are then trained one at a time."""
    return any(loss["kind"] == "memory" for loss in losses)


def deserves_another_try(losses: Sequence[WorkerLoss]) -> bool:
    """Whether a trial of a sweep that was given up is tried once more: its last worker was lost by
    chance, and the trial has been given up once.
    """
    given_up = [is_given_up(losses[: n + 1], replaceable=False) for n in range(len(losses))]
    return sum(given_up) == 1 and losses[-1]["kind"] in BY_CHANCE
