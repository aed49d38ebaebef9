"""Whole studies with real Ray and MLflow: a lost worker, diverged seeds, a server that is down."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import forked
import numpy as np
import pytest
from runs import command, entries, run, run_here, sets, tables

from study.ledger import Ledger
from study.status import status
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.streams import datasets

SLOW = sets(
    "tune.trials=0",
    "methods={replay={fixed={hidden=[256],epochs=100,batch_size=16}}}",
    "confirm.seeds.count=2",
)


def test_a_killed_worker_goes_on_from_its_last_task(tmp_path):
    place = tmp_path
    driver = subprocess.Popen(
        command(place, *SLOW),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(place.glob("small/ray/confirm/*/checkpoint_*/learners.pt")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(worker_of(driver.pid), signal.SIGKILL)
    _, errors = driver.communicate(timeout=200)
    assert driver.returncode == 0, errors
    assert "its process was killed (SIGKILL" in errors
    assert "; continues from its last task" in errors
    ledger = Ledger(place / "small" / "ledger")
    (entry,) = (e for e in ledger.entries("confirm") if e.resumed)
    work = Assignment(**entry.work)
    alone = Course(work, work.seeds, datasets.load("digits", tmp_path))
    while not alone.done:
        alone.advance()
    for readout, counts in alone.outcome().counts.items():
        assert np.array_equal(ledger.outcome(entry).counts[readout], counts)


def worker_of(driver: int) -> int:
    """Process id of a trial under this driver: its title names the method it trains."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout
    titles = [line.split(maxsplit=1) for line in listed.splitlines()[1:]]
    trials = [int(pid) for pid, title in titles if title.startswith("ray::") and ".train" in title]
    mine = [pid for pid in trials if driver in ancestors(pid)]
    return mine[0]


def ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1 and pid not in found:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return found


def test_a_diverged_seed_is_a_result_and_the_exit_code_says_so(tmp_path):
    stiff = sets(
        'methods.finetune.learner="ewc"',
        "methods.finetune.fixed.lam=1e15",
        "methods.finetune.fixed.lr=100.0",
        'methods.finetune.fixed.optimiser="sgd"',
    )
    bad = [*sets("tune.trials=0", "confirm.seeds.count=6"), *stiff]
    done = run_here(tmp_path, *bad)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    rows = list(csv.DictReader(tables(tmp_path)[1].splitlines()))
    assert [row["verdict"] for row in rows] == ["no verdict"]
    assert {e.state for e in entries(tmp_path) if e.method == "finetune"} == {"diverged"}
    assert [row["failed"] for row in status(tmp_path / "small")] == [6, 0]
    assert "error: 6 failed:" in done.stderr
    assert "confirm/finetune seed 100: a loss or an output was not finite" in done.stderr
    counted = run_here(tmp_path, *bad, *sets("study.failed=worst"))
    assert counted.returncode == 3
    rows = list(csv.DictReader(tables(tmp_path)[1].splitlines()))
    assert rows[0]["verdict"].startswith("worse")


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A study with a pruner, while the tracking server is down."""
    place = tmp_path_factory.mktemp("halved")
    methods = "methods={replay={fixed={hidden=[16],epochs=8,batch_size=16,memory_total=50}}}"
    asked = sets(methods, "tune.pruner=asha", "tune.trials=8", "confirm.seeds.count=2")
    return place, run(place, *asked, "--tracking-uri", "http://127.0.0.1:9")


def test_asha_stops_weak_trials_between_tasks_and_the_ledger_says_pruned(halved):
    place, done = halved
    assert done.returncode == 0, done.stderr
    states = [e.state for e in entries(place, "tune")]
    assert len(states) == 8
    assert states.count("pruned") >= 2
    assert states.count("complete") >= 2
    for entry in entries(place, "tune"):
        rows = Ledger(place / "small" / "ledger").outcome(entry).rows
        assert (rows < 5) == (entry.state == "pruned")
        assert list(entry.steps) == [str(task) for task in range(1, rows + 1)]
        assert entry.steps[str(rows)] == entry.values[0]


def test_an_unreachable_mlflow_delays_the_mirror_and_nothing_else(halved):
    place, done = halved
    assert done.returncode == 0, done.stderr
    assert "study track" in done.stderr
    mended = forked.study(["track", str(place / "small")], place, os.environ)
    assert mended.returncode == 0, mended.stderr
    assert (place / "small" / "mlflow.db").exists()
