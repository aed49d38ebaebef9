"""Search space of finetune."""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest, training
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate."""
    return training(trial)
