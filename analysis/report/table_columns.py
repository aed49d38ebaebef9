"""What the formats ask of a table before they draw it: which columns are numbers, and parts of it.

Shape legend: R rows, K columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from analysis import wording
from analysis.report.blocks import Table

MOST_COLUMNS = 10  # beside the first, so that a page of paper and a phone can show them

_NUMBER = re.compile(r"(?:p <|q <|n =|to|meaningful|[-+±.,:;/()%\s\d]|e[-+]\d)+\Z")


def number_columns(table: Table) -> tuple[bool, ...]:
    """Whether each of the K columns holds nothing but numbers, intervals and dashes.

    The first column names the row and is never one.
    """
    columns = zip(*table.rows, strict=True)
    found = [i > 0 and all(map(_is_number, cells)) for i, cells in enumerate(columns)]
    return tuple(found) or (False,) * len(table.columns)


def _is_number(cell: str) -> bool:
    return bool(_NUMBER.match(cell)) and (cell == wording.MISSING or any(map(str.isdigit, cell)))


def split_columns(table: Table, most: int = MOST_COLUMNS) -> tuple[Table, ...]:
    """The table in parts of at most `most` columns, each beside the first column (and n) again."""
    keep = 2 if table.columns[1:2] == ("n",) else 1
    rest = range(keep, len(table.columns))
    if len(rest) <= most:
        return (table,)
    starts = range(keep, len(table.columns), most)
    return tuple(
        _part(table, [*range(keep), *range(start, min(start + most, rest.stop))], keep, number)
        for number, start in enumerate(starts, start=1)
    )


def pick(table: Table, columns: Sequence[str]) -> Table:
    """The named columns of a table, in that order."""
    return _cut(table, [table.columns.index(column) for column in columns])


def _part(table: Table, chosen: list[int], keep: int, number: int) -> Table:
    first, last = table.columns[chosen[keep]], table.columns[chosen[-1]]
    titled = replace(
        table,
        title=f"{table.title}, {first} to {last}",
        name=table.name if number == 1 else f"{table.name}-{number}",
    )
    return _cut(titled, chosen)


def _cut(table: Table, chosen: Sequence[int]) -> Table:
    return replace(
        table,
        columns=tuple(table.columns[i] for i in chosen),
        rows=tuple(tuple(row[i] for i in chosen) for row in table.rows),
    )
