"""Search space of sleep replay. The memory is a budget, not a choice."""

from __future__ import annotations

from typing import Any

from search_spaces import wake_joint
from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest how long and how strongly to sleep, and how the network is trained awake."""
    return wake_joint.space(trial, stream) | asleep(trial)


def asleep(trial: Suggest) -> dict[str, Any]:
    """Suggest what concerns the sleep alone; nothing where ``sleep_steps`` is fixed at 0.

    Of a layer's factor alpha and its threshold beta only the ratio matters: alpha stays. Below a
    beta of 3 half of the units fire at every step; the authors' vectors, put to the default alpha,
    reach from 8 to 960. A pixel mask is assumed: fix ``mask_keep`` with another one.
    """
    steps = trial.suggest_int("sleep_steps", 50, 2000, log=True)
    if not steps:
        return {"sleep_steps": steps}
    return {
        "sleep_steps": steps,
        "sleep_growth": trial.suggest_categorical("sleep_growth", [0.0, 1 / 3, 0.5]),
        "inc": trial.suggest_float("inc", 1e-4, 0.1, log=True),
        "dec_ratio": trial.suggest_float("dec_ratio", 1e-3, 1.0, log=True),
        "beta_first": trial.suggest_float("beta_first", 3.0, 1000.0, log=True),
        "beta_hidden": trial.suggest_float("beta_hidden", 3.0, 1000.0, log=True),
        "beta_last": trial.suggest_float("beta_last", 3.0, 1000.0, log=True),
        "max_rate": trial.suggest_float("max_rate", 20.0, 500.0, log=True),
        "mask_keep": trial.suggest_float("mask_keep", 0.05, 1.0),
        "decay": trial.suggest_categorical("decay", [0.9, 0.99, 0.999, 1.0]),
        "gate": trial.suggest_categorical("gate", ["logistic", "matlab", "none"]),
        "normalisation": trial.suggest_categorical(
            "normalisation", ["fixed", "consistent", "reference_code"]
        ),
    }
