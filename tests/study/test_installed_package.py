"""A package with a stream, a network and a method of its own, installed by pip, runs a study.

Everything but one network is in docs/extending.md.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugged import on_path

from study.ledger import Ledger

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
NETWORK = """
def points(shape, outputs):
    return torch.nn.Sequential(
        torch.nn.Linear(shape[0], 32), torch.nn.ReLU(), torch.nn.Linear(32, outputs)
    )
"""
OWN_NETWORK = (
    'methods.own={ learner = "finetune", fixed = { network = "my_package:points", epochs = 20, '
    "batch_size = 16, lr = 0.01 } }"
)


def blocks(language: str, part: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    [block] = [block for block in found if part in block]
    return block


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=on_path(folder / "installed", REPOSITORY),
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the package as a user does, into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "my-package"
    source.mkdir()
    parts = [
        blocks("python", "class SplitSpirals(SplitStream)"),
        blocks("python", "class TurnedSpirals(TransformedStream)"),
        blocks("python", "def small(shape, outputs)"),
        NETWORK,
        blocks("python", "class MyLearner(Learner"),
        blocks("python", "SPACE = {"),
    ]
    (source / "my_package.py").write_text("\n".join(parts))
    project = [
        blocks("toml", part) for part in ("build-backend", "study.streams", "study.learners")
    ]
    (source / "pyproject.toml").write_text("\n".join(project))
    (folder / "spirals.toml").write_text(blocks("toml", 'name = "spirals"'))
    alone = ["--no-deps", "--no-index", "--no-build-isolation", "--target", "installed"]
    done = run(folder, "pip", "install", "-q", *alone, "./my-package")
    assert done.returncode == 0, done.stderr
    return folder


def test_what_is_installed_is_listed(installed):
    streams = json.loads(run(installed, "study", "streams", "--json").stdout)
    data = {each["stream"]: each["data"] for each in streams}
    assert {data[name] for name in ("split_spirals", "turned_spirals")} == {
        "six spirals in the plane"
    }
    assert "mine" in json.loads(run(installed, "study", "methods", "--json").stdout)


def test_a_study_of_what_is_installed_runs(installed):
    done = run(installed, "study", "run", "spirals.toml", "--set", OWN_NETWORK)
    assert done.returncode == 0, done.stderr
    place = installed / "studies" / "spirals"
    with (place / "report" / "tables" / "methods.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    accuracy = {name: float(row["mean"]) for name, row in rows.items()}
    # chance is 1/6, and whoever forgets knows the last two of six spirals
    assert accuracy["finetune"] == pytest.approx(1 / 3, abs=0.1)
    assert accuracy["own"] == pytest.approx(1 / 3, abs=0.1)
    assert accuracy["joint"] > 0.8
    entries = Ledger(place / "ledger").entries("confirm")
    assert {entry.method for entry in entries} == {"finetune", "joint", "mine", "own"}
    for entry in entries:
        assert "stream code" in entry.versions
        assert ("network code" in entry.versions) == (entry.method == "own")
        assert ("code" in entry.versions) == (entry.method == "mine")


def test_the_network_of_the_guide_is_one(installed):
    network = "my_package.small((3, 8, 8), 5)(torch.zeros(2, 3, 8, 8))"
    code = f"import torch, my_package; print({network}.shape)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=on_path(installed / "installed", REPOSITORY),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "torch.Size([2, 5])\n", done.stderr


def test_the_streams_of_the_guide_conform(installed):
    (installed / "test_spirals.py").write_text(blocks("python", "StreamConformance"))
    done = run(
        installed, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_spirals.py"
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d\d+ passed", done.stdout, re.MULTILINE)
