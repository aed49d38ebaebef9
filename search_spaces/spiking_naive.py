"""Search space of a pre-trained spiking network that learns new tasks. Pre-training is not
searched: it is the same for all.
"""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate and the passes over a new task's data; and, where classes are new,
    the weights their outputs begin with.
    """
    values = {
        "lr": trial.suggest_float("lr", 5e-5, 1e-2, log=True),
        "epochs": trial.suggest_int("epochs", 5, 100, log=True),
    }
    if stream.scenario == "domain":
        return values
    return values | {
        "new_class_mean": trial.suggest_float("new_class_mean", 1e-4, 3e-2, log=True),
        "new_class_std": trial.suggest_float("new_class_std", 1e-4, 3e-2, log=True),
    }
