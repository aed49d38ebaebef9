"""Spike trains: files against what was written to them, bins against plain loops."""

from __future__ import annotations

import errno
import gzip
import hashlib
import itertools
import os
from collections import defaultdict
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spike_files import Sample, columns, drawn, write

from trainables import InputError
from trainables.streams import spikes
from trainables.streams.datasets import find_dataset, load

CLASSES, SPEAKERS = 10, 6  # of the spoken digits


def some(count=8, seed=0, classes=CLASSES, speakers=SPEAKERS):
    """Samples of different lengths; the first, two in the middle and the last have no spikes."""
    rng = np.random.default_rng(seed)
    silent = {0, count // 2, count // 2 + 1, count - 1}
    return [
        drawn(rng, k % classes, k % speakers, 0 if k in silent else int(rng.integers(1, 40)))
        for k in range(count)
    ]


def rows(trains):
    """The samples of spike trains in memory, as plain tuples."""
    starts = np.concatenate([[0], trains["ends"]])[:-1]
    return [
        (
            trains["times"][a:b].tolist(),
            trains["units"][a:b].tolist(),
            int(trains["labels"][k]),
            int(trains["speakers"][k]),
        )
        for k, (a, b) in enumerate(zip(starts, trains["ends"], strict=True))
    ]


def plain(samples):
    return [(s.times.tolist(), s.units.tolist(), s.label, s.speaker) for s in samples]


def trains_of(samples):
    """What is held of samples, made without a file."""
    return {
        "times": np.concatenate([s.times for s in samples]),
        "units": np.concatenate([s.units for s in samples]),
        "ends": np.cumsum([len(s.times) for s in samples]),
        "labels": np.array([s.label for s in samples], dtype=np.uint8),
        "speakers": np.array([s.speaker for s in samples], dtype=np.uint8),
    }


# -- reading


def test_reading_gives_the_spikes_back(tmp_path):
    samples = some()
    found = spikes.read(write(tmp_path / "a.h5", columns(samples)), CLASSES, SPEAKERS)
    assert rows(found) == plain(samples)
    assert {name: array.dtype for name, array in found.items()} == {
        "times": np.float16,
        "units": np.uint16,
        "ends": np.int64,
        "labels": np.uint8,
        "speakers": np.uint8,
    }


def zipped(path):
    """Replace a file by a gzipped one."""
    whole = path.with_name(f"{path.name}.gz")
    whole.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return whole


def test_a_gzipped_file_is_read_as_the_plain_one(tmp_path):
    samples = some()
    found = spikes.read(zipped(write(tmp_path / "a.h5", columns(samples))), CLASSES, SPEAKERS)
    assert rows(found) == plain(samples)


def changed(**of_row):
    """Change row 2, which has spikes."""

    def change(samples):
        samples[2] = replace(samples[2], **of_row)
        return columns(samples)

    return change


def all_of(samples, change):
    return columns([change(sample) for sample in samples])


def without(name):
    return lambda samples: {k: v for k, v in columns(samples).items() if not k.startswith(name)}


def shorter(name):
    return lambda samples: columns(samples) | {name: columns(samples)[name][:-1]}


def times(*values):
    return np.array(values, dtype=np.float16)


def channels(*values, kind=np.uint16):
    return np.array(values, dtype=kind)


THREE = channels(1, 2, 3)
MALFORMED = {
    "no spikes": (without("spikes"), {}, "no 'spikes/times'"),
    "no units": (without("spikes/units"), {}, "no 'spikes/units'"),
    "no labels": (without("labels"), {}, "no 'labels'"),
    "no speakers": (without("extra"), {}, "no 'extra/speaker'"),
    "unit": (changed(times=times(0.1), units=channels(700)), {}, "row 2: unit 700; .* 0 to 699"),
    "negative unit": (
        changed(times=times(0.1, 0.2), units=channels(5, -1, kind=np.int16)),
        {"spikes/units": h5py.vlen_dtype(np.int16)},
        "row 2: unit -1; .* 0 to 699",
    ),
    "fractional unit": (
        changed(times=times(0.1), units=channels(1.5, kind=np.float32)),
        {"spikes/units": h5py.vlen_dtype(np.float32)},
        "row 0: .*float32, not whole numbers",
    ),
    "unsorted": (changed(times=times(0.1, 0.3, 0.2), units=THREE), {}, "row 2: .*order of time"),
    "negative time": (changed(times=times(-0.1, 0.2, 0.3), units=THREE), {}, "row 2: .*negative"),
    "no time": (changed(times=times(0.1, np.nan, 0.3), units=THREE), {}, "row 2: .*not finite"),
    "endless": (changed(times=times(0.1, 0.2, np.inf), units=THREE), {}, "row 2: .*not finite"),
    "unequal row": (changed(times=times(0.1, 0.2), units=THREE), {}, "row 2: 2 times, but 3 units"),
    "silent row": (changed(times=times(), units=THREE), {}, "row 2: 0 times, but 3 units"),
    "short times": (shorter("spikes/times"), {}, "equally many rows.*spikes/times 7.*labels 8"),
    "short labels": (shorter("labels"), {}, "equally many rows.*labels 7"),
    "short speakers": (shorter("extra/speaker"), {}, "equally many rows.*extra/speaker 7"),
    "label": (changed(label=10), {}, "row 2: label is 10; allowed: 0 to 9"),
    "labels from 1 on": (
        lambda _: all_of(some(count=CLASSES), lambda s: replace(s, label=s.label + 1)),
        {},
        "row 9: label is 10; allowed: 0 to 9 .the numbers seem to start at 1",
    ),
    "one class": (
        lambda samples: all_of(samples, lambda s: replace(s, label=3)),
        {},
        "all labels are 3",
    ),
    "negative label": (changed(label=-1), {"labels": np.int8}, "row 2: label is -1"),
    "fractional label": (changed(label=1.5), {"labels": np.float32}, "label must be one whole"),
    "speaker": (changed(speaker=6), {}, "row 2: speaker is 6; allowed: 0 to 5"),
    "words for times": (
        lambda samples: columns(samples) | {"spikes/times": ["word"] * len(samples)},
        {"spikes/times": h5py.string_dtype()},
        "row 0: 1 times, but 0 units",
    ),
    "words for units": (
        lambda samples: columns(samples) | {"spikes/units": ["word"] * len(samples)},
        {"spikes/units": h5py.string_dtype()},
        "row 0: 0 times, but 1 units",
    ),
    "rows of words for times": (
        lambda samples: (
            columns(samples)
            | {
                "spikes/times": [["some", "words"]] * len(samples),
                "spikes/units": [[1, 2]] * len(samples),
            }
        ),
        {"spikes/times": h5py.string_dtype(), "spikes/units": np.uint16},
        "row 0: the times are object, not floating-point seconds",
    ),
    "whole times": (
        changed(times=channels(1, 2, 3), units=THREE),
        {"spikes/times": h5py.vlen_dtype(np.uint16)},
        "row 0: the times are uint16, not floating-point seconds",
    ),
    "empty": (lambda samples: columns([]), {}, "at least one"),
    "milliseconds": (
        lambda samples: all_of(samples, lambda s: replace(s, times=s.times * 1000)),
        {},
        "row 1: the last spike is at .* s, .* seem to be milliseconds; divide them by 1,000.",
    ),
    "microseconds": (
        lambda samples: all_of(samples, lambda s: replace(s, times=s.times * np.float32(1e6))),
        {"spikes/times": h5py.vlen_dtype(np.float32)},
        "row 1: the last spike is at .* s, .* seem to be microseconds; divide them by 1,000,000.",
    ),
    "one row in milliseconds": (
        changed(times=times(87, 300, 435), units=THREE),
        {},
        "row 2: the last spike is at 435 s, .* milliseconds",
    ),
    "steps": (
        lambda samples: all_of(samples, lambda s: replace(s, times=np.floor(s.times * 40))),
        {},
        "all times are whole numbers: .* not seconds",
    ),
    "divided twice": (
        lambda samples: all_of(samples, lambda s: replace(s, times=s.times / np.float32(1000))),
        {"spikes/times": h5py.vlen_dtype(np.float32)},
        "the last of all spikes is at 0.00.* s, too early for a spoken word: use seconds",
    ),
    "silence": (
        lambda samples: all_of(samples, lambda s: replace(s, times=times(), units=channels())),
        {},
        "no sample has a spike",
    ),
}


def read_it(path):
    spikes.read(path, CLASSES, SPEAKERS)


def load_it(path):
    load("spoken_digits", path.parent.parent)


def assert_refused(found, path, told):
    """One sentence that names the file, without an exception of another package behind it."""
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)
    found.match(told)
    assert found.value.__cause__ is None
    assert found.value.__context__ is None or found.value.__suppress_context__


