"""The command line, in processes of its own: what is printed where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import forked
import pytest
from factory import build_study, make_spec
from screens import printed

from study import cli
from study.cli import data_root
from study.spec import first_sentence, presets
from trainables import LEARNERS, STREAMS, InputError

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
        found = forked.study([*map(str, arguments)], work, environment)
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
        assert first_sentence(text) in out


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


def test_methods_are_listed_with_the_whole_space_of_each(study):
    found = json.loads(study("methods", "--json").stdout)
    for method in found.values():
        assert set(method["space"]) <= set(method["options"])
    assert found["agem"]["space"] == {
        "lr": {"kind": "float", "low": 1e-4, "high": 1e-2, "log": True},
        "ref_batch": {"kind": "int", "low": 10, "high": 256, "log": True},
    }
    widths = {"kind": "categorical", "choices": [[400, 400], [1200, 1200], [4000, 4000]]}
    assert found["wake_joint"]["space"]["hidden"] == widths
    assert found["latent_replay"]["space"]["ratio"]["choices"] == [1, 2, 5, 10, 20]
    assert "new_class_mean" in found["spiking_naive"]["space"]  # not on every stream


def test_streams_are_listed_with_data_and_scenarios(study):
    found = json.loads(study("streams", "--json").stdout)
    assert [row["stream"] for row in found] == list(STREAMS)
    assert set(found[0]) == {"stream", "tasks", "data", "scenarios"}


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("listed", ["presets", "methods", "streams"])
def test_lists_fit_a_terminal_with_whole_names(listed, columns, monkeypatch):
    name = "a_name_of_64_characters_" + "x" * 40
    long = SimpleNamespace(
        offline=True,
        reference="a source of many words, " * 9,
        scenarios=("task", "domain"),
        tasks=5,
        dataset="data of many words, " * 9,
    )
    shipped = presets() | {name: "# A first sentence of many words" + ", and more" * 20 + "."}
    monkeypatch.setattr("study.spec.presets", lambda: shipped)
    monkeypatch.setattr("trainables.plugged", lambda group, find: ({name: long}, []))
    names = {"presets": [*shipped], "methods": [*LEARNERS, name], "streams": [*STREAMS, name]}
    shown = printed(getattr(cli, listed), columns)
    assert max(map(len, shown)) <= columns
    assert {*names[listed]} <= {line.split()[0] for line in shown if line.strip()}
    assert "…" not in "".join(shown)


# -- help


@pytest.mark.parametrize("command", [(), ("data", "prepare")])
def test_help_says_what_there_is(study, command):
    out = study(*command, "--help").stdout
    names = [
        "run",
        "plan",
        "status",
        "report",
        "front",
        "export",
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


HELP = """
import json
from typer.testing import CliRunner
from study.cli import app
helped = {}
for command in app.registered_commands:
    name = command.name or command.callback.__name__
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    helped[name] = [result.exit_code, result.stdout]
print(json.dumps(helped))
"""


def test_every_command_has_help(study):
    wanted = {
        "run": ["--set", "--dir", "--data", "--tracking-uri", "--address"],
        "plan": ["--set", "--dir", "--data", "--address", "--json"],
        "status": ["DIR", "--json"],
        "report": ["DIR", "--json"],
        "front": ["DIR"],
        "export": ["DIR", "--out"],
        "track": ["DIR", "--tracking-uri"],
        "ui": ["DIR", "--port"],
        "presets": ["--json"],
        "methods": ["--json"],
        "streams": ["--json"],
        "doctor": ["--data", "--address", "--json"],
    }
    script = [sys.executable, "-c", HELP]
    found = subprocess.run(script, cwd=study.work, capture_output=True, text=True, check=True)
    helped = json.loads(found.stdout)
    assert set(helped) == set(wanted)
    for command, (code, text) in helped.items():
        assert code == 0, command
        for part in wanted[command]:
            assert part in text, (command, part)


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
        assert (row["tune_trials"], row["tune_seeds"]) == (3, 2)
        assert (row["confirm_seeds"], row["recheck_seeds"]) == (4, 4)
        assert row["stack"] == 2
        assert row["seconds"] > 0
    assert found["seconds"] == pytest.approx(sum(row["seconds"] for row in found["methods"]))
    notes = "\n".join(found["notes"])
    assert "4 seeds allow no verdict stronger than a suggestion for 1 comparison" in notes
    assert "standard deviations" in notes
    assert "4 seeds allow no verdict" in notes  # at best 2/16
    assert "6 seeds do" in notes


def test_the_embedded_study_is_planned_by_default(study):
    out = study("plan", "--set", "resources.seeds_per_stack=10", "--set", "tune.trials=1").stdout
    for name in ("finetune", "replay", "ewc", "joint", "tuning trials"):
        assert name in out
    assert "10 seeds and 2 comparisons " in out
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
    sys.argv, sys.stdout = ["study", *arguments], sys.__stdout__
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
    "run --set confirm.seeds=[9223372036854775808]": "confirm.seeds.0 = 9223372036854775808",
    "run --set stream.active_classes=seen --set study.scenario=task": "stream.active_classes",
    "report here there --seed 100": "--seed is for the report of a single study",
    "report here --power --seed 100": "--seed is for the report of a single study",
    "report here": "here is not the folder of a study",
    "status here": "here is not the folder of a study",
    "front here": "here is not the folder of a study",
    "track here": "here is not the folder of a study",
    "export here": "here is not the folder of a study",
    "export here --out there": "here is not the folder of a study",
    "ui here": "here has no mlflow.db",
    "run --tracking-uri foo://x": "--tracking-uri = foo://x: MLflow cannot write there",
    "track here --tracking-uri sqlit:///x.db": "'sqlit:' is unknown",
    # bytes that are no UTF-8, as Python holds them
    "run --dir x\udcff": r"the command line: 'x\xff' is not text in UTF-8",
    "plan --set study.name=\udce9t\udce9": r"'study.name=\xe9t\xe9' is not text",
    "run own\udcff.toml": r"'own\xff.toml' is not text",
    "status \udcff": r"'\xff' is not text",
    "data prepare digits --data \udcff": r"'\xff' is not text",
    "run --set study.name=a\nb": r"study.name: 'a\nb' is not a valid name",
}


def assert_answered(study, commands):
    """Check that each command ends with two, and with one line that says this."""
    given = json.dumps([command.split(" ") for command in commands])
    found = subprocess.run(
        [sys.executable, "-c", MANY, given], cwd=study.work, capture_output=True, text=True
    )
    assert found.stdout == ""
    *answers, rest = found.stderr.split("exit 2\n")
    assert rest == ""
    for (command, wanted), answer in zip(commands.items(), answers, strict=True):
        *progress, line = answer.splitlines()
        assert line.startswith("error: "), command
        assert wanted in line
        assert progress[-1:] in ([], ["loading libraries"]), command


def test_every_command_answers_bad_input_in_one_line_and_with_two(study):
    assert_answered(study, BAD)
    assert files_under(study.work) == []


# what is in the way of a study's folder, and how each command answers
IN_THE_WAY = {
    "report own.toml": "own.toml is not the folder of a study",
    "status own.toml": "own.toml is not the folder of a study",
    "track own.toml": "own.toml is not the folder of a study",
    "report damaged/own": "study.json is damaged or of another version",
    "status damaged/own": "study.json is damaged or of another version",
    "front damaged/own": "study.json is damaged or of another version",
    "track damaged/own": "study.json is damaged or of another version",
    "export damaged/own": "study.json is damaged or of another version",
    "run own.toml --dir damaged": "study.json is damaged or of another version",
    "report folder/own": "study.json cannot be read",
    "run own.toml --dir folder": "study.json cannot be read",
    "run own.toml --dir file": "file/own is a file where a folder should be. Move it away",
    "run own.toml --dir own.toml": "own.toml is a file where a folder should be. Move it away",
}


def test_what_is_in_the_way_of_a_study_is_named_and_left_alone(study):
    (study.work / "own.toml").write_text(STUDY)
    for place in ("damaged/own", "folder/own/study.json", "file"):
        (study.work / place).mkdir(parents=True)
    (study.work / "damaged/own/study.json").write_text('{"format": 2}')
    (study.work / "file/own").write_text("mine")
    before = {p: p.read_bytes() for p in study.work.rglob("*") if p.is_file()}
    assert_answered(study, IN_THE_WAY)
    after = {p: p.read_bytes() for p in study.work.rglob("*") if p.is_file()}
    assert {p: content for p, content in after.items() if p.name != ".lock"} == before


# -- a finished study


def test_an_export_says_which_files_it_wrote(study, finished, tmp_path):
    out = tmp_path / "here"
    found = study("export", finished, "--out", out).stdout
    assert found.splitlines() == [
        f"{out / 'accuracies.parquet'}: 800 rows",  # 2 x (4 x 2 + 4 + 4) seeds x 25 pairs of tasks
        f"{out / 'optuna_journal.log'}: 2 studies of Optuna, 8 trials",
    ]
    assert study("export", finished).stdout.startswith(str(finished / "export"))


def test_an_export_into_another_folder_is_refused(study, finished, tmp_path):
    (tmp_path / "work" / "mine.txt").write_text("mine")
    found = study("export", finished, "--out", ".", code=2)
    assert ". holds files that are not an export, such as mine.txt" in found.stderr
    assert files_under(tmp_path / "work") == ["mine.txt"]


def test_status_says_what_a_study_has(study, finished):
    found = json.loads(study("status", finished, "--json").stdout)
    assert [row["method"] for row in found] == ["finetune", "replay"]
    for row in found:
        assert (row["tuned"], row["confirmed"], row["rechecked"]) == ("4/4", "4/4", "4/4")
        assert (row["failed"], row["unfinished"]) == (0, 0)
        assert 0 < row["best"] < 1


def test_a_report_is_printed_and_written(study, finished):
    out = study("report", finished).stdout
    for part in ("average accuracy (%)", "Before you believe this", "Notes"):
        assert part in out
    full = study("report", finished, "--full").stdout
    for part in ("replay (reference)", "finetune against replay", "Sweeps", "Software"):
        assert part in full
    assert (finished / "report" / "report.md").exists()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_report_that_cannot_be_written_is_printed_all_the_same(study, tmp_path, more):
    place = tmp_path / "small"
    build_study(place, make_spec())
    (place / "report").write_text("in the way")
    found = study("report", place, *more, code=1)
    assert "replay" in found.stdout
    assert found.stderr.startswith(f"cannot write the report to {place / 'report'}")
    assert (place / "report").read_text() == "in the way"


def test_a_report_goes_where_it_is_wanted(study, finished, tmp_path):
    study("report", finished, "--out", tmp_path / "here")
    assert (tmp_path / "here" / "index.html").exists()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_seed_that_did_not_run_is_an_error_that_names_those_that_did(study, finished, more):
    found = study("report", finished, "--seed", 7, *more, code=2)
    assert "--seed 7: small has no accuracy matrix of that seed" in found.stderr
    assert "Available: 100, 101, 102, 103." in found.stderr


def test_the_matrices_of_one_seed_are_shown_on_request(study, finished):
    study("report", finished, "--seed", 101)
    assert (finished / "report" / "figures" / "accuracy-matrix-seed-101.svg").exists()


@pytest.fixture(scope="module")
def elsewhere(finished):
    """The same methods on another stream."""
    changes = {"study.name": "other", "study.scenario": "task"}
    build_study(finished.parent / "other", make_spec(changes))
    return finished.parent / "other"


def test_several_studies_are_set_side_by_side(study, finished, elsewhere):
    found = study("report", finished, elsewhere)
    for stream in ("split_digits (class)", "split_digits (task)"):
        assert stream in found.stdout
    assert "Ranks need 5 streams or more, not 2." in found.stdout
    assert "share the data of digits and are no independent streams" in " ".join(
        found.stdout.split()
    )
    place = finished.parent / "report"
    assert f"Report: {place / 'index.html'}" in found.stderr
    assert (place / "tables" / "contrasts.tex").exists()
    assert (place / "figures" / "iqm.pdf").exists()


def test_several_studies_as_json_hold_each_of_them(study, finished, elsewhere, tmp_path):
    found = study("report", finished, elsewhere, "--json", "--out", tmp_path / "both")
    both = json.loads(found.stdout)
    assert [of["study"] for of in both["studies"]] == ["small", "other"]
    assert both["streams"] == ["split_digits (class)", "split_digits (task)"]
    assert (tmp_path / "both" / "report.md").exists()


def test_studies_of_different_alpha_are_not_compared(study, finished, tmp_path):
    strict = tmp_path / "strict"
    build_study(strict, make_spec({"study.name": "strict", "study.alpha": 0.01}))
    found = study("report", finished, strict, "--out", tmp_path / "both", code=2)
    assert f"study.alpha differs ({finished} 0.05, {strict} 0.01)" in found.stderr
    assert not (tmp_path / "both").exists()


def test_power_says_what_more_seeds_would_show(study, finished):
    found = study("report", finished, "--power").stdout
    assert "Seeds for finetune" in found
    assert "Spread of the paired differences" in found or "give no spread" in found
    plans = json.loads(study("report", finished, "--power", "--json").stdout)
    assert [row["n"] for row in plans["small"]["finetune"]["detectable"]][:2] == [4, 6]


def test_the_mirror_is_written_into_the_studys_folder(study, finished):
    out = study("track", finished).stdout
    assert f"sqlite:///{finished}/mlflow.db" in out
    assert (finished / "mlflow.db").exists()


# -- streams that cannot be written

FULL = "cannot write to stdout: No space left on device."


def test_a_full_disk_under_stdout_is_told_and_no_report_is_a_failure(study, finished, tmp_path):
    place = tmp_path / "written"
    wanted = {
        "presets": 1,
        "presets --json": 1,
        "methods": 1,
        "streams --json": 1,
        "--help": 1,
        f"status {finished}": 1,
        f"report {finished} --power": 1,
        f"report {finished} --json --out {place}/json": 1,
        f"report {finished} --out {place}/tables": 0,
        "data prepare digits": 0,
    }
    given = json.dumps([command.split(" ") for command in wanted])
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-c", MANY, given],
            cwd=study.work,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    lines = [line for line in found.stderr.splitlines() if not line.startswith("Report: ")]
    assert lines[::2] == [FULL] * len(wanted)
    assert lines[1::2] == [f"exit {code}" for code in wanted.values()]
    assert (place / "json" / "report.json").stat().st_size > 0
    assert (place / "tables" / "index.html").exists()


# the first library that takes seconds to load ends the program
ENDED = """
import os, sys
from study.cli import main
class End:
    def find_spec(self, name, *rest):
        if name in ("torch", "ray"):
            os._exit(7)
