"""Where results come from, and the study file with every key: enough for others to run it again."""

from __future__ import annotations

import json
import platform
import tomllib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from factory import admit, build_study, make_design, make_entry, make_outcome, make_spec

from analysis.formats.data import to_json
from study.check import resolve
from study.ledger import Ledger
from study.provenance import study_file
from study.record import analyse_folder
from study.report import write_report
from study.spec import Spec, presets, read
from study.state import Study
from trainables.engine import machine

DAY = 1_796_000_000.0  # 2026-11-30 00:53 UTC


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of a finished study."""
    place = tmp_path_factory.mktemp("provenance") / "small"
    build_study(place, make_spec())
    return place


def facts_of(place):
    return analyse_folder(place).record.provenance


def add_trial(ledger, spec, ended, monkeypatch, number=0, **fields):
    """Write a trial that ended at a time."""
    entry = replace(make_entry(spec, "replay", "tune", number=number), values=[0.5], **fields)
    with monkeypatch.context() as patch:
        patch.setattr("study.ledger.time.time", lambda: ended)
        ledger.finish(replace(entry, state="complete"), make_outcome(entry.seeds).to_bytes())


# -- the facts


def test_every_format_names_the_machine_the_time_and_the_versions(place, undrawn, tmp_path):
    analysis = analyse_folder(place)
    facts = analysis.record.provenance
    assert facts["host"] == "node1"
    assert facts["processor"] == "a processor"
    assert facts["GPU"] == "none"
    assert facts["python"] == platform.python_version()
    assert facts["torch"] == "2.9"
    assert facts["git"]
    last = max(entry.ended for entry in Ledger(place / "ledger").entries())
    assert facts["last trial"] == datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_report(analysis, tmp_path)
    for name in ("report.md", "index.html"):
        text = (tmp_path / name).read_text()
        for part in ("host: node1", "processor: a processor", f"last trial: {facts['last trial']}"):
            assert part in text
    assert json.loads((tmp_path / "report.json").read_text())["provenance"] == facts


def test_the_wall_time_is_that_of_the_runs_with_trials(tmp_path, monkeypatch):
    folder, spec, ledger = admit(tmp_path)
    for number, ended in enumerate((DAY + 60, DAY + 600, DAY + 90_000)):
        add_trial(ledger, spec, ended, monkeypatch, number)
    # a run of ten minutes, one that found nothing to do, and one of 1000 seconds on the next day
    folder.facts.started += [DAY, DAY + 5000, DAY + 89_000]
    folder._write()
    assert facts_of(tmp_path)["wall time"] == "27 min"
    assert facts_of(tmp_path)["last trial"] == "2026-12-01 01:53 UTC"


def test_a_run_notes_when_it_begins(tmp_path, monkeypatch):
    folder, _, _ = admit(tmp_path)
    monkeypatch.setattr("study.folder.time.time", lambda: DAY)
    folder.keep_start()
    folder, _, _ = admit(tmp_path)  # run again
    folder.keep_start()
    assert json.loads((tmp_path / "study.json").read_text())["started"] == [DAY, DAY]


def test_the_folder_of_an_earlier_version_says_what_it_did_not_record(tmp_path):
    earlier = tmp_path / "small"
    build_study(earlier, make_spec())
    facts = json.loads((earlier / "study.json").read_text())
    del facts["started"]
    (earlier / "study.json").write_text(json.dumps(facts))
    for path in earlier.glob("ledger/*/*/*/trial.json"):
        entry = json.loads(path.read_text())
        del entry["host"], entry["processor"], entry["software"]["python"], entry["software"]["git"]
        path.write_text(json.dumps(entry))
    found = facts_of(earlier)
    names = ("host", "processor", "wall time", "python", "git")
    assert {name: found[name] for name in names} == dict.fromkeys(names, "not recorded")
    assert found["GPU"] == "none"  # this is in every ledger
    assert found["last trial"] != "none yet"


def test_a_study_continued_by_this_version_says_what_is_missing(tmp_path, monkeypatch):
    folder, spec, ledger = admit(tmp_path)
    add_trial(ledger, spec, DAY - 100, monkeypatch, 0, device="cpu")
    folder.facts.started.append(DAY)
    folder._write()
    assert facts_of(tmp_path)["wall time"] == "not recorded"
    add_trial(ledger, spec, DAY + 100, monkeypatch, 1, device="H200", host="b", processor="x")
    add_trial(ledger, spec, DAY + 200, monkeypatch, 2, device="H200", host="a", processor="x")
    found = facts_of(tmp_path)
    assert found["wall time"] == "3 min, and earlier runs not recorded"
    assert found["host"] == "a, b, not recorded"
    assert found["processor"] == "x, not recorded"
    assert found["GPU"] == "H200, none"


def test_a_study_without_trials_names_no_machine(tmp_path):
    admit(tmp_path)
    found = facts_of(tmp_path)
    assert found["last trial"] == "none yet"
    assert not {"host", "processor", "GPU", "wall time"} & {*found}


def test_the_processor_is_the_model_that_the_system_names(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\n\nmodel name\t: Other\n")
    monkeypatch.setattr(machine, "CPUINFO", file)
    assert machine.processor.__wrapped__() == "Fast CPU @ 3 GHz"
    file.write_text("processor\t: 0\nCPU part\t: 0xd0c\n")  # as on ARM
    assert machine.processor.__wrapped__() in (platform.processor(), platform.machine())
    file.unlink()
    assert machine.processor.__wrapped__()


# -- the study file


@pytest.mark.parametrize("preset", presets())
def test_the_resolved_file_of_a_preset_asks_for_the_same_study(preset):
    spec, source = read(preset)
    design = resolve(spec, source)
    again = resolve(Spec.parse(tomllib.loads(study_file(design)), "again"), "again")
    assert again.methods == design.methods
    assert again.comparisons == design.comparisons
    for name, method in design.methods.items():
        for phase in ("tune", "confirm"):
            works = [d.assignment(method, method.configuration({}), phase) for d in (design, again)]
            assert works[0] == works[1], name
    parts = ("study", "tune", "confirm", "resources", "published")
    for part in parts:
        assert getattr(again.spec, part) == getattr(spec, part)
    assert study_file(again) == study_file(design)


def test_every_key_with_a_value_is_in_the_resolved_file():
    design = make_design({"stream.class_order": "shuffled", "methods.er": {"learner": "replay"}})
    values = tomllib.loads(study_file(design))
    assert values["study"] == design.spec.plain()["study"]
    assert values["stream"] == design.stream.options.plain()
    assert set(values["stream"]) > {"class_order"}  # the defaults too
    learners = {name: section["learner"] for name, section in values["methods"].items()}
    assert learners == {"finetune": "finetune", "replay": "replay", "er": "replay"}
    expected = {k: v for k, v in design.spec.plain()["tune"].items() if v not in (None, {})}
    assert values["tune"] == expected
    assert values["confirm"]["seeds"] == {"first": 100, "count": 4}


def test_the_resolved_file_continues_the_study_in_its_folder(place):
    text = analyse_folder(place).record.study_file
    again = Spec.parse(tomllib.loads(text), "again")
    study = Study.open(place)
    with study.folder.claim():
        study.folder.admit(again, "python -m study run small.toml", study.ledger)
    assert Study.open(place).complete


def test_the_report_has_the_study_file_and_a_command_that_runs_it(place, undrawn, tmp_path):
    analysis = analyse_folder(place)
    text = analysis.record.study_file
    write_report(analysis, tmp_path)
    markdown = (tmp_path / "report.md").read_text()
    assert f"```toml\n{text.rstrip()}\n```" in markdown
    assert "```sh\npython -m study run small.toml\n```" in markdown
    assert "python -m study run small.toml" in (tmp_path / "index.html").read_text()
    assert json.loads(to_json(analysis))["study_file"] == text
    (tmp_path / "small.toml").write_text(text)
    spec, _ = read(str(tmp_path / "small.toml"))
    assert resolve(spec, "small.toml").methods == Study.open(place).methods
