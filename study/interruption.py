"""Signals that end a run: it stops in order, and the same command goes on."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

# a terminal or a scheduler asks for an end by these; SIGUSR1 is Slurm's `--signal=USR1`
ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class Interrupted(KeyboardInterrupt):
    """A run was asked to end before its work was done.

    Args:
        by: the signal that asked; none where Ray Tune ended early without a word.
    """

    def __init__(self, by: signal.Signals | None = None) -> None:
        super().__init__()
        self.by = by

    @property
    def status(self) -> int:
        """Exit status of the program, as a shell has it for a signal."""
        return 128 + self.by if self.by else 1

    def __str__(self) -> str:
        return f" by {self.by.name}" if self.by else ""


# signals are the process's: Ray, in whose code one may arrive, makes a bare KeyboardInterrupt of it
_asked: list[signal.Signals] = []


def _end(number: int, frame: FrameType | None) -> None:
    for name in ENDING:  # a second signal is obeyed at once
        signal.signal(signal.Signals[name], signal.SIG_DFL)
    _asked.append(signal.Signals(number))
    raise Interrupted(_asked[-1])


def heed() -> None:
    """Let signals end the run in order; Ray and Tune put their own handlers in place of these."""
    for name in ENDING:
        number = signal.Signals[name]
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _end)


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Heed signals for the duration of a block.

    Raises:
        Interrupted: when one of them arrives.
    """
    before = {signal.Signals[name]: signal.getsignal(signal.Signals[name]) for name in ENDING}
    _asked.clear()
    heed()
    try:
        yield
    except KeyboardInterrupt as end:
        if isinstance(end, Interrupted):
            raise
        raise Interrupted(_asked[-1] if _asked else signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
