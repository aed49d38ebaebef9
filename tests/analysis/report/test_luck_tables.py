"""The tables on tuning luck, and the sentence on what other choices would have changed."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.formats import data
from analysis.one_study.analyse import analyse
from analysis.records import AlternativeRecord
from analysis.report import luck_tables
from analysis.report.blocks import Bullets, Table
from analysis.report.sections import sections

NOISE = np.array([0.01, -0.02, 0.00, 0.03, -0.01, 0.02, 0.01, -0.03, 0.00, -0.01])
LEVELS = {"replay": 0.8, "ewc": 0.6, "si": 0.5}


def alternative(level, trial):
    scores = {100 + i: float(level + x) for i, x in enumerate(np.roll(NOISE, 4))}
    return AlternativeRecord(trial, level, {}, scores)


@pytest.fixture
def make_luck(make_method, make_study):
    """A study of three methods; other levels of a method are its alternatives."""

    def make(sweeps=1, **others):
        methods = [
            make_method(
                name,
                level + np.roll(NOISE, shift),
                alternatives=tuple(
                    alternative(other, 2 + i) for i, other in enumerate(others.get(name, ()))
                ),
            )
            for shift, (name, level) in enumerate(LEVELS.items())
        ]
        record = make_study(methods)
        plain = [replace(m, alternatives=()) for m in methods]
        return replace(record, repeats=(replace(record, methods=plain),) * (sweeps - 1))

    return make


def of_tuning(study, kind):
    (part,) = (part for part in sections(analyse(study)) if part.title == "Sweeps")
    return [block for block in part.blocks if isinstance(block, kind)]


def titles(study):
    return [table.title for table in of_tuning(study, Table)]


def sentence(study):
    return luck_tables.choice_sentence(analyse(study))


def test_nothing_is_shown_unless_it_was_asked_for(make_luck):
    assert titles(make_luck()) == ["Tuning"]
    assert sentence(make_luck()) == ""
    texts = data.to_csv(analyse(make_luck()))
    assert not {"choices.csv", "tuning_luck.csv", "repeated_comparisons.csv"} & {*texts}


def test_the_tables_are_in_the_part_on_tuning(make_luck):
    assert titles(make_luck(2, ewc=[0.8])) == [
        "Tuning",
        "Other choices of the sweep",
        "How much is tuning luck",
        "Comparisons over sweeps",
    ]


def test_the_sentence_counts_the_verdicts_that_another_choice_changes(make_luck):
    assert sentence(make_luck(ewc=[0.61, 0.8], si=[0.51])) == (
        "1 of 2 verdicts would have been another with the second or third best trial of one of "
        "the methods: ewc (inconclusive instead of worse by more than the margin)."
    )
    assert sentence(make_luck(ewc=[0.61])) == (
        "None of 2 verdicts would have been another with the second best trial of one of the "
        "methods."
    )
    assert "with another of the 4 best trials" in sentence(make_luck(ewc=[0.61, 0.62, 0.63]))
    bullets = [block.lines for block in of_tuning(make_luck(ewc=[0.61]), Bullets)]
    assert (sentence(make_luck(ewc=[0.61])),) in bullets


def test_two_changes_of_one_verdict_count_once(make_luck):
    found = sentence(make_luck(ewc=[0.8, 0.95]))
    assert found.startswith("1 of 2 verdicts")
    assert "ewc (inconclusive or better by more than the margin instead of worse" in found


def test_each_choice_is_a_row_that_names_method_and_trial(make_luck):
    table = luck_tables.choice_table(analyse(make_luck(ewc=[0.8], replay=[0.5])))
    found = [row[:2] for row in table.texts]
    assert found == [
        ("ewc", "chosen"),
        ("ewc", "trial 2 of ewc"),
        ("ewc", "trial 2 of replay"),
        ("si", "chosen"),
        ("si", "trial 2 of replay"),
    ]
    assert "only the rows of the chosen configurations belong to the family" in table.caption


def test_a_long_table_shows_what_changes_and_the_file_has_all(make_luck, monkeypatch):
    monkeypatch.setattr(luck_tables, "MOST_CHOICES", 3)
    table = luck_tables.choice_table(analyse(make_luck(ewc=[0.8, 0.61], si=[0.51])))
    assert [row[1] for row in table.texts] == ["trial 2 of ewc"]
    assert len(table.records) == 5
    assert "all 5 rows" in table.caption


def test_files_have_every_number(make_luck):
    analysis = analyse(make_luck(3, ewc=[0.8]))
    texts = data.to_csv(analysis)
    rows = {
        name: list(csv.DictReader(io.StringIO(texts[f"{name}.csv"])))
        for name in ("choices", "tuning_luck", "repeated_comparisons")
    }
    assert [row["changed"] for row in rows["choices"]] == ["False", "True"]
    assert rows["choices"][1]["other"] == "ewc"
    assert rows["choices"][1]["trial"] == "2"
    (ewc,) = (row for row in rows["tuning_luck"] if row["method"] == "ewc")
    assert float(ewc["mean"]) == pytest.approx(0.6 + NOISE.mean())
    assert float(ewc["sd_seeds"]) > 0
    assert (
        json.loads(rows["repeated_comparisons"][0]["verdicts"])
        == ["worse by more than the margin"] * 3
    )
    document = json.loads(data.to_json(analysis))
    assert len(document["choices"]) == 2
    assert [row["method"] for row in document["tuning_luck"]] == list(LEVELS)
    assert len(document["repeated_comparisons"]) == 2


def test_captions_say_what_is_the_unit_and_what_each_sd_is(make_luck):
    analysis = analyse(make_luck(2))
    caption = luck_tables.split_table(analysis).caption
    for part in ("whose unit is the sweep", "sd of tuning: between", "sd of seeds: within"):
        assert part in caption
    (row, _) = luck_tables.repeated_table(analysis).texts
    assert row[0] == "ewc"
    assert row[-1] == "worse by more than the margin in 2 of 2"