sys.meta_path.insert(0, End())
main()
"""


@pytest.mark.parametrize("command", ["run", "plan", "doctor"])
def test_progress_is_shown_before_libraries_that_take_seconds_to_load(study, command):
    words = [sys.executable, "-c", ENDED, command]
    done = subprocess.run(words, cwd=study.work, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "")
    *_, last = done.stderr.splitlines()
    assert last.startswith(("loading", "checking"))


# a study that has run: what is tested is how it ends
RUN = """
import sys
import study.run.whole
from study.cli import main
from study.record import analyse_folder
from pathlib import Path
place = Path(sys.argv.pop())
study.run.whole.run_study = lambda *of: study.run.whole.FinishedStudy(analyse_folder(place), {})
main()
"""


def test_a_study_that_has_run_is_no_failure_though_its_terminal_takes_nothing(study, finished):
    words = [sys.executable, "-c", RUN, "run", str(finished)]
    with open("/dev/full", "w") as full:
        told = subprocess.run(words, cwd=study.work, stdout=full, stderr=subprocess.PIPE, text=True)
        mute = subprocess.run(words, cwd=study.work, stdout=full, stderr=full)
    assert (told.returncode, told.stderr.splitlines()[1:]) == (0, ["loading libraries", FULL])
    assert mute.returncode == 0


def test_streams_that_are_closed_stop_nothing_and_lend_their_numbers_to_no_file(study, finished):
    words = [sys.executable, "-m", "study", "report", str(finished), "--out", "report"]
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
    assert subprocess.run(closed, cwd=study.work).returncode == 0
    for path in (study.work / "report").rglob("*.md"):
        assert path.read_text().startswith("# small")


def test_a_reader_that_stops_reading_is_no_failure(study):
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "study", "presets"]
    found = subprocess.run(words, cwd=study.work, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (found.returncode, found.stderr) == (0, b"")


def test_an_error_that_cannot_be_said_keeps_its_exit_code(study):
    words = [sys.executable, "-m", "study", "plan", "nowhere.toml"]
    with open("/dev/full", "w") as full:
        assert subprocess.run(words, cwd=study.work, stderr=full).returncode == 2


# -- data


def test_bundled_data_is_ready(study):
    out = study("data", "prepare", "digits").stdout
    assert out == "digits: bundled with scikit-learn\n"
    assert files_under(study.work.parent) == ["work"]


# the limit on a file's size stands for a full disk
FULL_DISK = """
import resource, sys
import numpy as np
from study.cli import main
from trainables.streams import datasets

