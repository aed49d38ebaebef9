"""Progress on stderr: a live line per phase in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich import box
from rich.console import Console as Rich
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from analysis.one_study.analyse import Analysis
    from analysis.report.blocks import Block, Section
    from study.ledger import Entry

PLAIN_SECONDS = 2.0  # least time between two plain lines of a phase


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
    """The progress that a user sees while a study runs."""

    def __init__(self) -> None:
        self.rich = Rich(stderr=True, highlight=False, soft_wrap=True)
        self.live = Live(console=self.rich, refresh_per_second=4) if sys.stderr.isatty() else None
        self._name, self._total, self._done, self._done_before = "", 0, 0, 0
        self._failed, self._best = 0, ""
        self._started = self._printed = 0.0

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.update(Text(""))
            self.live.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self.rich.print(text, markup=False)

    def phase(self, name: str, total: int, done: int) -> None:
        """Begin a phase of ``total`` trials, of which the ledger already has ``done``."""
        self._name, self._total, self._done, self._done_before = name, total, done, done
        self._failed, self._best = 0, ""
        self._started = self._printed = time.monotonic()
        if total == 0:
            return
        if done == total:
            self.say(f"{name}: {total}/{total} trials, all in the ledger")
        elif self.live:
            self.live.update(Text(self._line()))
        else:
            self.say(self._line())

    def trial_done(self, entry: Entry, best: float | None) -> None:
        """Count a finished trial."""
        self._done += 1
        self._failed += entry.state in ("failed", "diverged")
        self._best = f", best {best:.4f}" if best is not None else ""
        last = self._done >= self._total
        if last or (self.live is None and time.monotonic() - self._printed > PLAIN_SECONDS):
            self._printed = time.monotonic()
            self.say(self._line())
        if self.live:
            self.live.update(Text("" if last else self._line()))

    def _line(self) -> str:
        spent = time.monotonic() - self._started
        new = self._done - self._done_before
        time_ = f", {duration(spent / new * (self._total - self._done))} left" if new else ""
        if self._done >= self._total:
            time_ = f", took {duration(spent)}"
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._name}: {self._done}/{self._total} trials{self._best}{failed}{time_}"


def shell(*arguments: str) -> str:
    """Return a command of this program as a user would type it in this folder."""
    here = os.path.relpath(sys.executable)  # `.venv/bin/python` after `make run`
    python = sys.executable if here.startswith("..") else here
    return shlex.join([python, "-m", "study", *arguments])


def warn(text: str) -> None:
    """Print a message on one line of stderr; for use while no live line is shown."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: repr(control[0])[1:-1], text)
    print(line, file=sys.stderr)


def duration(seconds: float) -> str:
    """Return a time in a readable unit.

    >>> duration(75), duration(600), duration(9000)
    ('75 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = ""
) -> None:
    """Print a table on stdout, as wide as its content if stdout is not a terminal.

    No text is cut: long cells continue on the next line, and names in the first column are broken
    only if they would take half of the screen.
    """
    screen = Rich(highlight=False, width=None if sys.stdout.isatty() else 400)
    cells = [["" if cell is None else escape(str(cell)) for cell in row] for row in rows]
    names_fit = max((len(row[0]) for row in cells), default=0) < screen.width / 2
    table = Table(
        *(Column(escape(name), overflow="fold") for name in columns),
        title=escape(title) or None,
        caption=escape(caption) or None,
        box=box.SIMPLE,
        title_justify="left",
        caption_justify="left",
    )
    table.columns[0].no_wrap = names_fit
    for row in cells:
        table.add_row(*row)
    screen.print(table)


def print_results(analysis: Analysis) -> None:
    """Print a study's comparison tables, verdicts and notes on stdout."""
    from analysis.report.comparison_tables import comparison_table
    from analysis.report.sections import verdict_sentences
    from analysis.report.tables import method_table
    from analysis.report.tuning_tables import tuning_table

    for table in (method_table(analysis), comparison_table(analysis), tuning_table(analysis)):
        print_block(table)
    for line in [*verdict_sentences(analysis), *analysis.notes]:
        print(line)


def print_sections(sections: Iterable[Section]) -> None:
    """Print the tables and sentences of a report on stdout."""
    for section in sections:
        for block in section.blocks:
            print_block(block)


def print_block(block: Block) -> None:
    """Print a block of a report as plain text; figures are in the files only."""
    from analysis.report.blocks import Bullets, Code, Paragraph, Table

    if isinstance(block, Table) and block.rows:
        print_table(block.title, block.headings, block.texts, block.caption)
    elif isinstance(block, Paragraph | Code):
        print(block.text)
    elif isinstance(block, Bullets):
        print("\n".join(block.lines))
