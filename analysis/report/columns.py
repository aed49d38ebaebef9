"""Columns: what a table holds, said once for its pages and its files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

from analysis import wording

Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table: CSV and JSON have its values under `key`, pages show them formatted
    under `heading`.

    >>> reason = Column("reason", "reason")
    >>> share = Column("share", "share of the box", format=wording.percent, is_number=True)

    Args:
        key: empty for a column of pages alone.
        heading: empty for a column of files alone.
        value: of a row; unless told, the row's attribute of the key's name. None is a missing
            value: an empty cell, null, or a dash.
        format: a value that is not None as a page shows it; may be None where that is missing.
        is_number: whether the values are numbers, which pages set flush right.
    """

    key: str = ""
    heading: str = ""
    value: Callable[[Row], Any] | None = None
    format: Callable[[Any], str | None] = str
    is_number: bool = False

    def of(self, row: Row) -> Any:
        """The value of a row, as it is."""
        return self.value(row) if self.value else getattr(row, self.key)

    def text(self, row: Row) -> str | None:
        """The value of a row as a page shows it; None where it is missing."""
        value = self.of(row)
        return None if value is None else self.format(value)


def numbers(
    key: str = "",
    heading: str = "",
    value: Callable[[Any], Any] | None = None,
    format: Callable[[Any], str | None] = wording.number,
) -> Column[Any]:
    """A column of numbers, with four decimals unless another format is given."""
    return Column(key, heading, value, format, is_number=True)


def together(
    heading: str, format: Callable[[Any], str | None], *keys: str
) -> tuple[Column[Any], ...]:
    """Numbers that have a column each in files, and one in common on pages."""
    return (*map(Column, keys), numbers("", heading, attrgetter(*keys), format))


def at(name: str, key: Any) -> Callable[[Any], Any]:
    """What an attribute of the row, a dictionary or a list, has under a key; None for nothing."""

    def value(row: Any) -> Any:
        try:
            return getattr(row, name)[key]
        except LookupError:
            return None

    return value


def interval(ends: tuple[float | None, float | None], decimals: int = 4) -> str | None:
    """`low to high` of a pair; None where an end is not known."""
    return None if None in ends else wording.interval(*ends, decimals)


def plus_minus(pair: tuple[float | None, float | None]) -> str | None:
    """`mean ± sd` of a pair; the mean alone for one seed."""
    mean, sd = pair
    if mean is None:
        return None
    return wording.number(mean) + ("" if sd is None else f" ± {wording.number(sd)}")


def as_json(value: Any) -> str:
    """The value as JSON on one line."""
    return json.dumps(plain(value), ensure_ascii=False)


def plain(value: Any) -> Any:
    """The value in what JSON knows: null for NaN and infinity, lists for tuples and arrays."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


two_decimals = partial(wording.number, decimals=2)
thousands = "{:,}".format
