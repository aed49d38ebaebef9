"""Renderings as data and as neutral tables."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from reported import table, whole_study

from analysis.formats import data
from analysis.metrics import ReadoutMetric
from analysis.one_study.analyse import analyse
from analysis.records import MapRecord, TrialRecord, TuningRecord
from analysis.report import tables
from analysis.report.blocks import Table
from analysis.report.comparison_tables import comparison_table
from analysis.report.sections import sections
from analysis.report.tuning_tables import importance_table, quantity, tuning_table

METHOD_KEYS = {"method", "n", "mean", "sd", "ci_low", "ci_high", "configuration", "footprint"}
COMPARISON_KEYS = {
    *("method", "reference", "difference", "ci_low", "ci_high", "p_exact", "p_adjusted", "p_t"),
    *("t_low", "t_high", "hedges_g", "p_win", "verdict"),
}
TUNING_KEYS = {"method", "trials", "failed", "pruned", "seconds", "samples"}


def loaded(study):
    text = data.to_json(analyse(study))
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
    shown = [compared[key] is not None for key in ("p_exact", "p_adjusted", "p_t")]
    assert shown == [n == 5] * 3


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_what_json_holds(make_study):
    analysis = analyse(make_study())
    texts, document = data.to_csv(analysis), loaded(make_study())
    methods, compared = read(texts["methods.csv"]), read(texts["comparisons.csv"])
    assert [float(row["mean"]) for row in methods] == [row["mean"] for row in document["methods"]]
    assert json.loads(methods[0]["configuration"]) == {"lr": 0.01}
    assert set(methods[0]) == METHOD_KEYS | {"learner", "failed"}
    assert set(compared[0]) == COMPARISON_KEYS | {"n", "reason"}
    assert float(compared[1]["p_exact"]) == 2 / 1024
    assert compared[1]["verdict"] == "worse by more than the margin"


FORMULAS = ["=SUM(A1)", "+1-2", "-1+2", "@now", "\t=1", "\n=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_is_no_formula_to_a_spreadsheet_and_a_number_stays_one(text):
    made = table(["source", text, "options", "n"], [[text, -0.5, {text: text}, None]])
    (row,) = csv.DictReader(io.StringIO(data.csv_text(made), newline=""))
    assert row == {
        "source": f"'{text}",
        f"'{text}": "-0.5",
        "options": json.dumps({text: text}),
        "n": "",
    }


def test_a_return_in_a_text_does_not_end_its_row():
    (row,) = read(data.csv_text(table("ab", [["one\rtwo\r\nthree", "\r=1"]])))
    assert row == {"a": "one\ntwo\nthree", "b": "'\n=1"}


def test_a_source_a_reason_and_a_learner_of_any_text_are_texts_in_every_table():
    study, bad = whole_study(), "=HYPERLINK(A1)"
    methods = [replace(m, learner=bad, failures={7: bad}) for m in study.methods]
    published = [replace(p, source=bad, incomparable=bad) for p in study.published]
    analysis = analyse(replace(study, methods=methods, published=published))
    texts = data.to_csv(analysis)
    found = [
        cell for text in texts.values() for row in csv.reader(io.StringIO(text)) for cell in row
    ]
    assert not [cell for cell in found if cell.startswith("=")]
    assert found.count(f"'{bad}") >= 4


def test_json_gains_published_figures_and_fronts():
    document = loaded(whole_study())
    assert [row["verdict"] for row in document["published"]] == ["reproduced", "not comparable"]
    assert [front["method"] for front in document["fronts"]] == ["replay", "ewc", "finetune"]


def test_every_table_of_the_report_has_a_file_with_unrounded_numbers():
    analysis = analyse(whole_study())
    texts = {name: read(text) for name, text in data.to_csv(analysis).items()}
    shown = {b.name for part in sections(analysis) for b in part.blocks if isinstance(b, Table)}
    assert shown <= {name.removesuffix(".csv") for name in texts}
    trajectory, tuned = analysis.trajectories[0], analysis.tuning[1]
    assert float(texts["per_task.csv"][1]["sd"]) == trajectory.tasks.sd[1]
    assert float(texts["accuracy-after-each-task.csv"][2]["mean"]) == trajectory.curve.mean[2]
    assert float(texts["accuracy-matrix.csv"][3]["mean"]) == trajectory.matrix[1][0]
    for key in ("selection", "selection_error", "shift", "shift_error"):
        assert float(texts["tuning.csv"][1][key]) == getattr(tuned, key)
    assert float(texts["seeds.csv"][0]["score"]) == analysis.methods[0].scores[100]
    assert float(texts["secondary.csv"][5]["difference"]) == analysis.secondary[5].difference
    assert texts["published.csv"][1]["published_sd"] == ""
    assert float(texts["evidence.csv"][0]["rho"]) == analysis.comparisons[0].rho
    assert float(texts["expected_best.csv"][1]["expected"]) == analysis.searches[0].expected[1]
    assert json.loads(texts["search-history.csv"][2]["params"])["lr"] == 0.01


@pytest.mark.parametrize("averaged", [True, False])
def test_every_cell_of_a_map_after_every_task_has_a_row(averaged):
    rng = np.random.default_rng(3)
    seeds = {seed: rng.normal(size=(3, 2, 4)) for seed in range(100, 108)}
    seeds[101][1, 0, 2] = math.nan
    for values in seeds.values():
        values[0, 1, 3] = math.nan
    record = MapRecord("sleep", "", "mV", "layer", "class", averaged, {"a": seeds})
    study = whole_study()
    methods = [replace(study.methods[0], maps=(record,)), *study.methods[1:]]
    rows = read(data.to_csv(analyse(replace(study, methods=methods)))["maps.csv"])
    assert len(rows) == 3 * 2 * 4
    found = {(int(r["after_task"]), int(r["row"]), int(r["column"])): r for r in rows}
    for (task, row, column), cell in found.items():
        assert (cell["method"], cell["diagnostic"], cell["label"]) == ("replay", "sleep", "a")
        assert cell["unit"] == "mV"
        known = [v[task - 1, row - 1, column] for v in seeds.values()]
        finite = [x for x in known if math.isfinite(x)]
        if averaged:
            assert (int(cell["n"]), cell["seed"], cell["value"]) == (len(finite), "", "")
            expected = sum(finite) / len(finite) if finite else None
        else:
            assert (cell["n"], cell["seed"], cell["mean"]) == ("", "100", "")
            expected = known[0] if finite else None
        shown = cell["mean" if averaged else "value"]
        assert shown == "" if expected is None else float(shown) == pytest.approx(expected)
    assert (3, 2, 0) in found  # classes begin at 0


def test_a_study_without_maps_has_no_file_of_them():
    assert "maps.csv" not in data.to_csv(analyse(whole_study()))


def test_pareto_file_has_every_trial_in_its_place():
    study = whole_study()
    rows = read(data.to_csv(analyse(study))["pareto.csv"])
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
    last = read(data.to_csv(analysis)["seeds.csv"])[-1]
    assert last == {"method": "ewc", "seed": "105", "score": "", "failure": "out of memory"}


def test_csv_leaves_the_undefined_empty(make_method, make_study):
    analysis = analyse(make_study([make_method("replay", []), make_method("ewc", [])]))
    (row,) = csv.DictReader(io.StringIO(data.to_csv(analysis)["comparisons.csv"]))
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
        comparison_table,
        tuning_table,
        tables.secondary_table,
        tables.footprint_table,
        tables.failure_table,
        tables.configuration_table,
        tables.seed_table,
    ):
        table = draw(analysis)
        assert all(len(row) == len(table.headings) for row in table.texts)
        if "±" in str(table.texts) + str(table.headings):
            assert "standard deviation (ddof 1) over n confirmation seeds" in table.caption
            assert "seeds differ" in table.caption


def test_golden_comparison_row(make_study):
    """Computed apart with scipy's ttest_rel, pearsonr and nct, and with TTestPower."""
    found = dict(zip(*_comparison(make_study(), "finetune"), strict=True))
    assert found == {
        "method": "finetune",
        "against": "replay",
        "n": "10",
        "difference (points)": "-10.00",
        "simultaneous 95 % interval": "-11.00 to -9.00",
        "p of the sign-flip test": "0.002",
        "p adjusted": "0.004",
        "p of the t test": "p < 0.001",
        "95 % t-interval": "-10.75 to -9.25",
        "Hedges g_z (95 % CI)": "-8.67 (-12.64 to -4.70)",
        "P(win) (95 % CI)": "0.00 (0.00 to 0.28)",
        "won / tied / lost": "0 / 0 / 10",
        "rho": "0.71",
        "MDE (points)": "1.20",
        "verdict": "worse by more than the margin",
    }


