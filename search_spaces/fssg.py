"""Search space of FSSG-Net."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo

SUMMARIES = [[128, width, 128, width] for width in (16, 32, 64, 128)]
SLOW = [[64, 64], [128, 64], [256, 128], [512, 256], [1024, 512]]


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest both learning rates, how much is replayed and consolidated, how much of both losses
    is distillation, and widths: the summary's and those of the slow network.

    The memory is a budget, not a choice, and so are the passes over the data.
    """
    return {
        "lr": trial.suggest_float("lr", 1e-4, 5e-3, log=True),
        "lr_slow": trial.suggest_float("lr_slow", 5e-5, 2e-3, log=True),
        "replay_probability": trial.suggest_float("replay_probability", 0.1, 1.0),
        "replay_ratio": trial.suggest_float("replay_ratio", 0.25, 2.0, log=True),
        "interval": trial.suggest_int("interval", 1, 50, log=True),
        "consolidation_epochs": trial.suggest_int("consolidation_epochs", 0, 20),
        "lam_task": trial.suggest_float("lam_task", 0.0, 1.0),
        "lam_consolidation": trial.suggest_float("lam_consolidation", 0.0, 1.0),
        "tau": trial.suggest_float("tau", 1.0, 6.0, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "grad_clip": trial.suggest_float("grad_clip", 0.1, 10.0, log=True),
        "hidden": trial.suggest_categorical("hidden", SUMMARIES),
        "slow_hidden": trial.suggest_categorical("slow_hidden", SLOW),
    }
