"""Learners, and the networks, replay memories and streams they are built on, for stacks of seeds.

Importing this package loads neither Ray nor torch; torch is loaded with the first class looked up.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Container
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from trainables.errors import InputError, unknown
from trainables.registry import Registry

if TYPE_CHECKING:
    from trainables.learner import Learner, Map
    from trainables.streams import Stream

Kind = TypeVar("Kind")

METHODS = "trainables.methods"
SLEEP, SPIKING = f"{METHODS}.sleep", f"{METHODS}.spiking"

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
        "synaptic": f"{METHODS}.synaptic:Synaptic",
        "sleep_replay": f"{SLEEP}.sleep_replay:SleepReplay",
        "icarl_sleep": f"{SLEEP}.icarl_sleep:ICaRLSleep",
        "merging": f"{SLEEP}.merging:Merging",
        "wake_joint": f"{SLEEP}.wake_joint:WakeJoint",
        "latent_replay": f"{SPIKING}.latent_replay:LatentReplay",
        "spiking_rehearsal": f"{SPIKING}.spiking_rehearsal:SpikingRehearsal",
        "spiking_naive": f"{SPIKING}.spiking_naive:SpikingNaive",
        "spiking_finetune": f"{SPIKING}.spiking_finetune:SpikingFinetune",
        "spiking_joint": f"{SPIKING}.spiking_joint:SpikingJoint",
        "spiking_replay": f"{SPIKING}.spiking_replay:SpikingReplay",
    }
)

STREAM_MODULES = "trainables.streams"
STREAMS: Registry[Stream] = Registry(
    {
        "split_digits": f"{STREAM_MODULES}.split:SplitDigits",
        "split_mnist": f"{STREAM_MODULES}.split:SplitMNIST",
        "split_fashion_mnist": f"{STREAM_MODULES}.split:SplitFashionMNIST",
        "split_cifar10": f"{STREAM_MODULES}.split:SplitCIFAR10",
        "split_cifar100": f"{STREAM_MODULES}.split:SplitCIFAR100",
        "split_cifar100_superclasses": f"{STREAM_MODULES}.split:SplitCIFAR100Superclasses",
        "split_tiny_imagenet": f"{STREAM_MODULES}.split:SplitTinyImageNet",
        "split_file": f"{STREAM_MODULES}.split_file:SplitFile",
        "vision_sequence": f"{STREAM_MODULES}.sequence:VisionSequence",
        "permuted_mnist": f"{STREAM_MODULES}.transformed:PermutedMNIST",
        "rotated_mnist": f"{STREAM_MODULES}.transformed:RotatedMNIST",
        "speaker_incremental_shd": f"{STREAM_MODULES}.spiking:SpeakerIncrementalSHD",
        "speaker_incremental_spoken_digits": (
            f"{STREAM_MODULES}.spiking:SpeakerIncrementalSpokenDigits"
        ),
        "class_incremental_one_shd": f"{STREAM_MODULES}.spiking:ClassIncrementalOneSHD",
        "class_incremental_one_spoken_digits": (
            f"{STREAM_MODULES}.spiking:ClassIncrementalOneSpokenDigits"
        ),
        "progressive_classes_shd": f"{STREAM_MODULES}.spiking:ProgressiveClassesSHD",
        "progressive_classes_spoken_digits": (
            f"{STREAM_MODULES}.spiking:ProgressiveClassesSpokenDigits"
        ),
    }
)


def __getattr__(name: str) -> Any:
    """Import ``Learner``, ``Map`` and ``Stream`` on first access: they need torch."""
    if name in ("Learner", "Map"):
        return getattr(import_module("trainables.learner"), name)
    if name == "Stream":
        return getattr(import_module("trainables.streams"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def plugged(group: str, find: Callable[[str], Kind]) -> tuple[dict[str, Kind], list[str]]:
    """Return what the entry points of a group name, by name, and the error message of each plug-in
    that cannot be used.

    Args:
        find: function that finds a plug-in by name, such as :func:`find_learner`.
    """
    found: dict[str, Kind] = {}
    errors: list[str] = []
    for name in plugins(group):
        try:
            found[name] = find(name)
        except InputError as error:
            errors.append(str(error))
    return found, errors


def find_learner(name: str) -> type[Learner]:
    """Return a learner by name, built-in or from a plug-in. Only the plug-in of that name is
    imported.

    >>> find_learner("ewc")
    <class 'trainables.methods.ewc.EWC'>

    Raises:
        InputError: the name is unknown (the message gives the nearest known name), or the plug-in
            cannot be used (the message gives the cause).
    """
    point = find_plugin("study.learners", name, LEARNERS)
    if point is not None:
        from trainables.contract import misdeclared
        from trainables.learner import Learner

        learner: type[Learner] = _plugged_class(point, Learner, "reference", misdeclared)
        return learner
    if name not in LEARNERS:
        raise _not_found("method", name, {*LEARNERS, *plugins("study.learners")})
    return LEARNERS[name]


def find_stream(name: str) -> type[Stream]:
    """Return a stream by name, built-in or from a plug-in, as :func:`find_learner` does."""
    point = find_plugin("study.streams", name, STREAMS)
    if point is not None:
        from trainables.contract import misdeclared_stream
        from trainables.streams import Stream

        stream: type[Stream] = _plugged_class(point, Stream, "dataset", misdeclared_stream)
        return stream
    if name not in STREAMS:
        raise _not_found("stream", name, {*STREAMS, *plugins("study.streams")})
    return STREAMS[name]


def _not_found(kind: str, name: str, allowed: set[str]) -> InputError:
    return InputError(
        f"{unknown(kind, name, allowed)} A {kind} of your own has to be installed in this "
        "environment: `python -m study doctor` lists what is."
    )


def _plugged_class(
    point: EntryPoint, base: Any, source: str, misdeclared: Callable[[Any], str]
) -> Any:
    """Return the class of an entry point.

    Args:
        base: class that it is a subclass of.
        source: attribute that says in words where the class comes from.
        misdeclared: returns the fault in the attributes of a class.
    """
    kind = load_plugin(point)
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise unusable_plugin(point, f"{kind!r} is not a subclass of trainables.{base.__name__}")
    for attribute in ("name", source):
        if not isinstance(getattr(kind, attribute, None), str):
            raise unusable_plugin(point, f"{kind.__name__}.{attribute} is not a string")
    name = getattr(kind, "name", "")
    if name != point.name:
        raise unusable_plugin(
            point, f"{kind.__name__}.name = '{name}' differs from the entry point's name"
        )
    if wrong := misdeclared(kind):
        raise unusable_plugin(point, wrong.rstrip("."))
    return kind


@functools.cache
def plugins(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name, without importing their modules."""
    points: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        points[point.name] = (*points.get(point.name, ()), point)
    return points


