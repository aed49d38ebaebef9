"""The table of a paper's appendix: what was searched, what was fixed, what was chosen."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

from reported import svg, whole_study

from analysis.formats.renderings import files
from analysis.one_study.analyse import analyse
from analysis.records import OptionRecord, TuningRecord
from analysis.report.search_spaces import search_space_table


def study(space, configuration):
    """A study of one method that searched a space and chose a configuration."""
    whole = whole_study(["replay"])
    (method,) = whole.methods
    tuning = replace(method.tuning, space=tuple(space))
    return replace(whole, methods=[replace(method, tuning=tuning, configuration=configuration)])


OPTIONS = [
    (OptionRecord("lr", "float", 1e-4, 0.01, True), 0.00123456, ("0.0001 to 0.01", "log")),
    (OptionRecord("mask", "float", 0.0, 1.0, False), 0.25, ("0 to 1", "linear")),
    (
        OptionRecord("gap", "float", 0.0, 1.0, False, 0.25),
        0.5,
        ("0 to 1 in steps of 0.25", "linear"),
    ),
    (OptionRecord("epochs", "int", 1, 10_000, True), 12, ("1 to 10000", "log, whole numbers")),
    (OptionRecord("gate", "categorical", choices=["a", "b"]), "b", ("a, b", "choices")),
    (OptionRecord("on", "categorical", choices=[True, False]), True, ("True, False", "choices")),
    (
        OptionRecord("hidden", "categorical", choices=[[8], [8, 8]]),
        [8, 8],
        ("[8], [8, 8]", "choices"),
    ),
    (OptionRecord("memory_bytes", "fixed", choices=[785_000]), 785_000, ("785000", "fixed")),
]
CHOSEN = ["0.00123", "0.25", "0.5", "12", "b", "True", "[8, 8]", "785000"]


def test_each_option_has_its_range_its_scale_and_what_was_chosen():
    chosen = {option.option: value for option, value, _ in OPTIONS}
    table = search_space_table(analyse(study([option for option, *_ in OPTIONS], chosen)))
    assert table.headings == ("method", "option", "range", "scale", "chosen")
    expected = zip(OPTIONS, CHOSEN, strict=True)
    assert [tuple(row) for row in table.texts] == [
        ("replay", option.option, *shown, text) for (option, _, shown), text in expected
    ]


def test_a_method_that_has_nothing_to_confirm_chose_nothing():
    (row,) = search_space_table(analyse(study([OPTIONS[0][0]], {}))).texts
    assert tuple(row) == ("replay", "lr", "0.0001 to 0.01", "log", "-")


def test_the_table_is_in_every_format():
    texts = files(analyse(whole_study()), (), svg)
    for path in ("index.html", "report.md", "tables/search_spaces.tex"):
        assert "Search spaces" in texts[path]
        assert "0.0001 to 1" in texts[path]
    rows = list(csv.DictReader(texts["tables/search_spaces.csv"].splitlines()))
    assert [row["option"] for row in rows] == ["lr", "optimiser", "hidden"] * 3
    assert rows[0] == {
        "method": "replay",
        "option": "lr",
        "kind": "float",
        "low": "0.0001",
        "high": "1.0",
        "log": "True",
        "step": "",
        "choices": "",
        "chosen": "0.01",
    }
    found = json.loads(texts["report.json"])["search_spaces"]
    assert [list(row) for row in found] == [list(rows[0])] * len(rows)
    assert found[1]["choices"] == ["adam_w", "sgd"]
    assert (found[2]["kind"], found[2]["choices"]) == ("fixed", [[64, 64]])


def test_a_record_without_spaces_has_no_table():
    whole = whole_study()
    old = [replace(method, tuning=TuningRecord()) for method in whole.methods]
    texts = files(analyse(replace(whole, methods=old)), (), svg)
    assert not {"tables/search_spaces.csv", "tables/search_spaces.tex"} & set(texts)
    assert "Search spaces" not in texts["report.md"]
    assert json.loads(texts["report.json"])["search_spaces"] == []
