"""Search space of synaptic intelligence."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest, training
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate, the strength of the penalty and the damping of importance."""
    return training(trial) | {
        "c": trial.suggest_float("c", 0.1, 1e5, log=True),
        "xi": trial.suggest_float("xi", 0.01, 1.0, log=True),
    }
