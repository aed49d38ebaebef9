"""Whole studies through the command line: a small one, run, killed and looked at."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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


def kill_when(place: Path, ready: Callable[[], bool], *more: str) -> None:
    """Start a study and kill its driver, without a chance to clean up, once something is there."""
    with (place / "killed.log").open("ab") as log:
        driver = subprocess.Popen(
            command(place, *more), stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while not ready():
            assert driver.poll() is None, "the study ended before it could be killed"
            assert time.monotonic() < deadline, "nothing to kill in two minutes"
            time.sleep(0.05)
        driver.kill()
        driver.wait()
