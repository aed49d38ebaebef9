"""One thread a process: the tests measure results, not cores, and several run side by side."""

from __future__ import annotations

import multiprocessing
import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is first imported
os.environ.setdefault("RAY_worker_niceness", "0")  # not behind the tests at their side
os.environ.pop("MLFLOW_TRACKING_URI", None)  # where the studies of whoever runs the tests are

# what the processes that tests fork have loaded already: seconds, each time
LOADED = [
    *("sklearn.datasets", "torch._dynamo", "matplotlib.pyplot", "scipy.stats"),
    *("study.cli", "study.plan", "study.report", "study.mlflow.writer", "trainables.testing"),
]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say it when all test modules are imported: the last word counts."""
    multiprocessing.set_forkserver_preload(LOADED)
