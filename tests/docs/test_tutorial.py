"""The tutorial does what it says: its files and commands in their order, with few trials.

Its second study is checked and not run: it is the first one on other seeds.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from study.check import resolve
from study.spec import read

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
SMALL = [
    *("tune.trials=1", "tune.seeds=[0]", "confirm.seeds.count=2"),
    "resources.seeds_per_stack=2",  # no pilots
]


def command(line: str) -> list[str]:
    """Return a command of the page for this Python, with a small budget."""
    words = shlex.split(line.removeprefix("$ "))
    assert words[:3] == ["python", "-m", "study"]
    small = [word for each in SMALL for word in ("--set", each)] if words[3] != "report" else []
    return [sys.executable, *words[1:], *small]


def run(line: str, folder: Path) -> str:
    done = subprocess.run(
        command(line),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "110"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def write(toml: str, file: Path) -> None:
    """Write the study file; a line without a table is one more method."""
    if file.exists():
        file.write_text(file.read_text().replace("joint = {}\n", f"joint = {{}}\n{toml}"))
    else:
        file.write_text(toml)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Follow the page; return the folder, and the output of each command."""
    folder, outputs = tmp_path_factory.mktemp("tutorial"), []
    for language, text in BLOCKS:
        if language == "toml":
            write(text, folder / "answers.toml")
        if language == "console":
            lines = [line for line in text.splitlines() if "python" in line]
            outputs += [run(line, folder) for line in lines if "study.name" not in line]
    return folder, outputs


def sets(line: str) -> list[str]:
    words = shlex.split(line)
    return [value for word, value in itertools.pairwise(words) if word == "--set"]


def test_the_commands_run_and_use_again_what_has_run(followed):
    _, (plan, first, second) = followed
    assert "seconds on one device" in plan
    assert "With 2 seeds" in first or "Before you believe this" in first
    assert "der_long" not in first
    assert "der_long" in second
    assert "methods added: der_long" in second
    assert "tuned 4/5, confirmed 4/5" in second  # the first run's work is there


def test_the_second_study_is_the_first_one_on_other_seeds(followed):
    folder, _ = followed
    [line] = [line for line in PAGE.splitlines() if "study.name=answers_2" in line]
    first, second = (read(str(folder / "answers.toml"), each)[0] for each in ([], sets(line)))
    resolve(second, "answers.toml")
    assert second.study.name == "answers_2"
    assert not {*first.confirm_seeds} & {*second.confirm_seeds}
    assert (first.methods, first.tune) == (second.methods, second.tune)


def test_the_page_shows_what_the_commands_print(followed):
    _, outputs = followed
    printed = "".join(outputs)
    for heading in ("Before you believe this", "Notes", "Report: studies/answers/report/"):
        assert heading in PAGE
        assert heading in printed
    for text in ("tuning trials", "difference   interval", "bound, not tested"):
        assert text in PAGE
        assert " ".join(text.split()) in " ".join(printed.split())


def test_the_files_and_macros_for_a_paper_exist(followed):
    folder, _ = followed
    paper = folder / "studies" / "answers" / "report" / "paper"
    assert (folder / "studies/answers/report/index.html").exists()
    assert {"main.tex", "numbers.tex", "results.tex", "appendix.tex"} <= {*os.listdir(paper)}
    macros = (paper / "numbers.tex").read_text()
    used = re.findall(r"\\(res\w+)", "".join(text for kind, text in BLOCKS if kind == "latex"))
    # two seeds have no interval: its macro is checked where there is one
    for name in {*used} - {"resDerLongInterval"}:
        assert rf"\newcommand{{\{name}}}" in macros
