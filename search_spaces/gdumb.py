"""Search space of GDumb. The memory is a budget, not a choice."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate and the passes over the memory of a fit; fits take the time."""
    return {
        "lr": trial.suggest_float("lr", 0.01, 0.1, log=True),
        "passes": trial.suggest_int("passes", 30, 256, log=True),
    }
