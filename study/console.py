"""Progress on stderr: one live line a phase in a terminal, plain lines elsewhere."""

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

PLAIN_SECONDS = 2.0  # plain lines come at most so often, and at the end of a phase


class TerminalStream(io.TextIOWrapper):
    """Standard output or error that never stops the program: a study is worth more than what is
    said of it. What cannot be written is dropped, and ``problem`` is why.
    """

    problem: OSError | None = None
    told = False

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
        except OSError as error:  # a full disk, a reader that has gone, a terminal that was closed
            self.problem = error


def open_streams() -> None:
    """Make stdout and stderr streams that never stop the program, whatever the caller closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file to be opened gets this number, and what C code prints
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    for number, name in ((1, "stdout"), (2, "stderr")):
        given = getattr(sys, name)
        if not isinstance(given, TerminalStream):
            # of its own, so that descriptor 2 may be given to a library's C code for a while
            buffer = os.fdopen(os.dup(number), "wb")
            encoding = given.encoding if given else "utf-8"
            live = number == 2 or os.isatty(number)
            # a sign that the terminal's encoding lacks is written as its code
            stream = TerminalStream(buffer, encoding, "backslashreplace", line_buffering=live)
            setattr(sys, name, stream)


def unprinted() -> bool:
    """Say on stderr why something did not reach stdout, and whether this is so; told once.

    A reader that has gone, as in ``| head``, has read what it wanted.
    """
    if not isinstance(sys.stdout, TerminalStream):
        return False
    sys.stdout.flush()
    problem = sys.stdout.problem
    if sys.stdout.told or problem is None or problem.errno == errno.EPIPE:
        return False
    sys.stdout.told = True  # what was not written stays in the buffer, and fails again
    warn(f"cannot write to stdout: {problem.strerror}.")
    return True


class Console:
    """What a user sees while a study runs."""

    def __init__(self) -> None:
        self.rich = Rich(stderr=True, highlight=False, soft_wrap=True)
        self.live = Live(console=self.rich, refresh_per_second=4) if sys.stderr.isatty() else None
        self._name, self._total, self._done, self._first = "", 0, 0, 0
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
        """Begin a phase of ``total`` trials, ``done`` of which the ledger had already."""
        self._name, self._total, self._done, self._first = name, total, done, done
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
        fresh = self._done - self._first
        left = f", {duration(spent / fresh * (self._total - self._done))} left" if fresh else ""
        if self._done >= self._total:
            left = f", took {duration(spent)}"
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._name}: {self._done}/{self._total} trials{self._best}{failed}{left}"


def shell(*arguments: str) -> str:
    """Return a command of this program as one would type it here."""
    here = os.path.relpath(sys.executable)  # `.venv/bin/python` after `make run`
    python = sys.executable if here.startswith("..") else here
    return shlex.join([python, "-m", "study", *arguments])


def warn(text: str) -> None:
    """Say something that is no result, in a line, where nothing live is shown."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda sign: repr(sign[0])[1:-1], text)
    print(line, file=sys.stderr)


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = ""
) -> None:
    """Print a table on stdout, as wide as its content where stdout is not a terminal. Nothing is
    cut: what does not fit goes on in the next line, but names are broken only where they must be.
    """
    screen = Rich(highlight=False, width=None if sys.stdout.isatty() else 400)
    cells = [["" if cell is None else escape(str(cell)) for cell in row] for row in rows]
    whole = max((len(row[0]) for row in cells), default=0) < screen.width / 2
    table = Table(
        *(Column(escape(name), overflow="fold") for name in columns),
        title=escape(title) or None,
        caption=escape(caption) or None,
        box=box.SIMPLE,
        title_justify="left",
        caption_justify="left",
    )
    table.columns[0].no_wrap = whole
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
    """Print a block of a report as plainly as it can be; figures are for the files."""
    from analysis.report.blocks import Bullets, Code, Paragraph, Table

    if isinstance(block, Table) and block.rows:
        print_table(block.title, block.headings, block.texts, block.caption)
    elif isinstance(block, Paragraph | Code):
        print(block.text)
    elif isinstance(block, Bullets):
        print("\n".join(block.lines))
