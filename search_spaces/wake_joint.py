"""Search space of the network of sleep replay, as it is trained awake."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo

WIDTHS = [[width, width] for width in (400, 1200, 4000)]  # 1200: the authors', 4000: the port's


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate, of sgd, and the width, both of which decide how much is left for a
    sleep to recover.
    """
    return {
        "lr": trial.suggest_float("lr", 1e-4, 0.3, log=True),
        "hidden": trial.suggest_categorical("hidden", WIDTHS),
    }