@pytest.fixture
def train(tmp_path):
    """Where the training file of a data root goes; the test file is there, and sound."""
    write(tmp_path / "spoken_digits" / "test.h5", columns(some()))
    return tmp_path / "spoken_digits" / "train.h5"


@pytest.mark.parametrize("through", [read_it, load_it])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_file_that_is_not_as_it_must_be_is_refused_by_name(name, through, train):
    change, types, told = MALFORMED[name]
    write(train, change(some()), types)
    with pytest.raises(InputError) as found:
        through(train)
    assert_refused(found, train, told)
    assert not find_dataset("spoken_digits").cache_path(train.parent.parent).exists()


def halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def emptied(path):
    path.write_bytes(b"")
    return path


def a_table(path):
    path.write_text("times,units\n")
    return path


@pytest.mark.parametrize("through", [read_it, load_it])
@pytest.mark.parametrize("zip_first", [True, False])
@pytest.mark.parametrize("damage", [halved, emptied, a_table])
def test_a_damaged_file_is_refused_by_name(damage, zip_first, through, train):
    path = write(train, columns(some()))
    damaged = damage(zipped(path) if zip_first else path)
    with pytest.raises(InputError) as found:
        through(damaged)
    assert_refused(found, damaged, "cannot be used: .+ Replace the file by a valid one")


