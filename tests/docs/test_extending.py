"""The example of docs/extending.md for data of one's own writes what its study reads."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from study import spec
from study.check import resolve
from study.data import StudyData

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")


def block(language: str, part: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    [one] = [text for text in found if part in text]
    return one


@pytest.fixture
def place(tmp_path):
    """A folder in which the script of the page has run, with the study file of the page."""
    script = block("python", "load_digits")
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=120)
    (tmp_path / "my_features.toml").write_text(block("toml", 'stream = "split_file"'))
    return tmp_path


def test_the_study_of_the_page_reads_what_the_script_of_the_page_writes(place):
    found, source = spec.read(str(place / "my_features.toml"))
    design = resolve(found, source)
    data = StudyData.load(design, place).prepared()
    data.try_streams()
    assert data.confirm["train"]["labels"].shape == (1200,)
    assert (design.stream.info.inputs, design.stream.length) == (64, 5)


def test_every_toml_example_is_toml():
    for text in re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL):
        assert tomllib.loads(text)
