"""Streams of spike trains, on a small data set whose every sample is known, and on real speech."""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from spike_files import columns, drawn, write

from trainables import STREAMS, InputError
from trainables.streams import spikes
from trainables.streams.datasets import find_dataset, load, suspicions
from trainables.streams.stream import PHASES

SPEAKER, CLASS, PROGRESSIVE = KINDS = (
    "speaker_incremental",
    "class_incremental_one",
    "progressive_classes",
)
SEEDS = (0, 4, 13)
STEPS, BITS = 10, 2
CLASSES, SPEAKERS = 10, 6


def takes(speaker, label, split):
    """Samples of a speaker and a class: seeds and classes get different numbers of them."""
    return 11 + (3 * speaker + label) % 5 if split == "train" else 2 + (speaker + label) % 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The data, and for each sample as a stream gives it: split, speaker, class, place in file."""
    root, rng = tmp_path_factory.mktemp("speech"), np.random.default_rng(8)
    known = {}
    for split in ("train", "test"):
        pairs = [
            (speaker, label)
            for speaker in range(SPEAKERS)
            for label in range(CLASSES)
            for _ in range(takes(speaker, label, split))
        ]
        samples = [drawn(rng, label, speaker) for speaker, label in rng.permutation(pairs).tolist()]
        write(root / "spoken_digits" / f"{split}.h5", columns(samples))
        for row, sample in enumerate(samples):
            seen = sample.dense(STEPS, 1.4, 2**BITS - 1).tobytes()
            known[seen] = (split, sample.speaker, sample.label, row)
    return load("spoken_digits", root), known


@pytest.fixture(scope="session")
def spoken(tmp_path_factory):
    """The real spoken digits from the data root, which is only read: a cache is built elsewhere."""
    root = Path(os.environ.get("STUDY_DATA", ""))
    if not os.environ.get("STUDY_DATA") or not (root / "spoken_digits").exists():
        pytest.skip("STUDY_DATA does not name a data root that has the spoken digits")
    if (root / "spoken_digits.h5").exists():
        return load("spoken_digits", root)
    scratch = tmp_path_factory.mktemp("data")
    (scratch / "spoken_digits").symlink_to(root / "spoken_digits", target_is_directory=True)
    return load("spoken_digits", scratch)


def stream(data, name, seeds=SEEDS, phase="confirm", **options):
    kind = STREAMS[f"{name}_spoken_digits"]
    given = kind.Options.parse({"steps": STEPS, "bits": BITS} | options)
    return kind(data, kind.scenarios[0], seeds, phase, given)


@pytest.mark.parametrize("name", KINDS)
def test_prepared_data_are_what_a_stream_keeps(made, name):
    """Binned once, for as many streams as there are; prepared again they are the same arrays."""
    kind = STREAMS[f"{name}_spoken_digits"]
    given = kind.Options.parse({"steps": STEPS, "bits": BITS})
    prepared = kind.prepare(made[0], given)
    again = kind.prepare(prepared, given)
    assert all(again[split][key] is prepared[split][key] for split in again for key in again[split])
    raw, ready = stream(made[0], name), stream(prepared, name)
    for plain, kept, split in zip(raw.images, ready.images, ("train", "test"), strict=True):
        assert torch.equal(plain, kept)
        assert np.shares_memory(kept.numpy(), prepared[split]["images"])
    for task in range(raw.tasks):
        for first, second in zip(raw.pool(task)[0], ready.pool(task)[0], strict=True):
            assert torch.equal(first, second)


def test_data_prepared_for_other_options_are_refused(made):
    kind = STREAMS["speaker_incremental_spoken_digits"]
    prepared = kind.prepare(made[0], kind.Options.parse({"steps": STEPS, "bits": BITS}))
    with pytest.raises(ValueError, match="samples of 1750 bytes instead of 2625"):
        kind.prepare(prepared, kind.Options.parse({"steps": STEPS, "bits": 3}))


def learnt_of(found, task, seed):
    """Indices of the samples that a seed learns in a task."""
    return found.pool(task)[0][seed]


def scored_of(found, task, seed):
    index, counts = found.scored(task)
    return index[seed][counts[seed]]


def identities(made, found, index, scored=False):
    """What the samples at some indices are, told by their spikes."""
    inputs, labels = found.gather(index.expand(len(found.seeds), -1), scored)
    told = [made[1][row.numpy().tobytes()] for row in inputs[0]]
    assert [label for _, _, label, _ in told] == labels[0].tolist()
    return told


def tasks_of(made, found):
    """For each task and seed, what is learnt and what is scored."""
    for task in range(found.tasks):
        for s in range(len(found.seeds)):
            learnt = identities(made, found, learnt_of(found, task, s))
            yield task, s, learnt, identities(made, found, scored_of(found, task, s), True)


def last_tenth(made):
    """Validation samples by plain counting: the last of each speaker's of a class, one in ten."""
    groups = defaultdict(list)
    for split, speaker, label, row in made[1].values():
        if split == "train":
            groups[speaker, label].append((row, (split, speaker, label, row)))
    ordered = [[told for _, told in sorted(group)] for group in groups.values()]
    return {told for group in ordered for told in group[-max(len(group) // 10, 1) :]}


OPTIONS = {
    SPEAKER: ({}, {"left_out": 2}),
    CLASS: ({}, {"left_out": 2}),
    PROGRESSIVE: ({}, {"class_order": "shuffled"}, {"first": 8, "class_order": "shuffled"}),
}
VARIANTS = [(name, options) for name in KINDS for options in OPTIONS[name]]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_each_sample_is_learnt_or_scored_once(name, options, phase, made):
    found = stream(made[0], name, phase=phase, **options)
    learnt, scored = defaultdict(list), defaultdict(list)
    for _, s, mine, tested in tasks_of(made, found):
        learnt[s] += mine
        scored[s] += tested
    validation = last_tenth(made)
    train = {told for told in made[1].values() if told[0] == "train"}
    test = set(made[1].values()) - train
    for s in range(len(SEEDS)):
        assert not set(learnt[s]) & set(scored[s])
        expected = (train - validation, validation) if phase == "tune" else (train, test)
        assert Counter(learnt[s]) == Counter(expected[0])
        assert Counter(scored[s]) == Counter(expected[1])


def test_validation_has_as_many_of_each_speaker_and_class(made):
    """A tenth of 11 to 15 samples: one of each of the 60 pairs."""
    pairs = Counter((speaker, label) for _, speaker, label, _ in last_tenth(made))
    assert pairs == Counter((s, c) for s in range(SPEAKERS) for c in range(CLASSES))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_tuning_does_not_need_the_test_samples(name, options, made):
    alone = {"train": made[0]["train"]}
    found = stream(alone, name, phase="tune", **options)
    whole = stream(made[0], name, phase="tune", **options)
    for task in range(found.tasks):
        assert all(map(torch.equal, found.pool(task)[0], whole.pool(task)[0]))
        assert torch.equal(found.scored(task)[0], whole.scored(task)[0])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_tasks_have_what_they_should(name, options, phase, made):
    found = stream(made[0], name, phase=phase, **options)
    for task, s, learnt, scored in tasks_of(made, found):
        for samples in (learnt, scored):
            speakers, labels = ({told[k] for told in samples} for k in (1, 2))
            if name == SPEAKER:
                out = options.get("left_out", SEEDS[s] % SPEAKERS)
                assert speakers == ({out} if task else set(range(SPEAKERS)) - {out})
                assert labels == set(range(CLASSES))
            elif name == CLASS:
                out = options.get("left_out", SEEDS[s] % CLASSES)
                assert labels == ({out} if task else set(range(CLASSES)) - {out})
                assert speakers == set(range(SPEAKERS))


@pytest.mark.parametrize("first", [None, 1, 3, 9])
@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_classes_come_one_by_one_after_the_first_task(order, first, made):
    options = {} if first is None else {"first": first}
    found = stream(made[0], PROGRESSIVE, class_order=order, **options)
    first = first or 5
    assert found.tasks == found.info.tasks == 1 + CLASSES - first
    orders = []
    for seed in range(len(SEEDS)):
        classes = [sorted(found.learnt_by_class(t)[seed]) for t in range(found.tasks)]
        assert [len(mine) for mine in classes] == [first] + [1] * (CLASSES - first)
        orders.append([c for mine in classes for c in mine])
        assert sorted(orders[-1]) == list(range(CLASSES))
        for task, mine in enumerate(classes):
            outputs = found.scenario.outputs_of(task)[seed, 0]
            assert outputs.nonzero().flatten().tolist() == mine
    fixed = [row == list(range(CLASSES)) for row in orders]
    assert all(fixed) is (order == "fixed")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_a_seed_is_the_same_in_any_stack(name, options, seed, made):
    """Which samples, how many steps, and how many a memory may count on."""
    alone = stream(made[0], name, (seed,), **options)
    stacked = stream(made[0], name, **options)
    place = SEEDS.index(seed)
    for task in range(alone.tasks):
        assert torch.equal(learnt_of(alone, task, 0), learnt_of(stacked, task, place))
        assert torch.equal(scored_of(alone, task, 0), scored_of(stacked, task, place))
        mine, theirs = alone.task(task), stacked.task(task)
        for size in ("size", "classes", "smallest_task_class", "smallest_class"):
            assert getattr(mine, size) == getattr(theirs, size)


@pytest.mark.parametrize("most", [0, 45, 60, 100])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_sizes_hold_for_every_seed(name, options, most, made):
    """Of as many seeds as classes and more, by counting: no seed misses a sample of its task, and
    none has fewer of a class than it is said to have.
    """
    found = stream(made[0], name, range(12), samples_per_task=most, **options)
    every, smallest = [], found.task(0).smallest_class
    told_for_any = name == PROGRESSIVE or (name == SPEAKER and options)  # not of these seeds only
    for index in range(found.tasks):
        task = found.task(index)
        largest = max(map(len, found.pool(index)[0]))
        classes = [len(rows) for by in found.learnt_by_class(index) for rows in by.values()]
        every += classes
        assert task.size >= largest
        assert task.smallest_task_class <= min(classes)
        assert told_for_any or task.size == largest
        if name == SPEAKER and not options:
            assert task.smallest_task_class == min(classes)
    assert smallest <= min(every)
    assert told_for_any or smallest == min(every)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_only_the_first_samples_of_a_task_are_learnt(name, options, made):
    whole, cut = (stream(made[0], name, samples_per_task=most, **options) for most in (0, 45))
    for task in range(whole.tasks):
        for s in range(len(SEEDS)):
            expected = sorted(learnt_of(whole, task, s).tolist())[:45]
            assert sorted(learnt_of(cut, task, s).tolist()) == expected
            assert torch.equal(scored_of(cut, task, s), scored_of(whole, task, s))


@pytest.mark.parametrize(("bits", "most"), [(1, 1), (2, 3), (8, 255)])
def test_inputs_are_counts_of_so_many_bits(bits, most, made):
    """That the counts are right is in every other test: samples are known by them."""
    found = stream(made[0], CLASS, bits=bits)
    inputs, _ = found.gather(torch.arange(50).expand(3, -1))
    assert inputs.max() == min(most, 2)
    info = found.info
    assert (info.steps, info.bits, info.shape, info.inputs) == (STEPS, bits, (STEPS, 700), 7000)


@pytest.mark.parametrize(("name", "unit", "count"), [(SPEAKER, "speaker", 6), (CLASS, "class", 10)])
def test_results_are_those_of_what_seeds_leave_out(name, unit, count):
    kind = STREAMS[f"{name}_spoken_digits"]
    free, given = kind.Options.parse({}), kind.Options.parse({"left_out": 3})
    assert kind.unit(free) == unit
    assert [kind.unit_of(seed, free) for seed in range(2 * count)] == [*range(count)] * 2
    assert kind.unit(given) == "seed"
    assert [kind.unit_of(seed, given) for seed in (0, 7, 100)] == [0, 7, 100]
    other = STREAMS[f"{PROGRESSIVE}_spoken_digits"]
    assert other.unit(other.Options.parse({})) == "seed"


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        (f"{SPEAKER}_spoken_digits", {"left_out": 6}, "left_out = 6: .*speaker; allowed: 0 to 5"),
        (f"{SPEAKER}_shd", {"left_out": 12}, "left_out = 12: .*speaker; allowed: 0 to 11"),
        (f"{CLASS}_spoken_digits", {"left_out": 10}, "left_out = 10: .*class; allowed: 0 to 9"),
        (f"{CLASS}_shd", {"left_out": 20}, "left_out = 20: .*class; allowed: 0 to 19"),
        (f"{PROGRESSIVE}_spoken_digits", {"first": 10}, "first = 10: .*10 classes.* 1 to 9"),
        (f"{PROGRESSIVE}_shd", {"first": 21}, "first = 21: .*20 classes.*allowed: 1 to 19"),
    ],
)
def test_what_is_not_there_cannot_be_left_out(name, options, told):
    """Said before any data is loaded."""
    kind = STREAMS[name]
    with pytest.raises(InputError, match=told):
        kind.describe(kind.scenarios[0], kind.Options.parse(options))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        (SPEAKER, "left_out", -1),
        (PROGRESSIVE, "first", 0),
        (CLASS, "steps", 1),
        (CLASS, "bits", 9),
        (CLASS, "seconds", 0.0),
        (CLASS, "augmentation", "crop_flip"),
    ],
)
def test_options_out_of_range_are_named(name, key, value):
    with pytest.raises(InputError, match=rf"\b{key}\b"):
        STREAMS[f"{name}_spoken_digits"].Options.parse({key: value})


