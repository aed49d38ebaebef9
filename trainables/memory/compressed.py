"""Spike sequences compressed in time and packed into bits.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks". S seeds, N samples, T time steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.rng import generator
from trainables.stateful import Stateful
from trainables.streams import Task

CHUNK = 128  # samples per seed unpacked, or passed through a network, at once


@dataclass(frozen=True)
class Codec:
    """Format of a stored sequence [T, units]: one number per unit and window of ``ratio`` steps.

    The ``kind`` defines the number, and the window into which it expands:

    - ``binary``: whether the unit fired; one spike at the first step.
    - ``sums``: number of spikes n; spikes at the first n steps.
    - ``amounts``: sum of whole numbers below 2^bits; the sum at the first step.
    - ``currents``: sum of floats, stored as float32; the sum at the first step.

    With a ratio of 1 every kind is lossless. A number takes the bits of the largest possible
    number, stored in bit planes, the lowest bit first.
    """

    kind: str
    steps: int
    units: int
    ratio: int = 1
    bits: int = 1

    @property
    def windows(self) -> int:
        return self.steps // self.ratio

    @property
    def planes(self) -> int:
        """Bits per stored number."""
        if self.kind == "currents":
            return 32
        largest = {"binary": 1, "sums": self.ratio, "amounts": ((1 << self.bits) - 1) * self.ratio}
        return largest[self.kind].bit_length()

    @property
    def size(self) -> int:
        """Bits per sequence."""
        return self.planes * self.windows * self.units

    def compress(self, sequences: Tensor) -> Tensor:
        """Compress [..., T, units] to bits, uint8 [..., size]."""
        shape = (*sequences.shape[:-2], self.windows, self.ratio, self.units)
        windows = sequences.reshape(shape)
        values = (windows.amax(-2) if self.kind == "binary" else windows.sum(-2)).flatten(-2)
        whole = values.view(torch.int32) if self.kind == "currents" else values.to(torch.int32)
        planes = [((whole >> plane) & 1).to(torch.uint8) for plane in range(self.planes)]
        return torch.cat(planes, dim=-1)

    def expand(self, bits: Tensor) -> Tensor:
        """Expand bits, uint8 [..., size], to float32 [..., T, units]."""
        planes = torch.split(bits, self.windows * self.units, dim=-1)
        whole = planes[0].to(torch.int32)
        for place, plane in enumerate(planes[1:], start=1):
            whole |= plane.to(torch.int32) << place
        values = whole.view(torch.float32) if self.kind == "currents" else whole.to(torch.float32)
        values = values.view(*values.shape[:-1], self.windows, 1, self.units)
        step = torch.arange(self.ratio, device=bits.device).unsqueeze(1)
        windows = values * (step == 0) if self.kind != "sums" else (step < values).to(values)
        return windows.flatten(-3, -2)


class Packed(Stateful):
    """Compressed sequences of each seed, with labels uint8 [S, N]. Eight samples share a byte,
    uint8 [S, ceil(N / 8), size], so that no bit is wasted for any size of a sample.

    Args:
        stack: number of seeds.
        parts: chunks of n sequences: bits from the codec, one bit per byte, uint8 [S, n, size], and
            labels, uint8 [S, n].
    """

    def __init__(
        self,
        codec: Codec,
        stack: int,
        device: torch.device,
        parts: Iterable[tuple[Tensor, Tensor]] = (),
    ) -> None:
        super().__init__(stack, device)
        self.codec = codec
        rest = torch.zeros(stack, 0, codec.size, dtype=torch.uint8, device=device)
        octets, labels = [], [torch.zeros(stack, 0, dtype=torch.uint8, device=device)]
        for new_bits, new_labels in parts:
            bits = torch.cat([rest, new_bits], dim=1)
            whole = bits.shape[1] // 8 * 8
            octets.append(_pack_eights(bits[:, :whole]))
            rest = bits[:, whole:]
            labels.append(new_labels)
        last = F.pad(rest, (0, 0, 0, -rest.shape[1] % 8))
        self.octets = torch.cat([*octets, _pack_eights(last)], dim=1)
        self.labels = torch.cat(labels, dim=1)
        self.keep("octets", "labels", kind="memory")

    def __len__(self) -> int:
        return self.labels.shape[1]

    def bits(self, slots: Tensor) -> Tensor:
        """Return the bits of the sequences in the given slots, [S, B]; uint8 [S, B, size]."""
        stack, rows, size = self.octets.shape
        first = torch.arange(stack, device=slots.device).unsqueeze(1) * rows
        octets = self.octets.view(-1, size).index_select(0, (first + slots // 8).flatten())
        places = (7 - slots % 8).to(torch.uint8).unsqueeze(2)
        return (octets.view(*slots.shape, size) >> places) & 1

    def gather(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples in the given slots, [S, B]: sequences [S, B, T, units], expanded, and
        labels int64 [S, B].
        """
        return self.codec.expand(self.bits(slots)), self.labels.gather(1, slots).long()


