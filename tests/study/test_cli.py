"""The command line, in processes of its own: what is printed where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factory import build_study, make_spec

from study.spec import presets
from trainables import LEARNERS, STREAMS

STUDY = """
[study]
name = "own"
stream = "split_digits"
reference = "replay"

[methods]
finetune = { fixed = { hidden = [8], epochs = 200 } }
replay = { fixed = { hidden = [8], epochs = 200 } }

[tune]
trials = 3
seeds = [0, 1]

[confirm]
seeds = { first = 100, count = 4 }

[resources]
seeds_per_stack = 2
"""


@pytest.fixture
def study(tmp_path):
    """Run a command in an empty folder; check that errors are sentences and nothing is coloured."""
    work = tmp_path / "work"
    work.mkdir()
    hidden = ("STUDY_DATA", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "XDG_CACHE_HOME")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    environment |= {"HOME": str(tmp_path / "home"), "TERM": "xterm-256color"}

    def run(*arguments, code=0):
        found = subprocess.run(
            [sys.executable, "-m", "study", *map(str, arguments)],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert found.returncode == code, found.stderr
        assert "Traceback" not in found.stdout + found.stderr
        assert "\x1b" not in found.stdout + found.stderr
        if code == 2:
            assert found.stdout == ""
            assert found.stderr.strip()
        return found

    run.work = work
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished study."""
    place = tmp_path_factory.mktemp("cli") / "small"
    build_study(place, make_spec())
    return place


def files_under(folder: Path):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# -- lists


def test_presets_are_listed_with_what_they_are(study):
    out = study("presets").stdout
    for name, text in presets().items():
        assert name in out
        assert text.splitlines()[0].lstrip("# ")[:40] in out


def test_methods_are_listed_with_sources_scenarios_and_options(study):
    found = json.loads(study("methods", "--json").stdout)
    assert set(found) == set(LEARNERS)
    for name, kind in LEARNERS.items():
        assert found[name]["source"] == kind.reference
        assert found[name]["scenarios"] == list(kind.scenarios)
        assert set(found[name]["options"]) == set(kind.Config.fields())
    lr = found["replay"]["options"]["lr"]
    assert (lr["default"], lr["low"], lr["help"]) == (1e-3, 0.0, "learning rate")
    assert found["replay"]["options"]["optimiser"]["choices"] == ["adam", "sgd"]


def test_streams_are_listed_with_data_and_scenarios(study):
    found = json.loads(study("streams", "--json").stdout)
    assert [row["stream"] for row in found] == list(STREAMS)
    assert set(found[0]) == {"stream", "tasks", "data", "scenarios"}


# -- help


@pytest.mark.parametrize("command", [(), ("data", "prepare")])
def test_help_says_what_there_is(study, command):
    out = study(*command, "--help").stdout
    names = [
        "run",
        "plan",
        "status",
        "report",
        "track",
        "ui",
        "presets",
        "methods",
        "streams",
        "data",
        "doctor",
    ]
    for name in ["--data", "NAME..."] if command else names:
        assert name in out


def test_every_command_has_help(study):
    script = """
from typer.testing import CliRunner
from study.cli import app
wanted = {
    "run": ["--set", "--dir", "--data", "--tracking-uri", "--address"],
    "plan": ["--set", "--dir", "--data", "--address", "--json"],
    "status": ["DIR", "--json"],
    "report": ["DIR", "--json"],
    "track": ["DIR", "--tracking-uri"],
    "ui": ["DIR", "--port"],
    "presets": ["--json"],
    "methods": ["--json"],
    "streams": ["--json"],
    "doctor": ["--data", "--address", "--json"],
}
assert {c.name or c.callback.__name__ for c in app.registered_commands} == set(wanted)
for command, parts in wanted.items():
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, command
    for part in parts:
        assert part in result.stdout, (command, part)
"""
    subprocess.run([sys.executable, "-c", script], cwd=study.work, check=True)


# -- plan


