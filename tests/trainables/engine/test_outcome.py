"""What a trial measured: kept whole in a file, and joined over seeds."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest

from trainables.engine.outcome import Outcome, stacked

TASKS, OUTPUTS = 5, 10


def outcome(seeds=(4, 7, 9), rows=3, between=2, readouts=("slow", "fast")):
    """Return an outcome of random counts, every seed with numbers of its own."""
    draws = [np.random.default_rng(seed) for seed in seeds]
    shape = (TASKS, OUTPUTS, OUTPUTS)

    def counts(*lead):
        drawn = [draw.poisson(0.3, (*lead, *shape)).astype(np.uint32) for draw in draws]
        return np.stack(drawn)

    return Outcome(
        seeds=np.array(seeds),
        counts={name: counts(rows) for name in readouts},
        initial={name: counts() for name in readouts},
        finite=np.stack([draw.random(rows) < 0.8 for draw in draws]),
        seconds=np.linspace(0.1, 0.3, rows),
        samples=np.full(rows, 720),
        trained=np.full(rows, 1440),
        footprint={
            "parameters": np.full(rows, 8000),
            "memory": np.arange(rows) * 65,
            "auxiliary": np.zeros(rows, dtype=int),
        },
        between={"task": np.arange(between), "counts": counts(between)},
        extras={
            **{f"spikes: layer {k}": np.stack([d.random(rows) for d in draws]) for k in (1, 2)},
            "activity: asleep": np.stack([d.random((rows, 3, OUTPUTS)) for d in draws]),
        },
    )


def assert_same(one, other):
    for field in fields(Outcome):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if not isinstance(mine, dict):
            mine, theirs = {"": mine}, {"": theirs}
        assert list(mine) == list(theirs), field.name
        for name, array in mine.items():
            assert array.dtype == theirs[name].dtype, (field.name, name)
            np.testing.assert_array_equal(array, theirs[name], err_msg=f"{field.name}/{name}")


@pytest.mark.parametrize("between", [0, 2])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("seeds", [(3,), (4, 7, 9)])
def test_a_file_gives_back_the_same_outcome(seeds, rows, between):
    whole = outcome(seeds, rows, between)
    again = Outcome.from_bytes(whole.to_bytes())
    assert_same(again, whole)
    assert again.rows == rows


def test_the_primary_readout_stays_the_first():
    for readouts in (("slow", "fast"), ("fast", "slow"), ("b", "c", "a")):
        again = Outcome.from_bytes(outcome(readouts=readouts).to_bytes())
        assert tuple(again.counts) == tuple(again.initial) == readouts


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_off_raises(kept):
    content = outcome().to_bytes()
    with pytest.raises((OSError, KeyError)):
        Outcome.from_bytes(content[: int(kept * len(content))])


def test_a_file_without_its_last_byte_raises():
    with pytest.raises((OSError, KeyError)):
        Outcome.from_bytes(outcome().to_bytes()[:-1])


def test_another_file_raises():
    with pytest.raises((OSError, KeyError)):
        Outcome.from_bytes(b"no HDF5 at all" * 100)


def test_a_file_without_one_field_raises():
    import io

    import h5py

    buffer = io.BytesIO(outcome().to_bytes())
    with h5py.File(buffer, "a") as file:
        del file["finite"]
    with pytest.raises((OSError, KeyError)):
        Outcome.from_bytes(buffer.getvalue())


@pytest.mark.parametrize("cuts", [(0, 1, 3), (0, 2, 3), (0, 1, 2, 3), (0, 3)])
def test_parts_joined_again_are_the_whole(cuts):
    whole = outcome()
    parts = [whole.seeds_from(a, b) for a, b in pairwise(cuts)]
    joined = stacked(parts)
    np.testing.assert_allclose(joined.seconds, whole.seconds * len(parts))
    assert_same(replace(joined, seconds=whole.seconds), whole)


def test_a_part_has_its_own_seeds_only():
    whole = outcome()
    part = whole.seeds_from(1, 2)
    assert part.seeds.tolist() == [7]
    for name in whole.counts:
        np.testing.assert_array_equal(part.counts[name], whole.counts[name][1:2])
        np.testing.assert_array_equal(part.initial[name], whole.initial[name][1:2])
    np.testing.assert_array_equal(part.between["counts"], whole.between["counts"][1:2])
    np.testing.assert_array_equal(part.between["task"], whole.between["task"])
    np.testing.assert_array_equal(part.finite, whole.finite[1:2])


def test_joining_follows_the_order_given():
    one, other = outcome(seeds=(1, 2)), outcome(seeds=(5,))
    joined = stacked([other, one])
    assert joined.seeds.tolist() == [5, 1, 2]
    np.testing.assert_array_equal(joined.counts["fast"][0], other.counts["fast"][0])
    np.testing.assert_array_equal(joined.counts["fast"][1:], one.counts["fast"])


def test_mostly_empty_counts_are_kept_small():
    whole = outcome(seeds=tuple(range(30)), rows=5)
    raw = sum(c.nbytes for c in whole.counts.values())
    assert len(whole.to_bytes()) < raw / 4


ODD = ("layer 1/2", "50%", "a%2Fb", ".", "..", "x\0y", "β & <b>", "[x]")


def test_names_may_hold_what_a_file_takes_for_a_path():
    whole = outcome(readouts=("a/b", "slow"))
    whole = replace(whole, extras={f"spikes: {odd}": whole.finite * 1.0 for odd in ODD})
    assert_same(Outcome.from_bytes(whole.to_bytes()), whole)
    lone = replace(whole, extras=dict.fromkeys(ODD, whole.finite * 1.0))
    assert list(Outcome.from_bytes(lone.to_bytes()).extras) == list(ODD)


def test_a_label_that_one_stack_lacks_is_nan_there():
    one, other = outcome((4, 7)), outcome((9,))
    other = replace(other, extras={"spikes: layer 9": other.extras["spikes: layer 1"]})
    joined = stacked([one, other]).extras
    layers = [name for name in joined if name.startswith("spikes")]
    assert layers == ["spikes: layer 1", "spikes: layer 2", "spikes: layer 9"]
    assert np.isnan(joined["spikes: layer 1"][2]).all()
    assert np.isnan(joined["spikes: layer 9"][:2]).all()
    np.testing.assert_array_equal(joined["spikes: layer 2"][:2], one.extras["spikes: layer 2"])


def test_a_map_that_one_stack_lacks_is_nan_there():
    one, other = outcome((4, 7)), outcome((9,))
    for parts in ([one, replace(other, extras={})], [replace(other, extras={}), one]):
        found = stacked(parts).extras["activity: asleep"]
        assert found.shape == (3, 3, 3, OUTPUTS)
        lacking = [s not in one.seeds for s in stacked(parts).seeds]
        assert np.isnan(found).all((1, 2, 3)).tolist() == lacking
        np.testing.assert_array_equal(found[~np.array(lacking)], one.extras["activity: asleep"])
