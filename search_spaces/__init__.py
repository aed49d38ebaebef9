"""What a sweep searches: one file a method, under its learner's name.

``space(trial, stream)`` suggests values as Optuna's define-by-run does and returns them as a
dictionary of the learner's options. The published defaults are always the first trial of a sweep,
whatever the space.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_spaces import (
    agem,
    der,
    ewc,
    finetune,
    fssg,
    gdumb,
    gem,
    icarl,
    icarl_sleep,
    joint,
    latent_replay,
    lwf,
    merging,
    replay,
    si,
    sleep_replay,
    spiking_naive,
    spiking_rehearsal,
    wake_joint,
)
from search_spaces.common import Suggest
from trainables import find_plugin, load_plugin, unusable_plugin
from trainables.streams import StreamInfo

Space = Callable[[Suggest, StreamInfo], dict[str, Any]]

SPACES: dict[str, Space] = {
    "agem": agem.space,
    "der": der.space,
    "ewc": ewc.space,
    "finetune": finetune.space,
    "fssg": fssg.space,
    "gdumb": gdumb.space,
    "gem": gem.space,
    "icarl": icarl.space,
    "icarl_sleep": icarl_sleep.space,
    "joint": joint.space,
    "latent_replay": latent_replay.space,
    "lwf": lwf.space,
    "merging": merging.space,
    "replay": replay.space,
    "si": si.space,
    "sleep_replay": sleep_replay.space,
    "spiking_naive": spiking_naive.space,
    "spiking_rehearsal": spiking_rehearsal.space,
    "wake_joint": wake_joint.space,
}


def find_space(learner: str) -> Space:
    """Return the space of a learner: ours, or a ``study.search_spaces`` entry point of its name.

    Raises:
        InputError: for a plug-in of that name that cannot be used.
    """
    point = find_plugin("study.search_spaces", learner, SPACES)
    if point is None:
        return SPACES.get(learner, lambda trial, stream: {})
    found = load_plugin(point)
    if not callable(found):
        raise unusable_plugin(point, f"{found!r} is not a function")
    return found  # type: ignore[no-any-return]
