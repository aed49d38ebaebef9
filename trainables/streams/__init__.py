"""Streams of tasks, and the data sets they are made from."""

from trainables.streams.datasets import DATASETS
from trainables.streams.scenario import SCENARIOS, Scenario
from trainables.streams.spiking import spiking_streams
from trainables.streams.split import PhotographOptions, SplitStream
from trainables.streams.stream import Batch, Stream, StreamInfo, StreamOptions, Task
from trainables.streams.transformed import PermutedStream, RotatedStream


class PermutedMNIST(PermutedStream):
    """Ten permutations of the pixels of MNIST (Goodfellow et al. 2013)."""

    name = "permuted_mnist"
    dataset = "mnist"
    reference = DATASETS["mnist"].source


class RotatedMNIST(RotatedStream):
    """MNIST turned by five angles (Lopez-Paz and Ranzato 2017)."""

    name = "rotated_mnist"
    dataset = "mnist"
    reference = DATASETS["mnist"].source


STREAMS: dict[str, type[Stream]] = {
    "split_digits": SplitStream.of("digits", "split_digits"),
    "split_mnist": SplitStream.of("mnist", "split_mnist"),
    "split_fashion_mnist": SplitStream.of("fashion_mnist", "split_fashion_mnist"),
    "split_cifar10": SplitStream.of("cifar10", "split_cifar10", PhotographOptions),
    "permuted_mnist": PermutedMNIST,
    "rotated_mnist": RotatedMNIST,
    **spiking_streams(),
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
