"""Search space of gradient episodic memory. The memory is a budget, not a choice."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate, of plain sgd, and the memory strength."""
    return {
        "lr": trial.suggest_float("lr", 3e-3, 0.3, log=True),
        "gamma": trial.suggest_float("gamma", 0.0, 1.0),
    }
