"""What a user sees while a study runs."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from factory import build_study, make_spec
from hypothesis import given
from hypothesis import strategies as st
from screens import Screen, on_terminal, plain, printed

from analysis.numbers import duration
from study import console as module
from study.console import (
    Console,
    TerminalStream,
    print_results,
    print_table,
    print_text,
    warn,
    warn_of_unprinted,
    wrapped,
)
from study.record import analyse_folder

LIVE = """
import time
from study.console import Console
with Console() as console:
    for number in range(1, 4):
        console.progress(lambda: f"tuned {number}/3")
        time.sleep(0.6)
    console.say("the end")
"""


@pytest.fixture
def clock(monkeypatch):
    """A clock the test moves."""
    now = SimpleNamespace(time=1000.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.time)
    return now


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
        console.progress(lambda: "tuned 0/2")
        clock.time += 10
        console.progress(lambda: "tuned 1/2")
    assert lines(capsys) == ["tuned 0/2", "tuned 1/2"]


def test_progress_is_found_and_shown_at_most_every_five_seconds(capsys, clock):
    console, found = Console(), []
    for number in range(100):
        clock.time += 0.1
        console.progress(lambda: found.append(number) or f"tuned {number}/100")  # noqa: B023
    assert lines(capsys) == [f"tuned {number}/100" for number in found]
    assert len(found) == 2


def test_text_is_printed_as_it_is(capsys):
    Console().say("[red]not markup[/red] and a very long line " + "x" * 300)
    [line] = lines(capsys)
    assert line == "[red]not markup[/red] and a very long line " + "x" * 300


def test_no_codes_where_there_is_no_terminal(capsys, clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    with Console() as console:
        console.progress(lambda: "tuned 1/1")
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
    cautions = [caution.text for caution in analysis.cautions]
    for part in ("average accuracy (%)", "reference", "finetune", *cautions, *analysis.notes):
        assert part in out
    assert "\x1b" not in out


def test_a_terminal_has_one_live_line_that_is_replaced():
    shown = on_terminal(LIVE, "stderr", 100)
    assert "\x1b[" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is to be seen, ...
    assert shown.index("\x1b[?25h") < shown.index("tuned 1/3")  # ... whatever ends the program
    assert shown.index("tuned 1/3") < shown.index("tuned 3/3") < shown.index("the end")


LONG = """
import time
from study.console import Console, warn
with Console() as console:
    console.step("starting Ray")
    console.progress(lambda: "tuned 11/20, 1 failed, 3 min left; best: " + "m" * 64 + " 0.5000")
    time.sleep(0.6)
    warn("the machine 10.0.0.7 has left the cluster: its trials continue on the other machines")
    console.say("finished trials are kept in " + "/long" * 20 + " and the same command continues")
"""


def test_progress_fits_a_terminal_of_80_columns_and_breaks_no_name():
    shown = plain(on_terminal(LONG, "stderr", 80))
    path = "/long" * 20
    assert max(len(line) for line in shown if line != path) <= 80
    for part in ("starting Ray", "m" * 64, "tuned 11/20, 1 failed, 3 min left;"):
        assert any(part in line for line in shown), part
    warned = "the machine 10.0.0.7 has left the cluster: its trials continue on the other"
    assert {warned, "machines", path, "and the same command continues"} <= {*shown}


def test_an_activity_is_a_line_where_there_is_no_terminal(capsys):
    with Console() as console:
        console.step("starting Ray")
        console.step("writing the report")
    assert lines(capsys) == ["starting Ray", "writing the report"]


# -- tables and sentences on terminals

HEADINGS = ("method", "tuned", "confirmed", "source")
ROWS = (
    ("replay", "8/8", "10/10", "On tiny episodic memories in continual learning, in their words"),
    ("a_method_whose_name_is_of_60_characters_and_stays_in_one_part", "8/8", "0/10", None),
)
# by hand: the name takes 61 of 76 characters, a source 63 of the 72 below it
AT_80 = """
  method                                                          tuned
      confirmed   source
 ──────────────────────────────────────────────────────────────────────────────
  replay                                                          8/8
      10/10       On tiny episodic memories in continual learning, in their
                  words
  a_method_whose_name_is_of_60_characters_and_stays_in_one_part   8/8
      0/10
