"""What a study will take, and how far it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from factory import HELD_OUT, add, admit, build_study, make_spec, make_study

from study import cli
from study import plan as module
from study.check import resolve
from study.data import StudyData
from study.ledger import Ledger
from study.plan import plan
from study.status import status
from trainables.engine.pilot import Pilot
from trainables.streams import Stream
from trainables.streams.datasets import load

ALONE = {"methods": {"replay": {"fixed": {"epochs": 3, "batch_size": 10}}}}


@pytest.fixture
def timed(monkeypatch):
    """Let every pilot find the same rates; return what it was given."""
    calls = []

    def run_pilot(work, sizes, data, device):
        calls.append((work, sizes, data, device))
        return Pilot({1: 10.0, 2: 40.0} if len(sizes) > 1 else {sizes[0]: 5.0})

    monkeypatch.setattr(module, "run_pilot", run_pilot)
    return calls


def estimated(changes=None):
    return plan(make_spec(changes), "own.toml", Path("studies/small"), Path())


def steps(tasks, phase):
    """Steps of 3 epochs in batches of 10 over the digits, cut into tasks of equal classes."""
    sizes = np.bincount(load("digits", Path())["train"]["labels"])
    if phase == "tune":
        sizes = sizes - sizes // 10
    return sum(3 * -(-sum(part) // 10) for part in np.split(sizes, tasks))


@pytest.mark.parametrize(("seeds", "rechecked"), [(9, 9), (12, 10)])
def test_the_time_is_that_of_sweep_confirmation_and_recheck(timed, seeds, rechecked):
    found = estimated({**ALONE, "tune.trials": 6, "confirm.seeds": {"first": 100, "count": seeds}})
    [row] = found["methods"]
    seed_steps = (6 * 2 + rechecked) * steps(5, "tune") + seeds * steps(5, "confirm")
    assert (row["confirm_seeds"], row["recheck_seeds"]) == (seeds, rechecked)
    assert row["seconds"] == round(seed_steps / 40.0, 1)
    assert row["stack"] == 2
    assert found["seconds"] == row["seconds"]
    assert [(work.stream, device) for work, _, _, device in timed] == [("split_digits", "cpu")]


def test_a_held_out_stream_is_timed_beside_the_studys_own(timed, halves):
    found = estimated({**ALONE, **HELD_OUT, "tune.trials": 6})
    (own, _, own_data, _), (held_out, size, held_out_data, _) = timed
    assert (own.stream, held_out.stream) == ("split_digits", "halves")
    assert size == [2]
    assert sorted(held_out_data) == ["train"]
    assert sorted(own_data) == ["test", "train"]
    [row] = found["methods"]
    seconds = (6 * 2 + 4) * steps(2, "tune") / 5.0 + 4 * steps(5, "confirm") / 40.0
    assert row["seconds"] == round(seconds, 1)


def test_a_sweep_has_the_prepared_training_data_of_the_confirmation(monkeypatch):
    prepared = []

    def prepare(cls, data, options):
        prepared.append((sorted(data), options))
        return {name: dict(split) for name, split in data.items()}

    monkeypatch.setattr(Stream, "prepare", classmethod(prepare))
    spec = make_spec({"stream.class_order": "shuffled", "tune.trials": 6})
    loaded = StudyData.load(resolve(spec, "x"), Path())
    data = loaded.prepared()
    assert data.tune == {"train": data.confirm["train"]}
    assert data.tune["train"] is data.confirm["train"] is not loaded.confirm["train"]
    [(splits, options)] = prepared
    assert splits == ["test", "train"]
    assert options.class_order == "shuffled"


def test_the_steps_of_a_sweep_are_counted_without_a_test_set(timed, halves, monkeypatch):
    given = {}
    real = module.Course

    def course(work, seeds, data):
        given[work.phase] = (work.stream, sorted(data))
        return real(work, seeds, data)

    monkeypatch.setattr(module, "Course", course)
    estimated({**ALONE, **HELD_OUT})
    assert given["tune"] == ("halves", ["train"])
    assert given["confirm"] == ("split_digits", ["test", "train"])


def test_first_tasks_shorten_the_sweep_only(timed):
    first = {"tune.protocol": "first_tasks", "tune.tasks": 5}
    whole, same = estimated(ALONE), estimated({**ALONE, **first})
    assert whole["seconds"] == same["seconds"]
    fewer = estimated({**ALONE, **first, "tune.tasks": 1})
    confirmation = 4 * steps(5, "confirm") / 40.0
    assert confirmation < fewer["seconds"] < whole["seconds"]


def test_without_a_sweep_the_confirmation_is_all(timed):
    found = estimated({**ALONE, "tune.trials": 0})
    assert found["seconds"] == round(4 * steps(5, "confirm") / 40.0, 1)


def test_a_method_whose_pilot_failed_has_no_time_and_a_note(monkeypatch):
    monkeypatch.setattr(module, "run_pilot", lambda *given: Pilot({}, "ValueError: too hot"))
    found = estimated(ALONE)
    [row] = found["methods"]
    assert (row["seconds"], row["stack"], row["problem"]) == (None, 1, "ValueError: too hot")
    assert found["seconds"] == 0
    assert (
        "The pilot of 'replay', a few steps of training, failed: ValueError: too hot. Its time is "
        "not in the estimate."
    ) in found["notes"]


def test_the_command_fails_if_a_method_cannot_be_trained(monkeypatch, capsys):
    monkeypatch.setattr(module, "run_pilot", lambda *given: Pilot({}, "ValueError: too hot."))
    with pytest.raises(typer.Exit) as ended:
        cli.plan("digits", sets=["methods={ replay = {} }", 'study.reference="replay"'])
    assert ended.value.exit_code == 3
    assert "failed: ValueError: too hot. Its time" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("methods", "family"),
    [
        (["replay", "finetune"], "1 comparison "),
        (["replay", "finetune", "ewc"], "2 comparisons "),
    ],
)
def test_comparisons_are_counted_as_people_count(timed, methods, family):
    enough = {"first": 100, "count": 8}
    found = estimated({"methods": {name: {} for name in methods}, "confirm.seeds": enough})
    assert any(note.startswith(f"With 8 seeds and {family}") for note in found["notes"])


def test_a_study_for_gpus_says_that_it_was_timed_without(timed, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = estimated({**ALONE, "resources.gpus_per_trial": 1})
    assert {device for _, _, _, device in timed} == {"cpu"}
    assert any("asks for GPUs" in note for note in found["notes"])


# -- how far it is


def test_progress_counts_what_is_asked_for_and_no_more(tmp_path):
    build_study(tmp_path, make_spec())
    admit(tmp_path, {"tune.trials": 3, "confirm.seeds": [100, 101, 7]})
    for row in status(tmp_path):
        assert (row["tuned"], row["confirmed"], row["rechecked"]) == ("3/3", "2/3", "2/3")
        assert (row["failed"], row["unfinished"]) == (0, 0)


def test_progress_counts_the_failures_that_the_exit_code_tells_of(tmp_path):
    _, spec, ledger = admit(tmp_path)
    broken = {"state": "failed", "failure": "ValueError: too hot"}
    add(ledger, spec, "replay", "tune", number=0, values=[0.5])
    add(ledger, spec, "replay", "tune", number=1, params={"lr": 0.5}, **broken)
    for number in (7, 8):  # beyond the budget
        params = {"lr": 0.001 * number}
        add(ledger, spec, "replay", "tune", number=number, params=params, **broken)
    add(ledger, spec, "replay", seeds=(100,), **broken)
    add(ledger, spec, "replay", seeds=(101,), state="diverged", values=[float("nan")])
    add(ledger, spec, "finetune", "tune", number=0, state="diverged", values=[float("nan")])
    counted = {row["method"]: row["failed"] for row in status(tmp_path)}
    assert counted == {"finetune": 0, "replay": 3}
    study = make_study(spec, ledger)
    told = {name: study.failures_of(name) for name in study.methods}
    assert counted == {name: len(names) for name, names in told.items()}


def test_progress_leaves_a_method_out_that_the_study_left_out(tmp_path):
    _, spec, ledger = admit(tmp_path)
    add(ledger, spec, "finetune", "tune", number=0, state="failed", failure="x")
    admit(tmp_path, {"methods": {"replay": {}}})
    assert [(row["method"], row["failed"]) for row in status(tmp_path)] == [("replay", 0)]


def test_unfinished_trials_are_told(tmp_path):
    _, spec, ledger = admit(tmp_path, {"tune.trials": 0})
    ledger.begin(add(ledger, spec, "replay", seeds=(100,)))
    assert {row["method"]: row["unfinished"] for row in status(tmp_path)} == {
        "finetune": 0,
        "replay": 1,
    }


def test_asking_how_far_a_study_is_writes_nothing(tmp_path):
    admit(tmp_path)
    (tmp_path / "ledger" / "running").rmdir()
    (tmp_path / "ledger").rmdir()
    before = sorted(tmp_path.rglob("*"))
    assert [row["tuned"] for row in status(tmp_path)] == ["0/4", "0/4"]
    assert sorted(tmp_path.rglob("*")) == before
    assert Ledger(tmp_path / "ledger", repair=False).entries() == []
