"""Sequences kept in few bits: compressed in time, and packed.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks". S seeds, M samples held, T steps, w steps a window.
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

AT_ONCE = 128  # samples of a seed that are unpacked, or go through a network, at a time


@dataclass(frozen=True)
class Codec:
    """How a sequence [T, units] is kept: a number for each window of ``ratio`` steps and unit.

    - ``binary``: whether a unit fired in the window; expanded to a spike at its first step.
    - ``sums``: how often it did; expanded to so many spikes in a row from the first step on.
    - ``amounts``: the sum of whole numbers below 2^bits; expanded to the sum at the first step.
    - ``currents``: the sum of floats, kept as float32; expanded to the sum at the first step.

    With a ratio of 1 every kind is the identity. A number takes as many bits as the greatest that
    may occur, each in a plane of its own, the lowest first.
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
        """Bits of a number kept."""
        if self.kind == "currents":
            return 32
        most = {"binary": 1, "sums": self.ratio, "amounts": ((1 << self.bits) - 1) * self.ratio}
        return most[self.kind].bit_length()

    @property
    def size(self) -> int:
        """Bits of a sequence."""
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
        for plane, more in enumerate(planes[1:], start=1):
            whole |= more.to(torch.int32) << plane
        values = whole.view(torch.float32) if self.kind == "currents" else whole.to(torch.float32)
        values = values.view(*values.shape[:-1], self.windows, 1, self.units)
        place = torch.arange(self.ratio, device=bits.device).unsqueeze(1)
        spread = values * (place == 0) if self.kind != "sums" else (place < values).to(values)
        return spread.flatten(-3, -2)


class Packed(Stateful):
    """Compressed sequences of each seed with their labels, uint8 [S, N]; eight samples share a
    byte, uint8 [S, ceil(N / 8), size]: no bit is lost whatever the size of a sample.

    Args:
        stack: number of seeds.
        parts: what the codec made of some sequences at a time, a byte a bit, uint8 [S, n, size],
            and their labels, uint8 [S, n].
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
        octets, names = [], [torch.zeros(stack, 0, dtype=torch.uint8, device=device)]
        for more, of_more in parts:
            bits = torch.cat([rest, more], dim=1)
            whole = bits.shape[1] // 8 * 8
            octets.append(_eights(bits[:, :whole]))
            rest = bits[:, whole:]
            names.append(of_more)
        last = F.pad(rest, (0, 0, 0, -rest.shape[1] % 8))
        self.octets = torch.cat([*octets, _eights(last)], dim=1)
        self.labels = torch.cat(names, dim=1)
        self.keep("octets", "labels", kind="memory")

    def __len__(self) -> int:
        return self.labels.shape[1]

    def bits(self, slots: Tensor) -> Tensor:
        """Return what the codec made of the sequences in these slots of each seed, [S, B]; uint8
        [S, B, size].
        """
        stack, rows, size = self.octets.shape
        first = torch.arange(stack, device=slots.device).unsqueeze(1) * rows
        octets = self.octets.view(-1, size).index_select(0, (first + slots // 8).flatten())
        places = (7 - slots % 8).to(torch.uint8).unsqueeze(2)
        return (octets.view(*slots.shape, size) >> places) & 1

    def gather(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is in these slots of each seed, [S, B]: sequences [S, B, T, units], expanded,
        and labels int64 [S, B].
        """
        return self.codec.expand(self.bits(slots)), self.labels.gather(1, slots).long()


def _eights(bits: Tensor) -> Tensor:
    """Join each eight rows of bits, [S, 8 n, size] to uint8 [S, n, size], the first one highest."""
    eights = bits.view(len(bits), -1, 8, bits.shape[2])
    octets = eights[:, :, 0] << 7
    for place in range(1, 8):
        octets |= eights[:, :, place] << (7 - place)
    return octets


class CompressedMemory(Stateful):
    """Random samples of each class of each finished task, as many of each; packed by a codec.

    A class's samples are stored in random order, so a smaller share is its first part.

    Args:
        share: how many samples are held of each class, by the number of classes seen; a class
            counts anew in every task that has it.
        turn: turns inputs uint8 [S, B, D] into the bits kept of them, uint8 [S, n, size] for some
            at a time.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        codec: Codec,
        device: torch.device,
        share: Callable[[int], int],
        turn: Callable[[Tensor, Codec], Iterator[Tensor]],
    ) -> None:
        super().__init__(len(seeds), device)
        self.seeds, self.share, self.turn = tuple(seeds), share, turn
        self.held = Packed(codec, self.stack, device)
        self.shares: list[int] = []  # samples held of each class
        self.keep("held", "shares")

    def __len__(self) -> int:
        return len(self.held)

    def end_task(self, task: Task) -> None:
        """Take samples of a finished task; what is held of earlier classes shrinks to its share."""
        codec, share = self.held.codec, self.share(len(self.shares) + task.classes)
        count = min(share, task.smallest_here)
        parts = itertools.chain(self._shrunk(share), self._taken(task, count))
        self.held = Packed(codec, self.stack, self.device, parts)
        self.shares = [min(held, share) for held in self.shares] + [count] * task.classes

    def _shrunk(self, share: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The first samples of every class that is held, ``share`` of each at most."""
        starts = itertools.accumulate(self.shares, initial=0)
        blocks = (range(a, a + min(n, share)) for a, n in zip(starts, self.shares, strict=False))
        first = torch.tensor([*itertools.chain(*blocks)], dtype=torch.long)
        slots = first.to(self.held.labels.device).expand(len(self.seeds), -1)
        for some in torch.split(slots, AT_ONCE, dim=1):
            yield self.held.bits(some), self.held.labels.gather(1, some)

    def _taken(self, task: Task, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """So many samples of each class of a task."""
        for label, inputs in self._chosen(task, count):
            for bits in self.turn(inputs, self.held.codec):
                yield bits, label.unsqueeze(1).expand(-1, bits.shape[1]).to(torch.uint8)

    def _chosen(self, task: Task, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each class of a task: its label [S], so many of its samples in random order."""
        for label, inputs, counts in task.by_class():
            keys = torch.stack(
                [
                    torch.rand(inputs.shape[1], generator=generator(seed, "memory", task.id, k))
                    for seed, k in zip(self.seeds, label.tolist(), strict=True)
                ]
            )
            order = keys.to(inputs.device).masked_fill(~counts, 2.0).argsort(dim=1)
            chosen = order[:, :count].unsqueeze(2).expand(-1, -1, inputs.shape[2])
            yield label, inputs.gather(1, chosen)
