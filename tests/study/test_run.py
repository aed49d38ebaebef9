"""Whole studies through the command line, with real Ray and MLflow: finished, killed, failing."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from study.estimate import progress
from study.ledger import Entry, Ledger
from trainables.course import Assignment, Course
from trainables.streams import datasets

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


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    done = run(place)
    return place, done, tables(place)


def test_a_study_ends_with_tables_verdicts_and_the_way_to_mlflow(whole):
    place, done, _ = whole
    assert done.returncode == 0, done.stderr
    for text in ("finetune against replay: worse", "average_accuracy (mean ± sd)", "study ui"):
        assert text in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "tune finetune: 4/4 trials" in done.stderr
    report = json.loads((place / "small" / "report" / "report.json").read_text())
    assert [row["n"] for row in report["methods"]] == [6, 6]
    assert [row["trials"] for row in report["tuning"]] == [4, 4]


def test_every_method_is_tuned_with_the_same_seeds_data_and_number_of_trials(whole):
    place, _, _ = whole
    tuned = entries(place, "tune")
    assert sorted((e.method, e.number) for e in tuned) == [
        (method, number) for method in ("finetune", "replay") for number in range(4)
    ]
    assert {(e.seeds, e.samples) for e in tuned} == {((0, 1), tuned[0].samples)}


def test_the_ledger_has_the_score_after_every_task(whole):
    place, _, _ = whole
    for entry in entries(place, "tune"):
        assert list(entry.steps) == ["1", "2", "3", "4", "5"]
        assert entry.steps["5"] == entry.values[0]


def test_the_confirmation_uses_the_best_configuration_on_every_fresh_seed(whole):
    place, _, _ = whole
    for method in ("finetune", "replay"):
        best = max(
            (e for e in entries(place, "tune") if e.method == method), key=lambda e: e.values[0]
        )
        confirmed = [e for e in entries(place, "confirm") if e.method == method]
        assert sorted(seed for e in confirmed for seed in e.seeds) == list(range(100, 106))
        assert all(e.work["configuration"] == best.work["configuration"] for e in confirmed)


def test_mlflow_shows_study_method_trial_and_seed(whole):
    from mlflow import MlflowClient

    place, _, _ = whole
    client = MlflowClient(tracking_uri=f"sqlite:///{place}/small/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parent = {r.info.run_id: r.data.tags.get("mlflow.parentRunId") for r in runs}
    depth = {"study": 0, "method": 1, "tune-trial": 2, "confirm-trial": 2, "seed": 3}
    counted = dict.fromkeys(depth, 0)
    for r in runs:
        role, above = r.data.tags["role"], 0
        counted[role] += 1
        current = parent[r.info.run_id]
        while current:
            above, current = above + 1, parent[current]
        assert above == depth[role]
    assert (counted["study"], counted["method"], counted["tune-trial"], counted["seed"]) == (
        1,
        2,
        8,
        12,
    )


def test_running_again_runs_nothing_and_gives_the_same_tables(whole):
    place, _, _ = whole
    before, shown = sums(place), tables(place)
    ledger = Ledger(place / "small" / "ledger")
    # a killed run of an earlier version of the study had asked for this; nobody wants it now
    known = ledger.entries("confirm")[0]
    ledger.begin(replace(known, work={**known.work, "seeds": [7, 8]}, state="running"))
    again = run(place)
    assert again.returncode == 0, again.stderr
    assert sums(place) == before
    assert tables(place) == shown
    assert ledger.running() == []


def test_more_seeds_and_trials_run_only_what_is_missing(whole):
    place, _, _ = whole
    before = sums(place)
    more = run(place, *sets("tune.trials=5", "confirm.seeds.count=8"))
    assert more.returncode == 0, more.stderr
    after = sums(place)
    assert before.items() <= after.items()
    assert len(entries(place, "tune")) == 10
    assert "added after" in (place / "small" / "report" / "report.md").read_text()


def test_a_killed_driver_loses_nothing_and_changes_no_digit(whole, tmp_path):
    _, _, undisturbed = whole

    def finished(phase: str, count: int) -> Callable[[], bool]:
        pattern = f"small/ledger/{phase}/*/*/trial.json"
        return lambda: len(list(tmp_path.glob(pattern))) >= count

    kill_when(tmp_path, finished("tune", 3))
    first = sums(tmp_path)
    kill_when(tmp_path, finished("confirm", 1))
    second = sums(tmp_path)
    final = run(tmp_path)
    assert final.returncode == 0, final.stderr
    last = sums(tmp_path)
    assert first.items() <= second.items() <= last.items()
    assert tables(tmp_path) == undisturbed


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
    assert "its worker died; it goes on from its last task" in errors
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
    bad = sets("tune.trials=0", "methods.finetune.fixed.lr=1e30", "confirm.seeds.count=6")
    done = run(tmp_path, *bad)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    rows = list(csv.DictReader(tables(tmp_path)[1].splitlines()))
    assert [row["verdict"] for row in rows] == ["no verdict"]
    assert {e.state for e in entries(tmp_path) if e.method == "finetune"} == {"diverged"}
    assert [row["failed"] for row in progress(tmp_path / "small")] == [6, 0]
    assert "6 trials failed: confirm/finetune seed 100" in done.stderr
    counted = run(tmp_path, *bad, *sets("study.failed=worst"))
    assert counted.returncode == 3
    rows = list(csv.DictReader(tables(tmp_path)[1].splitlines()))
    assert rows[0]["verdict"].startswith("worse")


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A study with a pruner, while the tracking server is down."""
    place = tmp_path_factory.mktemp("halved")
    asked = sets("tune.pruner=asha", "tune.trials=8", "confirm.seeds.count=2")
    return place, run(place, *asked, "--tracking-uri", "http://127.0.0.1:9")


def test_asha_stops_weak_trials_between_tasks_and_the_ledger_says_pruned(halved):
    place, done = halved
    assert done.returncode == 0, done.stderr
    states = [e.state for e in entries(place, "tune")]
    assert len(states) == 16
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
    track = [sys.executable, "-m", "study", "track", str(place / "small")]
    mended = subprocess.run(track, capture_output=True, text=True, timeout=120)
    assert mended.returncode == 0, mended.stderr
    assert (place / "small" / "mlflow.db").exists()


def test_a_study_that_asks_for_more_than_the_cluster_has_fails_at_once(tmp_path):
    done = run(tmp_path, *sets("resources.cpus_per_trial=4096"))
    assert done.returncode == 2
    assert "4096" in done.stderr
    assert f"{os.cpu_count()} CPUs" in done.stderr
    assert "Traceback" not in done.stderr
