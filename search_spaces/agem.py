"""Search space of averaged gradient episodic memory. The memory is a budget, not a choice."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest, training
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate and the remembered samples that a step is held against."""
    return training(trial) | {"ref_batch": trial.suggest_int("ref_batch", 10, 256, log=True)}
