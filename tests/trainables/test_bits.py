"""Packed numbers against numpy's own packing, plane by plane."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainables.bits import pack, packed, packed_size, unpack

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
    expected = by_numpy(values, planes)
    np.testing.assert_array_equal(packed(values, planes), expected)
    np.testing.assert_array_equal(pack(torch.from_numpy(values), planes).numpy(), expected)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("planes", PLANES)
def test_what_numpy_packed_is_unpacked(planes, count):
    values = numbers(planes, 2, 3, count)
    octets = torch.from_numpy(by_numpy(values, planes))
    found = unpack(octets, count, planes)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.numpy(), values)


@pytest.mark.parametrize("planes", [*PLANES, 9, 10, 15])
def test_every_number_of_so_many_bits_survives(planes):
    values = torch.arange(2**planes)
    assert unpack(pack(values, planes), len(values), planes).tolist() == values.tolist()


@pytest.mark.parametrize("kind", [torch.bool, torch.float32, torch.int64])
def test_numbers_of_any_type_are_packed(kind):
    values = torch.tensor([0, 1, 1, 0, 1, 0, 0, 0, 1]).to(kind)
    assert pack(values, 1).tolist() == [0b01101000, 0b10000000]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("planes", PLANES)
def test_the_size_is_that_of_what_is_packed(planes, count):
    assert packed_size(count, planes) == pack(torch.zeros(count), planes).numel()
    assert packed_size(count, planes) == planes * math.ceil(count / 8)


@pytest.mark.parametrize("planes", [9, 12, 16])
@pytest.mark.parametrize("count", COUNTS)
def test_numbers_of_more_than_a_byte_are_packed(planes, count):
    values = np.random.default_rng(4).integers(0, 2**planes, (3, count))
    low, high = by_numpy(values & 255, 8), by_numpy(values >> 8, planes - 8)
    octets = pack(torch.from_numpy(values), planes)
    np.testing.assert_array_equal(octets.numpy(), np.concatenate([low, high], axis=-1))
    np.testing.assert_array_equal(unpack(octets, count, planes).numpy(), values)


def test_rows_that_are_not_contiguous_are_unpacked():
    values = numbers(3, 5, 21)
    octets = torch.from_numpy(by_numpy(values, 3)).T.contiguous().T
    np.testing.assert_array_equal(unpack(octets, 21, 3).numpy(), values)
