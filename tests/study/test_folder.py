"""A study's folder: whose it is, what may change in it, and what was decided once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from factory import add, make_spec

from study import plan
from study.folder import FORMAT, Folder
from study.results import study_record
from trainables.errors import InputError

HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1], timeout=0):
    print("held", flush=True)
    sys.stdin.readline()
"""


def run(place, changes=None, confirm=False):
    """Do what a run does to the folder; with ``confirm``, leave a confirmed seed."""
    spec, folder = make_spec(changes), Folder(place)
    with folder.claim(spec):
        ledger = folder.ledger()
        folder.record(spec, "python -m study run own.toml", bool(ledger.entries("confirm")))
        if confirm:
            add(ledger, spec, "replay", seeds=spec.confirm_seeds[:1])
    return folder


def record_of(place):
    folder, spec = Folder.open(place)
    return study_record(spec, plan.resolve(spec, "x"), folder.ledger(), folder)


def test_a_folder_remembers_the_study_and_the_command(tmp_path):
    run(tmp_path / "small")
    folder, spec = Folder.open(tmp_path / "small")
    assert spec == make_spec()
    assert folder.facts["command"] == "python -m study run own.toml"
    assert folder.facts["format"] == FORMAT


def test_checkpoints_live_under_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Folder(tmp_path.relative_to(tmp_path) / "small").storage == tmp_path / "small" / "ray"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"study.stream": "split_mnist"}, "study.stream"),
        ({"study.scenario": "task"}, "study.scenario"),
        ({"study.metric": "forgetting"}, "study.metric"),
        ({"stream.class_order": "shuffled"}, "stream"),
        ({"tune.seeds": [0, 1, 2]}, "tune.seeds"),
        ({"tune.sampler": "tpe"}, "tune.sampler"),
        ({"tune.seed": 1}, "tune.seed"),
        ({"tune.pruner": "asha"}, "tune.pruner"),
        ({"tune.protocol": "first_tasks"}, "tune.protocol"),
        ({"tune.objectives": ["average_accuracy", "memory_bytes"]}, "tune.objectives"),
        ({"methods.replay": {"fixed": {"lr": 0.5}}}, "methods.replay"),
        ({"methods.replay": {"space": {"lr": {"low": 0.1, "high": 0.2}}}}, "methods.replay"),
        ({"methods.finetune": {"learner": "joint"}}, "methods.finetune"),
    ],
)
def test_another_study_of_the_same_name_is_refused_with_the_key(tmp_path, changes, key):
    run(tmp_path / "small")
    before = (tmp_path / "small" / "study.json").read_bytes()
    with pytest.raises(InputError) as caught:
        run(tmp_path / "small", changes)
    message = str(caught.value)
    assert f" {key} was " in message
    assert "--set study.name" in message
    assert "--dir" in message
    assert (tmp_path / "small" / "study.json").read_bytes() == before


def test_a_refusal_shows_both_values(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match=r'study\.scenario was "class", now "task"'):
        run(tmp_path, {"study.scenario": "task"})


def test_a_refused_study_does_not_keep_the_lock(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError):
        run(tmp_path, {"study.scenario": "task"})
    run(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"tune.trials": 9},
        {"confirm.seeds": {"first": 100, "count": 9}},
        {"confirm.seeds": [100, 7]},
        {"resources": {"cpus_per_trial": 2, "seeds_per_stack": 1}},
        {"study.margin": 0.5},
        {"study.alpha": 0.01},
        {"study.failed": "worst"},
        {"study.reference": "finetune"},
        {"methods.ewc": {}},
        {"published": {"x": 1}},
    ],
)
def test_a_study_may_grow(tmp_path, changes):
    run(tmp_path, confirm=True)
    run(tmp_path, changes)
    assert Folder.open(tmp_path)[1] == make_spec(changes)


def test_a_method_may_be_left_out_and_come_back(tmp_path):
    run(tmp_path)
    run(tmp_path, {"methods": {"replay": {}}})
    run(tmp_path)


def test_the_plan_changes_until_something_was_confirmed(tmp_path):
    run(tmp_path)
    run(tmp_path, {"confirm.seeds": [200, 201], "study.margin": 0.5})
    planned = Folder.open(tmp_path)[0].facts["planned"]
    assert (planned["seeds"], planned["margin"]) == ([200, 201], 0.5)


