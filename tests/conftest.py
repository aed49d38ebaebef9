"""One thread a process: the tests measure results, not cores, and several run side by side."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is first imported

SLOWEST = ["test_run.py", "test_tracking.py", "test_cli.py"]  # begun first, or they end alone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files so that several processes end at about the same time."""
    rank = {name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(SLOWEST)))
