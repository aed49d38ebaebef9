"""Sequences kept in few bits: compressed in time, and packed.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks". S seeds, M samples held, T steps, w steps a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.bits import pack, packed_size, unpack
from trainables.rng import generator
from trainables.streams import Task


@dataclass(frozen=True)
class Codec:
    """How a sequence [T, units] is kept: a number for each window of ``ratio`` steps and unit.

    - ``binary``: whether a unit fired in the window; expanded to a spike at its first step.
    - ``sums``: how often it did; expanded to so many spikes in a row from the first step on.
    - ``amounts``: the sum of whole numbers below 2^bits; expanded to the sum at the first step.
    - ``currents``: the sum of floats, kept as float32; expanded to the sum at the first step.

    With a ratio of 1 every kind is the identity. Packed, a number takes as many bits as the
    greatest that may occur.
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
        """Bits of a number kept, but for currents."""
        most = {"binary": 1, "sums": self.ratio, "amounts": ((1 << self.bits) - 1) * self.ratio}
        return most[self.kind].bit_length()

    @property
    def size(self) -> int:
        """Bytes of a sequence."""
        count = self.windows * self.units
        return count * 4 if self.kind == "currents" else packed_size(count, self.planes)

    def compress(self, sequences: Tensor) -> Tensor:
        """Compress [..., T, units] to uint8 [..., size]."""
        shape = (*sequences.shape[:-2], self.windows, self.ratio, self.units)
        windows = sequences.reshape(shape)
        values = (windows.amax(-2) if self.kind == "binary" else windows.sum(-2)).flatten(-2)
        if self.kind == "currents":
            return values.contiguous().view(torch.uint8)
        return pack(values, self.planes)

    def expand(self, octets: Tensor) -> Tensor:
        """Expand uint8 [..., size] to float32 [..., T, units]."""
        count = self.windows * self.units
        if self.kind == "currents":
            values = octets.contiguous().view(torch.float32)
        else:
            values = unpack(octets, count, self.planes).to(torch.float32)
        values = values.view(*values.shape[:-1], self.windows, 1, self.units)
        place = torch.arange(self.ratio, device=octets.device).unsqueeze(1)
        spread = values * (place == 0) if self.kind != "sums" else (place < values).to(values)
        return spread.flatten(-3, -2)


@dataclass(frozen=True)
class Packed:
    """Sequences of each seed, packed by a codec, uint8 [S, N, size], and labels uint8 [S, N]."""

    codec: Codec
    octets: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.labels.shape[1]

    def gather(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is in these slots of each seed, [S, B]: sequences [S, B, T, units], expanded,
        and labels int64 [S, B].
        """
        rows = slots.unsqueeze(2).expand(-1, -1, self.codec.size)
        return self.codec.expand(self.octets.gather(1, rows)), self.labels.gather(1, slots).long()


class CompressedMemory:
    """Random samples of each class of each finished task, as many of each; packed by a codec.

    A class's samples are stored in random order, so a smaller share is its first part.

    Args:
        share: how many samples are held of each class, by the number of classes seen; a class
            counts anew in every task that has it.
        turn: turns inputs uint8 [S, B, D] into what is kept of them, packed: uint8 [S, B, size].
    """

    def __init__(
        self,
        seeds: Sequence[int],
        codec: Codec,
        device: torch.device,
        share: Callable[[int], int],
        turn: Callable[[Tensor, Codec], Tensor],
    ) -> None:
        self.seeds, self.share, self.turn = tuple(seeds), share, turn
        empty = torch.empty(len(seeds), 0, codec.size, dtype=torch.uint8, device=device)
        self.held = Packed(codec, empty, empty[..., 0])
        self.shares: list[int] = []  # samples held of each class

    def __len__(self) -> int:
        return len(self.held)

    def end_task(self, task: Task) -> None:
        """Take samples of a finished task; what is held of earlier classes shrinks to its share."""
        share, codec = self.share(len(self.shares) + task.classes), self.held.codec
        count = min(share, task.smallest_here)
        octets = [block[:, :share] for block in torch.split(self.held.octets, self.shares, dim=1)]
        labels = [block[:, :share] for block in torch.split(self.held.labels, self.shares, dim=1)]
        for label, inputs in self._chosen(task, count):
            octets.append(self.turn(inputs, codec))
            labels.append(label.unsqueeze(1).expand(-1, count).to(torch.uint8))
        self.held = Packed(codec, torch.cat(octets, dim=1), torch.cat(labels, dim=1))
        self.shares = [min(held, share) for held in self.shares] + [count] * task.classes

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

    def footprint(self) -> int:
        """Bytes one seed holds, a byte for each label included."""
        return len(self) * (self.held.codec.size + 1)

    def state(self) -> dict[str, Any]:
        """Return everything needed to continue."""
        return {"octets": self.held.octets, "labels": self.held.labels, "shares": self.shares}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        device = self.held.octets.device
        octets, labels = (state[name].to(device, copy=True) for name in ("octets", "labels"))
        self.held, self.shares = Packed(self.held.codec, octets, labels), list(state["shares"])
