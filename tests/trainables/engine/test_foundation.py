"""What a first task leaves behind: kept in a file, joined, and handed out by seed."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.engine.foundation import Foundation, joined


def left(*seeds):
    """Arrays that tell their seeds."""
    of = np.array(seeds)
    return Foundation(of, {"a/b": of[:, None] * np.ones(100), "count": of * 10})


@pytest.mark.parametrize("seeds", [(4, 7, 9), (9, 4), (7,)])
def test_arrays_come_in_the_order_of_the_seeds_asked_for(seeds):
    found = joined([left(9), left(4, 7)]).of(seeds)
    assert found["count"].tolist() == [10 * seed for seed in seeds]
    assert found["a/b"][:, 3].tolist() == list(seeds)


def test_a_seed_that_is_missing_leaves_nothing_for_its_stack():
    assert left(4, 7).of((4, 5)) is None


def test_it_survives_a_file():
    whole = left(4, 7)
    found = Foundation.from_bytes(whole.to_bytes())
    assert found.seeds.tolist() == [4, 7]
    assert list(found.arrays) == ["a/b", "count"]
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
