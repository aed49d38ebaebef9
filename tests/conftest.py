"""One thread a process: the tests measure results, not cores, and several run side by side."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is first imported
os.environ.pop("MLFLOW_TRACKING_URI", None)  # where the studies of whoever runs the tests are

# Begun first, or they end alone. Each process is handed two files to begin with: the slowest are
# followed by short ones.
FIRST = [
    "test_phases.py",
    "test_run_in_trouble.py",
    "test_wording.py",
    "test_power.py",
    "test_writer.py",
    "test_interruption.py",
    "test_fatal_seeds.py",
    "test_cluster.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files so that several processes end at about the same time."""
    rank = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(FIRST)))
