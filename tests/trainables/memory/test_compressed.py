"""Compressed sequences against slow loops and published sizes; their memory against the stream."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spiking_digits import STEPS, SpikingDigits

from trainables.memory.compressed import Codec, CompressedMemory, Packed
from trainables.rng import generator
from trainables.streams.datasets import load

T, UNITS = 12, 5
RATIOS = (1, 2, 3, 4, 6, 12)
SPIKES = ("binary", "sums")
KINDS = (*SPIKES, "amounts", "currents")


def codec(kind, ratio, bits=1, steps=T, units=UNITS):
    return Codec(kind, steps, units, ratio, bits)


def sequences(kind, bits=1, seed=0):
    """Sequences [2, 7, T, UNITS] of what a codec is made for."""
    draw = generator(seed, kind, bits)
    if kind == "currents":
        return torch.randn(2, 7, T, UNITS, generator=draw)
    drawn = torch.randint(2**bits, (2, 7, T, UNITS), generator=draw)
    return (drawn * (torch.rand(2, 7, T, UNITS, generator=draw) < 0.6)).float()


def slowly(kind, sequence, ratio):
    """One sequence [T, units] in windows, [T', units], and what they expand to; one by one."""
    steps, units = sequence.shape
    kept = np.zeros((steps // ratio, units))
    expanded = np.zeros((steps, units))
    for window in range(steps // ratio):
        for unit in range(units):
            for step in range(ratio):
                value = sequence[window * ratio + step, unit]
                if kind == "binary":
                    kept[window, unit] = max(kept[window, unit], value > 0)
                else:
                    kept[window, unit] += value
            for step in range(ratio):
                if kind == "sums":
                    expanded[window * ratio + step, unit] = step < kept[window, unit]
                elif step == 0:
                    expanded[window * ratio, unit] = kept[window, unit]
    return kept, expanded


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(
    ("kind", "bits"), [("binary", 1), ("sums", 1), ("amounts", 1), ("amounts", 3), ("currents", 1)]
)
def test_sequences_are_those_of_a_slow_loop(kind, bits, ratio):
    given, found = sequences(kind, bits), codec(kind, ratio, bits)
    kept = found.compress(given)
    assert kept.shape == (2, 7, found.size)
    assert kept.dtype == torch.uint8
    assert kept.max() <= 1
    for seed, sample in np.ndindex(2, 7):
        _, expected = slowly(kind, given[seed, sample].numpy(), ratio)
        alone = found.expand(kept[seed, sample])
        torch.testing.assert_close(alone, torch.from_numpy(expected).float())
        assert torch.equal(found.expand(kept)[seed, sample], alone)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_a_ratio_of_one_changes_nothing(kind, bits):
    given = sequences(kind, bits if kind == "amounts" else 1)
    found = codec(kind, 1, bits)
    again = found.expand(found.compress(given))
    assert torch.equal(again.view(torch.int32), given.view(torch.int32))  # to the last bit


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("kind", SPIKES)
def test_what_is_kept_is_kept_when_compressed_again(kind, ratio):
    found = codec(kind, ratio)
    kept = found.compress(sequences(kind))
    assert torch.equal(found.compress(found.expand(kept)), kept)


spike_trains = st.lists(
    st.lists(st.booleans(), min_size=UNITS, max_size=UNITS), min_size=T, max_size=T
)


@given(spike_trains, st.sampled_from(RATIOS))
@settings(deadline=None)
def test_binary_spikes_are_one_for_each_window_that_has_any(trains, ratio):
    given_spikes, found = torch.tensor(trains).float(), codec("binary", ratio)
    expanded = found.expand(found.compress(given_spikes))
    places = expanded.nonzero()[:, 0]
    assert not (places % ratio).any()
    full = {(t // ratio, u) for t, row in enumerate(trains) for u, fired in enumerate(row) if fired}
    assert expanded.sum() == len(full) <= given_spikes.sum()


@given(spike_trains, st.sampled_from(RATIOS))
@settings(deadline=None)
def test_sums_lose_no_spike_of_any_unit(trains, ratio):
    given_spikes, found = torch.tensor(trains).float(), codec("sums", ratio)
    expanded = found.expand(found.compress(given_spikes))
    assert torch.equal(expanded.sum(0), given_spikes.sum(0))
    assert set(expanded.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
def test_amounts_are_preserved(bits, ratio):
    """The greatest too: every number is as large as it can be."""
    for counts in (sequences("amounts", bits), torch.full((T, UNITS), 2.0**bits - 1)):
        found = codec("amounts", ratio, bits)
        expanded = found.expand(found.compress(counts))
        assert torch.equal(expanded.sum(-2), counts.sum(-2))


# -- sizes


@pytest.mark.parametrize(
    ("found", "bits"),
    [
        (Codec("binary", 100, 50, 10), 10 * 50),
        (Codec("sums", 100, 50, 10), 10 * 50 * 4),  # 0 to 10
        (Codec("sums", 100, 50, 100), 50 * 7),  # 0 to 100
        (Codec("sums", 100, 50, 1), 100 * 50),
        (Codec("amounts", 100, 700, 1, 1), 100 * 700),
        (Codec("amounts", 100, 700, 1, 3), 100 * 700 * 3),
        (Codec("amounts", 100, 700, 10, 3), 10 * 700 * 7),  # 0 to 70
        (Codec("amounts", 100, 700, 100, 3), 700 * 10),  # 0 to 700
        (Codec("currents", 100, 200, 1), 100 * 200 * 32),
        (Codec("currents", 100, 30, 100), 30 * 32),
    ],
)
def test_a_number_takes_the_bits_of_the_greatest(found, bits):
    assert found.size == bits
    assert found.compress(torch.ones(found.steps, found.units)).numel() == bits


@pytest.mark.parametrize(
    ("units", "windows", "published"),
    [
        (700, 100, 22_400_000),
        (200, 100, 6_400_000),
        (100, 100, 3_200_000),
        (50, 100, 1_600_000),
        (50, 10, 160_000),
    ],
)
def test_2560_sequences_take_the_published_bytes_and_their_labels(units, windows, published):
    found = Codec("binary", 100, units, 100 // windows)
    bits = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(1, 2560, found.size)
    held = packed(found, bits, torch.zeros(1, 2560, dtype=torch.uint8), 640)
    assert held.octets.numel() == published
    assert held.footprint()["memory"] == published + 2560


def packed(found, bits, labels, at_once):
    """Sequences packed so many at a time."""
    parts = zip(bits.split(at_once, 1), labels.split(at_once, 1), strict=True)
    return Packed(found, len(labels), labels.device, parts)


def all_bits(held):
    """The bits of all samples, and of all seeds at once."""
    return held.bits(torch.arange(len(held)).expand(len(held.labels), -1))


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 20])
@pytest.mark.parametrize("size", [1, 12, 500])
def test_eight_samples_share_bytes_as_numpy_packs_them(count, size, at_once):
    bits = torch.randint(2, (3, count, size), generator=generator(count, "bits", size))
    bits = bits.to(torch.uint8)
    labels = torch.arange(3 * count, dtype=torch.uint8).view(3, count)
    held = packed(Codec("binary", size, 1), bits, labels, at_once)
    np.testing.assert_array_equal(held.octets.numpy(), np.packbits(bits.numpy(), axis=1))
    assert torch.equal(all_bits(held), bits)
    assert torch.equal(held.labels, labels)


def test_packed_sequences_are_gathered_by_slot():
    found, given = codec("binary", 1), sequences("binary")
    labels = torch.arange(14, dtype=torch.uint8).view(2, 7)
    held = packed(found, found.compress(given), labels, 3)
    slots = torch.tensor([[6, 0, 0], [1, 2, 5]])
    got, names = held.gather(slots)
    assert len(held) == 7
    assert names.dtype == torch.long
    assert names.tolist() == [[6, 0, 0], [8, 9, 12]]
    for seed, place in np.ndindex(2, 3):
        assert torch.equal(got[seed, place], given[seed, slots[seed, place]])


# -- the memory

SEEDS = (3, 4, 5)
RAW = Codec("amounts", STEPS, 64)  # pixels as they come, so that samples can be looked up


def digits_stream(scenario="class", seeds=SEEDS, phase="tune", **options):
    given = SpikingDigits.Options.parse({"class_order": "shuffled"} | options)
    return SpikingDigits(load("digits", None), scenario, seeds, phase, given)


def turned(inputs, found):
    for some in inputs.split(10, dim=1):
        yield found.compress(some.view(*some.shape[:2], STEPS, 64))


def memory(share, seeds=SEEDS):
    return CompressedMemory(seeds, RAW, torch.device("cpu"), share, turned)


def held_samples(found, seed):
    """What a seed holds, decoded: each sample as bytes, with its label."""
    slots = torch.arange(len(found)).expand(len(found.seeds), -1)
    inputs, labels = found.held.gather(slots)
    rows = inputs[seed].flatten(1).to(torch.uint8)
    return [
        (row.numpy().tobytes(), label)
        for row, label in zip(rows, labels[seed].tolist(), strict=True)
    ]


def samples_at(stream, index, scored=False):
    """Samples of one seed as bytes, with the class that the data give them."""
    source = -1 if scored else 0
    labels = stream.labels[source][index].tolist()
    return [
        (row.numpy().tobytes(), label)
        for row, label in zip(stream.images[source][index], labels, strict=True)
    ]


def fill(found, stream, tasks):
    for index in range(tasks):
        found.end_task(stream.task(index))
    return found


def test_what_is_held_are_samples_of_finished_tasks_and_none_that_are_scored():
    stream, found = digits_stream(), memory(lambda classes: 60 // classes)
    for index in range(stream.tasks):
        found.end_task(stream.task(index))
        for seed in range(len(SEEDS)):
            held = held_samples(found, seed)
            learnt = [stream.pool(t)[0][seed] for t in range(index + 1)]
            scored = [stream.scored(t)[0][seed] for t in range(stream.tasks)]
            assert len(set(held)) == len(held)
            assert set(held) <= set(samples_at(stream, torch.cat(learnt)))
            assert not set(held) & set(samples_at(stream, torch.cat(scored), scored=True))


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_every_class_has_the_same_share_of_what_is_held(scenario):
    """In the domain scenario an output stands for a class of each task, and each has its share."""
    stream, found = digits_stream(scenario), memory(lambda classes: 60 // classes)
    for index in range(stream.tasks):
        found.end_task(stream.task(index))
        seen = 2 * (index + 1)
        assert len(found) == seen * (60 // seen)
        assert found.shares == [60 // seen] * seen
        for seed in range(len(SEEDS)):
            classes = stream.task_classes[seed, : index + 1].flatten().tolist()
            labels = found.held.labels[seed].tolist()
            names = classes if scenario == "class" else [0, 1] * (index + 1)
            assert labels == [name for name in names for _ in range(60 // seen)]


def test_a_class_that_shrinks_keeps_its_first_part():
    stream, found = digits_stream(), memory(lambda classes: 90 // classes)
    found.end_task(stream.task(0))
    before = torch.split(all_bits(found.held), found.shares, dim=1)
    found.end_task(stream.task(1))
    after = torch.split(all_bits(found.held), found.shares, dim=1)
    assert [block.shape[1] for block in (*before, *after)] == [45, 45, 22, 22, 22, 22]
    for old, new in zip(before, after[:2], strict=True):
        assert torch.equal(old[:, :22], new)


def test_a_share_that_is_larger_than_a_class_is_all_that_every_seed_has():
    """Of a class of each seed's own: so many as the smallest of the data has."""
    stream = digits_stream()
    found = fill(memory(lambda classes: 10_000), stream, 2)
    smallest = min(map(len, stream.pools_learnt))
    assert found.shares == [smallest] * 4


def test_a_share_that_stays_is_never_cut():
    stream = digits_stream()
    found = memory(lambda classes: 7)
    found.end_task(stream.task(0))
    first = all_bits(found.held)
    for index in range(1, 5):
        found.end_task(stream.task(index))
    assert torch.equal(all_bits(found.held)[:, :14], first)
    assert len(found) == 70


def test_samples_are_drawn_at_random_and_by_the_seed():
    """Each seed its own, whatever the stack; neither the first of a class nor in their order."""
    stream = digits_stream(class_order="fixed")
    found = fill(memory(lambda classes: 20), stream, 1)
    for place, seed in enumerate(SEEDS):
        alone = digits_stream(seeds=(seed,), class_order="fixed")
        mine = fill(memory(lambda classes: 20, (seed,)), alone, 1)
        assert torch.equal(mine.held.octets[0], found.held.octets[place])
        rows = {
            sample: k for k, (sample, _) in enumerate(samples_at(stream, stream.pools_learnt[0]))
        }
        places = [rows[sample] for sample, label in held_samples(found, place) if label == 0]
        assert places != sorted(places)
        assert max(places) > 40
    assert len({tuple(held_samples(found, place)) for place in range(3)}) == 3


def test_every_sample_is_as_likely_to_be_held():
    """Of 40 seeds that hold 20 of a class, the mean place in the class is within 4 errors."""
    seeds = tuple(range(40))
    stream = digits_stream(seeds=seeds, class_order="fixed")
    found = fill(memory(lambda classes: 20, seeds), stream, 1)
    rows = {sample: k for k, (sample, _) in enumerate(samples_at(stream, stream.pools_learnt[0]))}
    places = [
        rows[sample] for s in range(40) for sample, label in held_samples(found, s) if label == 0
    ]
    count = len(rows)
    error = math.sqrt((count**2 - 1) / 12 / len(places))
    assert abs(np.mean(places) - (count - 1) / 2) < 4 * error


def test_its_bytes_are_those_of_its_tensors():
    found = fill(memory(lambda classes: 9), digits_stream(), 3)
    held = found.footprint()["memory"]
    assert held == 7 * STEPS * 64 + 54  # 54 samples, eight to a byte, and labels
    assert held * len(SEEDS) == found.held.octets.numel() + found.held.labels.numel()