def _comparison(study, method):
    table = comparison_table(analyse(study))
    return table.headings, next(row for row in table.texts if row[0] == method)


def test_tables_name_the_protocol_and_never_print_a_zero_p(make_study):
    analysis = analyse(make_study(protocol="first_tasks"))
    for found in (tables.method_table(analysis), comparison_table(analysis)):
        assert "the first tasks" in found.caption
        assert not re.search(r"\bp (= )?0\.000", found.caption + str(found.texts))


def test_memory_is_shown_in_bytes_and_samples_also_where_it_is_nothing(make_method, make_study):
    methods = [
        make_method("replay", (0.8, 0.9, 0.7), footprint={"parameters": 40, "memory": 6500}),
        make_method("ewc", (0.7, 0.9, 0.8), footprint={"parameters": 40, "memory": 0}),
        make_method("spikes", (0.6, 0.7, 0.7), footprint={"parameters": 40, "memory": 96}),
        make_method("broken", [math.nan] * 3, footprint={"parameters": 40, "memory": 130}),
    ]
    analysis = analyse(make_study(methods, sample_bytes=65))
    held = {row[0]: row[2:] for row in tables.footprint_table(analysis).texts}
    assert held == {
        "replay": ("6,500", "100"),
        "ewc": ("0", "0"),
        "spikes": ("96", "1.5"),
        "broken": ("130", "2"),
    }
    rows = tables.memory_table(analysis).texts
    assert {row[0]: row[2:4] for row in rows} == held
    assert rows[-1] == ("broken", "130", "130", "2", "-", "-", "-")
    for found in (tables.footprint_table(analysis), tables.memory_table(analysis)):
        assert "65 bytes each" in found.caption