def test_a_missing_file_is_named_with_where_to_put_it(train):
    with pytest.raises(InputError) as found:
        load_it(train)
    assert_refused(found, train, "does not exist. Put the file there, or .*--data or STUDY_DATA")


def test_the_spoken_digits_are_read_and_cached(train):
    root, samples = train.parent.parent, some(seed=1)
    write(train, columns(samples))
    built = load("spoken_digits", root)
    assert rows(built["train"]) == plain(samples)
    assert rows(built["test"]) == plain(some())
    for path in (train, train.with_name("test.h5")):
        path.unlink()
    again = load("spoken_digits", root)
    assert {split: rows(part) for split, part in again.items()} == {
        split: rows(part) for split, part in built.items()
    }


@pytest.mark.parametrize("name", spikes.ARRAYS)
def test_a_cache_whose_arrays_do_not_fit_is_damaged(name, train):
    root = train.parent.parent
    write(train, columns(some(count=9, seed=2)))
    load("spoken_digits", root)
    cache = find_dataset("spoken_digits").cache_path(root)
    with h5py.File(cache, "r+") as file:
        shorter = file["train"][name][:-2]  # the last sample is silent
        del file["train"][name]
        file["train"][name] = shorter
    with pytest.raises(InputError) as found:
        load("spoken_digits", root)
    assert_refused(found, cache, "damaged .*Delete the file")


def put(name, change):
    return lambda arrays: arrays | {name: change(arrays[name])}


CACHED = {
    "milliseconds": (put("times", lambda t: t * 1000), "row 1: the last spike .*milliseconds"),
    "backwards": (put("times", lambda t: t[::-1]), "row 1: the spikes are not in order of time"),
    "unit": (put("units", lambda u: u + 700), "row 1: unit .*; allowed: 0 to 699"),
    "label": (put("labels", lambda label: label + 3), "row 7: label is 10; allowed: 0 to 9"),
    "one class": (put("labels", lambda label: label * 0), "all labels are 0"),
    "speaker": (put("speakers", lambda speaker: speaker + 1), "row 5: speaker is 6"),
    "silence": (
        lambda arrays: (
            arrays
            | {name: arrays[name][:0] for name in ("times", "units")}
            | {"ends": arrays["ends"] * 0}
        ),
        "no sample has a spike",
    ),
    "ends": (put("ends", lambda ends: [*ends[-2::-1], ends[-1]]), "the lengths of the arrays"),
    "nothing": (lambda a: {name: array[:0] for name, array in a.items()}, "there are no samples"),
}


@pytest.mark.parametrize("name", CACHED)
def test_a_cache_is_checked_as_the_files_are(name, train):
    root, (change, told) = train.parent.parent, CACHED[name]
    write(train, columns(some()))
    load("spoken_digits", root)
    cache = find_dataset("spoken_digits").cache_path(root)
    with h5py.File(cache, "r+") as file:
        arrays = {key: file["train"][key][:] for key in spikes.ARRAYS}
        for key, array in change(arrays).items():
            del file["train"][key]
            file["train"][key] = array
    with pytest.raises(InputError) as found:
        load("spoken_digits", root)
    assert_refused(found, cache, rf"damaged \(train: {told}")


