"""The parts of a report, before any format: sections of paragraphs, lists, tables, pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from analysis import numbers
from analysis.report.columns import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COLUMNS = 10  # beside the first, so that the table fits on paper and on a phone


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """A command line, or a text in another language."""

    text: str
    language: str = "sh"


@dataclass(frozen=True)
class Table:
    """Rows under columns, with a caption that explains the numbers.

    Texts are neither escaped nor styled. The first column names the row. `name` is the name of the
    table's files. `file_rows` are the rows of the CSV file, if other than the rows of pages.

    >>> columns = (Column("method", "method"), Column("n", "n", is_number=True))
    >>> Table("Seeds", columns, rows=()).headings
    ('method', 'n')
    """

    title: str
    columns: tuple[Column[Any], ...]
    rows: tuple[Any, ...]
    caption: str = ""
    name: str = ""
    file_rows: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        # captions are joined from sentences, some of which may be empty
        object.__setattr__(self, "caption", " ".join(self.caption.split()))

    @property
    def page_columns(self) -> tuple[Column[Any], ...]:
        """The columns of pages."""
        return tuple(column for column in self.columns if column.heading)

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings of the page columns."""
        return tuple(column.heading for column in self.page_columns)

    @cached_property
    def cells(self) -> tuple[tuple[str | None, ...], ...]:
        """The formatted cells of pages, row by row; None for a missing value."""
        return tuple(tuple(column.text(row) for column in self.page_columns) for row in self.rows)

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The formatted cells of pages, with a dash for a missing value."""
        return tuple(
            tuple(numbers.MISSING if cell is None else cell for cell in row) for row in self.cells
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        """The rows of files: value by key."""
        rows = self.rows if self.file_rows is None else self.file_rows
        keyed = [column for column in self.columns if column.key]
        return [{column.key: column.value_of(row) for column in keyed} for row in rows]

    def parts(self) -> tuple[Table, ...]:
        """Return parts of at most 10 columns, about as many in each; each repeats the first column
        (and n).
        """
        columns = self.page_columns
        count = 2 if columns[1:2] and columns[1].key == "n" else 1
        repeated, rest = columns[:count], columns[count:]
        if len(rest) <= MOST_COLUMNS:
            return (self,)
        size = math.ceil(len(rest) / math.ceil(len(rest) / MOST_COLUMNS))
        starts = range(0, len(rest), size)
        return tuple(
            self._part(repeated, rest[start : start + size], number)
            for number, start in enumerate(starts, start=1)
        )

    def _part(
        self, repeated: tuple[Column[Any], ...], columns: tuple[Column[Any], ...], number: int
    ) -> Table:
        return replace(
            self,
            title=f"{self.title}, {columns[0].heading} to {columns[-1].heading}",
            columns=repeated + columns,
            name=self.name if number == 1 else f"{self.name}-{number}",
        )


@dataclass(frozen=True)
class Picture:
    """A figure, drawn when a format needs it. `name` is the name of the figure's files."""

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


Block = Paragraph | Bullets | Code | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading with blocks. `part` is the part of the report that holds the section; empty: the
    beginning, which everybody reads.
    """

    title: str
    blocks: tuple[Block, ...]
    part: str = ""