images = np.random.default_rng(0).integers(0, 255, (900, 784), dtype=np.uint8)
split = {"images": images, "labels": np.arange(900, dtype=np.uint8) % 10}
parts = {"train": split, "test": split}
datasets.DATASETS["noise"] = datasets.Dataset(
    "noise", "made up", 10, (784,), 1.0, (0.0,), (1.0,), lambda root: parts
)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.argv = ["study", "data", "prepare", "noise", "--data", "data"]
main()
"""


def test_a_full_disk_is_answered_in_a_sentence_and_leaves_no_partial_file(study):
    found = subprocess.run(
        [sys.executable, "-c", FULL_DISK], cwd=study.work, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("error: cannot write data/noise.h5 (File too large")
    assert len(found.stderr.splitlines()) == 1
    assert files_under(study.work) == ["data"]


def test_data_without_a_home_needs_a_root(tmp_path, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME", "STUDY_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(InputError, match=r"--data or STUDY_DATA"):
        data_root(None)
    assert data_root(tmp_path) == tmp_path
    monkeypatch.setenv("STUDY_DATA", str(tmp_path))
    assert data_root(None) == tmp_path


@pytest.mark.parametrize("name", ["STUDY_DATA", "XDG_CACHE_HOME"])
def test_a_data_root_is_text(name, tmp_path, monkeypatch):
    monkeypatch.delenv("STUDY_DATA", raising=False)
    monkeypatch.setenv(name, os.fsdecode(b"/data/\xff"))
    with pytest.raises(InputError, match=r"'/data/\\xff.*' is not text in UTF-8"):
        data_root(None)


# commands one after the other in one process; a file says what has been loaded after each
IMPORTS = """
import json, sys
from pathlib import Path
from study.cli import main
commands, loaded = json.loads(sys.argv[1]), []
for arguments in commands:
    sys.argv, code = ["study", *arguments], 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    loaded.append([code, sorted(sys.modules)])
Path("loaded.json").write_text(json.dumps(loaded))
"""


def assert_unloaded(study, libraries, commands):
    words = [sys.executable, "-c", IMPORTS, json.dumps(commands)]
    done = subprocess.run(words, cwd=study.work, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    loaded = json.loads((study.work / "loaded.json").read_text())
    for command, (code, modules) in zip(commands, loaded, strict=True):
        assert code == (2 if command[0] == "front" else 0), command  # it has one objective
        assert libraries & set(modules) == set(), command


def test_what_only_lists_loads_no_heavy_library(study):
    commands = [["--help"], ["run", "--help"], ["presets"], ["methods"], ["streams"]]
    heavy = {"torch", "ray", "optuna", "mlflow", "scipy", "matplotlib"}
    assert_unloaded(study, heavy, commands)


def test_what_reads_a_folder_loads_no_ray(study, finished):
    place = str(finished)
    commands = [["status", place], ["report", place, "--json"], ["report", place, "--power"]]
    assert_unloaded(study, {"ray", "mlflow"}, [*commands, ["front", place], ["export", place]])
