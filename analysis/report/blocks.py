"""What a report is made of, before any format: sections of paragraphs, lists, tables, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    """Columns and rows of strings, with a caption that says what the numbers are.

    Nothing in it is escaped or styled. ``name`` is that of its files.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        # captions are put together from sentences that may be empty
        object.__setattr__(self, "caption", " ".join(self.caption.split()))


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
