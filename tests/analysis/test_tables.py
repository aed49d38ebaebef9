"""Renderings as data and as neutral tables."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import numpy as np
import pytest
from reported import whole_study

from analysis import tables
from analysis.blocks import Table
from analysis.results import analyse
from analysis.sections import sections

METHOD_KEYS = {"method", "n", "mean", "sd", "ci_low", "ci_high", "configuration", "footprint"}
COMPARISON_KEYS = {
    *("method", "reference", "difference", "ci_low", "ci_high", "p_exact", "p_holm", "p_t"),
    *("hedges_g", "p_win", "verdict"),
}
TUNING_KEYS = {"method", "trials", "failed", "pruned", "seconds", "samples"}


def loaded(study):
    text = tables.to_json(analyse(study))
    assert "NaN" not in text
    assert "Infinity" not in text
    return json.loads(text)


def test_json_has_the_promised_shape(make_study):
    document = loaded(make_study())
    assert document["study"] == "digits"
    assert document["metric"] == "average_accuracy"
    assert document["phase"] == "confirm"
    assert all(set(row) == METHOD_KEYS for row in document["methods"])
    assert all(set(row) == COMPARISON_KEYS for row in document["comparisons"])
    assert all(set(row) == TUNING_KEYS for row in document["tuning"])
    assert [row["method"] for row in document["methods"]] == ["replay", "ewc", "finetune"]
    finetune = document["comparisons"][1]
    assert finetune["p_exact"] == 2 / 1024
    assert finetune["p_win"] == 0.0
    assert finetune["difference"] == pytest.approx(-0.1)


def test_json_before_the_confirmation_is_null_not_nan(make_method, make_study):
    document = loaded(make_study([make_method("replay", []), make_method("ewc", [])]))
    assert document["methods"][0]["n"] == 0
    assert document["methods"][0]["mean"] is None
    compared = document["comparisons"][0]
    assert {key for key, value in compared.items() if value is not None} == {
        "method",
        "reference",
        "verdict",
    }


def test_json_copes_with_any_configuration(make_method, make_study):
    odd = {"a": math.nan, "b": np.float32(0.5), "c": (1, math.inf), "d": np.arange(2), "e": {1: 2j}}
    methods = [make_method("replay", [0.8] * 6, configuration=odd)]
    found = loaded(make_study(methods))["methods"][0]["configuration"]
    assert found == {"a": None, "b": 0.5, "c": [1, None], "d": [0, 1], "e": {"1": "2j"}}


@pytest.mark.parametrize("n", [1, 3, 5])
def test_json_shows_no_p_where_the_rules_show_none(make_method, make_study, n):
    rng = np.random.default_rng(0)
    methods = [make_method(m, rng.normal(0.8, 0.1, n)) for m in ("replay", "ewc")]
    (compared,) = loaded(make_study(methods))["comparisons"]
    shown = [compared[key] is not None for key in ("p_exact", "p_holm", "p_t")]
    assert shown == [n == 5] * 3


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_what_json_holds(make_study):
    analysis = analyse(make_study())
    texts, document = tables.to_csv(analysis), loaded(make_study())
    methods, compared = read(texts["methods.csv"]), read(texts["comparisons.csv"])
    assert [float(row["mean"]) for row in methods] == [row["mean"] for row in document["methods"]]
    assert json.loads(methods[0]["configuration"]) == {"lr": 0.01}
    assert set(compared[0]) == COMPARISON_KEYS | {"n", "reason"}
    assert float(compared[1]["p_exact"]) == 2 / 1024
    assert compared[1]["verdict"] == "worse and practically"


def test_json_gains_published_figures_and_fronts():
    document = loaded(whole_study())
    assert [row["verdict"] for row in document["published"]] == ["reproduced", "not comparable"]
    assert [front["method"] for front in document["fronts"]] == ["replay", "ewc", "finetune"]


def test_every_table_of_the_report_has_a_file_with_unrounded_numbers():
    analysis = analyse(whole_study())
    texts = {name: read(text) for name, text in tables.to_csv(analysis).items()}
    shown = {b.name for part in sections(analysis) for b in part.blocks if isinstance(b, Table)}
    assert shown <= {name.removesuffix(".csv") for name in texts}
    trajectory, tuned = analysis.trajectories[0], analysis.tuning[1]
    assert float(texts["per_task.csv"][1]["sd"]) == trajectory.tasks.sd[1]
    assert float(texts["accuracy-after-each-task.csv"][2]["mean"]) == trajectory.curve.mean[2]
    assert float(texts["accuracy-matrix.csv"][3]["mean"]) == trajectory.matrix[1][0]
    assert float(texts["tuning.csv"][1]["optimism"]) == tuned.optimism
    assert float(texts["seeds.csv"][0]["score"]) == analysis.methods[0].scores[100]
    assert float(texts["secondary.csv"][5]["difference"]) == analysis.secondary[5].difference
    assert texts["published.csv"][1]["published_sd"] == ""
    assert float(texts["evidence.csv"][0]["rho"]) == analysis.comparisons[0].rho
    assert float(texts["expected_best.csv"][1]["expected"]) == analysis.searches[0].expected[1]
    assert json.loads(texts["search-history.csv"][2]["params"])["lr"] == 0.01


def test_pareto_file_has_every_trial_in_its_place():
    study = whole_study()
    rows = read(tables.to_csv(analyse(study))["pareto.csv"])
    assert len(rows) == sum(len(method.tuning.history) for method in study.methods)
    first = next(row for row in rows if row["method"] == "ewc" and row["trial"] == "3")
    values = study.methods[1].tuning.history[3].values
    assert (float(first["average_accuracy"]), float(first["memory_bytes"])) == values
    assert {row["place"] for row in rows} == {"front", "dominated"}


def test_seed_file_names_the_failure_of_a_seed_without_a_score(make_method, make_study):
    methods = [
        make_method("replay", [0.8] * 6),
        make_method("ewc", [0.7] * 5, failures={105: "out of memory"}),
    ]
    analysis = analyse(make_study(methods, planned_seeds=list(range(100, 106))))
    last = read(tables.to_csv(analysis)["seeds.csv"])[-1]
    assert last == {"method": "ewc", "seed": "105", "score": "", "failure": "out of memory"}


def test_csv_leaves_the_undefined_empty(make_method, make_study):
    analysis = analyse(make_study([make_method("replay", []), make_method("ewc", [])]))
    (row,) = csv.DictReader(io.StringIO(tables.to_csv(analysis)["comparisons.csv"]))
    assert row["p_exact"] == row["difference"] == ""


def test_every_table_is_rectangular_and_every_plus_minus_is_explained(make_method, make_study):
    other = {"forgetting": {100 + i: 0.1 for i in range(10)}}
    methods = [
        make_method(m, np.linspace(0.7, 0.8, 10), other_metrics=other, footprint={"memory": 9})
        for m in ("replay", "ewc")
    ]
    analysis = analyse(make_study(methods))
    for draw in (
        tables.method_table,
        tables.comparison_table,
        tables.tuning_table,
        tables.secondary_table,
        tables.footprint_table,
        tables.failure_table,
        tables.configuration_table,
        tables.seed_table,
    ):
        table = draw(analysis)
        assert all(len(row) == len(table.columns) for row in table.rows)
        if "±" in str(table.rows) + str(table.columns):
            assert "standard deviation (ddof 1) over n confirmation seeds" in table.caption
            assert "seed varies" in table.caption


def test_golden_comparison_row(make_study):
    """Computed apart with scipy's ttest_rel, pearsonr and nct, and with TTestPower."""
    found = dict(zip(*_comparison(make_study(), "finetune"), strict=True))
    assert found == {
        "method": "finetune",
        "reference": "replay",
        "n": "10",
        "difference": "-0.1000",
        "95 % CI": "-0.1075 to -0.0925",
        "p exact": "0.002",
        "p exact, Holm (m = 2)": "0.004",
        "t (assumes normal differences)": "p < 0.001",
        "Hedges g_z (95 % CI)": "-8.67 (-12.64 to -4.70)",
        "P(win) (95 % CI)": "0.00 (0.00 to 0.28)",
        "won / tied / lost": "0 / 0 / 10",
        "rho": "0.71",
        "MDE": "0.0120",
        "verdict": "worse and practically",
    }


def _comparison(study, method):
    table = tables.comparison_table(analyse(study))
    return table.columns, next(row for row in table.rows if row[0] == method)


def test_tables_name_the_protocol_and_never_print_a_zero_p(make_study):
    analysis = analyse(make_study(protocol="first_tasks"))
    for table in (tables.method_table(analysis), tables.comparison_table(analysis)):
        assert "first_tasks" in table.caption
        assert not re.search(r"\bp (= )?0\.000", str(table))
