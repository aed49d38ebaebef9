"""Spikes in bits, for a memory that holds samples as they were encoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.streams import Batch, StreamInfo, Task
from trainables.streams.bits import unpack


def pack_bits(frames: Tensor) -> Tensor:
    """Pack spikes [S, F, B, D] into bits, uint8 [S, B, ceil(F * D / 8)]; the first is the highest.

    >>> pack_bits(torch.tensor([1, 0, 0, 0, 0, 0, 0, 1, 1]).view(1, 3, 1, 3))
    tensor([[[129, 128]]], dtype=torch.uint8)
    """
    bits = frames.transpose(1, 2).flatten(2).to(torch.uint8)
    octets = math.ceil(bits.shape[2] / 8)
    eights = F.pad(bits, (0, -bits.shape[2] % 8)).view(*bits.shape[:2], octets, 8)
    places = 1 << torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
    return (eights * places).sum(3, dtype=torch.uint8)


def unpack_bits(octets: Tensor, frames: int, width: int) -> Tensor:
    """Return the spikes that :func:`pack_bits` packed, float32 [S, F, B, D]."""
    bits = unpack(octets, frames * width, 1).to(torch.float32)
    return bits.view(*octets.shape[:2], frames, width).transpose(1, 2)


def encoded_stream(stream: StreamInfo, frames: int) -> StreamInfo:
    """Return the facts of a stream whose samples are spikes in bits."""
    octets = math.ceil(frames * stream.inputs / 8)
    return replace(
        stream, inputs=octets, shape=(octets,), bits=8, dtype=torch.uint8, augmentation="none"
    )


@dataclass(frozen=True)
class EncodedTask:
    """A task whose samples are encoded when a memory draws them.

    Attributes:
        task: the task.
        encode: from inputs [S, B, D] to spikes in bits, uint8 [S, B, bytes].
    """

    task: Task
    encode: Callable[[Tensor], Tensor]

    @property
    def size(self) -> int:
        return self.task.size

    def sample(self, count: int, name: str) -> Batch:
        """Return samples as :meth:`Task.sample`, encoded."""
        batch = self.task.sample(count, name)
        return replace(batch, inputs=self.encode(batch.inputs))