def test_seeds_added_after_a_confirmation_are_visible(tmp_path):
    run(tmp_path, confirm=True)
    run(tmp_path, {"confirm.seeds": {"first": 100, "count": 6}})
    run(tmp_path, {"confirm.seeds": {"first": 100, "count": 8}})
    record = record_of(tmp_path)
    assert record.planned_seeds == [100, 101, 102, 103]
    assert record.seeds_added_later == [104, 105, 106, 107]


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({"study.reference": "finetune"}, "reference was replay, now finetune"),
        ({"study.margin": 0.5}, "margin was 0.01, now 0.5"),
        ({"study.alpha": 0.01}, "alpha was 0.05, now 0.01"),
        ({"study.failed": "worst"}, "failed was error, now worst"),
    ],
)
def test_a_question_changed_after_a_confirmation_is_in_the_provenance(tmp_path, changes, noted):
    run(tmp_path, confirm=True)
    assert "changed after looking" not in record_of(tmp_path).provenance
    run(tmp_path, changes)
    assert record_of(tmp_path).provenance["changed after looking"] == noted


def test_stack_sizes_are_kept_with_their_rates(tmp_path):
    folder, spec = Folder(tmp_path), make_spec()
    with folder.claim(spec):
        folder.record(spec, "x", False)
        folder.keep_stack("replay", 4, {1: 10.5, 4: 20.0})
    run(tmp_path, {"resources.seeds_per_stack": 1})
    kept = Folder.open(tmp_path)[0].facts["stacks"]
    assert kept == {"replay": {"size": 4, "seed_steps_per_second": {"1": 10.5, "4": 20.0}}}
    assert record_of(tmp_path).provenance["stack sizes"] == "replay 4"


def test_a_folder_run_by_another_process_is_refused(tmp_path):
    run(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"another process.*--dir"):
            run(tmp_path)
        other.communicate("\n")
    run(tmp_path)


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), Folder(tmp_path).claim(make_spec()):
        raise ZeroDivisionError
    run(tmp_path)


def test_a_file_in_the_way_of_the_folder_is_answered(tmp_path):
    (tmp_path / "small").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*small.*--dir"):
        run(tmp_path / "small")
    with pytest.raises(InputError, match=r"cannot write .*small.*--dir"):
        run(tmp_path / "small" / "inside")


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_of_no_study_is_not_opened(tmp_path, make):
    place = tmp_path / "small"
    if make:
        place.mkdir()
    with pytest.raises(InputError, match=r"small is not the folder of a study.*study\.json"):
        Folder.open(place)
    assert place.exists() == make


def test_a_file_is_not_opened_as_a_folder(tmp_path):
    (tmp_path / "small").write_text("")
    with pytest.raises(InputError, match="small"):
        Folder.open(tmp_path / "small")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"format": 1, "spec"',
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"format": 999}',
        b'{"format": 1}',
        b'{"format": 1, "spec": {}, "stacks": {}}',
    ],
)
def test_a_damaged_study_json_is_named(tmp_path, content):
    run(tmp_path)
    (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(InputError, match=r"study\.json"):
        Folder.open(tmp_path)
    with pytest.raises(InputError, match=r"study\.json"):
        run(tmp_path)


def test_a_folder_in_the_place_of_study_json_is_named(tmp_path):
    run(tmp_path)
    (tmp_path / "study.json").unlink()
    (tmp_path / "study.json").mkdir()
    with pytest.raises(InputError, match=r"study\.json"):
        Folder.open(tmp_path)


def test_a_study_without_its_study_json_goes_on(tmp_path):
    run(tmp_path, confirm=True)
    (tmp_path / "study.json").unlink()
    folder = run(tmp_path)
    assert len(folder.ledger().entries("confirm")) == 1
    assert folder.facts["planned"]["seeds"] == [100, 101, 102, 103]


def test_study_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    run(tmp_path)
    before = json.loads((tmp_path / "study.json").read_text())

    def fail(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("study.folder.os.replace", fail)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, {"tune.trials": 99})
    assert json.loads((tmp_path / "study.json").read_text()) == before
    run(tmp_path, {"tune.trials": 99})
    assert Folder.open(tmp_path)[1].tune.trials == 99