def test_what_is_held_counts_all_and_only_clear_intervals_decide(make_method, make_study):
    def bytes_of(memory, auxiliary):
        return {"parameters": 99, "memory": memory, "auxiliary": auxiliary}

    methods = [
        make_method("finetune", [0.20, 0.21, 0.22], footprint=bytes_of(0, 0)),
        make_method("ewc", [0.30, 0.31, 0.32], footprint=bytes_of(0, 600)),  # Fisher information
        make_method("replay", [0.80, 0.81, 0.82], footprint=bytes_of(100, 0)),
        make_method("der", [0.81, 0.82, 0.83], footprint=bytes_of(100, 20)),
    ]
    analysis = analyse(make_study(methods))
    rows = {row[0]: (row[1], row[2], row[6]) for row in tables.memory_table(analysis).texts}
    assert rows == {
        "finetune": ("0", "0", "on the front"),
        "ewc": ("600", "0", "dominated"),  # by replay, with a sixth of the bytes
        "replay": ("100", "100", "on the front"),
        "der": ("120", "100", "undecided"),  # better on average, with overlapping intervals
    }


def test_without_the_size_of_a_sample_memory_is_in_bytes_alone(make_method, make_study):
    study = make_study([make_method("replay", (0.8, 0.9, 0.7), footprint={"memory": 6500})])
    table = tables.memory_table(analyse(study))
    assert table.texts[0][1:4] == ("6,500", "6,500", "-")
    assert "not known" in table.caption


def tuned(make_method, *trials, **fields):
    """A method whose trials took these options."""
    history = tuple(TrialRecord(i, "complete", t, (0.5,)) for i, t in enumerate(trials))
    values = [0.5] * len(trials)
    tuning = TuningRecord(len(trials), values=values, best_number=0, history=history, **fields)
    return make_method("replay", (0.8, 0.9, 0.7), tuning=tuning)


def test_the_tuning_table_counts_distinct_configurations(make_method, make_study):
    one = tuned(make_method, {"lr": 0.1}, {"lr": 0.2}, {"lr": 0.1}, sampler="tpe")
    table = tuning_table(analyse(make_study([one])))
    assert table.texts[0][table.headings.index("distinct")] == "2"
    assert table.caption.startswith("Sampler: tpe; tuning seeds per trial: ")


def test_what_was_not_tuned_is_said_and_not_counted(make_method, make_study):
    untuned = make_method("ewc", (0.8, 0.9, 0.7), tuning=TuningRecord(0))
    analysis = analyse(make_study([untuned], tune_seeds=[]))
    assert tuning_table(analysis).rows == ()
    assert "No method was tuned." in tables.method_table(analysis).caption
    elsewhere = tables.method_table(analyse(make_study([untuned], tune_seeds=[0, 1])))
    assert "an earlier study chose the configurations, on the seeds 0, 1." in elsewhere.caption
    beside = analyse(make_study([untuned, tuned(make_method, {"lr": 0.1})]))
    assert [row[:2] for row in tuning_table(beside).texts] == [("ewc", "0"), ("replay", "1")]
    assert "Tuned on validation data of the whole stream." in tables.method_table(beside).caption


