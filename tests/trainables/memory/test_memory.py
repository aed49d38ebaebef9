"""Replay memories against plain Python, one sample at a time."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables import rng
from trainables.memory import BalancedMemory, ReservoirMemory
from trainables.rng import Draws
from trainables.streams import Batch, StreamInfo
from trainables.streams.views import Views
from trainables.testing import make_stream

CPU = torch.device("cpu")
TOY = StreamInfo("toy", "class", inputs=3, outputs=10, scale=1 / 255, tasks=5)


def numbered(start, count, seeds):
    """Return a batch whose samples tell their place in the stream and their seed."""
    place = torch.arange(start, start + count).expand(len(seeds), -1)
    own = torch.tensor(seeds).unsqueeze(1).expand(-1, count)
    inputs = torch.stack([place // 256, place % 256, own], dim=2).to(torch.uint8)
    return Batch(inputs, place % 10, None)


def places(inputs):
    """Read the place of each sample in the stream, [S, M]."""
    return inputs[..., 0].long() * 256 + inputs[..., 1].long()


def fill(memory, seeds, sizes):
    seen = 0
    for size in sizes:
        memory.observe(numbered(seen, size, seeds))
        seen += size
    return memory


def one_at_a_time(seed, capacity, sizes):
    """Vitter's algorithm in plain Python with the numbers that the memory draws."""
    draws, slots, seen = Draws([seed], "reservoir", CPU), [], 0
    for size in sizes:
        for number in draws.uniform(size)[0].tolist():
            if seen < capacity:
                slots.append(seen)
            elif (slot := int(number * (seen + 1))) < capacity:
                slots[slot] = seen
            seen += 1
    return slots


