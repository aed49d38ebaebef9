"""Columns: what they make of a row, and that one entry is all that a format needs."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from reported import svg, whole_study

from analysis.formats.renderings import across_files, files
from analysis.many_studies.compare import compare_streams, streams_of
from analysis.one_study.analyse import analyse
from analysis.report import comparison_tables, many_tables, tables, tuning_tables
from analysis.report.columns import (
    Column,
    interval,
    item_of,
    merged,
    number_column,
    plus_minus_of_any_size,
)
from analysis.report.sections import sections
from study.console import print_sections

ROW = SimpleNamespace(low=0.125, high=None, name="ewc", sizes={"memory": 7}, values=(1, 2))
MADE_UP = number_column("made_up", "made-up heading", lambda row: 1 / 3)


def test_a_value_is_the_rows_attribute_unless_told():
    assert Column("name", "method").value_of(ROW) == "ewc"
    assert Column("name", "method", lambda row: row.low).value_of(ROW) == 0.125


def test_a_missing_value_is_never_formatted():
    assert number_column("low", "low").text(ROW) == "0.1250"
    assert number_column("high", "high").text(ROW) is None
    assert number_column("", "ends", lambda row: (row.low, row.high), interval).text(ROW) is None


def test_what_a_row_holds_under_a_key_or_at_a_place():
    assert (item_of("sizes", "memory")(ROW), item_of("sizes", "other")(ROW)) == (7, None)
    assert (item_of("values", 1)(ROW), item_of("values", 2)(ROW)) == (2, None)


def test_numbers_together_on_pages_are_apart_in_files():
    low, high, page = merged("ends", str, "low", "high")
    assert (low.key, low.heading, low.value_of(ROW)) == ("low", "", 0.125)
    assert (high.key, high.heading, high.value_of(ROW)) == ("high", "", None)
    assert (page.key, page.heading, page.value_of(ROW)) == ("", "ends", (0.125, None))


def with_made_up(table):
    return replace(table, columns=(*table.columns, MADE_UP))


def assert_everywhere(texts, name):
    assert "made-up heading" in texts["index.html"]
    assert "| made-up heading |" in texts["report.md"]
    assert "made-up heading" in texts[f"tables/{name}.tex"]
    rows = csv.DictReader(io.StringIO(texts[f"tables/{name}.csv"]))
    assert {row["made_up"] for row in rows} == {str(1 / 3)}


@pytest.mark.parametrize(
    ("module", "function", "name"),
    [
        (tables, "method_table", "methods"),
        (tables, "memory_table", "memory"),
        (tables, "footprint_table", "footprint"),
        (tables, "configuration_table", "configurations"),
        (tables, "failure_table", "failures"),
        (tables, "published_table", "published"),
        (tuning_tables, "tuning_table", "tuning"),
        (tuning_tables, "hypervolume_table", "hypervolume"),
        (tuning_tables, "pareto_table", "pareto"),
        (tuning_tables, "importance_table", "importance"),
    ],
)
def test_a_column_of_a_table_is_in_every_format(module, function, name, monkeypatch):
    study, build = whole_study(), getattr(module, function)
    lost = replace(study.methods[2], failures={107: "boom"})
    study = replace(study, methods=[*study.methods[:2], lost])
    monkeypatch.setattr(module, function, lambda analysis: with_made_up(build(analysis)))
    assert_everywhere(files(analyse(study), (), svg), name)


def test_a_column_of_the_comparisons_is_in_every_format(monkeypatch, capsys):
    build = comparison_tables._columns
    entry = (comparison_tables.VERDICTS, MADE_UP)
    monkeypatch.setattr(comparison_tables, "_columns", lambda analysis: (*build(analysis), entry))
    analysis = analyse(whole_study())
    texts = files(analysis, (), svg)
    assert_everywhere(texts, "comparisons")
    assert {row["made_up"] for row in json.loads(texts["report.json"])["comparisons"]} == {1 / 3}
    print_sections(sections(analysis))
    assert "made-up heading" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "block"), [("method_table", "methods"), ("tuning_table", "tuning")]
)
def test_a_column_is_in_the_document_too(function, block, monkeypatch):
    module = tables if block == "methods" else tuning_tables
    build = getattr(module, function)
    monkeypatch.setattr(module, function, lambda analysis: with_made_up(build(analysis)))
    document = json.loads(files(analyse(whole_study()), (), svg)["report.json"])
    assert {row["made_up"] for row in document[block]} == {1 / 3}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("contrast_table", "contrasts"),
        ("standing_table", "standings"),
        ("verdict_table", "verdicts"),
        ("stream_table", "streams"),
        ("rank_table", "ranks"),
        ("left_out_table", "left_out"),
    ],
)
def test_a_column_over_several_studies_is_in_every_format(function, name, monkeypatch):
    analyses = [analyse(whole_study(stream=f"s{i}", study=f"study{i}")) for i in range(6)]
    first = analyses[0].record
    analyses[0] = analyse(
        replace(first, methods=[*first.methods, replace(first.methods[0], method="x")])
    )
    across = compare_streams(streams_of(analyses), resamples=50)
    build = getattr(many_tables, function)
    monkeypatch.setattr(many_tables, function, lambda *of: with_made_up(build(*of)))
    assert_everywhere(across_files(across, analyses, (), svg), name)


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        ((65.0, 0.0), "65 ± 0"),
        ((65.5, 0.5), "65.50 ± 0.50"),
        ((0.00012345, 0.00001), "0.0001234 ± 0.0000100"),
        ((1e6, 0.25), "1000000.0 ± 0.2"),
        ((3.0, None), "3"),
        ((None, None), None),
    ],
)
def test_measurements_of_any_size_have_four_digits(pair, shown):
    assert plus_minus_of_any_size(pair) == shown
