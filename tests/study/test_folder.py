"""A study's folder: whose it is, what may change in it, and what was decided once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from factory import add, admit, make_spec

from analysis.one_study.analyse import analyse
from study.check import resolve
from study.data import StudyData
from study.folder import Facts, Folder, StackSize
from study.mlflow.store import default_uri
from study.mlflow.writer import rebuild
from study.record import study_record
from study.state import Study
from trainables.errors import InputError
from trainables.streams import datasets

HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1], timeout=0):
    print("held", flush=True)
    sys.stdin.readline()
"""


BOTH = ("finetune", "replay")
STACK = StackSize(size=4, device="cpu", seed_steps_per_second={1: 10.5, 4: 20.0})


def run(place, changes=None, tune=(), confirm=()):
    """Do what a run does to the folder; leave a finished trial of each method named."""
    folder, spec, ledger = admit(place, changes)
    for name in tune:
        add(ledger, spec, name, "tune", number=0, values=[0.5])
    for name in confirm:
        add(ledger, spec, name, seeds=spec.confirm_seeds[:1])
    return folder


def record_of(place):
    folder, spec = Folder.open(place)
    return study_record(Study(resolve(spec, "x"), folder, folder.ledger()))


def test_a_folder_remembers_the_study_and_the_command(tmp_path):
    run(tmp_path / "small")
    folder, spec = Folder.open(tmp_path / "small")
    assert spec == make_spec()
    assert folder.facts.command == "python -m study run own.toml"


def test_a_folder_keeps_its_name_in_mlflow_wherever_it_is_moved(tmp_path):
    before = run(tmp_path / "small").facts.id
    run(tmp_path / "other")
    (tmp_path / "small").rename(tmp_path / "moved")
    run(tmp_path / "moved", {"tune.trials": 9})
    assert Folder.open(tmp_path / "moved")[0].facts.id == before
    assert Folder.open(tmp_path / "other")[0].facts.id != before


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
    run(tmp_path / "small", tune=BOTH)
    before = (tmp_path / "small" / "study.json").read_bytes()
    with pytest.raises(InputError) as caught:
        run(tmp_path / "small", changes)
    message = str(caught.value)
    assert f" {key} was " in message
    assert "--set study.name" in message
    assert "--dir" in message
    assert (tmp_path / "small" / "study.json").read_bytes() == before


def test_a_refusal_shows_both_values(tmp_path):
    run(tmp_path, confirm=["replay"])
    with pytest.raises(InputError, match=r'study\.scenario was "class", now "task"'):
        run(tmp_path, {"study.scenario": "task"})


def test_a_refused_study_does_not_keep_the_lock(tmp_path):
    run(tmp_path, confirm=["replay"])
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
        {"published": {"replay": {"forgetting": {"mean": 0.5}}}},
    ],
)
def test_a_study_may_grow(tmp_path, changes):
    run(tmp_path, tune=BOTH, confirm=BOTH)
    run(tmp_path, changes)
    assert Folder.open(tmp_path)[1] == make_spec(changes)


OTHER_FINETUNE = {"methods.finetune": {"fixed": {"lr": 0.5}}}


@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_a_method_may_be_left_out_and_come_back(tmp_path, phase):
    run(tmp_path, **{phase: BOTH})
    for _ in range(2):
        run(tmp_path, {"methods": {"replay": {}}})
        with pytest.raises(InputError, match=r"methods\.finetune was"):
            run(tmp_path, OTHER_FINETUNE)
    run(tmp_path)
    assert Folder.open(tmp_path)[1] == make_spec()