"""
AT_120 = """
  method                                                          tuned   confirmed
      source
 ───────────────────────────────────────────────────────────────────────────────────
  replay                                                          8/8     10/10
      On tiny episodic memories in continual learning, in their words
  a_method_whose_name_is_of_60_characters_and_stays_in_one_part   8/8     0/10
"""


@pytest.mark.parametrize(("columns", "wanted"), [(80, AT_80), (120, AT_120)])
def test_a_row_that_is_wider_than_the_terminal_goes_on_below(columns, wanted):
    shown = printed(lambda: print_table("", HEADINGS, ROWS), columns)
    assert [line.rstrip() for line in shown if line.strip()] == wanted.strip("\n").splitlines()


def test_a_long_last_cell_goes_on_in_its_column_where_there_is_room():
    state = "digits, mnist and fashion_mnist are ready; others are built or downloaded on first use"
    rows = [["python", "3.11"], ["data root", state]]
    shown = printed(lambda: print_table("", ["what", "state"], rows), 80)
    start = next(n for n, line in enumerate(shown) if "data root" in line)
    assert shown[start][:14] == "  data root   "
    assert shown[start + 1][:14].strip() == ""
    assert " ".join(line[14:].strip() for line in shown[start : start + 2]) == state


def test_a_first_cell_of_several_words_leaves_room_for_the_others():
    rows = [["first task of " + ", ".join(f"latent_replay_{n}x" for n in range(9)), *range(4)]]
    headings = ["method", "tuning trials", "confirmation seeds", "stack", "seconds on one device"]
    shown = printed(lambda: print_table("", headings, rows), 80)
    [line] = [line for line in shown if "first task" in line]
    assert line.split()[-4:] == ["0", "1", "2", "3"]


words = st.text("abcdefgh_", min_size=1, max_size=64)
phrases = st.lists(words, max_size=12).map(" ".join)
rows = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.tuples(words, *[phrases | st.integers(0, 10**6).map(str)] * width), min_size=2
    )
)


@given(rows=rows, columns=st.sampled_from([80, 100, 200]))
def test_no_terminal_cuts_a_text_or_breaks_a_word(rows, columns):
    shown = printed(lambda: print_table("", rows[0], rows[1:]), columns)
    assert max(map(len, shown)) <= columns
    found = Counter(word for line in shown if "─" not in line for word in line.split())
    assert found == Counter(word for row in rows for cell in row for word in cell.split())


def test_a_word_that_is_wider_than_the_terminal_is_broken_and_not_cut():
    shown = printed(lambda: print_table("", ["of"], [["w" * 200]]), 80)
    assert "".join(shown).count("w") == 200
    assert max(map(len, shown)) <= 80


def test_a_row_is_a_line_where_there_is_no_terminal(capsys):
    rows = [["one", "a " * 400, "end"], ["two", "b " * 1000, "end"]]
    print_table("", ["name", "text", "more"], rows)
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out if line.split()[-1:] == ["end"]] == ["one", "two"]


@given(text=st.lists(words, min_size=1).map(" ".join), columns=st.sampled_from([80, 100]))
def test_a_sentence_ends_its_lines_between_words_on_a_terminal_only(text, columns):
    shown = printed(lambda: print_text(text), columns)
    assert max(map(len, shown)) <= columns
    assert " ".join(shown) == text
    assert wrapped(text, io.StringIO()) == text


@pytest.mark.parametrize("columns", [None, 80])
def test_a_title_and_a_caption_may_be_wider_than_their_table(columns, capsys):
    path, caption = "/folder" * 20, "Each of many words stands in this caption."
    if columns:
        shown = printed(lambda: print_table(path, ["a"], [["b"]], caption), columns)
    else:
        print_table(path, ["a"], [["b"]], caption)
        shown = capsys.readouterr().out.splitlines()
    assert (shown[0], shown[-1]) == (path, caption)


def test_a_path_longer_than_a_line_is_left_to_the_terminal_to_break(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path = "/folder" * 20
    assert wrapped(f"it is in {path} now", Screen()) == f"it is in\n{path}\nnow"
    assert wrapped("  digits: failed\n\nthe end", Screen()) == "  digits: failed\n\nthe end"


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
        console.progress(lambda: "tuned 1/1")
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