def find_plugin(group: str, name: str, built_in: Container[str]) -> EntryPoint | None:
    """Return the entry point of a name, or None.

    Raises:
        InputError: the name is built in, or several packages register it.
    """
    points = plugins(group).get(name, ())
    if points and name in built_in:
        raise unusable_plugin(points[0], f"the name '{name}' is built in")
    if len(points) > 1:
        raise unusable_plugin(points[1], f"the name is also registered by {_described(points[0])}")
    return points[0] if points else None


def load_plugin(point: EntryPoint) -> Any:
    """Import the object of an entry point. Output printed during the import goes to stderr, apart
    from the results of a command.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return point.load()
    except (Exception, SystemExit) as error:  # third-party code may raise anything
        raise unusable_plugin(point, " ".join(f"{type(error).__name__}: {error}".split())) from None


def unusable_plugin(point: EntryPoint, cause: str) -> InputError:
    """Return the error for a plug-in that cannot be used: its entry point, its package, the cause,
    and the remedy.
    """
    return InputError(f"{_described(point)} cannot be used: {cause}. Fix or uninstall the package.")


def _described(point: EntryPoint) -> str:
    package = point.dist and point.dist.name  # empty for a package without metadata
    owner = f"{package} {point.dist.version}" if point.dist and package else "an unknown package"
    return f"the plug-in '{point.name} = {point.value}' ({point.group}) of {owner}"


__all__ = [
    "LEARNERS",
    "STREAMS",
    "InputError",
    "Learner",
    "Map",
    "Stream",
    "find_learner",
    "find_plugin",
    "find_stream",
    "load_plugin",
    "plugged",
    "plugins",
    "unusable_plugin",
]
