"""Learners and what they learn from: networks for stacks of seeds, memories, streams. Imports
without Ray.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from trainables.contract import misdeclared
from trainables.errors import InputError, unknown
from trainables.learner import Learner, Map
from trainables.methods.agem import AGEM
from trainables.methods.der import DER
from trainables.methods.ewc import EWC
from trainables.methods.finetune import Finetune
from trainables.methods.fssg import FSSG
from trainables.methods.gdumb import GDumb
from trainables.methods.gem import GEM
from trainables.methods.icarl import ICaRL
from trainables.methods.joint import Joint
from trainables.methods.lwf import LwF
from trainables.methods.replay import Replay
from trainables.methods.si import SI
from trainables.methods.sleep.icarl_sleep import ICaRLSleep
from trainables.methods.sleep.merging import Merging
from trainables.methods.sleep.sleep_replay import SleepReplay
from trainables.methods.sleep.wake_joint import WakeJoint
from trainables.methods.spiking.latent_replay import LatentReplay
from trainables.methods.spiking.spiking_naive import SpikingNaive
from trainables.methods.spiking.spiking_rehearsal import SpikingRehearsal
from trainables.streams import STREAMS, Stream

LEARNERS: dict[str, type[Learner]] = {
    kind.name: kind
    for kind in (
        *(Finetune, Joint, Replay, DER, EWC, SI, LwF, GEM, AGEM, ICaRL, GDumb, FSSG),
        *(SleepReplay, ICaRLSleep, Merging, WakeJoint),
        *(LatentReplay, SpikingRehearsal, SpikingNaive),
    )
}


def learners() -> tuple[dict[str, type[Learner]], list[str]]:
    """Return every learner by name: ours, and those that packages register as ``study.learners``
    entry points; and a sentence on each of the latter that cannot be used.
    """
    found, unusable = dict(LEARNERS), []
    for name in plugins("study.learners"):
        try:
            found[name] = find_learner(name)
        except InputError as error:
            unusable.append(str(error))
    return found, unusable


def find_learner(name: str) -> type[Learner]:
    """Return a learner by name, ours or a package's.

    Raises:
        InputError: with the nearest name for one that does not exist; with the cause for a plug-in
            that cannot be used. A plug-in that nobody asks for is not imported.
    """
    point = find_plugin("study.learners", name, LEARNERS)
    if point is not None:
        return _plugged_learner(point)
    if name not in LEARNERS:
        raise unknown("method", name, {*LEARNERS, *plugins("study.learners")})
    return LEARNERS[name]


def _plugged_learner(point: EntryPoint) -> type[Learner]:
    kind = load_plugin(point)
    if not (isinstance(kind, type) and issubclass(kind, Learner)):
        raise unusable_plugin(point, f"{kind!r} is not a subclass of trainables.Learner")
    for attribute in ("name", "reference"):
        if not isinstance(getattr(kind, attribute, None), str):
            raise unusable_plugin(point, f"{kind.__name__}.{attribute} is not set to a text")
    if kind.name != point.name:
        raise unusable_plugin(
            point, f"{kind.__name__}.name = '{kind.name}' differs from the entry point's name"
        )
    if wrong := misdeclared(kind):
        raise unusable_plugin(point, wrong.rstrip("."))
    return kind


def find_stream(name: str) -> type[Stream]:
    """Return a stream by name, or raise :class:`InputError` with the nearest one."""
    if name not in STREAMS:
        raise unknown("stream", name, STREAMS)
    return STREAMS[name]


@functools.cache
def plugins(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name, without importing what they name."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def find_plugin(group: str, name: str, ours: Container[str]) -> EntryPoint | None:
    """Return the one entry point of a name; a name can be taken once, and not one of ours."""
    points = plugins(group).get(name, ())
    if points and name in ours:
        raise unusable_plugin(points[0], f"the name '{name}' is taken by one of ours")
    if len(points) > 1:
        raise unusable_plugin(points[1], f"the name is taken by {_described(points[0])}")
    return points[0] if points else None


def load_plugin(point: EntryPoint) -> Any:
    """Import what an entry point names; what it prints meanwhile is no result."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return point.load()
    except (Exception, SystemExit) as error:  # code of others: anything may be raised
        raise unusable_plugin(point, " ".join(f"{type(error).__name__}: {error}".split())) from None


def unusable_plugin(point: EntryPoint, why: str) -> InputError:
    """Return the error for a plug-in that cannot be used: which, whose, why, and what to do."""
    return InputError(f"{_described(point)} cannot be used: {why}. Mend or uninstall that package.")


def _described(point: EntryPoint) -> str:
    known = point.dist and point.dist.name  # a package without metadata has no name
    owner = f"{known} {point.dist.version}" if point.dist and known else "an unknown package"
    return f"the plug-in '{point.name} = {point.value}' ({point.group}) of {owner}"


__all__ = [
    "LEARNERS",
    "STREAMS",
    "InputError",
    "Learner",
    "Map",
    "find_learner",
    "find_plugin",
    "find_stream",
    "learners",
    "load_plugin",
    "plugins",
    "unusable_plugin",
]
