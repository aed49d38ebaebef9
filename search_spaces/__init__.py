"""The search space of each learner, as data.

A search space is a dictionary from option to Optuna distribution, or a function that returns such a
dictionary for a stream. A study file may fix options and replace ranges. The published defaults are
always the first trial of a sweep, whatever the search space.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from search_spaces import growth, leaky, plain, recurrent, rehearsal, sleep
from search_spaces.space import Distribution, Space, one_of
from trainables import STREAMS, find_plugin, find_stream, load_plugin, unusable_plugin
from trainables.errors import InputError

if TYPE_CHECKING:
    from trainables import Learner
    from trainables.streams import StreamInfo

SPACES: dict[str, Space | Callable[[StreamInfo], Space]] = {
    "agem": rehearsal.AGEM,
    "der": rehearsal.DER,
    "ewc": plain.EWC,
    "finetune": plain.FINETUNE,
    "fssg": rehearsal.FSSG,
    "gdumb": rehearsal.GDUMB,
    "gem": rehearsal.GEM,
    "icarl": rehearsal.ICARL,
    "icarl_sleep": sleep.ICARL_SLEEP,
    "joint": plain.JOINT,
    "latent_replay": recurrent.latent_replay,
    "lwf": plain.LWF,
    "merging": sleep.MERGING,
    "replay": rehearsal.REPLAY,
    "si": plain.SI,
    "sleep_replay": sleep.SLEEP_REPLAY,
    "spiking_finetune": leaky.TRAINING,
    "spiking_joint": leaky.TRAINING,
    "spiking_naive": recurrent.naive,
    "spiking_rehearsal": recurrent.rehearsal,
    "spiking_replay": leaky.replay,
    "synaptic": growth.SYNAPTIC,
    "wake_joint": sleep.WAKE_JOINT,
}

# Values that switch other options off: if a study file fixes `sleep_steps` at 0, no option of the
# sleep is searched.
SWITCHES: dict[tuple[str, Any], set[str]] = {
    ("sleep_steps", 0): {*sleep.SLEEP},
    ("max_growths", 0): {*growth.GROWTH},
    ("held_out", 0): {"max_growths", *growth.GROWTH},
    ("thaw", 0): {*growth.DISTILLATION},
    ("mode", "isolated"): {"thaw", *growth.DISTILLATION},
    ("units", "relu"): {*leaky.UNITS},
    ("state", "reset"): {"beta"},
    ("replay_schedule", "interleaved"): {*leaky.EPOCH_START},
    ("replay_schedule", "epoch_start"): {"replay_ratio"},
    ("memory_batches", 0): {"replay_ratio", "replay_schedule", *leaky.EPOCH_START},
}

WHAT_TO_GIVE = (
    "Give a dictionary from option to Optuna distribution, such as "
    "{'lr': FloatDistribution(1e-4, 1e-2, log=True)}, or a function of the stream that returns one"
)


def find_space(learner: str) -> Space | Callable[[StreamInfo], Space]:
    """Return the search space of a learner, or the function that returns it for a stream.

    Search spaces of plug-ins are found by the entry point ``study.search_spaces`` of the learner's
    name. A learner without a search space has an empty one.

    Raises:
        InputError: for a plug-in that cannot be used.
    """
    point = find_plugin("study.search_spaces", learner, SPACES)
    if point is None:
        return SPACES.get(learner, {})
    found = load_plugin(point)
    if not callable(found):
        return _checked(point, found)
    if not _takes_one_argument(found):
        problem = f"{found!r} takes other arguments than the stream. {WHAT_TO_GIVE}"
        raise unusable_plugin(point, problem)
    return lambda stream: _checked(point, found(stream))


def space_on(learner: str, stream: StreamInfo) -> Space:
    """Return the search space of a learner on a stream.

    >>> from trainables import find_stream
    >>> digits = find_stream("split_digits")
    >>> space_on("gem", digits.describe("class", digits.Options.parse({})))["gamma"]
    FloatDistribution(high=1.0, log=False, low=0.0, step=None)
    """
    space = find_space(learner)
    return space(stream) if callable(space) else space


def method_space(space: Space, ranges: Space, fixed: Mapping[str, Any]) -> Space:
    """Return the search space of a method, from that of its learner.

    Args:
        ranges: ranges of the study file, which replace those of the learner or come last.
        fixed: values of the study file. Fixed options are not searched, nor are options that have
            no effect with these values.

    >>> from search_spaces.plain import FINETUNE
    >>> from search_spaces.space import one_of
    >>> method_space(FINETUNE, {"epochs": one_of([1, 4])}, {"lr": 0.1})
    {'epochs': CategoricalDistribution(choices=(1, 4))}
    """
    switched = [names for (name, value), names in SWITCHES.items() if fixed.get(name) == value]
    off = set().union(*switched)
    merged = {name: space[name] for name in space if name not in off} | ranges
    return {name: merged[name] for name in merged if name not in fixed}


def whole_space(learner: type[Learner]) -> Space:
    """Return the union of a learner's search spaces over all shipped streams that it can learn."""
    space = find_space(learner.name)
    if not callable(space):
        return space
    # a file of one's own has no facts before it is named
    streams = [find_stream(name) for name in STREAMS if name != "split_file"]
    described = [
        stream.describe(scenario, stream.Options.parse({}))
        for stream in streams
        for scenario in learner.scenarios
        if scenario in stream.scenarios
    ]
    union: Space = {}
    for stream in described:
        if _can_learn(learner, stream):
            union |= space(stream)
    return union


def _can_learn(learner: type[Learner], stream: StreamInfo) -> bool:
    try:
        learner.check(learner.Config.parse(learner.published(stream)), stream)
    except InputError:
        return False
    return True


def _takes_one_argument(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind("stream")
    except TypeError:
        return False
    return True


def _checked(point: EntryPoint, found: Any) -> Space:
    """Return the search space of a plug-in.

    Raises:
        InputError: if the object is not a search space, with the objects that are.
    """
    if not isinstance(found, Mapping):
        raise unusable_plugin(point, f"{found!r} is not a search space. {WHAT_TO_GIVE}")
    for name, distribution in found.items():
        if not isinstance(distribution, Distribution):
            problem = f"{name} = {distribution!r} is not a distribution. {WHAT_TO_GIVE}"
            raise unusable_plugin(point, problem)
        choices = getattr(distribution, "choices", ())
        if any(isinstance(choice, list | tuple) for choice in choices):
            raise unusable_plugin(point, f"{name} has lists as choices. Use search_spaces.one_of")
    return dict(found)


__all__ = [
    "SPACES",
    "SWITCHES",
    "Space",
    "find_space",
    "method_space",
    "one_of",
    "space_on",
    "whole_space",
]
