"""A class of a task without a sample to learn or to score is refused, and nothing else is."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
from own_data import NEEDED

from trainables import STREAMS, InputError
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.streams.datasets import find_dataset
from trainables.streams.stream import PHASES

SEEDS = (0, 1, 4, 7)
TWO_STEPS = {"steps": 2, "bits": 1}  # samples of speech as small as they may be


# -- small data in which classes, or classes of a speaker, are rare or missing


def some_data(dataset, rng, short=None):
    """A few samples of each class of each speaker; too few of one in the split ``short``."""
    return {
        split: some_split(dataset, rng, enough, split == short)
        for split, enough in (("train", 2), ("test", 1))
    }


def some_split(dataset, rng, enough, short):
    counts = rng.integers(enough, enough + 3, (max(dataset.speakers, 1), dataset.classes))
    if short:
        counts[rng.integers(len(counts)), rng.integers(dataset.classes)] = rng.integers(enough)
    pairs = np.repeat(list(np.ndindex(*counts.shape)), counts.ravel(), axis=0)
    speakers, labels = rng.permutation(pairs).astype(np.uint8).T
    if not dataset.speakers:
        images = rng.integers(256, size=(len(labels), *dataset.shape), dtype=np.uint8)
        return {"images": images, "labels": labels}
    octets = rng.integers(256, size=(len(labels), 175), dtype=np.uint8)
    return {"images": octets, "labels": labels, "speakers": speakers}


# -- what must be refused, in plain Python


def some_of(count, classes):
    return [set(chosen) for chosen in itertools.combinations(range(classes), count)]


def tasks_there_can_be(kind, options):
    """Classes and speakers (none: all) of every task that some seed may have."""
    dataset = kind.data_set(options)
    every, alone = set(range(dataset.classes)), some_of(1, dataset.classes)
    if kind.name.startswith(("permuted", "rotated")):
        return [(every, None)]
    if kind.name == "vision_sequence":
        return [({*range(10)}, None), ({*range(10, 20)}, None)]
    if kind.name.startswith("speaker"):
        outs = {seed % dataset.speakers for seed in SEEDS} if options.left_out is None else {2}
        known = set(range(dataset.speakers))
        return [(every, them) for out in outs for them in (known - {out}, {out})]
    if kind.name.startswith("class_incremental_one"):
        parts = [every - one for one in alone] if options.left_out is None else [every - {2}, {2}]
    elif kind.name.startswith("progressive"):
        first = kind.first(options)
        shuffled = options.class_order == "shuffled"
        parts = [*alone, *(some_of(first, len(every)) if shuffled else [set(range(first))])]
    elif options.class_order == "shuffled":
        parts = some_of(2, len(every))
    else:
        parts = [{c, c + 1} for c in range(0, len(every), 2)]
    return [(part, None) for part in parts]


def rows_of(data, phase):
    """Samples to learn and to score, a class and a speaker each, in the data's order."""
    train, test = (
        list(zip(s["labels"].tolist(), s.get("speakers", s["labels"] * 0).tolist(), strict=True))
        for s in (data["train"], data["test"])
    )
    if phase == "confirm":
        return train, test
    many, after, parts = Counter(train), Counter(), ([], [])
    for pair in reversed(train):
        parts[after[pair] < max(many[pair] // 10, 1)].insert(0, pair)
        after[pair] += 1
    return parts


def lacks_a_class(data, phase, kind, options):
    learnt, scored = rows_of(data, phase)
    most = options.samples_per_task or len(learnt)
    for classes, speakers in tasks_there_can_be(kind, options):
        mine, tested = (
            [c for c, s in rows if c in classes and (not speakers or s in speakers)]
            for rows in (learnt, scored)
        )
        if set(mine[:most]) != classes or set(tested) != classes:
            return True
    return False


# -- every stream


SHUFFLED = {"class_order": "shuffled"}
VARIANTS = {
    "split": ({}, SHUFFLED),
    "permuted": ({"tasks": 3},),
    "rotated": ({"angles": [0, 30]},),
    "speaker": (TWO_STEPS, TWO_STEPS | {"left_out": 2}),
    "class": (TWO_STEPS, TWO_STEPS | {"left_out": 2}),
    "vision": ({"datasets": ["fashion_mnist", "mnist"]},),
    "progressive": (TWO_STEPS, TWO_STEPS | {"first": 2} | SHUFFLED),
}
# two classes in a task, as in the other streams
PAIRS = {"split_cifar100": {"tasks": 50}, **NEEDED}
CASES = [
    (name, scenario, variant | PAIRS.get(name, {}))
    for name, kind in STREAMS.items()
    if name != "split_tiny_imagenet"  # as split_cifar100, with more classes
    for scenario in kind.scenarios
    for variant in VARIANTS[name.split("_")[0]]
]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("name", "scenario", "variant"), CASES, ids=str)
def test_a_stream_is_refused_where_a_class_of_a_task_may_lack_samples(
    name, scenario, variant, phase
):
    kind, outcomes = STREAMS[name], set()
    limits = (
        (0, 1, 3, 9, 30) if kind.dataset != "shd" else (0, 1, 100)
    )  # of many classes and speakers
    for short, most in itertools.product((None, "train", "test"), limits):
        options = kind.Options.parse(variant | {"samples_per_task": most})
        data = some_data(kind.data_set(options), np.random.default_rng(most), short)
        expected = lacks_a_class(data, phase, kind, options)
        outcomes.add(expected)
        if not expected:
            assert_all_have_samples(kind(data, scenario, SEEDS, phase, options))
            continue
        with pytest.raises(InputError) as found:
            kind(data, scenario, SEEDS, phase, options)
        assert_told(found.value, partial(build, kind, data, scenario, phase, variant))
    assert outcomes == {True, False}, "the data show one outcome only"


def build(kind, data, scenario, phase, variant, most):
    return kind(
        data, scenario, SEEDS, phase, kind.Options.parse(variant | {"samples_per_task": most})
    )


def assert_all_have_samples(stream):
    assert stream.smallest_class > 0
    for index in range(stream.tasks):
        assert stream.smallest_class_of(index) > 0
        scored = stream.members(stream.pools_scored, index)
        for classes in (*stream.learnt_by_class(index), *scored):
            assert all(map(len, classes.values()))


def assert_told(error, build_with):
    """The sentence names stream, task, class and phase; a limit it gives is the least that does."""
    told = str(error)
    assert re.search(r"\w+, task \d+.*phase '\w+'", told)
    assert re.search(r"class \d+ (has no|without a) sample", told)
    limit = re.search(r"samples_per_task = \d+ .*Set samples_per_task to (\d+) or more", told)
    if limit is None:
        assert "provide such data" in told
        return
    least = int(limit[1])
    assert_all_have_samples(build_with(least))
    with pytest.raises(InputError):
        build_with(least - 1)


# -- by hand


def without(data, split, rows):
    """Data that lack the rows of a split that are marked."""
    return data | {split: {key: part[~rows(data[split])] for key, part in data[split].items()}}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("learner", ["icarl", "finetune"])
def test_a_course_of_one_sample_a_task_is_refused_before_anything_is_learnt(learner, phase, digits):
    work = Assignment(learner, {}, "split_digits", "class", {"samples_per_task": 1}, phase, (0, 1))
    told = (
        r"stream.samples_per_task = 1 leaves class 1 without a sample to learn: split_digits, "
        rf"task 1, phase '{phase}'. Set samples_per_task to 2 or more, or to 0 for all samples."
    )
    with pytest.raises(InputError, match=told):
        Course(work, (0, 1), digits)


@pytest.mark.parametrize(("split", "purpose"), [("train", "learn"), ("test", "score")])
def test_data_that_lack_a_digit_are_refused(split, purpose, digits):
    lacking = without(digits, split, lambda s: s["labels"] == 7)
    told = rf"split_digits, task 4, phase 'confirm': class 7 has no sample to {purpose}\. .*digits"
    with pytest.raises(InputError, match=told):
        STREAMS["split_digits"](lacking, "domain", (3,), "confirm")


def test_a_class_of_one_training_sample_can_be_confirmed_and_not_tuned(digits):
    twos = digits["train"]["labels"] == 2
    lacking = without(digits, "train", lambda _: twos & (twos.cumsum() > 1))
    kind = STREAMS["split_digits"]
    assert len(kind(lacking, "class", (3,), "confirm").pools_learnt[2]) == 1
    with pytest.raises(InputError, match=r"task 2, phase 'tune': class 2 .*two training samples"):
        kind(lacking, "class", (3,), "tune")


SPEAKER = STREAMS["speaker_incremental_spoken_digits"]


def five_speakers():
    """Speaker 5 is missing."""
    data = some_data(find_dataset("spoken_digits"), np.random.default_rng(3))
    for split in data:
        data = without(data, split, lambda s: s["speakers"] == 5)
    return data


@pytest.mark.parametrize(("seeds", "options"), [((4, 11), {}), ((1,), {"left_out": 5})])
def test_a_speaker_who_is_missing_cannot_be_left_out(seeds, options):
    told = r"task 2 \(speaker 5 left out\).*: class 0 has no sample .*seeds: 0, 1, 2, 3, 4\. "
    with pytest.raises(InputError, match=told):
        SPEAKER(
            five_speakers(), "domain", seeds, "confirm", SPEAKER.Options(**TWO_STEPS, **options)
        )


@pytest.mark.parametrize(("seeds", "options"), [((0, 3, 10), {}), ((5,), {"left_out": 2})])
def test_a_speaker_who_is_missing_does_not_count_where_others_are_left_out(seeds, options):
    """Memories keep as many samples of a class as every speaker has, not none."""
    data = five_speakers()
    found = SPEAKER(data, "domain", seeds, "confirm", SPEAKER.Options(**TWO_STEPS, **options))
    pairs = Counter(
        zip(data["train"]["speakers"].tolist(), data["train"]["labels"].tolist(), strict=True)
    )
    assert found.task(1).smallest_task_class == min(pairs.values()) > 0
    of_a_class = Counter(data["train"]["labels"].tolist())
    assert found.task(0).smallest_task_class == min(
        of_a_class[c] - n for (_, c), n in pairs.items()
    )
