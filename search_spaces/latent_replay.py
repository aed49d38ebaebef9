"""Search space of latent replay. The memory is a budget, not a choice: fix it, or give it a range
of its own (`memory_total`, `memory_per_class` or `memory_bytes`).
"""

from __future__ import annotations

from typing import Any

from search_spaces import spiking_rehearsal
from search_spaces.common import Suggest
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest where to cut and how to compress, besides what rehearsal searches.

    Depth 0 is left out: it keeps floats, three times what the inputs take.
    """
    return spiking_rehearsal.space(trial, stream) | {
        "depth": trial.suggest_categorical("depth", [1, 2, 3]),
        "codec": trial.suggest_categorical("codec", ["binary", "sums"]),
    }
