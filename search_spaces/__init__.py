"""What a sweep searches: one file a method, under its learner's name.

``space(trial, stream)`` suggests values as Optuna's define-by-run does and returns them as a
dictionary of the learner's options. The published defaults are always the first trial of a sweep,
whatever the space.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from search_spaces import ewc, finetune, joint, replay
from search_spaces.common import Suggest
from trainables.streams import StreamInfo

Space = Callable[[Suggest, StreamInfo], dict[str, Any]]

SPACES: dict[str, Space] = {
    "ewc": ewc.space,
    "finetune": finetune.space,
    "joint": joint.space,
    "replay": replay.space,
}


def find_space(learner: str) -> Space:
    """Return the space of a learner: ours, or a ``study.search_spaces`` entry point of its name."""
    if learner in SPACES:
        return SPACES[learner]
    for point in entry_points(group="study.search_spaces", name=learner):
        found: Space = point.load()
        return found
    return lambda trial, stream: {}
