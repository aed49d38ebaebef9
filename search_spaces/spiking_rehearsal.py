"""Search space of rehearsal on spiking networks. The memory is a budget, not a choice."""

from __future__ import annotations

from typing import Any

from search_spaces import spiking_naive
from search_spaces.common import Suggest
from trainables.streams import StreamInfo

RATIOS = (1, 2, 5, 10, 20)


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the ratio of compression, of those that divide the stream's steps, and the order of
    replay, besides what training without a memory searches.
    """
    fit = [ratio for ratio in RATIOS if (stream.steps or 1) % ratio == 0]
    orders = ["sequential", "interleaved", "mixed"]
    return spiking_naive.space(trial, stream) | {
        "ratio": trial.suggest_categorical("ratio", fit),
        "order": trial.suggest_categorical("order", orders),
    }
