"""Signals that end a run: it stops in order, and the same command continues it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

# signals with which a terminal or a scheduler ends a run; SIGUSR1 is Slurm's `--signal=USR1`
ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class Interrupted(KeyboardInterrupt):
    """A run was ended before its work was done.

    Args:
        by: the signal that ended the run; None if Ray Tune ended early without an error.
    """

    def __init__(self, by: signal.Signals | None = None) -> None:
        super().__init__()
        self.by = by

    @property
    def status(self) -> int:
        """Exit status of the program: 128 plus the signal, as in a shell."""
        return 128 + self.by if self.by else 1

    def __str__(self) -> str:
        return f" by {self.by.name}" if self.by else ""


# Module state, as signals belong to the process: Ray turns an Interrupted that is raised inside its
# code into a bare KeyboardInterrupt, and the signal would be lost.
_received: list[signal.Signals] = []


def _end(number: int, frame: FrameType | None) -> None:
    for name in ENDING:  # a second signal ends the process at once
        signal.signal(signal.Signals[name], signal.SIG_DFL)
    _received.append(signal.Signals(number))
    raise Interrupted(_received[-1])


def handle_signals() -> None:
    """Let signals end the run in order; call again after Ray or Tune has set its own handlers."""
    for name in ENDING:
        number = signal.Signals[name]
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, _end)


@contextlib.contextmanager
def stopping_in_order() -> Iterator[None]:
    """Let signals end a block in order.

    Raises:
        Interrupted: when a signal arrives.
    """
    before = {signal.Signals[name]: signal.getsignal(signal.Signals[name]) for name in ENDING}
    _received.clear()
    handle_signals()
    try:
        yield
    except KeyboardInterrupt as end:
        if isinstance(end, Interrupted):
            raise
        raise Interrupted(_received[-1] if _received else signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
