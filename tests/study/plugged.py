"""Packages of learners for the processes a test starts: on their path, and not installed."""

from __future__ import annotations

import os
from pathlib import Path


def describe(place: Path, package: str, entry_points: str) -> None:
    """Write a package's description where a process with this folder in its path finds it."""
    folder = place / f"{package}-1.0.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def on_path(*places: Path) -> dict[str, str]:
    """Return the environment of a process that finds what is in these folders."""
    known = os.environ.get("PYTHONPATH")
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([*map(str, places), *([known] * bool(known))])
    }
