"""Whole studies through the command line: a small one, run and looked at."""

from __future__ import annotations

import contextlib
import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
from without_ray import without_ray

from study.cli import main
from study.ledger import Entry, Ledger

STUDY = """
[study]
name = "small"
stream = "split_digits"
reference = "replay"

[methods]
finetune = { fixed = { hidden = [16], epochs = 8, batch_size = 16 } }
replay = { fixed = { hidden = [16], epochs = 8, batch_size = 16, memory_total = 50 } }

[tune]
trials = 4
seeds = [0, 1]
sampler = "random"

[confirm]
seeds = { first = 100, count = 6 }

[resources]
seeds_per_stack = 2
"""


def command(place: Path, *more: str) -> list[str]:
    study = place / "study.toml"
    if not study.exists():
        study.write_text(STUDY, encoding="utf-8")
    return [sys.executable, "-m", "study", "run", str(study), "--dir", str(place), *more]


def run(place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(place, *more), capture_output=True, text=True, timeout=300)


def run_here(place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the study in this process, its trials one after the other: for tests that need no Ray."""
    out, err, words = io.StringIO(), io.StringIO(), command(place, *more)[2:]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        without_ray(patch)
        patch.setattr(sys, "argv", words)
        patch.setattr("study.console.open_streams", lambda: None)  # these are ours
        with pytest.raises(SystemExit) as end:
            main()
    return subprocess.CompletedProcess(words, end.value.code or 0, out.getvalue(), err.getvalue())


def sets(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


def entries(place: Path, phase: str | None = None) -> list[Entry]:
    return Ledger(place / "small" / "ledger").entries(phase)


def sums(place: Path) -> dict[str, str]:
    """Checksums of every finished trial; each tells when it ended, so a second run would show."""
    files = sorted((place / "small" / "ledger").glob("*/*/*/*"))
    return {str(f.relative_to(place)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def tables(place: Path) -> tuple[str, str]:
    report = place / "small" / "report" / "tables"
    return (report / "methods.csv").read_text(), (report / "comparisons.csv").read_text()
