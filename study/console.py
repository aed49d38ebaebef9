"""What a user sees: tables and sentences on stdout, progress and warnings on stderr."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import re
import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console as Rich
from rich.console import Group
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from analysis.one_study.analyse import Analysis
    from analysis.report.blocks import Block, Section
    from analysis.report.blocks import Table as TextTable

LIVE_SECONDS, PLAIN_SECONDS = 0.5, 5.0  # least time between two lines of progress

MARGINS, GAP = 4, 3  # characters: both margins of a table, and the space between two cells
INDENT = 4  # of the further lines of a row
READABLE = 40  # characters that a cell needs beside others to go on in its next line
UNBOUNDED = 100_000  # width of a table that no terminal shows


class TerminalStream(io.TextIOWrapper):
    """A standard stream whose failure never stops the program: a study is worth more than its
    messages. Text that cannot be written is dropped.

    Attributes:
        problem: why text was dropped; None if none was.
        reported: whether the user has been told of the problem.
    """

    problem: OSError | None = None
    reported = False

    def write(self, text: str) -> int:
        with self._dropping():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            super().flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # such as a full disk, a closed pipe or a closed terminal
            self.problem = error


def open_streams() -> None:
    """Make stdout and stderr :class:`TerminalStream` objects, even if the caller closed them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next opened file gets this number, and the output of C code
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        original = getattr(sys, name)
        if not isinstance(original, TerminalStream):
            # a descriptor of its own: descriptor 2 is lent to a library's C code for a while
            buffer = os.fdopen(os.dup(number), "wb")
            encoding = original.encoding if original else "utf-8"
            live = number == 2 or os.isatty(number)
            # a character that the terminal's encoding lacks is written as its code
            stream = TerminalStream(buffer, encoding, "backslashreplace", line_buffering=live)
            setattr(sys, name, stream)


def warn_of_unprinted() -> bool:
    """Say on stderr, once, why text did not reach stdout; return whether that was said.

    A reader that closed the pipe, as in ``| head``, is no problem.
    """
    if not isinstance(sys.stdout, TerminalStream):
        return False
    sys.stdout.flush()
    problem = sys.stdout.problem
    if sys.stdout.reported or problem is None or problem.errno == errno.EPIPE:
        return False
    sys.stdout.reported = True  # the text stays in the buffer, and fails again
    warn(f"cannot write to stdout: {problem.strerror}.")
    return True


class Console:
    """The progress that a user sees while a command works.

    A terminal shows the present activity in a live line, with the time since its start. Elsewhere
    each activity is a line of its own.
    """

    def __init__(self) -> None:
        self.rich = Rich(stderr=True, highlight=False)
        self.live = _live_line(self.rich) if sys.stderr.isatty() else None
        self._printed = -math.inf  # time of the last progress

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
            self.rich.show_cursor()  # Ray may end the program, and it would stay hidden
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print a text that stays on the screen."""
        self.rich.print(wrapped(text, sys.stderr), markup=False, soft_wrap=True)

    def step(self, text: str) -> None:
        """Show the present activity, such as `starting Ray`."""
        if self.live:
            self._show(text)
        else:
            self.say(text)

    def progress(self, find: Callable[[], str]) -> None:
        """Show how far the study is, if the last time was a while ago.

        Args:
            find: returns how far it is, as a text.
        """
        now, patience = time.monotonic(), LIVE_SECONDS if self.live else PLAIN_SECONDS
        if now - self._printed < patience:
            return
        self._printed = now
        line = find()
        if self.live:
            self.live.update(self.live.task_ids[0], description=line)
        else:
            self.say(line)

    def _show(self, text: str) -> None:
        """Begin a new live line, where there is one."""
        if self.live:
            self.live.reset(self.live.task_ids[0], description=text)


def _live_line(screen: Rich) -> Progress | None:
    """Return a line that is replaced in place; None for a terminal that cannot move its cursor."""
    if not screen.is_interactive:
        return None
    text = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    columns = (SpinnerColumn("line"), text, TimeElapsedColumn())
    live = Progress(*columns, console=screen, transient=True, refresh_per_second=4)
    live.add_task("", total=None)
    return live


def shell(*arguments: str) -> str:
    """Return a command of this program as a user would type it in this folder."""
    here = os.path.relpath(sys.executable)  # `.venv/bin/python` after `make run`
    python = sys.executable if here.startswith("..") else here
    return shlex.join([python, "-m", "study", *arguments])


def wrapped(text: str, stream: TextIO) -> str:
    """Return a text with line ends between words where a terminal needs them, else unchanged.

    A word longer than a line, such as a path, stays whole: the terminal breaks it, and a copy of it
    has no line end.
    """
    if not stream.isatty():
        return text
    width = Rich(file=stream).width
    fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    indents = ("  " if line.startswith("- ") else "" for line in text.splitlines())
    lines = zip(text.splitlines(), indents, strict=True)
    return "\n".join(fill(line, subsequent_indent=indent) for line, indent in lines)


def clear_screen() -> None:
    """Empty the terminal of stdout, if it is one."""
    Rich().clear()


def print_text(text: str) -> None:
    """Print a text on stdout, with line ends between words."""
    print(wrapped(text, sys.stdout))


def warn(text: str) -> None:
    """Print a message on stderr: one line, or as many as a terminal needs."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: repr(control[0])[1:-1], text)
    print(wrapped(line, sys.stderr), file=sys.stderr)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = ""
) -> None:
    """Print a table on stdout. No text is cut, and no name is broken.

    A row is one line. Where a terminal is too narrow for that, the cells that do not fit follow
    below, and long texts go on in their next line.
    """
    screen = Rich(highlight=False, width=None if sys.stdout.isatty() else UNBOUNDED)
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    lines = _lines_of_a_row([columns, *cells], screen.width - MARGINS)
    table = Table(Column(_row(columns, lines)), box=box.SIMPLE)
    for row in cells:
        table.add_row(_row(row, lines))
    if title:
        screen.print(Text(wrapped(title, sys.stdout), "table.title"), soft_wrap=True)
    screen.print(table)
    if caption:
        screen.print(Text(wrapped(caption, sys.stdout), "table.caption"), soft_wrap=True)


