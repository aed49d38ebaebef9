"""A study that is asked to end does so in order, and never takes what it has for all there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import command, entries, run, sets, tables

from study.interruption import Interrupted, heed, heeded
from study.ledger import Ledger
from study.status import status

SMALL = sets("tune.trials=3", "confirm.seeds.count=2", "resources.seeds_per_stack=1")


def interrupted(
    place: Path, by: signal.Signals, ready: Callable[[], bool]
) -> tuple[subprocess.Popen[str], str]:
    """Start a study and signal its driver once something is there; wait for its end."""
    driver = subprocess.Popen(
        command(place, *SMALL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "MARK": str(place)},
    )
    try:
        while not ready():
            assert driver.poll() is None, driver.communicate()[1]
            time.sleep(0.05)
        driver.send_signal(by)
        out, told = driver.communicate(timeout=240)
    finally:
        driver.kill()
    assert "Traceback" not in told
    assert "verdict" not in out
    return driver, told


def left_behind(place: Path) -> list[str]:
    """What still runs of a study's processes, a few seconds after its end."""
    deadline = time.monotonic() + 60
    while (found := of_study(place)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def of_study(place: Path) -> list[str]:
    """Names of the processes with a study's mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={place}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "comm").read_text().strip())
        except OSError:  # it has ended meanwhile
            continue
    return found


def claims(place: Path) -> list[Path]:
    return list(place.glob("small/ledger/running/*.json"))


@pytest.mark.parametrize(
    ("by", "phase"),
    [
        (signal.SIGUSR1, "tune"),  # what Slurm sends with `--signal=USR1`
        (signal.SIGTERM, "confirm"),
    ],
)
def test_an_interrupted_study_is_unfinished_and_goes_on(tmp_path, by, phase):
    def trained() -> bool:
        done = list(tmp_path.glob(f"small/ledger/{phase}/*/*/trial.json"))
        return len(done) >= 1 and any(path.name.startswith(phase) for path in claims(tmp_path))

    driver, told = interrupted(tmp_path, by, trained)
    assert driver.returncode == 128 + by
    assert f"interrupted by {by.name}: finished trials are kept" in told
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "small" / "report").exists()
    before = {entry.folder for entry in entries(tmp_path)}
    lacking = [row["method"] for row in status(tmp_path / "small") if row["confirmed"] != "2/2"]
    assert lacking
    assert bool(entries(tmp_path, "confirm")) == (phase == "confirm")
    again = run(tmp_path, *SMALL)
    assert again.returncode == 0, again.stderr
    assert before < {entry.folder for entry in entries(tmp_path)}
    report = json.loads((tmp_path / "small" / "report" / "report.json").read_text())
    assert not any("was changed" in note for note in report["notes"])
    assert [row["n"] for row in report["methods"]] == [2, 2]
    assert len(tables(tmp_path)[0].splitlines()) == 3


def test_a_study_may_end_before_ray_has_started(tmp_path):
    driver, told = interrupted(
        tmp_path, signal.SIGTERM, lambda: (tmp_path / "small" / "study.json").exists()
    )
    assert driver.returncode == 143
    assert "interrupted by SIGTERM" in told
    assert left_behind(tmp_path) == []
    assert Ledger(tmp_path / "small" / "ledger").entries() == []


def test_the_second_signal_is_obeyed_at_once():
    with heeded():
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
    with pytest.raises(Interrupted) as caught, heeded():
        bare()
    assert caught.value.status == 143


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with heeded():
            heed()
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