@pytest.mark.parametrize(
    ("protocol", "shown", "said"),
    [
        ("end_of_stream", "-15.00 (5.00)", "shift: by how much the recheck is better than"),
        ("first_tasks", "-", "No shift: under this protocol"),
        ("held_out_stream", "-", "No shift: under this protocol"),
    ],
)
def test_shift_needs_sweeps_that_score_what_is_confirmed(
    protocol, shown, said, make_method, make_study
):
    """The best trial has 0.5; the first two of the confirmation's seeds have 0.8 and 0.9."""
    scores = {"recheck": {100: 0.6, 101: 0.8}, "rechecked": {100: 0.8, 101: 0.9}}
    one = tuned(make_method, {"lr": 0.1}, **scores, seeds_per_trial=2)
    table = tuning_table(analyse(make_study([one], protocol=protocol)))
    assert table.headings[-2:] == ("selection (points)", "shift (points)")
    assert table.texts[0][-2:] == ("-20.00 (14.14)", shown)
    assert said in table.caption
    assert "No selection for" not in table.caption


@pytest.mark.parametrize("recheck", [{}, {100: 0.6, 101: float("nan")}], ids=["not run", "failed"])
def test_a_missing_recheck_is_told(recheck, make_method, make_study):
    table = tuning_table(analyse(make_study([tuned(make_method, {"lr": 0.1}, recheck=recheck)])))
    assert table.texts[0][-2:] == ("-", "-")
    assert (
        "No selection for replay: the recheck has not run, or part of it failed." in table.caption
    )


def test_a_method_without_a_search_space_is_told(make_method, make_study):
    study = make_study([tuned(make_method, {}, {})])
    assert any(n.startswith("Without a search space: replay.") for n in analyse(study).notes)
    study = make_study([tuned(make_method, {"lr": 1}, {"lr": 1})])
    assert not any("search space" in note for note in analyse(study).notes)


@pytest.mark.parametrize(("has_default", "default"), [(True, "0.1"), (False, "-")])
def test_a_default_is_shown_where_a_trial_had_it(has_default, default, make_method, make_study):
    one = tuned(make_method, {"lr": 0.1}, {"lr": 0.2}, has_default=has_default)
    table = importance_table(analyse(make_study([one])))
    assert table.texts[0][table.headings.index("default")] == default


@pytest.mark.parametrize(
    ("value", "is_number"),
    [(0.1, True), (3, True), (None, True), ("adam", False), (True, False), ([400, 400], False)],
)
def test_an_option_is_a_column_of_numbers_where_its_values_are(
    value, is_number, make_method, make_study
):
    one = tuned(make_method, {"option": value}, {"option": value})
    default = importance_table(analyse(make_study([one]))).columns[3]
    assert (default.key, default.is_number) == ("default", is_number)


def test_bytes_are_whole_numbers_and_metrics_are_not(make_study):
    percent, fraction = make_study([]), make_study([], number="fraction")
    assert quantity(percent, 640.0, "memory_bytes") == "640"
    assert quantity(percent, 12345.0, "memory_bytes") == "12,345"
    assert quantity(percent, 1.0, "average_accuracy") == "100.00"
    assert quantity(fraction, 1.0, "average_accuracy") == "1.0000"


def test_an_interval_beyond_the_range_of_an_accuracy_is_explained(make_method, make_study):
    wide = analyse(make_study([make_method("replay", (0.9, 1.0, 0.6))]))
    assert "may leave the range of an accuracy" in tables.method_table(wide).caption
    narrow = analyse(make_study([make_method("replay", (0.5, 0.6, 0.55))]))
    assert "may leave" not in tables.method_table(narrow).caption


def test_what_a_metric_in_brackets_is_and_which_readout_is_primary(make_method, make_study):
    others = {ReadoutMetric("forgetting", "slow"): {100 + i: 0.1 for i in range(3)}}
    two = make_method("two", (0.8, 0.9, 0.7), other_metrics=others, readouts=("fast", "slow"))
    caption = tables.secondary_table(analyse(make_study([two]))).caption
    assert "metric [readout]: the metric of a further readout" in caption
    assert "(fast of two)" in caption
