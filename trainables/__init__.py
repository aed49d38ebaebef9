"""Learners and what they learn from: networks for stacks of seeds, memories, streams. Imports
without Ray.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from trainables.errors import InputError, unknown
from trainables.ewc import EWC
from trainables.finetune import Finetune
from trainables.joint import Joint
from trainables.learner import Learner
from trainables.replay import Replay
from trainables.streams import STREAMS, Stream

LEARNERS: dict[str, type[Learner]] = {kind.name: kind for kind in (Finetune, Joint, Replay, EWC)}


@functools.cache
def learners() -> dict[str, type[Learner]]:
    """Return every learner by name: ours, and those that packages register as ``study.learners``
    entry points.
    """
    return LEARNERS | {point.name: point.load() for point in entry_points(group="study.learners")}


def find_learner(name: str) -> type[Learner]:
    """Return a learner by name, or raise :class:`InputError` with the nearest one."""
    known = learners()
    if name not in known:
        raise unknown("method", name, known)
    return known[name]


def find_stream(name: str) -> type[Stream]:
    """Return a stream by name, or raise :class:`InputError` with the nearest one."""
    if name not in STREAMS:
        raise unknown("stream", name, STREAMS)
    return STREAMS[name]


__all__ = [
    "LEARNERS",
    "STREAMS",
    "InputError",
    "Learner",
    "find_learner",
    "find_stream",
    "learners",
]