@given(
    st.integers(1, 20),
    st.lists(st.integers(1, 40), max_size=12),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
@settings(max_examples=150, deadline=None)
def test_inserting_a_batch_equals_inserting_one_at_a_time(capacity, sizes, seeds):
    memory = fill(ReservoirMemory(seeds, TOY, CPU, capacity), seeds, sizes)
    held = len(memory)
    assert held == min(sum(sizes), capacity)
    for row, seed in enumerate(seeds):
        expected = one_at_a_time(seed, capacity, sizes)
        assert places(memory.inputs)[row, :held].tolist() == expected
        assert memory.labels[row, :held].tolist() == [place % 10 for place in expected]
        assert (memory.inputs[row, :held, 2] == seed).all()


def test_of_two_samples_of_a_batch_on_one_slot_the_later_stays(monkeypatch):
    monkeypatch.setattr(rng.Draws, "uniform", lambda self, count: torch.full((1, count), 0.3))
    memory = fill(ReservoirMemory([0], TOY, CPU, 4), [0], [4])
    memory.observe(numbered(4, 3, [0]))  # slots int(.3 * 5) = 1, int(.3 * 6) = 1, int(.3 * 7) = 2
    assert places(memory.inputs)[0, :4].tolist() == [0, 5, 6, 3]


def test_every_sample_of_the_stream_is_equally_likely_to_be_held(monkeypatch):
    monkeypatch.setattr(rng, "BLOCK", 512)
    seeds, capacity, length = tuple(range(600)), 20, 203
    memory = ReservoirMemory(seeds, TOY, CPU, capacity)
    fill(memory, seeds, [7] * (length // 7))
    held = places(memory.inputs)[:, :capacity]
    assert all(len(set(row)) == capacity for row in held.tolist())
    counts = torch.bincount(held.flatten(), minlength=length).double()
    share = capacity / length
    # without replacement within a seed: the variance of a count is n p (1 - p)
    statistic = ((counts - len(seeds) * share).square() / (len(seeds) * share * (1 - share))).sum()
    assert 0.001 < stats.chi2.sf(statistic.item() * (length - 1) / length, length - 1) < 0.999


@pytest.mark.parametrize("filled", [5, 20, 203])
def test_samples_are_drawn_uniformly_from_what_is_held(filled, monkeypatch):
    monkeypatch.setattr(rng, "BLOCK", 8192)
    seeds = (3, 4)
    memory = fill(ReservoirMemory(seeds, TOY, CPU, 20), seeds, [filled])
    drawn = torch.cat([places(memory.sample(100)[0]) for _ in range(60)], dim=1)
    for row, held in zip(drawn, places(memory.inputs)[:, : len(memory)], strict=True):
        counts = [(row == place).sum().item() for place in held]
        assert sum(counts) == 6000
        assert stats.chisquare(counts).pvalue > 0.001


def test_a_drawn_sample_keeps_its_label_and_its_seed():
    seeds = (3, 4)
    memory = fill(ReservoirMemory(seeds, TOY, CPU, 20), seeds, [50, 50])
    inputs, labels = memory.sample(200)
    assert inputs.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.equal(places(inputs) % 10, labels)
    assert (inputs[..., 2] == torch.tensor(seeds).unsqueeze(1)).all()


@pytest.mark.parametrize("order", [(5,), (6, 5), (7, 5, 9)])
def test_a_reservoir_does_not_depend_on_its_stack(order):
    sizes = [13, 2, 30, 1]
    memory = fill(ReservoirMemory(order, TOY, CPU, 10), order, sizes)
    alone = fill(ReservoirMemory((5,), TOY, CPU, 10), (5,), sizes)
    place = order.index(5)
    assert torch.equal(memory.inputs[place, :10], alone.inputs[0, :10])
    assert torch.equal(memory.sample(30)[0][place], alone.sample(30)[0][0])


@pytest.mark.parametrize("sizes", [[], [3], [7, 7], [40]])
def test_footprint_counts_the_samples_held_with_their_labels(sizes):
    memory = fill(ReservoirMemory((1, 2), TOY, CPU, 10), (1, 2), sizes)
    assert memory.footprint()["memory"] == min(sum(sizes), 10) * (3 + 1)


def test_a_reservoir_resumes_where_it_was():
    memory, other = (ReservoirMemory((1, 2), TOY, CPU, 10) for _ in range(2))
    fill(memory, (1, 2), [8, 8])
    other.load(memory.state())
    for held in (memory, other):
        held.inputs, held.labels = held.inputs.clone(), held.labels.clone()
        held.observe(numbered(16, 30, (1, 2)))
    assert torch.equal(memory.inputs[:, :10], other.inputs[:, :10])
    assert all(map(torch.equal, memory.sample(9), other.sample(9)))


# -- balanced
# ---------------------------------------------------------------------------------------


def balanced(total, seeds=(1, 2), tasks=5, share=None):
    """Return a memory after each task of the digits stream, and the stream."""
    stream = make_stream("class", seeds)
    memory = BalancedMemory(seeds, stream.info, CPU, share or (lambda done: total // done))
    after = []
    for index in range(tasks):
        memory.end_task(stream.task(index))
        after.append((list(memory.shares), memory.inputs.clone(), memory.labels.clone()))
    return stream, memory, after


@pytest.mark.parametrize("total", [5, 103, 1000])
def test_each_finished_task_has_an_equal_share_of_the_total(total):
    stream, _, after = balanced(total)
    for done, (shares, inputs, labels) in enumerate(after, start=1):
        sizes = [stream.task(k).size for k in range(done)]
        assert shares == [min(total // done, size) for size in sizes]
        assert inputs.shape[1] == labels.shape[1] == sum(shares) <= total


@pytest.mark.parametrize("per_task", [1, 20, 239, 10_000])
def test_a_share_can_stay_the_same(per_task):
    stream, _, after = balanced(None, share=lambda done: per_task)
    for done, (shares, _, labels) in enumerate(after, start=1):
        assert shares == [min(per_task, stream.task(k).size) for k in range(done)]
        assert labels.shape[1] == sum(shares)


def test_what_is_kept_is_drawn_apart_from_what_is_replayed():
    stream, memory, _ = balanced(50, tasks=1)
    kept, replayed = (stream.task(0).sample(50, name).inputs for name in ("kept", "memory"))
    assert torch.equal(memory.inputs, kept)
    assert not torch.equal(memory.inputs, replayed)


def pairs(images, labels):
    """Return samples as something to compare."""
    return [(tuple(i.tolist()), int(c)) for i, c in zip(images, labels, strict=True)]


def test_a_share_holds_different_samples_of_its_own_task():
    stream, _, after = balanced(103)
    shares, inputs, labels = after[-1]
    for task, (block, kinds) in enumerate(
        zip(inputs.split(shares, 1), labels.split(shares, 1), strict=True)
    ):
        assert set(kinds.unique().tolist()) == {2 * task, 2 * task + 1}
        for row, seed_kinds, pool in zip(block, kinds, stream.pool(task)[0], strict=True):
            images, classes = stream.gather(pool.unsqueeze(0))
            known = pairs(images[0], classes[0])
            held = pairs(row, seed_kinds)
            assert set(held) <= set(known)
            assert len(set(held)) == len(held)


def test_a_smaller_share_is_the_first_part_of_the_larger():
    _, _, after = balanced(103)
    for (before, old, old_labels), (shares, new, new_labels) in pairwise(after):
        for was, now in ((old, new), (old_labels, new_labels)):
            blocks = zip(was.split(before, 1), now.split(shares, 1), shares, strict=False)
            assert all(torch.equal(block[:, :share], kept) for block, kept, share in blocks)


def test_balanced_samples_are_drawn_uniformly():
    _, memory, _ = balanced(50)
    inputs = torch.cat([memory.sample(1000)[0] for _ in range(5)], dim=1)
    for row, held in zip(inputs, memory.inputs, strict=True):
        kinds, weights = held.unique(dim=0, return_counts=True)
        counts = [(row == kind).all(1).sum().item() for kind in kinds]
        assert sum(counts) == 5000
        assert stats.chisquare(counts, weights.numpy() * 5000 / len(held)).pvalue > 0.001


def test_a_balanced_memory_does_not_depend_on_its_stack():
    _, together, _ = balanced(103, seeds=(2, 1, 9))
    _, alone, _ = balanced(103, seeds=(1,))
    assert torch.equal(together.inputs[1], alone.inputs[0])
    assert torch.equal(together.labels[1], alone.labels[0])
    assert torch.equal(together.sample(30)[0][1], alone.sample(30)[0][0])


def test_seeds_hold_different_samples():
    _, memory, _ = balanced(103)
    assert not torch.equal(memory.inputs[0], memory.inputs[1])


def test_balanced_footprint_counts_samples_and_labels():
    _, memory, _ = balanced(103)
    held = memory.inputs[0].numel() + memory.labels[0].numel()
    assert memory.footprint()["memory"] == held == 100 * (64 + 1)


# -- drawn evenly from each task
# -------------------------------------------------------------------------


def of_tasks(shares, seeds=(1, 2)):
    """Return a memory with so many samples of each task; labels tell the task, inputs the slot."""
    memory = BalancedMemory(seeds, TOY, CPU, None)
    memory.shares = list(shares)
    memory.inputs = numbered(0, sum(shares), seeds).inputs
    owners = [task for task, share in enumerate(shares) for _ in range(share)]
    memory.labels = torch.tensor(owners, dtype=torch.uint8).repeat(len(seeds), 1)
    return memory


def counts_of(shares, count):
    """How many a draw takes of each task, one sample at a time; and how many are still missing."""
    tasks = len(shares)
    taken = [0] * tasks
    for task in range(tasks):
        while taken[task] < max(1, count // tasks) and taken[task] < shares[task]:
            if sum(taken) == count:
                break
            taken[task] += 1
    for task in range(tasks):
        while sum(taken) < count and taken[task] < shares[task]:
            taken[task] += 1
    return taken, count - sum(taken)


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(1, 80),
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
@settings(max_examples=150, deadline=None)
def test_as_many_are_drawn_of_each_task_and_none_twice_while_there_are_others(shares, count, seeds):
    memory = of_tasks(shares, seeds)
    slots = memory.draw_evenly(count)
    assert slots.shape == (len(seeds), count)
    wanted, missing = counts_of(shares, count)
    owners = memory.gather(slots)[1]
    for row, tasks in zip(slots.tolist(), owners.tolist(), strict=True):
        assert all(0 <= slot < sum(shares) for slot in row)
        first = count - missing
        assert [tasks[:first].count(task) for task in range(len(shares))] == wanted
        assert len(set(row[:first])) == first
        assert not missing or set(row) == set(range(sum(shares)))
    if not missing and min(shares) * len(shares) >= count:
        assert max(wanted) - min(wanted) <= max(count % len(shares), count < len(shares))


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        ([200], 64, [64]),
        ([200] * 3, 64, [22, 21, 21]),
        ([200] * 5, 64, [16, 12, 12, 12, 12]),
        ([200] * 4, 64, [16, 16, 16, 16]),
        ([22, 200, 200], 66, [22, 22, 22]),
        ([10, 200, 30], 64, [10, 33, 21]),
        ([5, 6, 40], 64, [5, 6, 40]),
        ([200] * 5, 3, [1, 1, 1, 0, 0]),
        ([200] * 5, 1, [1, 0, 0, 0, 0]),
    ],
    ids=str,
)
def test_counts_of_an_even_draw_by_hand(shares, count, expected):
    memory = of_tasks(shares)
    for _ in range(3):
        tasks = memory.gather(memory.draw_evenly(count))[1][:, : sum(expected)]
        assert all([row.count(t) for t in range(len(shares))] == expected for row in tasks.tolist())


def test_what_an_even_draw_misses_is_drawn_from_all_that_is_held(monkeypatch):
    monkeypatch.setattr(rng, "BLOCK", 4096)
    memory = of_tasks([3, 9])
    drawn = torch.cat([memory.draw_evenly(72)[:, 12:] for _ in range(40)], dim=1)
    for row in drawn:
        assert stats.chisquare(torch.bincount(row, minlength=12).numpy()).pvalue > 0.001


def test_every_sample_of_a_task_is_equally_likely_in_an_even_draw(monkeypatch):
    monkeypatch.setattr(rng, "BLOCK", 4096)
    memory, draws = of_tasks([11, 20, 7]), 1500
    drawn = torch.cat([memory.draw_evenly(12) for _ in range(draws)], dim=1)
    for row in drawn:
        counts = torch.bincount(row, minlength=38).double()
        for part in counts.split([11, 20, 7]):
            share = 4 / len(part)
            # without replacement: the counts of a draw vary by n p (1 - p) and are dependent
            expected = draws * share
            statistic = ((part - expected).square() / (expected * (1 - share))).sum()
            freedom = len(part) - 1
            assert 0.001 < stats.chi2.sf(statistic.item() * freedom / len(part), freedom) < 0.999


@pytest.mark.parametrize("order", [(5,), (6, 5), (7, 5, 9)])
def test_an_even_draw_does_not_depend_on_its_stack(order):
    memory, alone = of_tasks([20, 20, 20], order), of_tasks([20, 20, 20], (5,))
    for count in (12, 64, 7):
        found = memory.draw_evenly(count)
        assert torch.equal(found[order.index(5)], alone.draw_evenly(count)[0])
    assert memory.draws.position == alone.draws.position
    assert len({tuple(row) for row in found.tolist()}) == len(order)


def test_an_even_draw_is_new_each_time_and_resumes_where_it_was():
    memory, other = of_tasks([20, 20]), of_tasks([1])
    first, second = memory.draw_evenly(10), memory.draw_evenly(10)
    assert not torch.equal(first, second)
    other.load(memory.state())
    assert torch.equal(other.draw_evenly(10), memory.draw_evenly(10))


@pytest.mark.parametrize("even", [True, False])
def test_drawing_from_another_stream_changes_nothing_afterwards(even):
    memory, other = (of_tasks([20, 20]) for _ in range(2))

    def draw(held):
        return held.draw_evenly(10) if even else held.draw(10)

    start = draw(memory)
    assert torch.equal(draw(other), start)
    with other.drawing("consolidation"):
        apart = [draw(other), draw(other)]
        other.views.draws.uniform(5)
    assert torch.equal(draw(other), draw(memory))
    assert other.views.draws.position == 0
    assert not any(torch.equal(drawn, start) for drawn in apart)
    with memory.drawing("consolidation"):
        assert all(map(torch.equal, apart, [draw(memory), draw(memory)]))


# -- what is held in slots
# -------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=2, max_size=2))
@settings(max_examples=30, deadline=None)
def test_gathered_samples_are_those_in_the_slots_of_each_seed(slots):
    seeds = (3, 4)
    reservoir = fill(ReservoirMemory(seeds, TOY, CPU, 10), seeds, [7, 30])
    for memory in (reservoir, of_tasks([6, 9], seeds)):
        inputs, labels = memory.gather(torch.tensor(slots))
        assert (inputs.dtype, labels.dtype) == (torch.uint8, torch.int64)
        for row, own in enumerate(slots):
            for place, slot in enumerate(own):
                assert inputs[row, place].tolist() == memory.inputs[row, slot].tolist()
                assert labels[row, place].item() == memory.labels[row, slot].item()


def test_gathering_nothing_gives_nothing():
    inputs, labels = of_tasks([6, 9]).gather(torch.empty(2, 0, dtype=torch.long))
    assert inputs.shape == (2, 0, 3)
    assert labels.shape == (2, 0)


GREY = StreamInfo(
    "toy",
    "class",
    inputs=16,
    outputs=10,
    scale=1.0,
    tasks=5,
    shape=(4, 4),
    augmentation="crop_flip",
)


def test_what_is_kept_is_without_augmentation_and_what_is_sampled_is_a_view():
    seeds = (3, 4)
    memory = ReservoirMemory(seeds, GREY, CPU, 10)
    originals = torch.arange(1, 161, dtype=torch.uint8).view(1, 10, 16).expand(2, -1, -1)
    labels = torch.arange(10).expand(2, -1)
    memory.observe(Batch(originals.flip(2), labels, None, originals))
    assert torch.equal(memory.inputs[:, :10], originals)
    slots, views = (
        Draws(seeds, "memory", CPU),
        Views("crop_flip", (4, 4), seeds, "memory views", CPU),
    )
    for _ in range(2):
        chosen = (slots.uniform(6) * 10).long()
        inputs, labels = memory.sample(6)
        assert torch.equal(labels, chosen)
        picked = torch.stack([own[slot] for own, slot in zip(originals, chosen, strict=True)])
        assert torch.equal(inputs, views(picked))
        assert not torch.equal(inputs, picked)
