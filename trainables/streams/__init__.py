"""Streams of tasks, and the data sets they are made from."""

from trainables.streams.scenario import SCENARIOS, Scenario
from trainables.streams.split import SplitStream
from trainables.streams.stream import Batch, Stream, StreamInfo, StreamOptions, Task

STREAMS: dict[str, type[Stream]] = {
    "split_digits": SplitStream.of("digits", "split_digits"),
    "split_mnist": SplitStream.of("mnist", "split_mnist"),
}

__all__ = [
    "SCENARIOS",
    "STREAMS",
    "Batch",
    "Scenario",
    "SplitStream",
    "Stream",
    "StreamInfo",
    "StreamOptions",
    "Task",
]
