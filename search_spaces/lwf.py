"""Search space of learning without forgetting."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest, training
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate, the weight of the distillation and its temperature."""
    return training(trial) | {
        "alpha": trial.suggest_float("alpha", 0.1, 10.0, log=True),
        "tau": trial.suggest_float("tau", 1.0, 4.0, log=True),
    }
