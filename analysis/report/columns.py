"""Columns of tables, each described once for pages and for files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

from analysis import numbers

Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table: the values under `key` in CSV and JSON, and the formatted values under
    `heading` on pages.

    >>> share = Column("share", "share of the box", format=numbers.percent, is_number=True)
    >>> row = Column("n").value_of  # the row's attribute `n`

    Args:
        key: of CSV and JSON; empty for a column only of pages.
        heading: of pages; empty for a column only of files.
        value: function from a row to the value; by default the row's attribute named `key`. None is
            a missing value: an empty cell, null, or a dash.
        format: function from a value other than None to the text on a page; may return None for a
            missing value.
        is_number: whether the values are numbers, aligned right on pages.
        lower_is_better: whether a page that is sorted by the column begins with the lowest number.
    """

    key: str = ""
    heading: str = ""
    value: Callable[[Row], Any] | None = None
    format: Callable[[Any], str | None] = str
    is_number: bool = False
    lower_is_better: bool = False

    def value_of(self, row: Row) -> Any:
        """Return the unformatted value of a row."""
        return self.value(row) if self.value else getattr(row, self.key)

    def text(self, row: Row) -> str | None:
        """Return the formatted value of a row; None for a missing value."""
        value = self.value_of(row)
        return None if value is None else self.format(value)


def number_column(
    key: str = "",
    heading: str = "",
    value: Callable[[Any], Any] | None = None,
    format: Callable[[Any], str | None] = numbers.number,
    lower_is_better: bool = False,
) -> Column[Any]:
    """Return a column of numbers, by default with four decimals."""
    return Column(key, heading, value, format, True, lower_is_better)


def merged(
    heading: str, format: Callable[[Any], str | None], *keys: str
) -> tuple[Column[Any], ...]:
    """Return one column per key in files, merged into a single column on pages.

    >>> [column.key for column in merged("mean ± sd", plus_minus, "mean", "sd")]
    ['mean', 'sd', '']
    """
    return (*map(Column, keys), number_column("", heading, attrgetter(*keys), format))


def item_of(name: str, key: Any) -> Callable[[Any], Any]:
    """Return a function from a row to `row.name[key]`; None for a missing key or index."""

    def value(row: Any) -> Any:
        try:
            return getattr(row, name)[key]
        except LookupError:
            return None

    return value


def interval(ends: tuple[float | None, float | None], decimals: int = 4) -> str | None:
    """Return `low to high` of a pair; None for a missing end."""
    return None if None in ends else numbers.interval(*ends, decimals)


def plus_minus_of_any_size(pair: tuple[float | None, float | None]) -> str | None:
    """Return `mean ± sd` with four digits of the mean or the first of sd; whole numbers as such.

    >>> plus_minus_of_any_size((129285.0, 0.0)), plus_minus_of_any_size((0.51234, 0.00123))
    ('129285 ± 0', '0.5123 ± 0.0012')
    """
    if pair[0] is None:
        return None
    present = [value for value in pair if value is not None]
    decimals = 0
    if not all(float(value).is_integer() for value in present):
        sizes = zip(present, (3, 0), strict=False)
        needed = [digits - math.floor(math.log10(abs(size))) for size, digits in sizes if size]
        decimals = max(0, *needed)
    return " ± ".join(numbers.number(value, decimals) for value in present)


def as_json(value: Any) -> str:
    """Return the value as JSON on one line."""
    return json.dumps(plain(value), ensure_ascii=False)


def option_value(value: Any) -> str:
    """Return the value of an option, fractions with four digits.

    >>> option_value(0.0032080185166107893), option_value(785000), option_value("adam")
    ('0.003208', '785000', 'adam')
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(option_value, value))}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else as_json(value)


def configuration_text(configuration: Mapping[str, Any]) -> str:
    """Return the options that have a value.

    >>> configuration_text({"network": "conv", "kernel": None, "lr": 0.00123456})
    'network = conv, lr = 0.001235'
    """
    return ", ".join(
        f"{option} = {option_value(value)}"
        for option, value in configuration.items()
        if value is not None
    )


def plain(value: Any) -> Any:
    """Return the value in JSON types: None for NaN and infinity, lists for tuples and arrays."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


two_decimals = partial(numbers.number, decimals=2)
thousands = "{:,}".format
