"""Named random streams: every random number is determined by a seed and a name.

An extra draw from one stream changes no other stream, and the numbers of a seed do not depend on
its stack, on the device, or on the point at which a run was interrupted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.stateful import Stateful

BLOCK = 1 << 16  # numbers drawn per seed at once, so that a training step never loops over seeds


def generator(seed: int, name: str, *key: int) -> torch.Generator:
    """Return the CPU generator of a seed, a name and a key, such as a task, an epoch or a block.

    >>> draw = lambda name: torch.rand(1, generator=generator(3, name)).item()
    >>> draw("batches") == draw("batches"), draw("batches") == draw("memory")
    (True, False)
    """
    label = "/".join(map(str, (seed, name, *key)))
    digest = hashlib.blake2b(label.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


class Draws(Stateful):
    """Uniform numbers in [0, 1) for a stack of seeds, an independent stream for each seed.

    The numbers are drawn block by block on the CPU: they are the same on every device, and do not
    depend on how they are divided over calls. The whole state is ``position``.
    """

    def __init__(self, seeds: Sequence[int], name: str, device: torch.device) -> None:
        super().__init__(len(seeds), device)
        self.seeds, self.name = tuple(seeds), name
        self.position = 0
        self.keep("position")
        self._index = -1
        self._block = torch.empty(0)

    def uniform(self, count: int) -> Tensor:
        """Return the next ``count`` numbers of every seed; [S, count]."""
        end = self.position + count
        pieces = [self._next_piece(end)]
        while self.position < end:
            pieces.append(self._next_piece(end))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)

    def _next_piece(self, end: int) -> Tensor:
        """Return the next numbers, up to ``end`` or the end of the block, [S, at most BLOCK]."""
        index, start = divmod(self.position, BLOCK)
        if index != self._index:
            blocks = [
                torch.rand(BLOCK, generator=generator(s, self.name, index)) for s in self.seeds
            ]
            self._block, self._index = torch.stack(blocks).to(self.device), index
        piece = self._block[:, start : end - index * BLOCK]
        self.position += piece.shape[1]
        return piece
