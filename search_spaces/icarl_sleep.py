"""Search space of iCaRL with sleep: that of either."""

from __future__ import annotations

from typing import Any

from search_spaces import icarl
from search_spaces.common import Suggest
from search_spaces.sleep_replay import asleep
from trainables.streams import StreamInfo


def space(trial: Suggest, stream: StreamInfo) -> dict[str, Any]:
    """Suggest the learning rate, and how long and how strongly to sleep."""
    return icarl.space(trial, stream) | asleep(trial)