# -- how much of a sample is seen


def later(data, seconds):
    """The data with every spike so much later."""
    return {
        split: trains | {"times": trains["times"].astype(np.float32) + np.float32(seconds)}
        for split, trains in data.items()
    }


@pytest.mark.parametrize("name", KINDS)
def test_a_stream_that_would_see_no_spike_is_refused(name, made):
    data = later(made[0], 2)
    told = r"stream\.seconds = 1\.4: every spike is later, from 2 s to 3"
    with pytest.raises(InputError, match=told):
        stream(data, name)
    assert stream(data, name, seconds=2.5).images[0].any()


def test_the_first_spike_must_come_before_the_end_of_what_is_seen():
    kind = STREAMS[f"{CLASS}_spoken_digits"]
    one = {"units": np.array([5]), "ends": np.array([1])}
    for time, seen in ((0.7, False), (0.69, True)):
        trains = (
            one | {"times": np.array([time], np.float32)} | dict.fromkeys(("labels", "speakers"))
        )
        options = kind.Options.parse({"steps": STEPS, "seconds": float(np.float32(0.7))})
        if seen:
            assert kind.prepare({"train": trains}, options)["train"]["images"].any()
            continue
        with pytest.raises(InputError, match=r"stream\.seconds = 0\.7: every spike is later"):
            kind.prepare({"train": trains}, options)


