"""Packed numbers against numpy's own packing, plane by plane."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainables.streams.bits import pack, unpack

PLANES = range(1, 9)
COUNTS = (1, 7, 8, 9, 100, 129)


def numbers(planes, *shape):
    return np.random.default_rng(3).integers(0, 2**planes, shape, dtype=np.uint8)


def by_numpy(values, planes):
    """The lowest bit of all numbers, then the next: each plane packed by numpy."""
    bits = np.unpackbits(values[..., None].astype(np.uint8), axis=-1, bitorder="little")
    return np.concatenate([np.packbits(bits[..., p], axis=-1) for p in range(planes)], axis=-1)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("planes", PLANES)
def test_what_is_packed_is_what_numpy_packs(planes, count):
    values = numbers(planes, 2, 3, count)
    np.testing.assert_array_equal(pack(values, planes), by_numpy(values, planes))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("planes", PLANES)
def test_what_numpy_packed_is_unpacked(planes, count):
    values = numbers(planes, 2, 3, count)
    octets = torch.from_numpy(by_numpy(values, planes))
    found = unpack(octets, count, planes)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), values)


def test_rows_that_are_not_contiguous_are_unpacked():
    values = numbers(3, 5, 21)
    octets = torch.from_numpy(by_numpy(values, 3)).T.contiguous().T
    np.testing.assert_array_equal(unpack(octets, 21, 3).numpy(), values)
