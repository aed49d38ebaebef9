"""Tables as pages and files ask for them."""

from __future__ import annotations

import pytest
from reported import table

from analysis.report.blocks import MOST_COLUMNS, Table
from analysis.report.columns import Column

COLUMNS = (Column("name", "method"), Column("n", "", len), Column("", "letters", list, str))


def test_pages_have_the_columns_with_a_heading_and_files_those_with_a_key():
    made = Table("T", (Column("name", "method", str), *COLUMNS[1:]), ("ab", "c"))
    assert made.headings == ("method", "letters")
    assert made.texts == (("ab", "['a', 'b']"), ("c", "['c']"))
    assert made.records == [{"name": "ab", "n": 2}, {"name": "c", "n": 1}]


def test_a_file_may_have_other_rows_than_the_page():
    made = Table("T", (Column("name", "method", str),), ("a",), file_rows=("a", "b"))
    assert made.texts == (("a",),)
    assert made.records == [{"name": "a"}, {"name": "b"}]


def test_what_is_missing_is_a_dash_on_a_page_and_a_dash_is_not_missing():
    made = table("mx", [["-", None]])
    assert made.cells == (("-", None),)
    assert made.texts == (("-", "-"),)


@pytest.mark.parametrize("second", ["n", "100"])
def test_parts_of_a_wide_table_hold_every_cell_once(second):
    headings = ["method", second, *(f"c{i}" for i in range(23))]
    made = table(headings, [[f"a{i}" for i in range(25)], [f"b{i}" for i in range(25)]])
    parts = made.parts()
    keep = 2 if second == "n" else 1
    assert [part.name for part in parts] == ["name", "name-2", "name-3"]
    assert all(len(part.headings) <= keep + MOST_COLUMNS for part in parts)
    assert [c for part in parts for c in part.headings[keep:]] == headings[keep:]
    assert [c for part in parts for c in part.texts[1][keep:]] == list(made.texts[1][keep:])
    assert {part.texts[0][0] for part in parts} == {"a0"}
    assert parts[0].title == f"Title, {headings[keep]} to {headings[keep + 7]}"


def test_parts_have_about_as_many_columns():
    parts = table(["method", *"abcdefghijk"]).parts()
    assert [len(part.headings) - 1 for part in parts] == [6, 5]


def test_a_narrow_table_stays_whole():
    made = table(["method", *"abcdefghij"])
    assert made.parts() == (made,)
