"""Progress on stderr: one live line a phase in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich import box
from rich.console import Console as Rich
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from analysis.blocks import Block, Section
    from analysis.results import Analysis
from study.ledger import Entry

PLAIN_SECONDS = 2.0  # plain lines come at most so often, and at the end of a phase


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
    """Say something that is no result, where nothing live is shown."""
    print(text, file=sys.stderr)


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
    """Print a table on stdout, as wide as its content where stdout is not a terminal."""
    table = Table(
        *columns,
        title=title or None,
        caption=caption or None,
        box=box.SIMPLE,
        title_justify="left",
        caption_justify="left",
    )
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 400
    Rich(highlight=False, width=width).print(table)


def print_results(analysis: Analysis) -> None:
    """Print a study's comparison tables, verdicts and notes on stdout."""
    from analysis.sections import verdict_sentences
    from analysis.tables import comparison_table, method_table, tuning_table

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
    from analysis.blocks import Bullets, Code, Paragraph, Table

    if isinstance(block, Table) and block.rows:
        print_table(block.title, block.columns, block.rows, block.caption)
    elif isinstance(block, Paragraph | Code):
        print(block.text)
    elif isinstance(block, Bullets):
        print("\n".join(block.lines))
