"""Data and options from which a study could learn nothing: refused before any trial begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from factory import HELD_OUT, make_spec
from runs import STUDY, sets

from study import plan
from study.check import resolve
from study.cli import data_prepare
from study.data import StudyData
from trainables import InputError
from trainables.engine.pilot import Pilot


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_class_without_a_sample_is_one_sentence_and_nothing_is_trained(command, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "study", command, "study.toml", *sets("stream.samples_per_task=1")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (found.returncode, found.stdout) == (2, "")
    *progress, answer = found.stderr.splitlines()
    assert answer == (
        "error: stream.samples_per_task = 1 leaves class 1 without a sample to learn: "
        "split_digits, task 1, phase 'confirm'. Set samples_per_task to 2 or more, or to "
        "0 for all samples."
    )
    assert {*progress[-2:]} <= {"loading libraries", "reading the data"}
    assert not [path for path in tmp_path.rglob("ledger/**/*") if path.is_file()]


# -- which streams are tried


def digits_without(spec, split, digit, keep=0):
    """Prepared data of a study; of a digit only the first samples of a split are left."""
    found = StudyData.load(resolve(spec, "x"), Path()).prepared()
    for data in (found.tune, found.confirm):
        if split in data:
            mine = data[split]["labels"] == digit
            rows = ~mine | (mine.cumsum() <= keep)
            data[split] = {key: array[rows] for key, array in data[split].items()}
    return found


TRIED = {
    "whole data": ({}, "train", 3, 500, None),
    "no sample to learn": (
        {},
        "train",
        3,
        0,
        "split_digits, task 2, phase 'confirm': class 3 .*learn",
    ),
    "no sample to score": (
        {},
        "test",
        8,
        0,
        "split_digits, task 5, phase 'confirm': class 8 .*score",
    ),
    "validation only": ({}, "train", 3, 1, "split_digits, task 2, phase 'tune': class 3 .*learn"),
    "no tuning": ({"tune.trials": 0}, "train", 3, 1, None),
    "tuned on another stream": (HELD_OUT, "train", 3, 1, "halves, task 1, phase 'tune': class 3"),
}


@pytest.mark.parametrize("name", TRIED)
def test_the_streams_of_all_phases_are_tried(name, halves):
    changes, split, digit, keep, told = TRIED[name]
    spec = make_spec(changes)
    data = digits_without(spec, split, digit, keep)
    if told is None:
        data.try_streams()
        return
    with pytest.raises(InputError, match=told):
        data.try_streams()


SPEECH = {
    "study.stream": "speaker_incremental_spoken_digits",
    "study.scenario": "domain",
    "stream.steps": 2,
    "stream.bits": 1,
    "tune.trials": 0,
}


def some_speech(speakers):
    """Two samples of each class and speaker, as a stream keeps them."""
    pairs = np.array([(c, s) for c in range(10) for s in speakers] * 2, np.uint8)
    images = np.random.default_rng(0).integers(256, size=(len(pairs), 175), dtype=np.uint8)
    split = {"images": images, "labels": pairs[:, 0], "speakers": pairs[:, 1]}
    return {"train": split}, {"train": split, "test": split}


@pytest.mark.parametrize(
    ("seeds", "refused"), [([12, 2, 14], False), ([12, 2, 17], True), ([5], True)]
)
def test_the_speakers_that_the_seeds_leave_out_are_tried(seeds, refused):
    """Speaker 5, the remainder of 17 by 6, is missing."""
    spec = make_spec(SPEECH | {"confirm.seeds": seeds})
    data = StudyData(resolve(spec, "x"), *some_speech(range(5)))
    if not refused:
        data.try_streams()
        return
    with pytest.raises(InputError, match=r"task 2 \(speaker 5 left out\).*seeds: 0, 1, 2, 3, 4\. "):
        data.try_streams()


# -- what is odd is said


def test_each_data_set_of_a_study_is_looked_at_once(halves):
    spec = make_spec(HELD_OUT)
    data = StudyData.load(resolve(spec, "x"), Path()).prepared()
    assert data.suspicions() == []
    images = data.confirm["test"]["images"].copy()
    images[:20] = 0
    data.confirm["test"] = data.confirm["test"] | {"images": images}
    [told] = data.suspicions()
    assert told.startswith("digits, test: 20 of 602 samples (3.3%) are empty")


def test_a_plan_notes_what_is_odd(tmp_path, monkeypatch):
    spec = make_spec()
    data = StudyData.load(resolve(spec, "x"), Path())
    images = data.confirm["test"]["images"].copy()
    images[:20] = images[20:40]
    data.confirm["test"] = data.confirm["test"] | {"images": images}
    monkeypatch.setattr(StudyData, "load", lambda design, root: data)
    monkeypatch.setattr(plan, "run_pilot", lambda *of: Pilot({}, "not timed here"))
    notes = plan.plan(spec, "small.toml", tmp_path / "small", tmp_path)["notes"]
    assert notes[0] == "digits, test: 20 of 602 samples (3.3%) are copies of others."


def write_speech(root, seconds, silent=0):
    """Both files of the spoken digits: samples of that length, some of which have no spike."""
    for split in ("train", "test"):
        path = root / "spoken_digits" / f"{split}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng, count = np.random.default_rng(len(split)), 100
        with h5py.File(path, "w") as file:
            for name, kind in (("times", np.float32), ("units", np.uint16)):
                file.create_dataset(f"spikes/{name}", (count,), h5py.vlen_dtype(kind))
            for row in range(silent, count):
                file["spikes/times"][row] = np.sort(rng.uniform(0, seconds, 20)).astype(np.float32)
                file["spikes/units"][row] = rng.integers(700, size=20).astype(np.uint16)
            file["labels"] = np.arange(count) % 10
            file["extra/speaker"] = np.arange(count) % 6


def test_preparing_data_refuses_what_cannot_be_right(tmp_path):
    write_speech(tmp_path, 900)
    with pytest.raises(InputError, match=r"train\.h5 cannot be used: row 0: .* milliseconds"):
        data_prepare(["spoken_digits"], tmp_path)
    assert not (tmp_path / "spoken_digits.h5").exists()


@pytest.mark.parametrize("again", [False, True])
def test_preparing_data_says_what_is_odd(again, tmp_path, capsys):
    write_speech(tmp_path, 0.9, silent=3)
    for _ in range(1 + again):
        capsys.readouterr()
        data_prepare(["spoken_digits"], tmp_path)
    said = capsys.readouterr()
    assert said.out == f"spoken_digits: {tmp_path / 'spoken_digits.h5'}\n"
    train, test = said.err.splitlines()
    assert train.startswith("spoken_digits, train: 3 of 100 samples (3.0%) are empty")
    assert test.startswith("spoken_digits, test: 3 of 100 samples (3.0%) are empty")