def test_a_method_that_has_nothing_may_change(tmp_path):
    run(tmp_path, tune=["replay"])
    run(tmp_path, OTHER_FINETUNE)
    run(tmp_path, {"methods": {"replay": {}}})
    run(tmp_path)
    run(tmp_path, OTHER_FINETUNE)
    assert Folder.open(tmp_path)[1].methods["finetune"].fixed == {"lr": 0.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"study.stream": "split_mnist"},
        {"study.scenario": "task"},
        {"stream.class_order": "shuffled"},
        {"tune.seeds": [7]},
        OTHER_FINETUNE,
    ],
)
def test_anything_may_change_while_nothing_has_finished(tmp_path, changes):
    run(tmp_path)
    run(tmp_path, changes)
    assert Folder.open(tmp_path)[1] == make_spec(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"methods.replay": {"learner": "replay"}},
        {"methods.replay": {"fixed": {}, "space": {}}},
        {"stream": {}},
        {"stream.class_order": "fixed"},
        {"stream": {"active_classes": "all", "class_order": "fixed"}},
        {"tune.seeds": {"first": 0, "count": 2}},
        {"tune.objectives": ["average_accuracy"]},
    ],
)
def test_what_a_study_takes_by_default_may_be_written_out(tmp_path, changes):
    keys = [[e.key for e in run(tmp_path, tune=BOTH).ledger().entries()]]
    keys.append([e.key for e in run(tmp_path, changes, tune=BOTH).ledger().entries()])
    assert keys[0] == keys[1]
    run(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"tune.sampler": "tpe"},
        {"tune.seeds": [7]},
        {"tune.objectives": ["average_accuracy", "memory_bytes"]},
        {"tune.protocol": "first_tasks"},
    ],
)
def test_the_tuning_may_change_while_nothing_was_tuned(tmp_path, changes):
    run(tmp_path, confirm=BOTH)
    run(tmp_path, changes)
    run(tmp_path, changes, tune=["replay"])
    with pytest.raises(InputError, match=r"tune\.\w+ was"):
        run(tmp_path)


def test_the_plan_changes_until_something_was_confirmed(tmp_path):
    run(tmp_path)
    run(tmp_path, {"confirm.seeds": [200, 201], "study.margin": 0.5})
    facts = Folder.open(tmp_path)[0].facts
    assert facts.planned.seeds == [200, 201]
    assert [asked.question.margin for asked in facts.asked] == [0.5]


def test_seeds_added_after_a_confirmation_are_visible(tmp_path):
    run(tmp_path, confirm=["replay"])
    run(tmp_path, {"confirm.seeds": {"first": 100, "count": 6}})
    run(tmp_path, {"confirm.seeds": {"first": 100, "count": 8}})
    record = record_of(tmp_path)
    assert record.planned_seeds == [100, 101, 102, 103]


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({"study.reference": "finetune"}, "reference was replay, now finetune"),
        (
            {"study.comparisons": [["finetune", "replay"]]},
            "comparisons was (each method against the reference), now (finetune against replay)",
        ),
        ({"study.margin": 0.5}, "margin was 0.01, now 0.5"),
        ({"study.alpha": 0.01}, "alpha was 0.05, now 0.01"),
        ({"study.failed": "worst"}, "failed was error, now worst"),
        ({"tune.trials": 0}, "tune.trials was 4, now 0"),
    ],
)
def test_a_question_changed_after_a_confirmation_is_in_the_provenance(tmp_path, changes, noted):
    run(tmp_path, confirm=["replay"])
    assert "changed after looking" not in record_of(tmp_path).provenance
    run(tmp_path, changes)
    today = datetime.now(UTC).date().isoformat()
    assert f"{noted} (changed {today})" in record_of(tmp_path).changes
    assert noted in record_of(tmp_path).provenance["changed after looking"]


def test_a_comparison_once_asked_for_stays_in_the_family(tmp_path):
    more = {"methods.ewc": {}, "methods.joint": {}}
    run(tmp_path, more, confirm=["replay"])
    assert analyse(record_of(tmp_path)).rules.family_size == 2  # finetune and ewc; no bound
    run(tmp_path, more | {"study.comparisons": [["ewc", "finetune"]]})
    found = analyse(record_of(tmp_path))
    assert found.record.family == (("ewc", "finetune"),)
    assert found.rules.family_size == 3
    run(tmp_path, {"study.comparisons": [["finetune", "replay"]]})  # ewc and joint are left out
    found = analyse(record_of(tmp_path))
    assert found.record.family == (("finetune", "replay"),)
    assert found.rules.family_size == 3


def test_a_requirement_cannot_be_added_to_finished_sweeps_of_an_earlier_version(tmp_path):
    run(tmp_path, tune=["replay"])
    facts = json.loads((tmp_path / "study.json").read_text())
    del facts["identity"]["tune.require"]
    (tmp_path / "study.json").write_text(json.dumps(facts))
    run(tmp_path)
    with pytest.raises(InputError, match=r"tune\.require was \{\}, now"):
        run(tmp_path, {"tune.require": {"learning_accuracy": 0.9}})


def test_a_question_changed_and_changed_back_is_told(tmp_path):
    run(tmp_path, confirm=["replay"])
    run(tmp_path, {"study.alpha": 0.2, "study.margin": 0.5})
    run(tmp_path, {"study.alpha": 0.2})
    run(tmp_path)
    run(tmp_path)
    margin, alpha = (text.partition(" (changed")[0] for text in record_of(tmp_path).changes)
    assert margin == "margin was 0.01, then 0.5, now 0.01"
    assert alpha == "alpha was 0.05, then 0.2, now 0.05"
    assert len(Folder.open(tmp_path)[0].facts.asked) == 4


def test_the_data_the_last_run_used_is_kept_by_its_hash(tmp_path):
    folder = run(tmp_path)
    for digest in ("aaa", "aaa", "bbb"):
        folder.keep_data({"digits": digest})
    run(tmp_path)
    assert record_of(tmp_path).provenance["data"] == "digits bbb"


def test_data_is_known_by_its_arrays(tmp_path):
    design, data = resolve(make_spec(), "x"), datasets.load("digits", tmp_path)
    same = {name: {k: a.copy() for k, a in split.items()} for name, split in data.items()}
    assert StudyData(design, data, same).hashes() == StudyData(design, same, data).hashes()
    same["test"]["labels"][0] += 1
    assert StudyData(design, data, same).hashes() != StudyData(design, data, data).hashes()


def test_stack_sizes_are_kept_with_their_rates(tmp_path):
    run(tmp_path).keep_stack("replay", STACK)
    run(tmp_path, {"resources.seeds_per_stack": 1})
    assert Folder.open(tmp_path)[0].facts.stacks == {"replay": STACK}
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
    with pytest.raises(ZeroDivisionError), Folder(tmp_path).claim():
        raise ZeroDivisionError
    run(tmp_path)


def test_a_file_in_the_way_of_the_folder_is_answered(tmp_path):
    (tmp_path / "small").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*small.*--dir"):
        run(tmp_path / "small")
    with pytest.raises(InputError, match=r"cannot write .*small.*--dir"):
        run(tmp_path / "small" / "inside")


def a_file(place):
    place.write_text("mine")


def a_link_to_nothing(place):
    place.symlink_to("gone")


def a_link_to_itself(place):
    place.symlink_to(place)


IN_THE_WAY = {
    a_file: "is a file where a folder should be",
    a_link_to_nothing: "is a link to gone, which is not there",
    a_link_to_itself: "is a link to .*, which is not there",
}


@pytest.mark.parametrize("put", IN_THE_WAY)
@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_what_is_in_the_way_of_a_folder_is_told(tmp_path, put, inside):
    put(tmp_path / "small")
    wanted = rf"{tmp_path / 'small'} {IN_THE_WAY[put]}"
    with pytest.raises(InputError, match=rf"^cannot write .*: {wanted}\. Move it away, or .*--dir"):
        run(tmp_path / "small" / inside)
    with pytest.raises(InputError, match=rf"is not the folder of a study: {wanted}\. Give"):
        Folder.open(tmp_path / "small" / inside)[0]


@pytest.mark.parametrize("put", IN_THE_WAY)
@pytest.mark.parametrize("name", ["ledger", "ray", "report"])
def test_what_is_in_the_way_inside_a_folder_is_told_before_anything_runs(tmp_path, put, name):
    run(tmp_path)
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    put(tmp_path / name)
    with pytest.raises(InputError, match=rf"{tmp_path / name} {IN_THE_WAY[put]}\. Move it away"):
        run(tmp_path)


def test_a_link_to_a_folder_is_a_folder(tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "small").symlink_to("large disk")
    run(tmp_path / "small")
    assert (tmp_path / "large disk" / "study.json").exists()


def test_a_folder_whose_path_is_no_text_is_refused_before_anything_is_written(tmp_path):
    place = tmp_path / os.fsdecode(b"stra\xdfe")
    place.mkdir()
    with pytest.raises(InputError, match=r"'/.*stra\\xdfe/small' is not text in UTF-8"):
        run(place / "small")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_of_no_study_is_not_opened(tmp_path, make):
    place = tmp_path / "small"
    if make:
        place.mkdir()
    with pytest.raises(InputError, match=r"small is not the folder of a study.*study\.json"):
        Folder.open(place)
    assert place.exists() == make


def test_a_file_is_not_opened_as_a_folder(tmp_path):
    (tmp_path / "small.toml").write_text("")
    with pytest.raises(InputError, match=r"small\.toml is not the folder of a study"):
        Folder.open(tmp_path / "small.toml")


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
        b'{"format": 2, "spec": {}, "stacks": {}}',
    ],
)
def test_a_damaged_study_json_is_named(tmp_path, content):
    run(tmp_path)
    assert_damaged(tmp_path, content)


NEEDED = [name for name, field in Facts.model_fields.items() if field.is_required()]


@pytest.mark.parametrize("key", NEEDED)
def test_a_study_json_without_a_key_is_damaged(tmp_path, key):
    run(tmp_path).keep_stack("replay", STACK)
    facts = json.loads((tmp_path / "study.json").read_text())
    del facts[key]
    assert_damaged(tmp_path, json.dumps(facts).encode())


@pytest.mark.parametrize("wrong", [None, 7, [], ["x"]])
@pytest.mark.parametrize("key", NEEDED)
def test_a_study_json_with_a_value_of_another_kind_is_damaged(tmp_path, key, wrong):
    run(tmp_path).keep_stack("replay", STACK)
    facts = json.loads((tmp_path / "study.json").read_text())
    assert_damaged(tmp_path, json.dumps(facts | {key: wrong}).encode())


@pytest.mark.parametrize("place", ["planned", "stacks.replay", "spec", "spec.study"])
def test_a_study_json_with_an_empty_table_is_damaged(tmp_path, place):
    run(tmp_path).keep_stack("replay", STACK)
    facts = json.loads((tmp_path / "study.json").read_text())
    *tables, last = place.split(".")
    inner = facts
    for table in tables:
        inner = inner[table]
    inner[last] = {}
    assert_damaged(tmp_path, json.dumps(facts).encode())


@pytest.mark.parametrize("version", [1, 3, 5, "4", 4.5])
def test_a_study_json_of_another_version_is_named(tmp_path, version):
    run(tmp_path)
    facts = json.loads((tmp_path / "study.json").read_text())
    assert_damaged(tmp_path, json.dumps(facts | {"format": version}).encode())


def assert_damaged(place, content):
    """Check that a study.json is neither read nor run nor overwritten, and that it is named."""
    (place / "study.json").write_bytes(content)
    for use in (Folder.open, run):
        with pytest.raises(InputError, match=r"study\.json is damaged or of another version"):
            use(place)
    assert (place / "study.json").read_bytes() == content


def test_a_folder_in_the_place_of_study_json_is_named(tmp_path):
    run(tmp_path)
    (tmp_path / "study.json").unlink()
    (tmp_path / "study.json").mkdir()
    for use in (Folder.open, run):
        with pytest.raises(InputError, match=r"study\.json cannot be read"):
            use(tmp_path)
    assert (tmp_path / "study.json").is_dir()


def test_a_study_without_its_study_json_goes_on(tmp_path):
    run(tmp_path, confirm=["replay"])
    (tmp_path / "study.json").unlink()
    folder = run(tmp_path)
    assert len(folder.ledger().entries("confirm")) == 1
    assert folder.facts.planned.seeds == [100, 101, 102, 103]


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


def test_what_to_do_about_a_folder_that_cannot_be_written_is_for_the_command_to_say(
    tmp_path, monkeypatch
):
    folder = run(tmp_path)

    def refuse(*of, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("study.folder.FileLock", refuse)
    with pytest.raises(InputError, match="or choose another folder with --dir"), folder.claim():
        pass
    with pytest.raises(InputError, match="Read-only file system") as caught:
        rebuild(tmp_path, default_uri(tmp_path))
    assert "--dir" not in str(caught.value)
