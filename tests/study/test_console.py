"""What a user sees while a study runs."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from factory import build_study, make_spec

from study import console as module
from study.console import (
    Console,
    TerminalStream,
    duration,
    print_results,
    print_table,
    warn,
    warn_of_unprinted,
)
from study.record import analyse_folder

LIVE = """
import time
from types import SimpleNamespace
from study.console import Console
with Console() as console:
    console.phase("tune replay", 3, 0)
    for _ in range(3):
        time.sleep(0.3)
        console.trial_done(SimpleNamespace(state="complete"), 0.5)
    console.say("the end")
"""


@pytest.fixture
def clock(monkeypatch):
    """A clock the test moves."""
    now = SimpleNamespace(time=1000.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.time)
    return now


def trial(state="complete"):
    return SimpleNamespace(state=state)


def lines(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (600, "10 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (86400, "24.0 h"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said


def test_progress_is_plain_lines_on_stderr(capsys, clock):
    with Console() as console:
        console.phase("tune replay", 2, 0)
        clock.time += 10
        console.trial_done(trial(), 0.51234)
        clock.time += 10
        console.trial_done(trial(), 0.6)
    assert lines(capsys) == [
        "tune replay: 0/2 trials",
        "tune replay: 1/2 trials, best 0.5123, 10 s left",
        "tune replay: 2/2 trials, best 0.6000, took 20 s",
    ]


def test_plain_lines_come_at_most_every_two_seconds_and_at_the_end(capsys, clock):
    console = Console()
    console.phase("confirm", 100, 0)
    for _ in range(100):
        clock.time += 0.1
        console.trial_done(trial(), None)
    said = lines(capsys)
    assert 4 <= len(said) <= 7
    assert said[-1] == "confirm: 100/100 trials, took 10 s"


def test_the_time_left_counts_only_what_ran_now(capsys, clock):
    console = Console()
    console.phase("tune replay", 20, 10)
    clock.time += 30
    console.trial_done(trial(), None)
    assert lines(capsys)[-1] == "tune replay: 11/20 trials, 4 min left"  # 9 trials of 30 s


def test_failed_and_diverged_trials_are_counted(capsys, clock):
    console = Console()
    console.phase("tune replay", 4, 0)
    for state in ("failed", "diverged", "pruned", "complete"):
        console.trial_done(trial(state), 0.5)
    assert lines(capsys)[-1].startswith("tune replay: 4/4 trials, best 0.5000, 2 failed")


def test_a_new_phase_starts_counting_anew(capsys, clock):
    console = Console()
    console.phase("tune replay", 1, 0)
    console.trial_done(trial("failed"), 0.5)
    clock.time += 100
    console.phase("confirm", 1, 0)
    clock.time += 5
    console.trial_done(trial(), None)
    assert lines(capsys)[-1] == "confirm: 1/1 trials, took 5 s"


def test_a_phase_without_anything_to_do_says_so(capsys):
    Console().phase("tune replay", 8, 8)
    assert lines(capsys) == ["tune replay: 8/8 trials, all in the ledger"]


def test_text_is_printed_as_it_is(capsys):
    Console().say("[red]not markup[/red] and a very long line " + "x" * 300)
    [line] = lines(capsys)
    assert line == "[red]not markup[/red] and a very long line " + "x" * 300


def test_no_codes_where_there_is_no_terminal(capsys, clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    with Console() as console:
        console.phase("tune replay", 1, 0)
        console.trial_done(trial(), 0.5)
        console.say("done")
    print_table("title", ["a"], [["b"]])
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err


def test_tables_keep_long_and_bracketed_cells(capsys):
    print_table("Numbers", ["name", "value"], [["[bold]", "x" * 200], [None, 3]], "a caption")
    out, err = capsys.readouterr()
    assert err == ""
    for part in ("Numbers", "name", "[bold]", "x" * 200, "a caption"):
        assert part in out
    assert "None" not in out


def test_results_are_on_stdout(tmp_path, capsys):
    build_study(tmp_path / "small", make_spec())
    analysis = analyse_folder(tmp_path / "small")
    print_results(analysis)
    out, err = capsys.readouterr()
    assert err == ""
    for part in ("replay (reference)", "finetune against replay", "Tuning", *analysis.notes):
        assert part in out
    assert "\x1b" not in out


def on_terminal(code, stream, columns):
    """What some code shows on a terminal that is one of its streams."""
    main, other = pty.openpty()
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "30"}
    child = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **terminal}, **{stream: other}
    )
    os.close(other)
    shown = b""
    try:
        while part := os.read(main, 4096):
            shown += part
    except OSError:  # how a pseudo-terminal says that the other end is closed
        pass
    os.close(main)
    assert child.wait(30) == 0
    return shown.decode()


def test_a_terminal_has_one_live_line_that_is_replaced():
    shown = on_terminal(LIVE, "stderr", 100)
    assert "\x1b[" in shown
    assert "tune replay: 1/3 trials, best 0.5000" in shown
    assert shown.count("tune replay: 3/3 trials, best 0.5000, took") == 1
    assert "the end" in shown


NARROW = """
from study.console import print_table
names = ["class_incremental_one_spoken_digits", "digits"]
print_table("", ["stream", "of", "data"], [[name, "x y", "whole" * 30] for name in names])
"""


def test_a_narrow_terminal_cuts_nothing_and_breaks_no_name():
    shown = on_terminal(NARROW, "stdout", 80)
    assert "class_incremental_one_spoken_digits" in shown
    assert shown.count("w") == 60
    assert "…" not in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= 80


# -- streams that cannot be written


@pytest.fixture
def full():
    """A stream to a disk that is full."""
    disk = open("/dev/full", "wb")  # noqa: SIM115 - what a full disk has not taken fails at the end
    yield TerminalStream(disk, "utf-8")
    with contextlib.suppress(OSError):
        disk.close()


def test_what_a_full_disk_does_not_take_is_dropped_and_told_once(full, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", full)
    print("a table")
    print("and much more " * 10_000)
    assert full.problem.errno == errno.ENOSPC
    assert warn_of_unprinted()
    assert not warn_of_unprinted()
    assert capsys.readouterr().err == "cannot write to stdout: No space left on device.\n"


def test_a_reader_that_has_gone_has_read_what_it_wanted(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    pipe = open(writer, "wb")  # noqa: SIM115 - as above
    monkeypatch.setattr(sys, "stdout", TerminalStream(pipe, "utf-8"))
    print_table("", ["a"], [["b"]] * 1000)
    assert not warn_of_unprinted()
    assert sys.stdout.problem.errno == errno.EPIPE
    assert capsys.readouterr().err == ""
    with contextlib.suppress(OSError):
        pipe.close()


def test_progress_that_cannot_be_shown_is_dropped(full, monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", full)
    with Console() as console:
        console.phase("tune replay", 1, 0)
        console.trial_done(trial(), 0.5)
        console.say("done")
    warn("and a warning")
    full.flush()
    assert full.problem.errno == errno.ENOSPC


def test_a_sign_that_a_terminal_lacks_is_shown_by_its_code():
    code = "from study.console import open_streams, print_table\nopen_streams()\n"
    code += r"print_table('', ['\u0394'], [['90 \u00b1 1'], ['\udcff']])"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    for part in (rb"90 \xb1 1", rb"\u0394", rb"\udcff"):
        assert part in done.stdout


def test_a_warning_is_one_line_whatever_it_quotes(capsys):
    warn("é = two\nlines, \x1b[31mred\x1b[0m")
    assert lines(capsys) == [r"é = two\nlines, \x1b[31mred\x1b[0m"]


def test_titles_and_headings_may_hold_brackets(capsys):
    print_table("Seen [in red]", ["forgetting [slow]"], [["x"]], "as in [bold] and [/x]")
    out = capsys.readouterr().out
    for part in ("Seen [in red]", "forgetting [slow]", "as in [bold] and [/x]"):
        assert part in out