def _lines_of_a_row(rows: Sequence[Sequence[str]], room: int) -> list[dict[int, int]]:
    """Return the width of each cell in a row by its number, for each line of the row.

    Args:
        rows: the headings, and the rows of cells.
        room: width of a line.
    """
    by_column = list(zip(*rows, strict=True))
    natural = [max(map(cell_len, texts)) for texts in by_column]
    if sum(natural) + GAP * (len(natural) - 1) <= room:
        return [dict(enumerate(natural))]
    longest_words = [max(map(_longest_word, texts)) for texts in by_column]
    widths = _least_widths(by_column, longest_words, room)
    lines: list[dict[int, int]] = [{}]
    left = room
    for number, (word, width) in enumerate(zip(longest_words, widths, strict=True)):
        if width > left >= max(READABLE, word):
            width = left
        elif width > left:
            lines.append({})
            left = room - INDENT
            width = min(width, left)
        lines[-1][number] = width
        left -= width + GAP
    return lines


def _least_widths(
    by_column: Sequence[Sequence[str]], longest_words: Sequence[int], room: int
) -> list[int]:
    """Return the widths that columns need if headings take several lines, and if the first cells do
    so too where they have several words.
    """
    widths = [
        max([word, *map(cell_len, texts)])
        for word, (_, *texts) in zip(longest_words, by_column, strict=True)
    ]
    beside_others = room - sum(width + GAP for width in widths[1:])
    if beside_others < longest_words[0]:
        beside_others = max(longest_words[0], room // 2)
    return [min(widths[0], beside_others, room), *widths[1:]]


def _longest_word(text: str) -> int:
    """Return the width of the longest word."""
    return max(map(cell_len, text.split()), default=0)


def _row(cells: Sequence[str], lines: Sequence[dict[int, int]]) -> Group:
    """Return the lines of a row, one below the other."""
    first, *others = [_line(cells, widths) for widths in lines]
    return Group(first, *(Padding(line, (0, 0, 0, INDENT), style="dim") for line in others))


def _line(cells: Sequence[str], widths: dict[int, int]) -> Table:
    columns = (Column(width=width, overflow="fold") for width in widths.values())
    line = Table.grid(*columns, padding=(0, GAP, 0, 0), pad_edge=False)
    line.add_row(*(Text(cells[number]) for number in widths))
    return line


def print_results(analysis: Analysis) -> None:
    """Print a study's answer on stdout: in words and as a table, then cautions and notes."""
    from analysis.report.headline import CAUTIONS, headline
    from analysis.report.results import result_table
    from analysis.report.sections import lines_of, refusals

    first, *others = headline(analysis)
    # with a common reference, the table has the other sentences
    print_text("\n".join(["", first, *([] if analysis.common_reference else others)]))
    table = result_table(analysis)
    print_block(table if _fits(table) else result_table(analysis, with_intervals=False))
    for line in refusals(analysis):
        print_text(f"- {line}")
    if analysis.cautions:
        print_text(f"\n{CAUTIONS}")
    for caution in analysis.cautions:
        print_text(f"- {caution.text} Remedy: {caution.remedy}")
        if caution.setting:
            print(f"  {lines_of(caution.setting)}")  # not wrapped, to be copied
    print_text("\nNotes")
    for line in analysis.notes:
        print_text(f"- {line}")
    print()


def _fits(table: TextTable) -> bool:
    """Return whether each row of a table fits one line of the screen."""
    screen = Rich(width=None if sys.stdout.isatty() else UNBOUNDED)
    rows = [table.headings, *table.texts]
    return len(_lines_of_a_row(rows, screen.width - MARGINS)) == 1


def print_sections(sections: Iterable[Section]) -> None:
    """Print the tables and sentences of a report on stdout."""
    for section in sections:
        print_text(f"\n{section.title}")
        for block in section.blocks:
            print_block(block, section.title)


def print_block(block: Block, above: str = "") -> None:
    """Print a block of a report as plain text; figures are in the files only.

    A table has its title, unless the one above is the same.
    """
    from analysis.report.blocks import Bullets, Code, Paragraph, Table

    if isinstance(block, Table) and block.rows:
        title = "" if block.title == above else block.title
        print_table(title, block.headings, block.texts, block.caption)
    elif isinstance(block, Code):
        print(block.text)
    elif isinstance(block, Paragraph):
        print_text(block.text)
    elif isinstance(block, Bullets):
        for line in block.lines:
            print_text(line)
