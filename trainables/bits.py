"""Small whole numbers packed into bytes: each bit of a number in a plane of its own.

A number below 2^P takes P bits. N numbers are kept as P planes of ceil(N / 8) bytes, the lowest
bit first; within a byte the first number has the highest bit, as in ``numpy.packbits``.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def packed_size(count: int, planes: int) -> int:
    """Bytes of ``count`` numbers."""
    return planes * math.ceil(count / 8)


def packed(numbers: NDArray[np.uint8], planes: int) -> NDArray[np.uint8]:
    """As :func:`pack`, of an array."""
    bits = [np.packbits((numbers >> plane) & 1, axis=-1) for plane in range(planes)]
    return np.concatenate(bits, axis=-1)


def pack(numbers: Tensor, planes: int) -> Tensor:
    """Pack numbers below 2^planes; [..., N] to uint8 [..., planes * ceil(N / 8)]."""
    wide = numbers.to(torch.uint8 if planes <= 8 else torch.int32)
    whole = F.pad(wide, (0, -numbers.shape[-1] % 8))
    whole = whole.view(*whole.shape[:-1], -1, 8)
    found = []
    for plane in range(planes):
        bits = ((whole >> plane) & 1).to(torch.uint8)
        octets = bits[..., 0] << 7
        for place in range(1, 8):
            octets |= bits[..., place] << (7 - place)
        found.append(octets)
    return torch.cat(found, dim=-1)


def unpack(octets: Tensor, count: int, planes: int) -> Tensor:
    """Return the first ``count`` numbers of what :func:`pack` made, [..., count]: uint8, or int32
    where they have more than 8 bits.
    """
    if planes > 8:
        sizes = [packed_size(count, 8), packed_size(count, planes - 8)]
        low, high = torch.split(octets, sizes, dim=-1)
        return unpack(low, count, 8).int() | (unpack(high, count, planes - 8).int() << 8)
    eights = _spread(octets.device).index_select(0, octets.flatten().int())  # 8 numbers in a word
    eights = eights.view(*octets.shape[:-1], planes, octets.shape[-1] // planes)
    numbers = eights[..., 0, :]
    for plane in range(1, planes):
        numbers = numbers | (eights[..., plane, :] << plane)
    return numbers.contiguous().view(torch.uint8)[..., :count]


@functools.cache
def _spread(device: torch.device) -> Tensor:
    """For every byte its eight bits, a byte each, as one word; int64 [256]."""
    every = np.arange(256, dtype=np.uint8)[:, None]
    bits = np.unpackbits(every, axis=1)  # [256, 8]
    return torch.from_numpy(bits).view(torch.int64).squeeze(1).to(device)
