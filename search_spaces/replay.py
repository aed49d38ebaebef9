"""Search space of experience replay. The memory is a budget, not a choice: fix it, or give it a
range of its own.
"""

from __future__ import annotations

from typing import Any

from search_spaces.common import Suggest, training
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate and how many samples are replayed per new one."""
    return training(trial) | {
        "replay_ratio": trial.suggest_float("replay_ratio", 0.25, 2.0, log=True)
    }
