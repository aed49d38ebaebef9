"""Search space of FSSG-Net."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest both learning rates, how often there is replay and consolidation, and how much of
    both losses is distillation.
    """
    return {
        "lr": trial.suggest_float("lr", 1e-4, 5e-3, log=True),
        "lr_slow": trial.suggest_float("lr_slow", 5e-5, 2e-3, log=True),
        "replay_probability": trial.suggest_float("replay_probability", 0.1, 1.0),
        "interval": trial.suggest_int("interval", 1, 50, log=True),
        "consolidation_epochs": trial.suggest_int("consolidation_epochs", 0, 20),
        "lam_task": trial.suggest_float("lam_task", 0.0, 1.0),
        "lam_consolidation": trial.suggest_float("lam_consolidation", 0.0, 1.0),
        "tau": trial.suggest_float("tau", 1.0, 6.0, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }
