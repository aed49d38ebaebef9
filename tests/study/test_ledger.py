"""Finished work is on disk whole or not at all, and what is damaged does not spread."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from factory import add, make_entry, make_method, make_outcome, make_spec

from study.ledger import Entry, Ledger, entry_for, key_of
from trainables import find_learner, find_stream
from trainables.engine.assignment import Assignment
from trainables.errors import InputError

SPEC = make_spec()

WORK = Assignment(
    learner="replay",
    configuration={"lr": 0.1, "hidden": [64]},
    stream="split_digits",
    scenario="class",
    options={"class_order": "fixed"},
    phase="tune",
    seeds=(0, 1),
    tasks=None,
    evaluate_every=0,
)
CHANGED = {
    "learner": "finetune",
    "configuration": {"lr": 0.1000001, "hidden": [64]},
    "stream": "split_mnist",
    "scenario": "task",
    "options": {"class_order": "shuffled"},
    "phase": "confirm",
    "seeds": (1, 0),
    "tasks": 5,
    "evaluate_every": 1,
}


@pytest.fixture
def filled(tmp_path):
    """A ledger of three entries, and what it says."""
    folder = tmp_path / "ledger"
    ledger = Ledger(folder)
    for number in range(2):
        add(ledger, SPEC, "replay", "tune", number=number, values=[0.5], params={"lr": number + 1})
    add(ledger, SPEC, "replay", seeds=(100, 101))
    return folder


@pytest.fixture
def told():
    return []


def reopen(folder, told):
    return Ledger(folder, told.append)


def first_entry(folder):
    return next((folder / "tune" / "replay").glob("0000-*"))


# -- entries


def test_an_entry_survives_a_round_trip(tmp_path):
    ledger = Ledger(tmp_path)
    entry = dataclasses.replace(
        make_entry(SPEC, "replay", "tune", number=7),
        state="pruned",
        values=[0.25, 1e9],
        params={"lr": 1 / 3},
        distributions={"lr": "{}"},
        attributes={"note": [1, "two"]},
        steps={"1": 0.5, "2": 0.1},
        seconds=1.5,
        samples=12,
        resumed=2,
        failure="a\nb é",
        software={"torch": "2"},
    )
    outcome = make_outcome((0, 1), 0.75)
    written = ledger.finish(entry, outcome.to_bytes())
    [read] = Ledger(tmp_path).entries()
    assert read == written
    assert dataclasses.replace(read, digest="", ended=0.0) == entry
    again = Ledger(tmp_path).outcome(read)
    assert np.array_equal(again.counts["main"], outcome.counts["main"])
    assert list(again.footprint) == list(outcome.footprint)
    assert Ledger(tmp_path).outcome_bytes(read) == outcome.to_bytes()


def test_values_that_are_no_number_survive_too(tmp_path):
    add(Ledger(tmp_path), SPEC, "replay", "tune", number=0, state="diverged", values=[np.nan])
    [entry] = Ledger(tmp_path).entries()
    assert np.isnan(entry.values).tolist() == [True]


def test_a_failed_trial_has_no_outcome(tmp_path):
    ledger = Ledger(tmp_path)
    entry = add(ledger, SPEC, "replay", state="failed", failure="Traceback\nValueError: no")
    assert (entry.digest, ledger.outcome_bytes(entry)) == ("", b"")
    assert Ledger(tmp_path).entries() == [entry]


def test_entries_come_in_the_order_of_their_numbers_and_by_phase_and_method(filled):
    add(Ledger(filled), SPEC, "finetune", "tune", number=0)
    ledger = Ledger(filled)
    assert [e.number for e in ledger.entries("tune", "replay")] == [0, 1]
    assert [e.method for e in ledger.entries("tune")] == ["finetune", "replay", "replay"]
    assert [e.phase for e in ledger.entries(method="replay")] == ["confirm", "tune", "tune"]
    assert len(ledger.entries()) == 4


@pytest.mark.parametrize(
    ("seeds", "label"),
    [((100, 101, 102), "seeds100-102"), ((7,), "seeds7"), ((1, 3), "seeds1_3")],
)
def test_folders_say_what_they_hold(seeds, label):
    entry = make_entry(SPEC, "replay", seeds=seeds)
    assert entry.folder == f"confirm/replay/{label}-{entry.key[:12]}"
    rechecked = make_entry(SPEC, "replay", "recheck", seeds=seeds)
    assert rechecked.folder == f"recheck/replay/{label}-{rechecked.key[:12]}"
    assert make_entry(SPEC, "replay", "tune", number=3).folder.startswith("tune/replay/0003-")


def test_an_entry_is_found_by_what_it_computed_unless_it_failed(filled):
    ledger = Ledger(filled)
    known = ledger.entries("tune")[0]
    assert ledger.find(dataclasses.replace(known, number=9, state="running")) == known
    assert ledger.find(dataclasses.replace(known, versions={"learner": 99})) is None
    failed = add(ledger, SPEC, "finetune", state="failed", failure="x")
    assert ledger.find(failed) is None


def test_an_entry_of_another_method_is_not_found_though_it_computed_the_same(filled):
    ledger = Ledger(filled)
    [known, _] = ledger.entries("tune")
    assert ledger.find(dataclasses.replace(known, method="again")) is None


# -- keys


def test_the_table_of_changes_covers_every_field_of_the_work():
    assert set(CHANGED) == {field.name for field in dataclasses.fields(Assignment)}


@pytest.mark.parametrize("field", CHANGED)
def test_the_key_depends_on_every_field_of_the_work(field):
    changed = dataclasses.replace(WORK, **{field: CHANGED[field]})
    assert entry_for(changed, "replay", 0).key != entry_for(WORK, "replay", 0).key


@pytest.mark.parametrize(
    "found", [lambda: find_learner("replay"), lambda: find_stream(WORK.stream)]
)
def test_the_key_depends_on_the_versions_of_learner_and_stream(found, monkeypatch):
    before = entry_for(WORK, "replay", 0).key
    monkeypatch.setattr(found(), "version", 99)
    assert entry_for(WORK, "replay", 0).key != before


def test_the_key_depends_on_nothing_else():
    entry = entry_for(WORK, "replay", 0)
    others = {
        "method": "other",
        "number": 5,
        "state": "failed",
        "values": [1.0],
        "params": {"lr": 2},
        "distributions": {"lr": ""},
        "attributes": {"a": 1},
        "steps": {"1": 0.1},
        "seconds": 9.0,
        "samples": 9,
        "resumed": 9,
        "ended": 9.0,
        "reason": "x",
        "failure": "x",
        "digest": "x",
        "foundation": "x",
        "software": {"torch": "x"},
        "device": "x",
        "host": "x",
        "processor": "x",
        "losses": [{"kind": "memory", "reason": "x", "tasks": 1}],
    }
    assert set(others) | {"work", "versions", "data"} == {f.name for f in dataclasses.fields(Entry)}
    for name, value in others.items():
        assert dataclasses.replace(entry, **{name: value}).key == entry.key


def test_the_key_depends_on_the_data():
    keys = {entry_for(WORK, "replay", 0, data).key for data in ("", "digits ab", "digits cd")}
    assert len(keys) == 3


def test_trials_that_learnt_other_data_are_kept_and_left_out(tmp_path):
    first = Ledger(tmp_path, data={"digits": "ab"})
    work = Assignment(**make_entry(SPEC, "replay", seeds=(100,)).work)
    entry = dataclasses.replace(first.entry_for(work, "replay", None), state="complete")
    kept = first.finish(entry, make_outcome((100,)).to_bytes())
    second = Ledger(tmp_path, data={"digits": "cd"})
    assert (second.entries(), second.entries_of_other_data()) == ([], [kept])
    assert second.find(second.entry_for(work, "replay", None)) is None
    again = dataclasses.replace(second.entry_for(work, "replay", None), state="complete")
    other = second.finish(again, make_outcome((100,), accuracy=0.5).to_bytes())
    assert kept.folder != other.folder
    assert Ledger(tmp_path, data={"digits": "ab"}).entries() == [kept]
    assert Ledger(tmp_path, data={"digits": "cd"}).entries() == [other]
    assert len(Ledger(tmp_path).entries()) == 2


def test_a_trial_that_was_asked_for_on_other_data_is_not_taken_up(tmp_path):
    first = Ledger(tmp_path, data={"digits": "ab"})
    work = Assignment(**make_entry(SPEC, "replay", seeds=(100,)).work)
    first.begin(first.entry_for(work, "replay", None))
    assert len(Ledger(tmp_path, data={"digits": "ab"}).unfinished()) == 1
    assert Ledger(tmp_path, data={"digits": "cd"}).unfinished() == []


def test_a_trial_keeps_the_losses_of_earlier_runs(tmp_path):
    ledger = Ledger(tmp_path)
    work = Assignment(**make_entry(SPEC, "replay", seeds=(100,)).work)
    losses = [{"kind": "node", "reason": "x", "tasks": 1}]
    ledger.begin(dataclasses.replace(ledger.entry_for(work, "replay", None), losses=losses))
    later = Ledger(tmp_path)
    assert later.entry_for(work, "replay", None).losses == losses
    failed = dataclasses.replace(
        later.entry_for(work, "replay", None), state="failed", losses=[*losses, *losses]
    )
    later.finish(failed)
    assert Ledger(tmp_path).entry_for(work, "replay", None).losses == [*losses, *losses]


def test_a_traceback_is_a_file_to_read(tmp_path):
    trace = 'Traceback\n  File "x.py"\nValueError: too hot \udc80\n'
    entry = add(Ledger(tmp_path), SPEC, "replay", seeds=(100,), state="failed", failure=trace)
    place = tmp_path / entry.folder
    assert (place / "traceback.txt").read_text().startswith('Traceback\n  File "x.py"\n')
    assert "Traceback" not in (place / "trial.json").read_text()
    (read,) = Ledger(tmp_path).entries()
    assert read.failure.startswith(trace[:40])


def test_the_key_does_not_depend_on_the_order_of_options():
    turned = dataclasses.replace(WORK, configuration={"hidden": [64], "lr": 0.1})
    assert entry_for(turned, "replay", 0).key == entry_for(WORK, "replay", 0).key


def test_the_key_is_a_known_value():
    # another value would make every ledger there is run again
    work = json.loads(json.dumps(dataclasses.asdict(WORK)))
    assert key_of(work, {"learner": 1, "stream": 1})[:12] == "0c2588d868b0"


def test_the_same_study_names_its_work_the_same():
    changes = {"study.margin": 0.5, "resources.seeds_per_stack": 1, "tune.trials": 9}
    design, method = make_method(changes)
    work = design.assignment(method, method.configuration({}), "confirm", (100,))
    assert entry_for(work, "replay", None).key == make_entry(SPEC, "replay", seeds=(100,)).key


# -- damage


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["trial.json", "outcome.h5"])
def test_a_truncated_file_sets_its_entry_aside_and_keeps_the_others(filled, told, name, share):
    path = first_entry(filled) / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert_set_aside(filled, told, path.parent)


@pytest.mark.parametrize(
    "content", ["null", "3", "[]", '"text"', "{}", '{"format": 2}', '{"format": 1, "key": ""}']
)
def test_an_entry_of_another_make_is_set_aside(filled, told, content):
    path = first_entry(filled) / "trial.json"
    path.write_text(content)
    assert_set_aside(filled, told, path.parent)


def test_text_that_is_none_is_set_aside(filled, told):
    path = first_entry(filled) / "trial.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert_set_aside(filled, told, path.parent)


@pytest.mark.parametrize(
    ("key", "value"),
    [("state", "splendid"), ("state", "running"), ("number", 1), ("method", "other")],
)
def test_an_altered_entry_is_set_aside(filled, told, key, value):
    path = first_entry(filled) / "trial.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert_set_aside(filled, told, path.parent)


def test_an_entry_whose_work_was_altered_is_set_aside(filled, told):
    path = first_entry(filled) / "trial.json"
    values = json.loads(path.read_text())
    values["work"]["configuration"]["lr"] = 3.0
    path.write_text(json.dumps(values))
    assert_set_aside(filled, told, path.parent)


def test_an_altered_outcome_is_set_aside(filled, told):
    path = first_entry(filled) / "outcome.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_set_aside(filled, told, path.parent)


@pytest.mark.parametrize("name", ["trial.json", "outcome.h5"])
def test_an_entry_without_a_file_is_set_aside(filled, told, name):
    place = first_entry(filled)
    (place / name).unlink()
    assert_set_aside(filled, told, place)


def test_a_file_in_the_place_of_an_entry_is_set_aside(filled, told):
    place = first_entry(filled)
    shutil.rmtree(place)
    place.write_text("not a folder")
    assert_set_aside(filled, told, place)


@pytest.mark.parametrize("target", ["tune/finetune", "confirm/replay"])
def test_an_entry_moved_to_another_place_is_set_aside(filled, told, target):
    place = first_entry(filled)
    moved = filled / target / place.name
    moved.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(place, moved)
    assert_set_aside(filled, told, moved)


def test_a_copy_under_another_number_is_set_aside_and_the_entry_kept(filled, told):
    place = first_entry(filled)
    copied = place.with_name(place.name.replace("0000", "0009"))
    shutil.copytree(place, copied)
    assert len(reopen(filled, told).entries()) == 3
    assert not copied.exists()
    assert len(told) == 1


def assert_set_aside(folder, told, place):
    """Check that one entry is gone, with a message that names it, and the others are not."""
    ledger = reopen(folder, told)
    assert len(ledger.entries()) == 2
    [message] = told
    assert str(place.relative_to(folder)) in message
    assert "set_aside" in message
    assert not place.exists()
    kept = list((folder / "set_aside").glob(f"*/{place.name}"))
    assert len(kept) == 1
    told.clear()
    assert len(reopen(folder, told).entries()) == 2
    assert told == []


def test_a_reader_leaves_what_is_damaged_where_it_is(filled, told):
    place = first_entry(filled)
    (place / "trial.json").write_text("{")
    running = filled / "running" / f"{'0' * 64}.json"
    running.write_text("{")
    half = filled / ".partial-abc"
    half.mkdir()
    ledger = Ledger(filled, told.append, repair=False)
    assert len(ledger.entries()) == 2
    assert ledger.unfinished() == []
    assert len(told) == 2
    assert str(place.relative_to(filled)) in told[0]
    assert running.name in told[1]
    assert place.exists()
    assert running.exists()
    assert half.exists()
    assert not (filled / "set_aside").exists()


def test_a_reader_takes_in_what_was_written_since_also_of_a_trial_that_ran_again(tmp_path):
    writer = Ledger(tmp_path)
    add(writer, SPEC, "replay", "tune", number=0, state="failed", failure="boom")
    reader = Ledger(tmp_path, repair=False)
    add(writer, SPEC, "replay", "tune", number=0, values=[0.5])
    add(writer, SPEC, "replay", "tune", number=1, state="failed", failure="boom")
    for _ in range(2):
        reader.read_new()
        assert [e.state for e in reader.entries()] == ["complete", "failed"]
        assert len(reader.history) == 3


def test_reading_a_ledger_creates_nothing(tmp_path, told):
    ledger = Ledger(tmp_path / "small" / "ledger", told.append, repair=False)
    assert (ledger.entries(), ledger.unfinished(), told) == ([], [], [])
    assert list(tmp_path.iterdir()) == []


def test_reading_a_ledger_changes_nothing(filled, told):
    before = {path: path.stat().st_mtime_ns for path in filled.rglob("*")}
    assert len(Ledger(filled, told.append, repair=False).entries()) == 3
    assert {path: path.stat().st_mtime_ns for path in filled.rglob("*")} == before


def test_two_damaged_entries_of_one_name_are_both_kept_aside(filled, told):
    place = first_entry(filled)
    for _ in range(2):
        place.mkdir(exist_ok=True)
        (place / "trial.json").write_text("{")
        reopen(filled, told)
    assert len(list((filled / "set_aside").glob(f"*/{place.name}"))) == 2


def test_what_was_set_aside_can_be_written_again(filled, told):
    place = first_entry(filled)
    (place / "trial.json").write_text("{")
    ledger = reopen(filled, told)
    add(ledger, SPEC, "replay", "tune", number=0, values=[0.5], params={"lr": 1})
    assert len(reopen(filled, told).entries()) == 3


def test_leftovers_of_a_half_written_entry_are_cleaned(filled, told):
    half = filled / ".partial-abc"
    half.mkdir()
    (half / "outcome.h5").write_bytes(b"x")
    loose = filled / "running" / ".partial-def"
    loose.write_text("{")
    ledger = reopen(filled, told)
    assert len(ledger.entries()) == 3
    assert ledger.unfinished() == []
    assert not half.exists()
    assert not loose.exists()
    assert told == []


# -- interruption


class Crash(BaseException):
    """The driver is killed here."""


def killed_at(monkeypatch, step):
    """Let the driver die at the n-th renaming of a file or folder."""
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == step:
            raise Crash
        real(source, target)

    monkeypatch.setattr("study.ledger.os.replace", replace)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_interrupted_write_leaves_no_half_entry(filled, told, monkeypatch, step):
    ledger = Ledger(filled)
    entry = make_entry(SPEC, "replay", "tune", number=2)
    ledger.begin(entry)
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(Crash):
            add(ledger, SPEC, "replay", "tune", number=2, values=[0.5])
    again = reopen(filled, told)
    assert len(again.entries()) == 3
    assert [e.key for e in again.unfinished()] == [entry.key]
    assert told == []
    assert [p.name for p in filled.iterdir() if p.name.startswith(".partial")] == []
    add(again, SPEC, "replay", "tune", number=2, values=[0.5])
    assert len(reopen(filled, told).entries()) == 4
    assert reopen(filled, told).unfinished() == []


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_failed_trial_that_runs_again_is_never_half_replaced(tmp_path, told, monkeypatch, step):
    ledger = Ledger(tmp_path)
    add(ledger, SPEC, "replay", "tune", number=0, state="failed", failure="x")
    ledger.begin(make_entry(SPEC, "replay", "tune", number=0))
    with monkeypatch.context() as patch:
        killed_at(patch, step)
        with pytest.raises(Crash):
            add(ledger, SPEC, "replay", "tune", number=0, values=[0.5])
    again = reopen(tmp_path, told)
    assert [e.state for e in again.entries()] in ([], ["failed"])
    assert len(again.unfinished()) == 1
    assert told == []


def test_an_entry_replaces_the_failed_one_of_the_same_work(tmp_path):
    ledger = Ledger(tmp_path)
    add(ledger, SPEC, "replay", "tune", number=0, state="failed", failure="x")
    add(ledger, SPEC, "replay", "tune", number=0, values=[0.5])
    assert [e.state for e in ledger.entries()] == ["complete"]
    assert [e.state for e in Ledger(tmp_path).entries()] == ["complete"]


# -- running


def test_trials_that_compute_the_same_run_beside_each_other(tmp_path):
    ledger = Ledger(tmp_path)
    entry = make_entry(SPEC, "replay", "tune", number=0)
    others = [dataclasses.replace(entry, method="again"), dataclasses.replace(entry, number=1)]
    for each in (entry, *others):
        ledger.begin(each)
    assert len({each.slug for each in (entry, *others)}) == 3
    ledger.finish(dataclasses.replace(entry, state="complete"), make_outcome((0, 1)).to_bytes())
    assert sorted(map(repr, ledger.unfinished())) == sorted(map(repr, others))
    ledger.abandon(others[0])
    assert ledger.unfinished() == others[1:]
    ledger.abandon(others[0])


@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_the_name_of_a_file_says_what_it_is_of(phase):
    entry = make_entry(SPEC, "replay", phase, number=3 if phase == "tune" else None)
    assert entry.slug == entry.folder.replace("/", ".")
    assert "/" not in entry.slug


def test_a_trial_runs_from_begin_to_finish(tmp_path):
    ledger = Ledger(tmp_path)
    entry = make_entry(SPEC, "replay", "tune", number=4, params={"lr": 0.5})
    ledger.begin(entry)
    ledger.begin(entry)
    assert Ledger(tmp_path).unfinished() == [entry]
    assert ledger.entries() == []
    ledger.finish(dataclasses.replace(entry, state="complete"), make_outcome((0, 1)).to_bytes())
    assert Ledger(tmp_path).unfinished() == []


@pytest.mark.parametrize("content", ["", "{", "null", "3", '{"format": 1}'])
def test_an_unreadable_running_entry_is_set_aside(tmp_path, told, content):
    ledger = reopen(tmp_path, told)
    entry = make_entry(SPEC, "replay", "tune", number=4)
    ledger.begin(entry)
    bad = tmp_path / "running" / f"{'0' * 64}.json"
    bad.write_text(content)
    assert ledger.unfinished() == [entry]
    [message] = told
    assert bad.name in message
    assert not bad.exists()


# -- folders that cannot be written


def test_a_file_in_the_way_of_the_ledger_is_answered(tmp_path):
    (tmp_path / "ledger").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*ledger.*--dir"):
        Ledger(tmp_path / "ledger")


def test_a_file_in_the_way_of_a_phase_is_answered(tmp_path):
    Ledger(tmp_path)
    (tmp_path / "running").rmdir()
    (tmp_path / "running").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        Ledger(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_answered(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        Ledger(tmp_path / "ledger")
    tmp_path.chmod(0o700)
