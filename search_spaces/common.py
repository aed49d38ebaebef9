"""What the spaces share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Suggest(Protocol):
    """The part of an Optuna trial that a space uses."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


def training(trial: Suggest) -> dict[str, Any]:
    """Suggest what every gradient-trained learner has in common: the learning rate of Adam."""
    return {"lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}
