"""What a report is made of, before any format: sections of paragraphs, lists, tables, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from analysis import wording
from analysis.report.columns import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COLUMNS = 10  # beside the first, so that a page of paper and a phone can show them


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
    """A command, as typed."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows under columns, with a caption that says what the numbers are.

    Nothing in it is escaped or styled. The first column names the row. ``name`` is that of its
    files; ``file_rows`` are those of the CSV file, where a page shows others.
    """

    title: str
    columns: tuple[Column[Any], ...]
    rows: tuple[Any, ...]
    caption: str = ""
    name: str = ""
    file_rows: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        # captions are put together from sentences that may be empty
        object.__setattr__(self, "caption", " ".join(self.caption.split()))

    @property
    def shown(self) -> tuple[Column[Any], ...]:
        """The columns of pages."""
        return tuple(column for column in self.columns if column.heading)

    @property
    def headings(self) -> tuple[str, ...]:
        """What pages call their columns."""
        return tuple(column.heading for column in self.shown)

    @cached_property
    def cells(self) -> tuple[tuple[str | None, ...], ...]:
        """What pages show, row by row; None where a value is missing."""
        return tuple(tuple(column.text(row) for column in self.shown) for row in self.rows)

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The cells, with a dash for what is missing."""
        return tuple(
            tuple(wording.MISSING if cell is None else cell for cell in row) for row in self.cells
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        """What files hold, row by row: the value of each key."""
        rows = self.rows if self.file_rows is None else self.file_rows
        keyed = [column for column in self.columns if column.key]
        return [{column.key: column.of(row) for column in keyed} for row in rows]

    def parts(self, most: int = MOST_COLUMNS) -> tuple[Table, ...]:
        """The table in parts of at most `most` columns, each beside the first one (and n) again."""
        keep = 2 if self.shown[1:2] and self.shown[1].key == "n" else 1
        kept, rest = self.shown[:keep], self.shown[keep:]
        if len(rest) <= most:
            return (self,)
        starts = range(0, len(rest), most)
        return tuple(
            self._part(kept, rest[start : start + most], number)
            for number, start in enumerate(starts, start=1)
        )

    def _part(
        self, kept: tuple[Column[Any], ...], columns: tuple[Column[Any], ...], number: int
    ) -> Table:
        return replace(
            self,
            title=f"{self.title}, {columns[0].heading} to {columns[-1].heading}",
            columns=kept + columns,
            name=self.name if number == 1 else f"{self.name}-{number}",
        )


@dataclass(frozen=True)
class Picture:
    """A figure that is drawn when a format asks for it. ``name`` is that of its files."""

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


Block = Paragraph | Bullets | Code | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]
