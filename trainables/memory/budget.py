"""How much a learner may keep of past data: in samples, or in bytes, so that methods compare."""

from __future__ import annotations

from collections.abc import Callable

from trainables.errors import InputError
from trainables.learner import Training
from trainables.options import BYTES, SAMPLES, option
from trainables.streams import StreamInfo


class Remembering(Training):
    """Options of every learner with a memory. ``memory_bytes`` goes before ``memory_per_task``,
    which goes before ``memory_total``.
    """

    memory_total: int = option(1000, "samples held over the whole stream", low=1, high=SAMPLES)
    memory_per_task: int | None = option(
        None,
        "samples held per task; when given, it takes the place of memory_total",
        low=1,
        high=SAMPLES,
    )
    memory_bytes: int | None = option(
        None,
        "bytes of past data held over the whole stream, labels and all else that is kept of it "
        "included; when given, it takes the place of the numbers of samples",
        low=1,
        high=BYTES,
    )


def capacity(config: Remembering, stream: StreamInfo, extra: int = 0, besides: int = 0) -> int:
    """Return how many samples a configuration allows over the whole stream.

    Args:
        extra: bytes kept with a sample besides its input and label.
        besides: bytes of past data kept besides samples; they come off a budget of bytes.
    """
    if config.memory_bytes is not None:
        allowed = max(config.memory_bytes - besides, 0) // (stream.inputs + 1 + extra)
    elif config.memory_per_task is not None:
        allowed = config.memory_per_task * (stream.tasks or 1)
    else:
        allowed = config.memory_total
    if allowed > SAMPLES:
        key = "memory_per_task" if config.memory_bytes is None else "memory_bytes"
        raise InputError(
            f"{key} = {getattr(config, key)} is a memory of {allowed} samples; allowed: {SAMPLES} "
            "at most"
        )
    return allowed


def share(config: Remembering, stream: StreamInfo, extra: int = 0) -> int:
    """Return how many samples a configuration allows of each task."""
    return capacity(config, stream, extra) // (stream.tasks or 1)


def share_so_far(config: Remembering, stream: StreamInfo, besides: int = 0) -> Callable[[int], int]:
    """Return how many samples are held of each task, by the number of finished tasks: as many as
    ``memory_per_task`` says, or an equal share of a memory that is full at all times.
    """
    each = config.memory_per_task
    if config.memory_bytes is None and each is not None:
        return lambda tasks: each
    allowed = capacity(config, stream, besides=besides)
    return lambda tasks: allowed // tasks


def check_budget(
    config: Remembering,
    stream: StreamInfo,
    extra: int = 0,
    shared: bool = False,
    besides: int = 0,
) -> None:
    """Refuse a memory that needs what a task-free stream hides, or that is too small.

    Args:
        shared: whether the memory is shared out among the tasks.
        besides: as for :func:`capacity`, as is ``extra``.
    """
    if stream.tasks is None and (shared or config.memory_per_task is not None):
        unshared = " and a memory that is not shared out among tasks" if shared else ""
        raise InputError(
            "a task-free stream tells neither boundaries nor the number of tasks: "
            f"give memory_total or memory_bytes{unshared}"
        )
    least, each = (stream.tasks or 1) if shared else 1, stream.inputs + 1 + extra
    if capacity(config, stream, extra, besides) < least:
        key = "memory_total" if config.memory_bytes is None else "memory_bytes"
        needed = "" if config.memory_bytes is None else f"; give {at_least(least, each, besides)}"
        raise InputError(
            f"{key} = {getattr(config, key)} is less than a sample{' a task' if shared else ''}"
            f" ({each} bytes each){needed}"
        )


def at_least(samples: int, each: int, besides: int) -> str:
    """Say how many bytes so many samples need, with what is kept besides."""
    rest = f", {besides} of them for what is kept besides samples" if besides else ""
    return f"{samples * each + besides} at least{rest}"
