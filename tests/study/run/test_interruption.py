"""A study that is asked to end does so in order, and never takes what it has for all there is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from plugged import describe, on_path
from runs import command, entries, run_here, sets, sums

from study.interruption import Interrupted, handle_signals, stopping_in_order
from study.ledger import Ledger

# Replay that waits in the second task of a trial once as many trials are finished as a file says:
# a signal then meets it in the middle, however fast the machine is.
WAITING = """
import os, time
from pathlib import Path
from trainables.engine.trial import CHECKPOINT_SECONDS
from trainables.methods.replay import Replay

class Waiting(Replay):
    name = "waiting"
    reference = "made up"

    def begin_task(self, task):
        super().begin_task(task)
        place = Path(os.environ["PLACE"])
        if task.id == 0:
            time.sleep(1.1 * CHECKPOINT_SECONDS)  # long enough for a checkpoint
        phase, finished = (place / "wait").read_text().split()
        trials = list(place.glob(f"small/ledger/{phase}/*/*/trial.json"))
        if task.id == 1 and len(trials) == int(finished):
            (place / "waits").touch()
            time.sleep(1e6)
"""


def options(learner: str) -> list[str]:
    """Two methods with two trials each and three seeds, one trial at a time."""
    fixed = "fixed={hidden=[16],epochs=1,batch_size=16}"
    replayed = "fixed={hidden=[16],epochs=1,batch_size=16,replay_ratio=1.0}"
    replay = f"learner='{learner}',{replayed},space={{lr={{low=1e-4,high=1e-2,log=true}}}}"
    return sets(
        f"methods={{finetune={{{fixed}}},replay={{{replay}}}}}",
        "tune.trials=2",
        "confirm.seeds.count=3",
        "resources.seeds_per_stack=1",
        f"resources.cpus_per_trial={os.cpu_count()}",
    )


LIMIT = 600.0  # seconds after which something hangs

# How many trials of a phase are finished when a signal comes. The methods take turns, so that of
# finetune there are one or two trials of the sweep, and one of each other phase.
# SIGUSR1 is what Slurm sends with `--signal=USR1`; SIGKILL leaves no time to end in order.
STOPS = [
    ("tune 1", signal.SIGUSR1),
    ("tune 3", signal.SIGKILL),
    ("confirm 1", signal.SIGTERM),
    ("recheck 1", signal.SIGHUP),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for the study, where its learner is found."""
    describe(tmp_path, "waiting", "[study.learners]\nwaiting = waiting_learner:Waiting\n")
    (tmp_path / "waiting_learner.py").write_text(WAITING, encoding="utf-8")
    (tmp_path / "wait").write_text("tune 0")
    return tmp_path


def variables(place: Path) -> dict[str, str]:
    """The environment of a study; Ray counts the CPUs as `os.cpu_count` does."""
    return on_path(place) | {"PLACE": str(place), "RAY_USE_MULTIPROCESSING_CPU_COUNT": "1"}


def stop(place: Path, number: signal.Signals, awaited: Path) -> tuple[int, str]:
    """Start a study and signal its driver once a file is there; return how it ended."""
    driver = subprocess.Popen(
        command(place, *options("waiting")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=variables(place),
    )
    deadline = time.monotonic() + LIMIT
    try:
        while not awaited.exists():
            assert time.monotonic() < deadline
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.05)
        driver.send_signal(number)
        out, err = driver.communicate(timeout=LIMIT)
    finally:
        driver.kill()
        end(place)
    assert "Traceback" not in err
    assert "verdict" not in out
    return driver.returncode, err


def end(place: Path) -> None:
    """Wait until all processes of a study have ended, and fail where one does not. Linux only."""
    deadline = time.monotonic() + LIMIT
    while left := processes_of(place):
        if time.monotonic() > deadline:
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            pytest.fail(f"left behind: {list(left.values())}")
        time.sleep(0.1)


def processes_of(place: Path) -> dict[int, str]:
    """Processes with a study's place in their environment: number and name."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            environment = (process / "environ").read_bytes().split(b"\0")
            if f"PLACE={place}".encode() in environment:
                found[int(process.name)] = (process / "comm").read_text().strip()
    return found


def results(place: Path) -> dict[tuple[Any, ...], tuple[str, list[Any]]]:
    """State, scores and confusion counts of each finished trial, by its place in the study."""
    ledger = Ledger(place / "small" / "ledger")
    return {
        (entry.phase, entry.method, entry.number, entry.seeds): (
            entry.state,
            [entry.params, *entry.values, *ledger.outcome(entry).counts["main"].ravel().tolist()],
        )
        for entry in ledger.entries()
    }


def test_a_study_that_is_stopped_again_and_again_loses_nothing_and_changes_no_digit(place):
    before: dict[str, str] = {}
    for wait, number in STOPS:
        (place / "wait").write_text(wait)
        (place / "waits").unlink(missing_ok=True)
        exit_status, told = stop(place, number, place / "waits")
        if number == signal.SIGKILL:
            assert exit_status == -number
        else:
            assert exit_status == 128 + number
            assert f"interrupted by {number.name}: finished trials are kept" in told
        phase, finished = wait.split()
        assert len(entries(place, phase)) == int(finished)
        assert not (place / "small" / "report").exists()
        assert before.items() <= sums(place).items()
        before = sums(place)
    (place / "wait").write_text("tune 0")
    words = command(place, *options("waiting"))
    last = subprocess.run(
        words, capture_output=True, text=True, env=variables(place), timeout=LIMIT
    )
    assert last.returncode == 0, last.stderr
    assert before.items() <= sums(place).items()
    assert any(entry.resumed for entry in entries(place))
    report = json.loads((place / "small" / "report" / "report.json").read_text())
    assert not any("was changed" in caution["text"] for caution in report["cautions"])
    (place / "undisturbed").mkdir()
    undisturbed = run_here(place / "undisturbed", *options("replay"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert results(place) == results(place / "undisturbed")
    assert len(results(place)) == len(entries(place)) == 8


def test_a_study_may_end_before_ray_has_started(place):
    exit_status, told = stop(place, signal.SIGTERM, place / "small" / "study.json")
    assert exit_status == 143
    assert "interrupted by SIGTERM" in told
    assert Ledger(place / "small" / "ledger").entries() == []


def test_the_second_signal_is_obeyed_at_once():
    with stopping_in_order():
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(signal.SIGTERM)
        assert (caught.value.status, str(caught.value)) == (143, " by SIGTERM")
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def bare() -> None:
    try:
        signal.raise_signal(signal.SIGTERM)
    except Interrupted:
        raise KeyboardInterrupt from None


def test_a_signal_that_ray_makes_a_bare_interrupt_of_is_known_all_the_same():
    with pytest.raises(Interrupted) as caught, stopping_in_order():
        bare()
    assert caught.value.status == 143


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with stopping_in_order():
            handle_signals()
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