@pytest.mark.parametrize(("last", "refused"), [(59.9, False), (60.0, False), (60.1, True)])
def test_a_word_takes_less_than_a_minute(last, refused, tmp_path):
    samples = some()
    samples[2] = replace(samples[2], times=np.array([0.1, last], np.float32), units=THREE[:2])
    kinds = {"spikes/times": h5py.vlen_dtype(np.float32)}
    path = write(tmp_path / "a.h5", columns(samples), kinds)
    if not refused:
        spikes.read(path, CLASSES, SPEAKERS)
        return
    with pytest.raises(InputError, match=r"row 2: .*milliseconds"):
        spikes.read(path, CLASSES, SPEAKERS)


# -- steps


def binned(samples, steps=20, seconds=1.4, most=255):
    found = list(spikes.counts(trains_of(samples), steps, seconds, most))
    return np.concatenate(found).reshape(len(samples), steps, spikes.CHANNELS)


@pytest.mark.parametrize("most", [1, 3, 255])
@pytest.mark.parametrize(
    ("steps", "seconds"), [(2, 1.4), (20, 1.4), (100, 1.4), (250, 1.4), (50, 0.7)]
)
def test_spikes_fall_into_the_steps_of_a_plain_loop(steps, seconds, most):
    samples = some(count=spikes.CHUNK + 11)
    found = binned(samples, steps, seconds, most)
    for counted, sample in zip(found, samples, strict=True):
        np.testing.assert_array_equal(counted, sample.dense(steps, seconds, most))
    assert found.dtype == np.uint8


def test_no_spike_is_lost_or_in_the_first_step():
    samples = some(count=40)
    found = binned(samples, steps=100, seconds=2.0)
    assert found.sum((1, 2)).tolist() == [len(s.times) for s in samples]
    assert not found[:, 0].any()
    assert found.max() > 1  # a channel's spikes in one step are counted, ...
    assert (binned(samples, steps=100, seconds=2.0, most=1) == (found > 0)).all()


def test_steps_by_hand():
    """Edges at 0, 0.5 and 1: step 1 is from 0 to below 0.5, step 2 to below 1, and the rest is left
    out. Channel 5 has two spikes in step 2, or one where no more are counted.
    """
    when, where = times(0, 0.25, 0.5, 0.75, 1, 1.25), channels(0, 699, 5, 5, 5, 5)
    for most, twice in ((255, 2), (1, 1)):
        (found,) = binned([Sample(when, where, 0, 0)], 3, 1.0, most)
        assert {(s, c): n for (s, c), n in np.ndenumerate(found) if n} == {
            (1, 0): 1,
            (1, 699): 1,
            (2, 5): twice,
        }


def test_what_is_binned_at_once_does_not_grow_with_the_steps():
    samples = some(count=spikes.CHUNK + 11)
    for steps in (100, 200, 2000):
        parts = list(spikes.counts(trains_of(samples), steps, 1.4, 255))
        assert max(part.size for part in parts) <= spikes.CHUNK * 100 * spikes.CHANNELS
        assert sum(map(len, parts)) == len(samples)


@pytest.mark.parametrize("count", [1, spikes.CHUNK, spikes.CHUNK + 1])
def test_silent_samples_are_binned_too(count):
    nothing = Sample(times(), channels(), 0, 0)
    assert binned([nothing] * count, steps=3).shape == (count, 3, spikes.CHANNELS)


# -- joining and splitting


def test_joining_gives_the_samples_of_both():
    first, second = some(seed=1), some(count=5, seed=2)
    found = spikes.joined([trains_of(first), trains_of(second)])
    assert rows(found) == plain(first + second)


@given(st.lists(st.booleans(), min_size=9, max_size=9))
@settings(max_examples=50, deadline=None)
def test_selecting_gives_the_marked_samples(marks):
    samples = some(count=9)
    found = spikes.selected(trains_of(samples), np.array(marks))
    assert rows(found) == plain([s for s, mark in zip(samples, marks, strict=True) if mark])


@given(st.lists(st.integers(0, 4), max_size=60))
@settings(deadline=None)
def test_every_fifth_of_each_group_is_marked(group):
    counted, expected = defaultdict(int), []
    for each in group:
        counted[each] += 1
        expected.append(counted[each] % 5 == 0)
    assert spikes.every_fifth(np.array(group, dtype=int)).tolist() == expected


