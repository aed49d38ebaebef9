"""A study of one's own data: its file, its keys, its front, beside another of the same name."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys

import h5py
import numpy as np
import pytest
from factory import make_spec
from sklearn.datasets import load_digits
from without_ray import without_ray

from study import spec
from study.check import resolve
from study.cli import main
from study.data import StudyData
from study.front import front_study
from study.ledger import Ledger
from study.provenance import study_file
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
    digest = stream.kind.facts(stream.options).digest
    assert stream.title == f"features.h5 ({digest[:4]}), 5 tasks by class"
    assert stream.dataset == f"file {digest}"
    assert (stream.info.inputs, stream.info.outputs, stream.unit) == (64, 10, "unit")
    with pytest.raises(InputError, match="there is no file"):
        stream.data_set.load(place)


def test_the_resolved_study_file_names_the_file_and_can_be_read(place, monkeypatch):
    first = resolve(read(place), "x")
    (place / "again.toml").write_text(study_file(first))
    monkeypatch.chdir(place.parent)
    second = resolve(spec.read("of mine/again.toml")[0], "y")
    works = [d.assignment(d.methods["replay"], {}, "confirm") for d in (first, second)]
    assert works[0] == works[1]


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
    assert list(data.hashes()) == [data.design.stream.dataset]


@pytest.mark.parametrize(
    ("file", "more", "told"),
    [
        ("other.h5", "", r"study\.toml: stream\.file: there is no file .*other\.h5"),
        (
            "features.h5",
            'contents = "[1]"',
            r"stream\.contents: the program reads this from the fi",
        ),
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


def test_a_file_cannot_be_held_out(place):
    changes = {
        "tune": {"trials": 2, "protocol": "held_out_stream", "stream": "split_file"},
        "study.stream": "split_digits",
    }
    with pytest.raises(InputError, match=r"tune\.stream: 'split_file' cannot be held out"):
        resolve(make_spec(changes), "x")


# -- whole studies


def run(place, more="", name="mine"):
    text = STUDY.format(file="features.h5", more=more).replace('"mine"', f'"{name}"')
    text = text.replace("trials = 0", 'trials = 2\nseeds = [0]\nsampler = "random"\n' + OBJECTIVES)
    (place / "study.toml").write_text(text)
    return call(place, "run", "study.toml", "--dir", ".")


OBJECTIVES = 'objectives = ["average_accuracy", "memory_bytes"]'


def call(place, *words):
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        without_ray(patch)
        patch.chdir(place)
        patch.setattr(sys, "argv", ["study", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code, out.getvalue(), err.getvalue()


def test_studies_of_two_files_of_one_name_run_and_stand_side_by_side(place):
    other = place.parent / "other"
    shutil.copytree(place, other)
    with h5py.File(other / "features.h5", "a") as file:
        file["train/inputs"][...] = file["train/inputs"][()][:, ::-1]
        file["test/inputs"][...] = file["test/inputs"][()][:, ::-1]
    for folder in (place, other):
        code, _, said = run(folder)
        assert code == 0, said
    code, shown, said = call(place, "report", "mine", str(other / "mine"), "--out", "both")
    assert code == 0, said
    assert "given twice" not in shown + said + (place / "both" / "report.md").read_text()
    (place / "front.toml").write_text(front_study(place / "mine"))
    assert resolve(spec.read(str(place / "front.toml"))[0], "front.toml").stream.info.inputs == 64


def test_a_changed_file_makes_its_trials_run_again(place):
    assert run(place)[0] == 0
    before = len(Ledger(place / "mine" / "ledger").entries("confirm"))
    with h5py.File(place / "features.h5", "a") as file:
        file["train/inputs"][...] = file["train/inputs"][()] * 2
    code, _, said = run(place)
    assert code == 0, said
    assert len(Ledger(place / "mine" / "ledger").entries("confirm")) == 2 * before
