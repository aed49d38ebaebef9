"""Whole studies with real Ray and MLflow: a lost worker, a server that is down; diverged seeds."""

from __future__ import annotations

import csv
import os
import re
import subprocess

import forked
import numpy as np
import pytest
from plugged import describe, on_path
from runs import command, entries, run, run_here, sets, sums, tables

from study.ledger import Ledger
from study.status import status
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.methods.replay import Replay
from trainables.streams import datasets

# Replay whose process dies in the second task, once; the first task is long enough to be saved.
MORTAL = """
import os, signal, time
from pathlib import Path
from trainables.engine.trial import CHECKPOINT_SECONDS
from trainables.methods.replay import Replay

class Mortal(Replay):
    name = "mortal"
    reference = "made up"

    def begin_task(self, task):
        super().begin_task(task)
        died = Path(os.environ["PLACE"], "died")
        if task.id == 0:
            time.sleep(1.1 * CHECKPOINT_SECONDS)
        if task.id == 1 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_worker_goes_on_from_its_last_task(tmp_path):
    describe(tmp_path, "mortal", "[study.learners]\nmortal = mortal_learner:Mortal\n")
    (tmp_path / "mortal_learner.py").write_text(MORTAL, encoding="utf-8")
    methods = "methods={replay={learner='mortal',fixed={hidden=[16],epochs=1,batch_size=16}}}"
    asked = sets(methods, "tune.trials=0", "confirm.seeds.count=1")
    variables = on_path(tmp_path) | {"PLACE": str(tmp_path)}
    words = command(tmp_path, *asked)
    done = subprocess.run(words, capture_output=True, text=True, env=variables, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "its process was killed (SIGKILL" in done.stderr
    assert "; continues from its last task" in done.stderr
    assert "confirmed 1/1" in done.stderr
    ledger = Ledger(tmp_path / "small" / "ledger")
    (entry,) = ledger.entries("confirm")
    assert entry.resumed
    work = Assignment(**{**entry.work, "learner": "replay"})
    alone = Course(work, work.seeds, datasets.load("digits", tmp_path))
    while not alone.done:
        alone.advance()
    for readout, counts in alone.outcome().counts.items():
        assert np.array_equal(ledger.outcome(entry).counts[readout], counts)


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
    told = "confirm/finetune seed 100: diverged on task 2: a loss or an output was not finite"
    assert told in done.stderr
    assert "--retry-failed" not in done.stderr
    report = (tmp_path / "small" / "report" / "report.md").read_text()
    assert "| finetune | 100 | diverged on task 2 | network = mlp" in report.replace("\\", "")
    counted = run_here(tmp_path, *bad, *sets("study.failed=worst"))
    assert counted.returncode == 3
    rows = list(csv.DictReader(tables(tmp_path)[1].splitlines()))
    assert rows[0]["verdict"] == "worse"  # by how much would depend on the score that is counted
    assert (rows[0]["ci_low"], rows[0]["hedges_g"]) == ("", "")


def test_what_crashed_runs_again_only_if_that_is_asked_for(tmp_path, monkeypatch):
    def crash(self, task):
        if 101 in self.seeds:
            raise ValueError("too hot")

    few = sets("tune.trials=0", "confirm.seeds.count=3", "methods={replay={fixed={hidden=[8]}}}")
    with monkeypatch.context() as patch:
        patch.setattr(Replay, "begin_task", crash)
        done = run_here(tmp_path, *few)
    assert done.returncode == 3
    assert "confirm/replay seed 101: ValueError: too hot" in done.stderr
    assert "with --retry-failed to run the 1 that crashed again" in done.stderr
    before = sums(tmp_path)
    again = run_here(tmp_path, *few)
    assert (again.returncode, sums(tmp_path)) == (3, before)
    mended = run_here(tmp_path, *few, "--retry-failed")
    assert mended.returncode == 0, mended.stderr
    kept = {name: digest for name, digest in before.items() if "seeds101-" not in name}
    assert kept.items() <= sums(tmp_path).items()
    states = [(e.seeds, e.state) for e in entries(tmp_path) if e.state != "failed"]
    assert states == [((seed,), "complete") for seed in (100, 101, 102)]


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


def test_a_study_that_asks_for_more_than_the_cluster_has_fails_at_once(tmp_path):
    done = run(tmp_path, *sets("resources.cpus_per_trial=4096"))
    assert done.returncode == 2
    told = (
        r"error: resources of 'finetune' \(resources, or methods\.finetune\.resources\): "
        r"a trial asks for 4096 CPUs, and no machine of the cluster has more than \d+\."
    )
    assert re.search(told, " ".join(done.stderr.split()))
    assert "Traceback" not in done.stderr
