"""Memory budgets in samples or in bytes; equal budgets in bytes make methods comparable."""

from __future__ import annotations

from collections.abc import Callable

from trainables.errors import InputError
from trainables.learner import Training
from trainables.options import BYTES, SAMPLES, option
from trainables.streams import StreamInfo


class Remembering(Training):
    """Options of every learner with a memory. ``memory_bytes`` overrides ``memory_per_task``, which
    overrides ``memory_total``.
    """

    memory_total: int = option(
        1000, "memory capacity in samples, for the whole stream", low=1, high=SAMPLES
    )
    memory_per_task: int | None = option(
        None,
        "memory capacity in samples per task; overrides memory_total",
        low=1,
        high=SAMPLES,
    )
    memory_bytes: int | None = option(
        None,
        "memory capacity in bytes, for the whole stream; counts all stored past data, labels "
        "included; overrides memory_total and memory_per_task",
        low=1,
        high=BYTES,
    )


def capacity(
    config: Remembering, stream: StreamInfo, extra_bytes: int = 0, reserved_bytes: int = 0
) -> int:
    """Return the memory capacity for the whole stream, in samples.

    Args:
        extra_bytes: bytes stored per sample besides its input and label.
        reserved_bytes: bytes of past data stored besides samples, deducted from a budget in bytes.
    """
    if config.memory_bytes is not None:
        available = max(config.memory_bytes - reserved_bytes, 0)
        allowed = available // (stream.held_bytes + extra_bytes)
    elif config.memory_per_task is not None:
        allowed = config.memory_per_task * (stream.tasks or 1)
    else:
        allowed = config.memory_total
    if allowed > SAMPLES:
        key = "memory_per_task" if config.memory_bytes is None else "memory_bytes"
        raise InputError(
            f"{key} = {getattr(config, key)} is a memory of {allowed} samples; allowed: at most "
            f"{SAMPLES}"
        )
    return allowed


def capacity_per_task(config: Remembering, stream: StreamInfo) -> int:
    """Return the memory capacity per task, in samples."""
    return capacity(config, stream) // (stream.tasks or 1)


def equal_shares(
    config: Remembering, stream: StreamInfo, reserved_bytes: int = 0
) -> Callable[[int], int]:
    """Return the function from the number of finished tasks to the number of samples held of each:
    ``memory_per_task``, or an equal share of a memory that is always full.
    """
    per_task = config.memory_per_task
    if config.memory_bytes is None and per_task is not None:
        return lambda tasks: per_task
    allowed = capacity(config, stream, reserved_bytes=reserved_bytes)
    return lambda tasks: allowed // tasks


def check_budget(
    config: Remembering,
    stream: StreamInfo,
    extra_bytes: int = 0,
    shared: bool = False,
    reserved_bytes: int = 0,
) -> None:
    """Raise for a memory that is too small, or that needs facts hidden by a task-free stream.

    Args:
        extra_bytes, reserved_bytes: as for :func:`capacity`.
        shared: whether the memory is divided among the tasks.
    """
    if stream.tasks is None and (shared or config.memory_per_task is not None):
        undivided = " and a memory that is not divided among tasks" if shared else ""
        raise InputError(
            "a task-free stream hides the task boundaries and the number of tasks: "
            f"give memory_total or memory_bytes{undivided}"
        )
    least, sample_bytes = (stream.tasks or 1) if shared else 1, stream.held_bytes + extra_bytes
    if capacity(config, stream, extra_bytes, reserved_bytes) < least:
        key, remedy = "memory_total", ""
        if config.memory_bytes is not None:
            key = "memory_bytes"
            remedy = f"; give {bytes_needed(least, sample_bytes, reserved_bytes)}"
        raise InputError(
            f"{key} = {getattr(config, key)} is less than one sample{' per task' if shared else ''}"
            f" ({sample_bytes} bytes each){remedy}"
        )


def bytes_needed(samples: int, sample_bytes: int, reserved_bytes: int) -> str:
    """Return, as text, the budget that a number of samples needs, such as "at least 7850"."""
    reserved = f", {reserved_bytes} of them for data besides samples" if reserved_bytes else ""
    return f"at least {samples * sample_bytes + reserved_bytes}{reserved}"
