"""Streams of tasks, and their data sets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.streams.datasets import Dataset
    from trainables.streams.scenario import SCENARIOS, Scenario
    from trainables.streams.split import SplitStream
    from trainables.streams.stream import Batch, Stream, StreamInfo, StreamOptions, Task
    from trainables.streams.transformed import TransformedStream

PUBLIC = {
    "SCENARIOS": "scenario",
    "Scenario": "scenario",
    "Dataset": "datasets",
    "SplitStream": "split",
    "TransformedStream": "transformed",
    "Batch": "stream",
    "Stream": "stream",
    "StreamInfo": "stream",
    "StreamOptions": "stream",
    "Task": "stream",
}


def __getattr__(name: str) -> Any:
    """Import public names on first access: they need torch, which data sets do not."""
    if name in PUBLIC:
        return getattr(import_module(f"{__name__}.{PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "SCENARIOS",
    "Batch",
    "Dataset",
    "Scenario",
    "SplitStream",
    "Stream",
    "StreamInfo",
    "StreamOptions",
    "Task",
    "TransformedStream",
]
