"""Learners and what they learn from: networks for stacks of seeds, memories, streams. Imports
without Ray; torch comes with the first class that is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Container
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from trainables.errors import InputError, unknown
from trainables.registry import Registry

if TYPE_CHECKING:
    from trainables.learner import Learner, Map
    from trainables.streams import Stream

METHODS, SLEEP, SPIKING = (f"trainables.methods{part}" for part in ("", ".sleep", ".spiking"))

LEARNERS: Registry[Learner] = Registry(
    {
        "finetune": f"{METHODS}.finetune:Finetune",
        "joint": f"{METHODS}.joint:Joint",
        "replay": f"{METHODS}.replay:Replay",
        "der": f"{METHODS}.der:DER",
        "ewc": f"{METHODS}.ewc:EWC",
        "si": f"{METHODS}.si:SI",
        "lwf": f"{METHODS}.lwf:LwF",
        "gem": f"{METHODS}.gem:GEM",
        "agem": f"{METHODS}.agem:AGEM",
        "icarl": f"{METHODS}.icarl:ICaRL",
        "gdumb": f"{METHODS}.gdumb:GDumb",
        "fssg": f"{METHODS}.fssg:FSSG",
        "sleep_replay": f"{SLEEP}.sleep_replay:SleepReplay",
        "icarl_sleep": f"{SLEEP}.icarl_sleep:ICaRLSleep",
        "merging": f"{SLEEP}.merging:Merging",
        "wake_joint": f"{SLEEP}.wake_joint:WakeJoint",
        "latent_replay": f"{SPIKING}.latent_replay:LatentReplay",
        "spiking_rehearsal": f"{SPIKING}.spiking_rehearsal:SpikingRehearsal",
        "spiking_naive": f"{SPIKING}.spiking_naive:SpikingNaive",
    }
)

STREAMS_OF = "trainables.streams"
STREAMS: Registry[Stream] = Registry(
    {
        "split_digits": f"{STREAMS_OF}.split:SplitDigits",
        "split_mnist": f"{STREAMS_OF}.split:SplitMNIST",
        "split_fashion_mnist": f"{STREAMS_OF}.split:SplitFashionMNIST",
        "split_cifar10": f"{STREAMS_OF}.split:SplitCIFAR10",
        "permuted_mnist": f"{STREAMS_OF}.transformed:PermutedMNIST",
        "rotated_mnist": f"{STREAMS_OF}.transformed:RotatedMNIST",
        "speaker_incremental_shd": f"{STREAMS_OF}.spiking:SpeakerIncrementalSHD",
        "speaker_incremental_spoken_digits": f"{STREAMS_OF}.spiking:SpeakerIncrementalSpokenDigits",
        "class_incremental_one_shd": f"{STREAMS_OF}.spiking:ClassIncrementalOneSHD",
        "class_incremental_one_spoken_digits": (
            f"{STREAMS_OF}.spiking:ClassIncrementalOneSpokenDigits"
        ),
        "progressive_classes_shd": f"{STREAMS_OF}.spiking:ProgressiveClassesSHD",
        "progressive_classes_spoken_digits": f"{STREAMS_OF}.spiking:ProgressiveClassesSpokenDigits",
    }
)


def __getattr__(name: str) -> Any:
    """Import what the author of a method needs when it is asked for."""
    if name in ("Learner", "Map"):
        return getattr(import_module("trainables.learner"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def learners() -> tuple[dict[str, type[Learner]], list[str]]:
    """Return every learner by name, ours and those of packages; and a sentence on each of the
    latter that cannot be used.
    """
    found, unusable = plugged_learners()
    return dict(LEARNERS) | found, unusable


def plugged_learners() -> tuple[dict[str, type[Learner]], list[str]]:
    """Return the learners that packages register as ``study.learners`` entry points, by name; and
    a sentence on each that cannot be used.
    """
    found: dict[str, type[Learner]] = {}
    unusable: list[str] = []
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
    from trainables.contract import misdeclared
    from trainables.learner import Learner

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
    "plugged_learners",
    "plugins",
    "unusable_plugin",
]
