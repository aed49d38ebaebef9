"""A study of one's own data, from the study file to the report."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from sklearn.datasets import load_digits

from study import spec
from study.check import resolve
from study.data import StudyData
from trainables.errors import InputError

STUDY = """
[study]
name = "mine"
stream = "split_file"
scenario = "class"
reference = "replay"

[stream]
file = "{file}"
{more}

[methods]
finetune = {{ fixed = {{ epochs = 2, batch_size = 32, hidden = [16] }} }}
replay = {{ fixed = {{ epochs = 2, batch_size = 32, hidden = [16] }} }}

[tune]
trials = 0

[confirm]
seeds = {{ first = 100, count = 4 }}
"""


@pytest.fixture
def place(tmp_path):
    """A folder with features of digits, each digit by three writers."""
    bunch = load_digits()
    features, labels = bunch.data.astype(np.float32) / 8 - 1, bunch.target
    folder = tmp_path / "of mine"
    folder.mkdir()
    with h5py.File(folder / "features.h5", "w") as file:
        for split, chosen in (("train", slice(None, 1200)), ("test", slice(1200, None))):
            file[f"{split}/inputs"], file[f"{split}/labels"] = features[chosen], labels[chosen]
            file[f"{split}/unit"] = np.arange(len(labels[chosen])) % 3
    return folder


def read(place, file="features.h5", more="", overrides=()):
    (place / "study.toml").write_text(STUDY.format(file=file, more=more))
    return spec.read(str(place / "study.toml"), overrides)[0]


def test_a_path_is_relative_to_the_study_file_and_reports_do_not_need_the_file(place, monkeypatch):
    monkeypatch.chdir(place.parent)
    found = read(place)
    assert found.stream["file"] == str(place / "features.h5")
    (place / "features.h5").unlink()
    again = spec.Spec.parse(json.loads(json.dumps(found.plain())), "study.json")
    stream = resolve(again, "study.json").stream
    assert (stream.title, stream.dataset) == ("features.h5 by class", "features.h5")
    assert (stream.info.inputs, stream.info.outputs, stream.unit) == (64, 10, "unit")
    with pytest.raises(InputError, match="there is no file"):
        stream.data_set.load(place)


def test_keys_do_not_depend_on_the_place_of_the_file(place):
    first = resolve(read(place), "x")
    moved = place.rename(place.parent / "elsewhere")
    second = resolve(read(moved), "x")
    works = [d.assignment(d.methods["replay"], {}, "confirm") for d in (first, second)]
    assert works[0] == works[1]


def test_a_tuning_trial_is_not_handed_the_test_split(place):
    data = StudyData.load(resolve(read(place), "x"), place)
    assert list(data.tune) == ["train"]
    assert set(data.confirm) == {"train", "test"}
    data.try_streams()
    assert list(data.hashes()) == ["features.h5"]


@pytest.mark.parametrize(
    ("file", "more", "told"),
    [
        ("other.h5", "", r"study\.toml: stream\.file: there is no file .*other\.h5"),
        ("features.h5", 'contents = "x"', r"stream\.contents: the program reads this from the fi"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_study_file(file, more, told, place):
    with pytest.raises(InputError, match=told):
        read(place, file, more)


def test_a_stream_without_its_file_is_refused(place):
    text = STUDY.format(file="", more="").replace('file = ""\n', "")
    (place / "study.toml").write_text(text)
    with pytest.raises(InputError, match=r"the stream 'split_file' needs the path of a file"):
        resolve(spec.read(str(place / "study.toml"))[0], "study.toml")
