"""Bit planes: the format in which streams of spike trains store counts.

N numbers below 2^P are stored as P planes of ceil(N / 8) bytes, the plane of the lowest bit first.
Within a byte the first number has the highest bit, as in ``numpy.packbits``.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def pack(numbers: NDArray[np.uint8], planes: int) -> NDArray[np.uint8]:
    """Pack numbers below 2^planes; [..., N] to uint8 [..., planes * ceil(N / 8)]."""
    bits = [np.packbits((numbers >> plane) & 1, axis=-1) for plane in range(planes)]
    return np.concatenate(bits, axis=-1)


def unpack(octets: Tensor, count: int, planes: int) -> Tensor:
    """Return the first ``count`` numbers that :func:`pack` packed, uint8 [..., count]."""
    eights = _bit_table(octets.device).index_select(0, octets.flatten().int())  # 8 numbers per word
    eights = eights.view(*octets.shape[:-1], planes, octets.shape[-1] // planes)
    numbers = eights[..., 0, :]
    for plane in range(1, planes):
        numbers = numbers | (eights[..., plane, :] << plane)
    return numbers.contiguous().view(torch.uint8)[..., :count]


@functools.cache
def _bit_table(device: torch.device) -> Tensor:
    """Return the eight bits of every byte, one bit per byte of a word, int64 [256]."""
    every = np.arange(256, dtype=np.uint8)[:, None]
    bits = np.unpackbits(every, axis=1)  # [256, 8]
    return torch.from_numpy(bits).view(torch.int64).squeeze(1).to(device)
