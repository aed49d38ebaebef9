"""Search space of elastic weight consolidation."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest, training
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate and the strength of the penalty, 1 to 1e10 as published strengths
    differ that much.
    """
    return training(trial) | {"lam": trial.suggest_float("lam", 1.0, 1e10, log=True)}
