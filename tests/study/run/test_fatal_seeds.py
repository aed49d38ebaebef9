"""A seed that ends its worker costs nothing but itself, with real Ray and real signals."""

from __future__ import annotations

import subprocess

import pytest
from plugged import describe, on_path
from runs import command, entries, sets, tables

from study.ledger import Ledger

FATAL = """
import os, signal, sys, time
from trainables.methods.finetune import Finetune

class Fatal(Finetune):
    name = "fatal"
    reference = "made up"

    def begin_task(self, task):
        super().begin_task(task)
        if task.id == 1 and 101 in self.seeds:
            os.kill(os.getpid(), signal.SIGSEGV)
        if task.id == 1 and 102 in self.seeds:
            time.sleep(1e6)
        if task.id == 1 and 103 in self.seeds:
            sys.exit(4)
"""

STUDY = sets(
    "methods={fatal={fixed={hidden=[8],epochs=1}},finetune={fixed={hidden=[8],epochs=1}}}",
    "study.reference=finetune",
    "tune.trials=0",
    "confirm.seeds={first=100,count=4}",
    "resources.task_minutes=0.25",
    "resources.seeds_per_stack=4",
)


@pytest.fixture(scope="module")
def fatal(tmp_path_factory):
    place = tmp_path_factory.mktemp("fatal")
    describe(place, "plugged", "[study.learners]\nfatal = fatal_learner:Fatal\n")
    (place / "fatal_learner.py").write_text(FATAL, encoding="utf-8")
    done = subprocess.run(
        command(place, *STUDY), env=on_path(place), capture_output=True, text=True, timeout=400
    )
    return place, done


def test_the_other_seeds_are_confirmed_and_the_exit_status_tells(fatal):
    place, done = fatal
    assert done.returncode == 3, done.stderr
    confirmed = [e for e in entries(place, "confirm") if e.state == "complete"]
    seeds = sorted((e.method, seed) for e in confirmed for seed in e.seeds)
    assert seeds == [("fatal", 100), *(("finetune", seed) for seed in range(100, 104))]


@pytest.mark.parametrize(
    ("seed", "reason"),
    [
        (101, "its process crashed (segmentation fault)"),
        (102, "no task ended in 0.25 minutes (resources.task_minutes)"),
        (103, "SystemExit: 4"),
    ],
)
def test_why_a_seed_failed_is_in_the_ledger_on_the_console_and_in_the_report(fatal, seed, reason):
    place, done = fatal
    told = [line for line in done.stderr.splitlines() if f"fatal seed {seed}: " in line]
    assert [reason in line for line in told] == [True]
    (entry,) = (e for e in entries(place, "confirm") if e.seeds == (seed,) and e.method == "fatal")
    assert reason in entry.reason
    report = (place / "small" / "report" / "report.md").read_text()
    assert reason in report.replace("\\", "")


def test_nobody_sees_a_traceback_and_nothing_is_left_unfinished(fatal):
    place, done = fatal
    assert "Traceback (" not in done.stderr
    assert Ledger(place / "small" / "ledger").unfinished() == []
    assert len(tables(place)[0].splitlines()) == 3