@pytest.mark.parametrize("seconds", [0.03, 0.2, 1.4])
def test_samples_without_a_spike_in_what_is_seen_are_counted(seconds, made):
    """And so they are in what was read, whatever a stream sees of it."""
    kind = STREAMS[f"{CLASS}_spoken_digits"]
    seen = kind.prepare(made[0], kind.Options.parse({"steps": STEPS, "seconds": seconds}))
    told = [text for text in suspicions(find_dataset("spoken_digits"), seen) if "empty" in text]
    expected = []
    for split, trains in made[0].items():
        rows = np.split(trains["times"], trains["ends"][:-1])
        empty = sum(all(time >= seconds for time in row) for row in rows)
        if empty > len(rows) / 100:
            expected.append(f"spoken_digits, {split}: {empty} of {len(rows)} samples ")
    assert [text[: text.index("(")] for text in told] == expected
    assert (len(told) == 2) == (seconds < 1)
    assert suspicions(find_dataset("spoken_digits"), made[0]) == []


def test_silent_trains_and_copies_are_counted_in_what_was_read():
    rng = np.random.default_rng(2)
    samples = [drawn(rng, n % CLASSES, n % SPEAKERS, 0 if n < 7 else 9) for n in range(60)]
    samples += samples[20:23]
    trains = {
        "times": np.concatenate([s.times for s in samples]),
        "units": np.concatenate([s.units for s in samples]),
        "ends": np.cumsum([len(s.times) for s in samples]),
    }
    silent, copies = suspicions(find_dataset("spoken_digits"), {"train": trains})
    assert silent.startswith("spoken_digits, train: 7 of 63 samples (11.1%) are empty (no spike")
    assert copies == "spoken_digits, train: 3 of 63 samples (4.8%) are copies of others."


