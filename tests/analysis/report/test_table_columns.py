"""What the formats ask of tables."""

from __future__ import annotations

import pytest

from analysis.report import table_columns
from analysis.report.blocks import Table


def table(columns, *rows):
    return Table("Title", tuple(columns), rows, "Caption.", "name")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("0.1", "-"), True),
        (("-0.0675 to -0.0525",), True),
        (("p < 0.001", "0.012"), True),
        (("0.73 (0.40 to 0.90), meaningful",), True),
        (("0.8800 ± 0.0100 (n = 5)", "1,234,567"), True),
        (("1e-05", "91.6 %"), True),
        (("8 / 0 / 2",), True),
        (("adam", "0.1"), False),
        (("task 1",), False),
        (("none",), False),
        (("to",), False),
    ],
)
def test_number_columns(cells, expected):
    made = table(["m", "x"], *[("1", cell) for cell in cells])
    assert table_columns.number_columns(made) == (False, expected)


def test_a_table_without_rows_has_no_number_columns():
    assert table_columns.number_columns(table(["m", "x"])) == (False, False)


@pytest.mark.parametrize("second", ["n", "100"])
def test_parts_of_a_wide_table_hold_every_cell_once(second):
    columns = ["method", second, *(f"c{i}" for i in range(23))]
    made = table(columns, tuple(f"a{i}" for i in range(25)), tuple(f"b{i}" for i in range(25)))
    parts = table_columns.split_columns(made)
    keep = 2 if second == "n" else 1
    assert [part.name for part in parts] == ["name", "name-2", "name-3"]
    assert all(len(part.columns) <= keep + table_columns.MOST_COLUMNS for part in parts)
    assert [c for part in parts for c in part.columns[keep:]] == columns[keep:]
    assert [c for part in parts for c in part.rows[1][keep:]] == list(made.rows[1][keep:])
    assert {part.rows[0][0] for part in parts} == {"a0"}
    assert parts[0].title == f"Title, {columns[keep]} to {columns[keep + 9]}"


def test_a_narrow_table_stays_whole():
    made = table(["method", *"abcdefghij"])
    assert table_columns.split_columns(made) == (made,)