def _pack_eights(bits: Tensor) -> Tensor:
    """Pack every eight rows of bits into bytes, [S, 8 n, size] to uint8 [S, n, size]; the first row
    is the highest bit.
    """
    eights = bits.view(len(bits), -1, 8, bits.shape[2])
    octets = eights[:, :, 0] << 7
    for place in range(1, 8):
        octets |= eights[:, :, place] << (7 - place)
    return octets


class CompressedMemory(Stateful):
    """Random samples of each class of each finished task, equally many, compressed by a codec.

    The samples of a class are stored in random order: shrinking a share keeps the first samples.

    Args:
        share: maps the number of classes seen to the number of samples held per class; a class
            counts once for every task in which it occurs.
        compress: yields the bits of inputs, uint8 [S, B, D], in chunks, uint8 [S, n, size].
    """

    def __init__(
        self,
        seeds: Sequence[int],
        codec: Codec,
        device: torch.device,
        share: Callable[[int], int],
        compress: Callable[[Tensor, Codec], Iterator[Tensor]],
    ) -> None:
        super().__init__(len(seeds), device)
        self.seeds, self.share, self.compress = tuple(seeds), share, compress
        self.held = Packed(codec, self.stack, device)
        self.shares: list[int] = []  # samples held of each class
        self.keep("held", "shares")

    def __len__(self) -> int:
        return len(self.held)

    def end_task(self, task: Task) -> None:
        """Store samples of a finished task, and shrink the shares of earlier classes."""
        codec, share = self.held.codec, self.share(len(self.shares) + task.classes)
        count = min(share, task.smallest_task_class)
        parts = itertools.chain(self._old_parts(share), self._new_parts(task, count))
        self.held = Packed(codec, self.stack, self.device, parts)
        self.shares = [min(old_share, share) for old_share in self.shares] + [count] * task.classes

    def _old_parts(self, share: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield bits and labels of the first ``share`` samples of every class held."""
        starts = itertools.accumulate(self.shares, initial=0)
        blocks = (range(a, a + min(n, share)) for a, n in zip(starts, self.shares, strict=False))
        first = torch.tensor([*itertools.chain(*blocks)], dtype=torch.long)
        slots = first.to(self.held.labels.device).expand(len(self.seeds), -1)
        for chunk in torch.split(slots, CHUNK, dim=1):
            yield self.held.bits(chunk), self.held.labels.gather(1, chunk)

    def _new_parts(self, task: Task, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield bits and labels of ``count`` samples of each class of a task."""
        for label, inputs in self._random_samples(task, count):
            for bits in self.compress(inputs, self.held.codec):
                yield bits, label.unsqueeze(1).expand(-1, bits.shape[1]).to(torch.uint8)

    def _random_samples(self, task: Task, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each class of a task, its label [S] and ``count`` samples in random order."""
        for label, inputs, valid in task.by_class():
            keys = torch.stack(
                [
                    torch.rand(inputs.shape[1], generator=generator(seed, "memory", task.id, k))
                    for seed, k in zip(self.seeds, label.tolist(), strict=True)
                ]
            )
            order = keys.to(inputs.device).masked_fill(~valid, 2.0).argsort(dim=1)
            chosen = order[:, :count].unsqueeze(2).expand(-1, -1, inputs.shape[2])
            yield label, inputs.gather(1, chosen)
