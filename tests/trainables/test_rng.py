"""Named random streams: nothing changes a number but its seed, its name and its place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables import rng
from trainables.rng import Draws, generator

CPU = torch.device("cpu")


def numbers(*key, count=8):
    return torch.rand(count, generator=generator(*key)).tolist()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(rng, "BLOCK", 16)


def test_a_generator_is_fixed_by_seed_name_and_key():
    assert numbers(3, "batches", 1, 2) == numbers(3, "batches", 1, 2)


def test_streams_of_other_seeds_names_and_keys_differ():
    keys = [
        (seed, name, *key)
        for seed in (0, 1, 2**40)
        for name in ("batches", "weights", "memory")
        for key in ((), (0,), (1,), (12,), (1, 2), (2, 1))
    ]
    assert len({tuple(numbers(*key)) for key in keys}) == len(keys)


def test_streams_of_neighbouring_seeds_are_uncorrelated():
    draws = torch.stack([torch.rand(500, generator=generator(s, "weights")) for s in range(40)])
    correlation = torch.corrcoef(draws).fill_diagonal_(0)
    assert correlation.abs().max() < 4.5 / 500**0.5  # 780 pairs, standard error 1/sqrt(500)


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), numbers(5, "memory")
    torch.manual_seed(2)
    assert numbers(5, "memory") == first
    torch.manual_seed(1)
    Draws([1, 2], "memory", CPU).uniform(10)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True), st.data())
@settings(max_examples=25, deadline=None)
def test_draws_do_not_depend_on_the_stack_or_its_order(seeds, data):
    shuffled = data.draw(st.permutations(seeds))
    together = Draws(seeds, "memory", CPU).uniform(6)
    reordered = Draws(shuffled, "memory", CPU).uniform(6)
    for i, seed in enumerate(seeds):
        alone = Draws([seed], "memory", CPU).uniform(6)[0]
        assert torch.equal(together[i], alone)
        assert torch.equal(reordered[shuffled.index(seed)], alone)


def test_an_extra_draw_under_one_name_changes_nothing_under_another():
    plain, company = Draws([4], "memory", CPU), Draws([4], "memory", CPU)
    other = Draws([4], "spikes", CPU)
    first = [plain.uniform(3), plain.uniform(5)]
    second = [company.uniform(3)]
    other.uniform(100)
    generator(4, "batches").initial_seed()
    second.append(company.uniform(5))
    assert all(map(torch.equal, first, second))


def whole(seeds, blocks):
    """Return the numbers of the first blocks one after the other; [S, blocks * BLOCK]."""
    rows = [
        [torch.rand(rng.BLOCK, generator=generator(s, "memory", b)) for b in range(blocks)]
        for s in seeds
    ]
    return torch.stack([torch.cat(row) for row in rows])


@given(counts=st.lists(st.integers(0, 50), max_size=12), start=st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_draws_in_pieces_are_the_blocks_one_after_the_other(counts, start):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rng, "BLOCK", 16)
        pieces, once = (Draws([7, 8], "memory", CPU) for _ in range(2))
        pieces.position = once.position = start
        end = start + sum(counts)
        drawn = [pieces.uniform(count) for count in counts]
        assert [piece.shape for piece in drawn] == [(2, count) for count in counts]
        joined = torch.cat([torch.empty(2, 0), *drawn], dim=1)
        assert torch.equal(joined, whole([7, 8], end // 16 + 1)[:, start:end])
        assert torch.equal(joined, once.uniform(end - start))
        assert pieces.position == once.position == end


@pytest.mark.parametrize("count", [rng.BLOCK, rng.BLOCK + 1, 3 * rng.BLOCK + 5])
def test_a_draw_may_be_larger_than_a_block(count):
    draws = Draws([7], "memory", CPU)
    draws.uniform(9)
    assert torch.equal(draws.uniform(count), whole([7], 5)[:, 9 : 9 + count])


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=10), cut=st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_position_is_the_whole_state(counts, cut):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rng, "BLOCK", 16)
        draws, resumed = (Draws([7, 8], "memory", CPU) for _ in range(2))
        for count in counts[:cut]:
            draws.uniform(count)
        resumed.uniform(3)
        resumed.position = draws.position
        for count in counts[cut:]:
            assert torch.equal(draws.uniform(count), resumed.uniform(count))


def test_going_back_gives_the_same_numbers_again(small_blocks):
    draws = Draws([7], "memory", CPU)
    start, first = draws.position, [draws.uniform(10), draws.uniform(10)]
    draws.position = start
    assert all(map(torch.equal, first, [draws.uniform(10), draws.uniform(10)]))


def test_draws_are_uniform_within_and_across_blocks(monkeypatch):
    monkeypatch.setattr(rng, "BLOCK", 100)
    draws = Draws([1, 2, 3, 4], "memory", CPU)
    found = torch.cat([draws.uniform(25) for _ in range(200)], dim=1)
    assert found.min() >= 0
    assert found.max() < 1
    assert found.unique().numel() > 0.99 * found.numel()
    for row in found:
        assert stats.kstest(row.numpy(), "uniform").pvalue > 0.001
    assert torch.corrcoef(found).fill_diagonal_(0).abs().max() < 4 / found.shape[1] ** 0.5
