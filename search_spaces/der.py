"""Search space of DER and DER++. The memory is a budget, not a choice."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate and the weights of stored logits and stored labels. Plain DER fixes
    ``beta`` at 0.
    """
    return {
        "lr": trial.suggest_float("lr", 1e-4, 0.3, log=True),
        "alpha": trial.suggest_float("alpha", 0.05, 2.0, log=True),
        "beta": trial.suggest_float("beta", 0.1, 2.0, log=True),
    }