def test_groups_tell_speakers_and_classes_apart():
    pairs = [(speaker, label) for speaker in range(12) for label in range(20)]
    speakers, labels = np.array(pairs, dtype=np.uint8).T
    assert len(set(spikes.groups({"speakers": speakers, "labels": labels}).tolist())) == 240


# -- SHD


def heidelberg():
    """Training and test samples, between 1 and 17 of a speaker and a class; every one is its own,
    told by its spikes. Two speakers are in the test file only.
    """
    rng = np.random.default_rng(5)
    pairs = [
        (s, c) for s in (0, 3, 11) for c in (0, 7, 19) for _ in range(int(rng.integers(1, 13)))
    ]
    more = [(s, c) for s in (0, 4, 5) for c in (0, 19) for _ in range(int(rng.integers(1, 13)))]
    parts = [rng.permutation(part).tolist() for part in (pairs, more)]
    return [[drawn(rng, c, s, 9) for s, c in part] for part in parts]


def write_heidelberg(folder):
    train, test = heidelberg()
    zipped(write(folder / "shd_train.h5", columns(train)))
    write(folder / "shd_test.h5", columns(test))
    return train, test


def fifth_of_each(samples):
    """Split samples: of each speaker's of a class every fifth is for testing."""
    counted, parts = defaultdict(int), ([], [])
    for sample in samples:
        counted[sample.speaker, sample.label] += 1
        parts[counted[sample.speaker, sample.label] % 5 == 0].append(sample)
    return parts


def test_heidelberg_is_both_files_split_by_speaker_and_class(tmp_path):
    train, test = write_heidelberg(tmp_path / "shd")
    found = load("shd", tmp_path)
    learnt, scored = fifth_of_each(train + test)
    assert rows(found["train"]) == plain(learnt)
    assert rows(found["test"]) == plain(scored)
    assert len(scored) > 10
    everything = sorted(rows(found["train"]) + rows(found["test"]))
    assert everything == sorted(plain(train + test))
    assert all(a != b for a, b in itertools.pairwise(everything))


NAMES = ("shd_train.h5.gz", "shd_test.h5.gz")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The site of the data set, in a folder."""
    folder = tmp_path / "site"
    train, test = heidelberg()
    sums = []
    for name, samples in zip(NAMES, (train, test), strict=True):
        path = zipped(write(folder / name.removesuffix(".gz"), columns(samples)))
        sums.append(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {name}\n")
    (folder / "md5sums.txt").write_text("".join([*sums, "\n0123  another.h5\n"]))
    monkeypatch.setattr(spikes, "SHD_SITE", folder.as_uri())
    return folder


def left_in(root):
    """Every file under a data root, and nothing of what is on the way."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


def test_heidelberg_is_downloaded_once(site, tmp_path):
    root = tmp_path / "data"
    found = load("shd", root)
    learnt, scored = fifth_of_each([sample for part in heidelberg() for sample in part])
    assert rows(found["train"]) == plain(learnt)
    assert rows(found["test"]) == plain(scored)
    assert left_in(root) == ["shd", "shd.h5", f"shd/{NAMES[1]}", f"shd/{NAMES[0]}"]
    (root / "plain").write_bytes(b"")
    assert (root / "shd" / NAMES[0]).stat().st_mode == (root / "plain").stat().st_mode
    (root / "shd.h5").unlink()
    site.rename(tmp_path / "gone")
    assert rows(load("shd", root)["test"]) == plain(scored)


def cut_off(site):
    halved(site / NAMES[1])


def unlisted(site):
    (site / "md5sums.txt").write_text("0123  another.h5\n")


def no_network(site):
    site.rename(site.with_name("gone"))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut_off, "shd_test.h5.gz does not have the published checksum"),
        (unlisted, "shd_train.h5.gz does not have the published checksum"),
        (no_network, "could not be downloaded"),
    ],
)
def test_a_download_that_fails_says_what_to_put_where(damage, told, site, tmp_path):
    damage(site)
    with pytest.raises(InputError) as found:
        load("shd", tmp_path / "data")
    assert_refused(found, tmp_path / "data" / "shd", told)
    found.match("Put shd_train.h5.gz and shd_test.h5.gz from .*there, or .*--data or STUDY_DATA")
    assert not (tmp_path / "data").exists()


def test_a_download_that_fills_the_disk_leaves_nothing(site, tmp_path, monkeypatch):
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        load("shd", tmp_path / "data")
    assert left_in(tmp_path / "data") == ["shd"]
