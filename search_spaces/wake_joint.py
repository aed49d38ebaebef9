"""Search space of the network of sleep replay, trained awake alone."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate, of sgd."""
    return {"lr": trial.suggest_float("lr", 1e-3, 0.3, log=True)}