def test_a_plan_resolves_everything_and_writes_nothing(study):
    (study.work / "own.toml").write_text(STUDY)
    before = files_under(study.work.parent)
    found = json.loads(study("plan", "own.toml", "--json", "--dir", "elsewhere").stdout)
    assert files_under(study.work.parent) == before
    assert found["study"] == "own"
    assert found["folder"] == "elsewhere/own"
    assert [row["method"] for row in found["methods"]] == ["finetune", "replay"]
    for row in found["methods"]:
        assert (row["tune_trials"], row["tune_seeds"], row["confirm_seeds"]) == (3, 2, 4)
        assert row["stack"] == 2
        assert row["seconds"] > 0
    assert found["seconds"] == pytest.approx(sum(row["seconds"] for row in found["methods"]))
    power, floor = found["notes"][1:]
    assert "4 seeds" in power
    assert "standard deviations" in power
    assert "cannot reach 0.05" in floor  # 4 seeds: at best 2/16
    assert "6 seeds" in floor


def test_the_embedded_study_is_planned_by_default(study):
    out = study("plan", "--set", "resources.seeds_per_stack=10", "--set", "tune.trials=1").stdout
    for name in ("finetune", "replay", "ewc", "joint", "tuning trials"):
        assert name in out
    assert "10 seeds and 3 comparisons with 'replay'" in out
    assert files_under(study.work) == []


# -- bad input


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["plan", "digts"], ["'digts'", "Did you mean 'digits'?"]),
        (["run", "--set", "study.reference=repla"], ["preset digits", "Did you mean 'replay'?"]),
        (["frobnicate"], ["frobnicate"]),
    ],
)
def test_bad_input_is_answered_in_a_sentence_and_with_two(study, arguments, wanted):
    found = study(*arguments, code=2)
    for part in wanted:
        assert part in found.stderr
    assert files_under(study.work) == []


# one process for many commands: starting one for each would take as many seconds
MANY = """
import json, sys
from study.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["study", *arguments]
    try:
        main()
    except SystemExit as end:
        print(f"exit {end.code}", file=sys.stderr)
"""

BAD = {
    "run nowhere.toml": "cannot read the study file nowhere.toml",
    "run --set tune.trails=1": "Did you mean 'trials'?",
    "run --set tune": "KEY=VALUE",
    "plan --set methods.replay.fixed.lr=x": "methods.replay.fixed: lr = 'x'",
    "data prepare digit": "Did you mean 'digits'?",
    "report here": "here is not the folder of a study",
    "status here": "here is not the folder of a study",
    "track here": "here is not the folder of a study",
    "ui here": "here has no mlflow.db",
}


def test_every_command_answers_bad_input_in_one_line_and_with_two(study):
    given = json.dumps([command.split() for command in BAD])
    found = subprocess.run(
        [sys.executable, "-c", MANY, given], cwd=study.work, capture_output=True, text=True
    )
    assert found.stdout == ""
    lines = found.stderr.splitlines()
    assert lines[1::2] == ["exit 2"] * len(BAD)
    for command, wanted, line in zip(BAD, BAD.values(), lines[::2], strict=True):
        assert line.startswith("error: "), command
        assert wanted in line
    assert files_under(study.work) == []


# -- a finished study


def test_status_says_what_a_study_has(study, finished):
    found = json.loads(study("status", finished, "--json").stdout)
    assert [row["method"] for row in found] == ["finetune", "replay"]
    for row in found:
        assert (row["tuned"], row["confirmed"]) == ("4/4", "4/4")
        assert (row["failed"], row["running"]) == (0, 0)
        assert 0 < row["best"] < 1


def test_a_report_is_printed_and_written(study, finished):
    out = study("report", finished).stdout
    for part in ("replay (reference)", "finetune against replay", "Tuning"):
        assert part in out
    assert (finished / "report" / "report.md").exists()


def test_reports_of_several_studies_are_a_json_list(study, finished):
    both = json.loads(study("report", finished, finished, "--json").stdout)
    assert both == [json.loads((finished / "report" / "report.json").read_text())] * 2


def test_the_mirror_is_written_into_the_studys_folder(study, finished):
    out = study("track", finished).stdout
    assert f"sqlite:///{finished}/mlflow.db" in out
    assert (finished / "mlflow.db").exists()


# -- data


def test_bundled_data_is_ready(study):
    assert study("data", "prepare", "digits").stdout.startswith("digits: ")
    assert files_under(study.work.parent) == ["work"]
