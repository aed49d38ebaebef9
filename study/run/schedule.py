"""The schedule of a study: what a free slot does next, over all methods and phases. Without Ray.

A free slot takes, in this order: an interrupted trial; a pilot; a pre-training, for which others
wait; the confirmation of a sweep that has ended; the next trial of the sweep that is least far
along; a recheck. So no slot idles while any method has work for it, a sweep is spread over time,
its sampler learns from more trials, and a method is confirmed while others are still tuned.

A trial that needs more than what is free now lets smaller ones pass: no slot is kept empty for it.
It may thus wait while smaller trials are left, and runs at the latest after them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from study.ledger import Entry
from study.run.source import Room, Source
from study.spec import Request

UNIT = 10_000  # Ray counts resources in units of 1 / 10,000


class Node(NamedTuple):
    """The CPUs and GPUs of a machine."""

    cpus: float
    gpus: float = 0

    def holds(self, request: Request) -> int:
        """Return the number of equal trials that the machine runs at once.

        >>> Node(cpus=8, gpus=2).holds(Request(cpus=1, gpus=0.35))
        4
        """
        counts = [_whole(self.cpus) // _whole(request.cpus)] if request.cpus else []
        if 0 < request.gpus < 1:  # a trial with a share of a GPU does not use two of them
            counts.append(int(self.gpus) * (UNIT // _whole(request.gpus)))
        elif request.gpus:
            counts.append(int(self.gpus // request.gpus))
        return min(counts)

    def without(self, request: Request, count: int) -> Node:
        """Return what is left beside some equal trials."""
        shared = 0 < request.gpus < 1
        gpus = -(-count // (UNIT // _whole(request.gpus))) if shared else count * request.gpus
        return Node(self.cpus - count * request.cpus, self.gpus - gpus)


def _whole(amount: float) -> int:
    return round(amount * UNIT)


def slots(nodes: Sequence[Node], request: Request) -> int:
    """Return the number of equal trials that a cluster runs at once."""
    return sum(node.holds(request) for node in nodes)


def free_slots(nodes: Sequence[Node], running: Sequence[Request], request: Request) -> int:
    """Return the number of further equal trials that a cluster runs beside some trials.

    Larger trials are placed first. Ray may have placed the trials otherwise; a trial then waits for
    the machine that Ray gives it.
    """
    if set(running) <= {request}:
        return max(slots(nodes, request) - len(running), 0)
    left = list(nodes)
    for kind in sorted(set(running), key=lambda r: (r.gpus, r.cpus), reverse=True):
        count = running.count(kind)
        for place, node in enumerate(left):
            here = min(node.holds(kind), count)
            left[place], count = node.without(kind, here), count - here
    return slots(left, request)


class Schedule:
    """Chooses the next trial from the sources of a study."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources

    def next(
        self, count: Callable[[Request], tuple[int, int]]
    ) -> tuple[Source, Entry, Request] | None:
        """Start the most urgent trial that there is room for; None if there is none now.

        Args:
            count: returns the number of slots for trials with a request, all and free ones.
        """
        for source in sorted(self.sources, key=lambda source: source.urgency):
            if not source.ready:
                continue
            request = source.request
            all_slots, free = count(request)
            if not free:
                continue
            ready = sum(each.ready for each in self.sources) - 1
            later = sum(each.left for each in self.sources) - 1
            entry = source.take(Room(all_slots, free, ready, later))
            if entry is not None:
                return source, entry, request
        return None