# -- real speech


def test_real_speech_is_not_suspicious(spoken):
    kind = STREAMS[f"{CLASS}_spoken_digits"]
    prepared = kind.prepare(spoken, kind.Options.parse({}))
    for data in (spoken, prepared):
        assert suspicions(find_dataset("spoken_digits"), data) == []


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", KINDS)
def test_real_speech_is_split_by_sample(name, phase, spoken):
    """45 to learn and 5 to test of each of 6 speakers and 10 classes; for tuning 41 and 4."""
    seeds = (0, 5)
    found = stream(spoken, name, seeds, phase)
    train, scores = spoken["train"], spoken["train" if phase == "tune" else "test"]
    for s, seed in enumerate(seeds):
        rows = [learnt_of(found, task, s) for task in range(found.tasks)]
        tests = [scored_of(found, task, s) for task in range(found.tasks)]
        learnt, scored = torch.cat(rows).tolist(), torch.cat(tests).tolist()
        assert len(set(learnt)) == len(learnt) == (60 * 41 if phase == "tune" else 60 * 45)
        assert len(set(scored)) == len(scored)
        if phase == "tune":
            assert not set(learnt) & set(scored)
        pairs = Counter(zip(scores["speakers"][scored], scores["labels"][scored], strict=True))
        assert set(pairs.values()) == {4 if phase == "tune" else 5}
        assert len(pairs) == 60
        if name == SPEAKER:
            assert set(train["speakers"][rows[1]]) == set(scores["speakers"][tests[1]]) == {seed}
            assert seed not in train["speakers"][rows[0]]
            assert seed not in scores["speakers"][tests[0]]


def test_real_speech_is_seen_in_full(spoken):
    """With 100 steps of 1.4 s no spike is lost but those after the last edge."""
    train = spoken["train"]
    found = next(spikes.counts(train, 100, 1.4, 255))
    ends = [0, *train["ends"][: len(found)]]
    within = [(train["times"][a:b] < 1.4).sum() for a, b in itertools.pairwise(ends)]
    assert found.sum(1).tolist() == within
    assert min(within) > 100
