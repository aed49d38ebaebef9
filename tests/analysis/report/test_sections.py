"""The report before any format: its order, its tables, and what odd studies say instead."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from reported import NAMES, pictures, whole_study

from analysis.metrics import ReadoutMetric
from analysis.one_study.analyse import analyse
from analysis.records import OptionRecord, TuningRecord
from analysis.report.blocks import Bullets, Code, Paragraph, Picture, Table
from analysis.report.headline import CAUTIONS
from analysis.report.sections import sections

TITLES = {
    "": [
        *("Answer", "Before you believe this", "Results", "Pareto fronts"),
        "Published against measured",
    ],
    "Learning": [
        *("Accuracy after each task", "Accuracy matrix", "Single tasks", "Secondary metrics"),
        *("Bytes held and accuracy", "Footprint", "Method diagnostics"),
    ],
    "Tuning": ["Sweeps", "Hyper-parameters", "Search spaces", "Configurations"],
    "Evidence": [
        *("Question", "Verdicts", "Comparisons", "Paired seeds", "Differences", "Seeds"),
        *("Failures", "Notes"),
    ],
    "Provenance": ["Further figures", "Software, machines, study file"],
}


def report(study, given=()):
    return {part.title: part.blocks for part in sections(analyse(study), given)}


def blocks(parts, kind):
    return [block for part in parts.values() for block in part if isinstance(block, kind)]


def words(parts):
    lines = [line for block in blocks(parts, Bullets) for line in block.lines]
    return "\n".join([*(block.text for block in blocks(parts, Paragraph)), *lines])


def cells(table, column):
    return [row[table.headings.index(column)] for row in table.texts]


def test_everything_in_order():
    found = sections(analyse(whole_study()), pictures())
    titles = {part: [each.title for each in of] for part, of in groupby(found, lambda s: s.part)}
    assert titles == TITLES
    parts = report(whole_study(), pictures())
    assert [table.name for table in blocks(parts, Table)] == [
        *("results", "hypervolume", "pareto", "published"),
        *("per_task", "secondary", "memory", "footprint", "diagnostics"),
        *("tuning", "expected_best", "importance", "search_spaces", "configurations"),
        *("comparisons", "methods", "evidence", "seeds"),
    ]
    assert parts["Software, machines, study file"][-2:] == (
        Code('[study]\nname = "digits"', "toml"),
        Code("python -m study run digits.toml"),
    )


def test_every_picture_appears_once_where_it_belongs():
    given = pictures()
    parts = report(whole_study(), given)
    shown = [picture.name for picture in blocks(parts, Picture)]
    assert sorted(shown) == sorted(picture.name for picture in given)
    assert parts["Paired seeds"] == tuple(p for p in given if p.name == "paired-seeds")
    assert parts["Answer"][-1].name == "answer"
    assert [b.name for b in parts["Sweeps"] if isinstance(b, Picture)] == ["search-history"]
    assert [b.name for b in parts["Further figures"]] == ["of-my-own"]


def test_empty_sections_do_not_appear(make_study):
    parts = report(make_study())
    absent = {"Paired seeds", "Single tasks", "Bytes held and accuracy", "Pareto fronts"}
    absent |= {"Published against measured", "Footprint", "Method diagnostics"}
    assert not absent & set(parts)
    assert all(parts.values())


def test_tables_have_names_of_their_own_and_captions():
    tables = blocks(report(whole_study(n=23, tasks=12)), Table)
    names = [table.name for table in tables]
    assert len(set(names)) == len(names)
    assert {"seeds", "seeds-2", "seeds-3", "per_task", "per_task-2"} <= set(names)
    for table in tables:
        assert table.caption
        assert all(len(row) == len(table.headings) for row in table.texts)
        if "±" in str(table.texts) + str(table.headings) and table.name != "published":
            assert re.search("± (is the )?sample standard deviation", table.caption)


def test_few_comparisons_have_a_sentence_and_many_a_summary_too():
    few = report(whole_study())["Verdicts"]
    assert len(few) == 1
    assert len(few[0].lines) == len(NAMES) - 1
    names = [f"m{i}" for i in range(9)]
    summary, _, sentences = report(whole_study(names))["Verdicts"]
    assert len(sentences.lines) == 8
    listed = " ".join(summary.lines)
    assert all(f"m{i}" in listed for i in range(1, 9))
    assert "of 8): " in summary.lines[0]


def test_final_accuracy_on_each_task_is_that_of_the_matrices():
    study = whole_study()
    table = next(b for b in report(study)["Single tasks"] if isinstance(b, Table))
    final = [matrix[-1, 1] for matrix in study.methods[0].matrices.values()]
    expected = f"{100 * np.mean(final):.1f} ± {100 * np.std(final, ddof=1):.1f}"
    assert cells(table, "task 2 (%)")[0] == expected


def test_a_failed_seed_is_named_where_the_method_is_missing():
    study = whole_study()
    first = replace(study.methods[1], failures={101: "out of memory"})
    parts = report(replace(study, methods=[study.methods[0], first, study.methods[2]]))
    (table,) = parts["Single tasks"]
    assert "Not shown, because of a failed seed or a missing accuracy matrix: ewc." in table.caption
    (failures,) = parts["Failures"]
    chosen = "lr = 0.01, name = ewc"
    assert failures.texts == (("ewc", "101", "out of memory", chosen, "-"),)
    assert "What crashed may end otherwise: `run --retry-failed`" in failures.caption


def test_the_remedies_are_one_command_for_a_study_of_another_name():
    study = whole_study()
    methods = [replace(study.methods[0], fewest_steps=3), *study.methods[1:]]
    tuning = replace(
        study.methods[0].tuning, trials=5, space=[OptionRecord("lr", "float", 0.1, 1.0)]
    )
    methods[0] = replace(methods[0], tuning=tuning)
    [(code,)] = [
        [block.text for block in part.blocks if isinstance(block, Code)]
        for part in sections(analyse(replace(study, methods=methods)))
        if part.title == CAUTIONS
    ]
    first, *others = code.split(" \\\n  ")
    assert first == "python -m study run FILE"
    assert f"--set study.name={study.study}_2" == others[0]
    assert any(other.startswith("--set tune.trials=") for other in others)


def test_published_figures_stand_beside_ours_with_their_definition():
    (table,) = report(whole_study())["Published against measured"]
    assert cells(table, "published (mean ± sd)") == ["79.0 ± 5.0 (n = 10)", "70.0"]
    assert cells(table, "verdict") == [
        "reproduced: tolerance 5 points, the published sd",
        "not comparable: no split",
    ]
    assert "retention_old: Final accuracy on all tasks but the newest" in table.caption


def test_secondary_metrics_stand_side_by_side_with_their_direction():
    study = whole_study()
    table = next(b for b in report(study)["Secondary metrics"] if isinstance(b, Table))
    assert [row[0] for row in table.texts] == list(NAMES)
    assert table.headings[1:] == (
        "average incremental accuracy (%) ↑",
        "retention old (%) ↑",
        "forgetting (%) ↓",
        "recency bias (%) ↓",
    )
    scores = [*study.methods[1].other_metrics[ReadoutMetric("forgetting")].values()]
    found = cells(table, "forgetting (%) ↓")[1].rstrip("*")
    assert found == f"{100 * np.mean(scores):.1f} ± {100 * np.std(scores, ddof=1):.1f}"


def test_dominated_trials_are_marked_and_counted():
    study = whole_study()
    summary, points = [b for b in report(study)["Pareto fronts"] if isinstance(b, Table)]
    for front, row in zip(analyse(study).fronts, summary.texts, strict=True):
        assert row[1:3] == (str(len(front.points)), str(len(front.dominated)))
        marked = [row[1] for row in points.texts if row[0] == front.method and "dom" in row[-1]]
        assert marked == [str(number) for number in front.dominated]


def test_many_trials_leave_the_dominated_to_the_file():
    names = [f"m{i}" for i in range(20)]
    parts = report(whole_study(names))
    table = next(b for b in parts["Pareto fronts"] if getattr(b, "name", "") == "pareto")
    assert set(cells(table, "place")) == {"front"}
    assert "all 100 trials are in the CSV file" in table.caption


def test_expected_best_or_the_reason_why_there_is_none():
    study = whole_study()
    tpe = replace(study.methods[1], tuning=replace(study.methods[1].tuning, sampler="tpe"))
    parts = report(replace(study, methods=[study.methods[0], tpe]))
    table = next(b for b in parts["Sweeps"] if getattr(b, "name", "") == "expected_best")
    assert cells(table, "method") == ["replay"]
    assert "ewc: no expected-best curve: the sampler tpe does not" in words(parts)


def test_a_study_that_tunes_nothing_says_so():
    study = whole_study()
    untuned = [replace(method, tuning=TuningRecord(0)) for method in study.methods]
    (said,) = report(replace(study, methods=untuned, tune_seeds=[]))["Sweeps"]
    assert said.text.startswith("No method was tuned. Methods have their defaults")


def test_a_sweep_that_has_not_begun_is_not_one_that_nobody_asked_for():
    study = whole_study()
    asked = [replace(method, tuning=TuningRecord(0, asked_trials=4)) for method in study.methods]
    (table,) = report(replace(study, methods=asked, tune_seeds=[0, 1]))["Sweeps"]
    assert cells(table, "trials") == ["0"] * len(asked)


def test_an_option_shows_what_was_published_and_what_was_chosen():
    table = report(whole_study())["Hyper-parameters"][0]
    assert table.texts[:2] == (
        ("replay", "lr", "0.75", "1", "0.01"),
        ("replay", "optimiser", "0.25", "adam_w", "-"),
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("n", "sentence"),
    [
        (0, "There are no confirmation scores yet"),
        (1, "With 1 seed there is neither interval nor test"),
        (2, "With 2 seeds there is neither interval nor test"),
        (3, "With 3 seeds there is an interval, which assumes normal differences, and no test;"),
        (5, "The exact paired test cannot go below p = 0.0625 with 5 seeds"),
    ],
)
def test_few_seeds_get_a_sentence(n, sentence):
    parts = report(whole_study(n=n))
    assert sentence in words(parts)
    shown = "\n".join(cell for t in blocks(parts, Table) for row in t.texts for cell in row)
    assert not re.search(r"\b(nan|None)\b", shown)
    assert ("Failures" in parts) == (n > 0)


def test_before_the_confirmation_there_are_no_tables_of_dashes():
    parts = report(whole_study(n=0))
    assert not {"Comparisons", "Secondary metrics", "Single tasks"} & set(parts)
    assert "ewc against replay: no verdict." in words(parts)


def test_two_seeds_leave_no_evidence_to_show():
    names = [table.name for table in report(whole_study(n=2))["Comparisons"]]
    assert names == ["comparisons", "methods"]


@pytest.mark.filterwarnings("error")
def test_ties_and_a_diverged_seed_get_a_sentence(make_method, make_study):
    tied = report(make_study([make_method(m, [0.5] * 7) for m in ("replay", "ewc")]))
    assert "identical differences" in words(tied)
    scores = [0.5] * 6 + [math.nan]
    lost = report(make_study([make_method("replay", [0.5] * 7), make_method("ewc", scores)]))
    assert "failed seeds of ewc: 106 (diverged)" in words(lost)


def test_one_method_alone(make_method, make_study):
    parts = report(make_study([make_method("replay", [0.8] * 6)]))
    assert parts["Verdicts"] == (Paragraph("Nothing was compared."),)
    assert "There is one method only" in words(parts)


def test_units_other_than_seeds_are_called_by_their_name():
    parts = report(whole_study(unit="class"))
    assert "Classes" in parts
    captions = "".join(table.caption for table in blocks(parts, Table))
    assert "over n confirmation classes." in captions
    assert "seeds differ" not in captions
