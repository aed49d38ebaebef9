"""From a ledger of hand-made outcomes to what the analysis reads, and to files."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from factory import (
    HELD,
    Run,
    Tune,
    add,
    admit,
    build_study,
    make_outcome,
    make_spec,
    make_study,
    make_sweep,
)

from analysis.formats.data import to_json
from analysis.metrics import PRIMARY, ReadoutMetric
from analysis.one_study.analyse import analyse
from study.ledger import Ledger
from study.record import analyse_folder, study_record
from study.report import write_report
from study.run_notes import left_out
from study.scores import all_scores, seed_scores
from study.state import Study
from trainables import LEARNERS, find_learner
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.engine.trial import objective_values
from trainables.errors import InputError
from trainables.streams.datasets import load

AVERAGE = ReadoutMetric("average_accuracy")
DEFAULTS = {"tune.trials": 0}

# after each of 5 tasks, on each of them
MATRIX = np.array(
    [
        [0.9, 0.0, 0.0, 0.0, 0.0],
        [0.8, 0.9, 0.0, 0.0, 0.0],
        [0.7, 0.8, 0.9, 0.0, 0.0],
        [0.6, 0.7, 0.8, 0.9, 0.0],
        [0.5, 0.6, 0.7, 0.8, 0.9],
    ]
)


def record_of(place, changes, fill):
    """What the analysis is given of a study whose ledger ``fill`` writes."""
    _, spec, ledger = admit(place, changes)
    fill(ledger, spec)
    return study_record(make_study(spec, ledger))


def method(record, name="replay"):
    return next(m for m in record.methods if m.method == name)


# -- scores


def test_scores_of_a_seed_follow_from_its_accuracies():
    outcome = make_outcome((100, 101), np.stack([MATRIX, np.tril(np.ones((5, 5)))]))
    expected = {
        "average_accuracy": [0.7, 1.0],
        "average_incremental_accuracy": [(0.9 + 0.85 + 0.8 + 0.75 + 0.7) / 5, 1.0],
        "retention_first": [0.5, 1.0],
        "retention_old": [0.65, 1.0],
        "learning_accuracy": [0.9, 1.0],
        "backward_transfer": [-0.25, 0.0],
        "forgetting": [0.25, 0.0],
    }
    for name, scores in expected.items():
        assert seed_scores(outcome, name) == pytest.approx(scores)


def test_a_diverged_seed_has_no_score_and_the_others_keep_theirs():
    outcome = make_outcome((100, 101, 102), MATRIX, diverged=(101,))
    for name in PRIMARY:
        missing = [math.isnan(score) for score in seed_scores(outcome, name)]
        assert missing == [False, True, False]


def test_a_seed_that_diverged_early_has_no_score_even_if_it_came_back():
    outcome = make_outcome((100, 101), MATRIX)
    outcome.finite[0, 2] = False
    assert math.isnan(seed_scores(outcome, "average_accuracy")[0])
    assert [outcome.diverged_on(position) for position in (0, 1)] == [3, None]


def test_a_shorter_stream_is_scored_on_the_tasks_learnt():
    outcome = make_outcome((0,), MATRIX[:2], rows=2)
    assert seed_scores(outcome, "average_accuracy") == pytest.approx([0.85])


def test_pooled_accuracy_is_over_the_samples_of_the_tasks_learnt():
    outcome = make_outcome((0,), MATRIX[:2], rows=2)
    outcome.counts["main"][:, :, 1] *= 3
    pooled = (0.8 + 3 * 0.9) / 4
    assert seed_scores(outcome, "pooled_accuracy") == pytest.approx([pooled])
    assert objective_values(outcome, ["pooled_accuracy"], 2) == pytest.approx([pooled])
    assert objective_values(outcome, ["pooled_accuracy"], 1) == pytest.approx([0.9])


def test_an_objective_may_be_a_diagnostic_after_the_last_task():
    course = Course(
        Assignment(
            "spiking_finetune",
            {"network": "mlp", "hidden": [8], "steps": 4, "epochs": 1},
            "split_digits",
            "class",
            {"samples_per_task": 32},
            "confirm",
            (1, 2),
            2,
        ),
        (1, 2),
        load("digits", Path()),
    )
    while not course.done:
        course.advance()
    found = course.learner.diagnose()
    names = ["energy", "synaptic_operations"]
    expected = [found[name]["all layers"].mean().item() for name in names]
    assert objective_values(course.outcome(), names, 2) == pytest.approx(expected)
    outcome = course.outcome()
    outcome.finite[0, 1] = False
    assert np.isnan(objective_values(outcome, names, 2)).all()
    assert not np.isnan(objective_values(outcome, names, 1)).any()


def test_the_first_readout_counts_unless_another_is_named():
    outcome = make_outcome((0,), 0.5)
    outcome.counts["fast"] = make_outcome((0,), 0.25).counts["main"]
    assert seed_scores(outcome, "average_accuracy") == pytest.approx([0.5])
    assert seed_scores(outcome, "average_accuracy", "fast") == pytest.approx([0.25])


@pytest.mark.parametrize("scenario", ["task", "domain", "class", "task_free"])
def test_a_diverged_seed_has_no_score_of_any_metric(scenario):
    outcome = with_evaluations(make_outcome((100, 101), MATRIX, diverged=(101,)))
    scores = all_scores(outcome, scenario)
    assert {str(metric) for metric in scores} > set(PRIMARY)
    for name, values in scores.items():
        assert [math.isnan(value) for value in values] == [False, True], name


@pytest.mark.parametrize(
    ("scenario", "further"),
    [
        ("task", {"forward_transfer"}),
        ("domain", {"forward_transfer"}),
        ("class", {"recency_bias"}),
        ("task_free", set()),
    ],
)
def test_further_metrics_are_given_where_they_are_defined(scenario, further):
    outcome = make_outcome((100,), MATRIX)
    continual = {"min_accuracy", "worst_case_accuracy"}
    assert names_of(outcome, scenario) - set(PRIMARY) == further
    watched = with_evaluations(outcome)
    assert names_of(watched, scenario) - set(PRIMARY) == further | continual


def names_of(outcome, scenario):
    return {str(metric) for metric in all_scores(outcome, scenario)}


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_a_pruned_trial_has_scores_too(scenario):
    scores = all_scores(make_outcome((0, 1), MATRIX[:2], rows=2), scenario)
    assert scores[AVERAGE] == pytest.approx([0.85, 0.85])
    assert ReadoutMetric("forward_transfer") not in scores


def test_the_lowest_accuracy_is_looked_for_within_tasks_too():
    outcome = with_evaluations(make_outcome((100,), MATRIX), 0.1)
    without = with_evaluations(make_outcome((100,), MATRIX), 0.9)
    lowest, worst = ReadoutMetric("min_accuracy"), ReadoutMetric("worst_case_accuracy")
    for metric in (lowest, worst):
        assert all_scores(outcome, "class")[metric][0] < all_scores(without, "class")[metric][0]
    # the four old tasks fall to 0.1 while the last is learnt
    assert all_scores(outcome, "class")[lowest] == pytest.approx([0.1])


def with_evaluations(outcome, accuracy=0.5):
    """The same, tested once more while each task was learnt."""
    counts = make_outcome(outcome.seeds, accuracy).counts["main"]
    between = {"task": np.arange(5), "counts": counts}
    return dataclasses.replace(outcome, between=between)


# -- the record


def test_each_seed_has_its_score_wherever_it_ran(tmp_path):
    accuracy = {100: 0.5, 101: 0.625, 102: 0.75, 103: 0.875}

    def fill(ledger, spec):
        for seeds in ((103, 100), (102,), (101,)):
            values = np.array([accuracy[seed] for seed in seeds])[:, None, None]
            add(ledger, spec, "replay", seeds=seeds, outcome=make_outcome(seeds, values))

    found = method(record_of(tmp_path, DEFAULTS, fill))
    assert found.scores == pytest.approx(accuracy)
    assert list(found.scores) == sorted(accuracy)
    assert {str(metric) for metric in found.other_metrics} >= set(PRIMARY) - {"average_accuracy"}
    assert AVERAGE not in found.other_metrics
    assert found.other_metrics[ReadoutMetric("learning_accuracy")] == pytest.approx(accuracy)
    assert found.failures == {}


def test_the_primary_metric_is_that_of_the_study(tmp_path):
    def fill(ledger, spec):
        add(ledger, spec, "replay", outcome=make_outcome(spec.confirm_seeds, MATRIX))

    record = record_of(tmp_path, {**DEFAULTS, "study.metric": "forgetting"}, fill)
    assert record.metric == "forgetting"
    assert method(record).scores == pytest.approx(dict.fromkeys(range(100, 104), 0.25))
    assert method(record).other_metrics[AVERAGE][100] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("learner", "bound"),
    [("finetune", "lower"), ("joint", "upper"), ("wake_joint", None), ("replay", None)],
)
def test_a_learner_says_whether_it_is_a_bound(tmp_path, learner, bound):
    def fill(ledger, spec):
        add(ledger, spec, "replay")

    changes = {**DEFAULTS, "methods.other": {"learner": learner}}
    assert method(record_of(tmp_path, changes, fill), "other").bound == bound


def test_a_learner_made_from_a_bound_is_none():
    assert type("Regularised", (find_learner("finetune"),), {}).bound is None


def test_a_diverged_seed_is_nan_and_a_failed_one_has_a_reason(tmp_path):
    def fill(ledger, spec):
        diverged = make_outcome((100, 101), MATRIX)
        diverged.finite[1, 2:] = False
        add(ledger, spec, "replay", seeds=(100, 101), state="diverged", outcome=diverged)
        trace = "Traceback\nValueError: too hot"
        for seed in (102, 103):
            add(ledger, spec, "replay", seeds=(seed,), state="failed", failure=trace)

    record = record_of(tmp_path, DEFAULTS, fill)
    found = method(record)
    assert set(found.scores) == {100, 101}
    assert found.scores[100] == pytest.approx(0.7)
    assert math.isnan(found.scores[101])
    assert found.failures == {102: "ValueError: too hot", 103: "ValueError: too hot"}
    assert found.diverged == {101: "diverged on task 3"}
    assert found.failed_seeds == found.diverged | found.failures
    failures = analyse(record).failures
    assert [f.seed for f in failures] == [101, 102, 103]
    assert failures[0].reason == "diverged on task 3"
    assert failures[0].configuration == found.configuration


@pytest.mark.parametrize(
    ("scenario", "level"), [("class", 0.1), ("task_free", 0.1), ("task", 0.5), ("domain", 0.5)]
)
def test_chance_depends_on_the_scenario(tmp_path, scenario, level):
    def fill(ledger, spec):
        add(ledger, spec, "replay")

    record = record_of(tmp_path, {**DEFAULTS, "study.scenario": scenario}, fill)
    assert record.chance == level


def test_the_footprint_is_that_after_the_last_task(tmp_path):
    def fill(ledger, spec):
        outcome = make_outcome(spec.confirm_seeds)
        outcome.footprint["memory"][:] = [1, 2, 3, 4, 5]
        add(ledger, spec, "replay", outcome=outcome)

    assert method(record_of(tmp_path, DEFAULTS, fill)).footprint == {**HELD, "memory": 5}


def test_the_record_says_what_was_asked_and_how(tmp_path):
    changes = {
        "study.alpha": 0.01,
        "study.failed": "worst",
        "tune.protocol": "first_tasks",
        "confirm.seeds": [9, 7],
    }
    record = record_of(tmp_path, changes, lambda ledger, spec: None)
    assert (record.study, record.stream, record.scenario) == ("small", "split_digits", "class")
    assert (record.metric, record.reference) == ("average_accuracy", "replay")
    assert (record.margin, record.alpha, record.failed_rule) == (0.01, 0.01, "worst")
    assert (record.protocol, record.phase) == ("first_tasks", "confirm")
    assert (record.planned_seeds, record.tune_seeds) == ([9, 7], [0, 1])
    assert (record.dataset, record.sample_bytes) == ("digits", 64 + 1)
    assert record.provenance["command"] == "python -m study run own.toml"
    for name in ("python", "torch", "optuna", "continual-study", "study file"):
        assert record.provenance[name]


def test_defaults_confirmed_without_tuning_name_no_tuning_seeds(tmp_path):
    record = record_of(tmp_path, DEFAULTS, lambda ledger, spec: add(ledger, spec, "replay"))
    assert record.tune_seeds == []
    assert method(record).tuning.trials == 0
    assert method(record).tuning.seeds_per_trial == 0


def test_the_provenance_does_not_depend_on_the_place_of_the_folder(tmp_path):
    first = record_of(tmp_path / "a", {}, lambda ledger, spec: add(ledger, spec, "replay"))
    (tmp_path / "a").rename(tmp_path / "b")
    again = study_record(Study.open(tmp_path / "b"))
    assert again.provenance == first.provenance
    assert again.study_file == first.study_file


# -- tuning


def test_the_tuning_block_counts_every_trial_of_the_sweep(tmp_path):
    def fill(ledger, spec):
        states = ["complete", "pruned", "complete", "diverged", "failed"]
        for number, state in enumerate(states):
            add(
                ledger,
                spec,
                "replay",
                "tune",
                number=number,
                state=state,
                values=[0.5 + 0.1 * number],
                params={"lr": 0.001 * (number + 1)},
                seconds=1.5,
                samples=10,
            )
        other = make_spec({"tune.trials": 9, "tune.seeds": [5, 6]})  # another sweep
        add(ledger, other, "replay", "tune", number=1, params={"lr": 0.5}, values=[1.0])
        later = make_spec({"tune.trials": 9})  # beyond this study's budget
        add(ledger, later, "replay", "tune", number=8, params={"lr": 0.7}, values=[1.0])

    tuning = method(record_of(tmp_path, {"tune.trials": 6}, fill)).tuning
    assert (tuning.trials, tuning.failed, tuning.pruned) == (5, 2, 1)
    assert (tuning.seconds, tuning.samples) == (7.5, 50)
    assert tuning.values == [0.5, None, 0.7, None, None]
    assert (tuning.best_number, tuning.sampler, tuning.seeds_per_trial) == (2, "random", 2)


def test_the_tuning_block_has_what_was_searched_and_what_was_fixed(tmp_path):
    section = {"fixed": {"hidden": [64], "momentum": 0}, "space": {"epochs": {"low": 1, "high": 9}}}
    changes = {"methods.replay": section}
    record = record_of(tmp_path, changes, lambda ledger, spec: None)
    space = [dataclasses.replace(o, limits=(None, None)) for o in method(record).tuning.space]
    assert [dataclasses.asdict(option) for option in space] == [
        option("lr", "float", low=1e-4, high=1e-2, log=True),
        option("replay_ratio", "float", low=0.25, high=2.0, log=True),
        option("epochs", "int", low=1, high=9, log=False),
        option("hidden", "fixed", choices=[[64]]),
        option("momentum", "fixed", choices=[0.0]),
    ]


def option(name, kind, **given):
    nothing = dict.fromkeys(("low", "high", "log", "step", "choices"))
    return {"option": name, "kind": kind} | nothing | {"limits": (None, None)} | given


def test_a_study_that_is_not_tuned_has_no_search_space(tmp_path):
    record = record_of(tmp_path, DEFAULTS, lambda ledger, spec: add(ledger, spec, "replay"))
    assert method(record).tuning.space == ()


def test_a_method_whose_sweep_has_nothing_is_there_without_scores(tmp_path):
    record = record_of(tmp_path, {}, lambda ledger, spec: None)
    found = method(record)
    assert (found.configuration, found.scores, found.tuning.best_number) == ({}, {}, None)
    assert analyse(record).comparisons[0].verdict == "no verdict"


def test_a_sweeps_samples_are_counted_once_for_every_seed(tmp_path):
    ledger = Ledger(tmp_path)
    Tune(make_sweep(make_spec({"tune.seeds": [0, 1, 2]}), "replay", ledger)).run(1)
    [entry] = ledger.entries()
    assert entry.samples == 5 * 100 * 3
    assert entry.seconds == 2.5
    assert entry.software["torch"]


# -- files


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A finished study of three methods and ten seeds."""
    folder = tmp_path_factory.mktemp("results") / "small"
    best = {"replay": 0.8, "finetune": 0.5, "ewc": 0.8}

    def learn(work):
        name = work["learner"]
        draws = [np.random.default_rng([seed, name == "finetune"]) for seed in work["seeds"]]
        noise = np.array([draw.normal(0, 0.01) for draw in draws])
        return Run(best[name] + noise[:, None, None])

    changes = {"methods.ewc": {}, "confirm.seeds": {"first": 100, "count": 10}}
    build_study(folder, make_spec(changes), learn)
    return folder


@pytest.fixture(scope="module")
def report(place):
    analysis = analyse_folder(place)
    write_report(analysis, place / "report")
    return analysis


def test_every_file_of_the_report_is_written(place, report):
    whole = place / "report"
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    assert {"index.html", "report.md", "report.json"} <= names
    for table in ("methods", "comparisons", "tuning", "per_task", "seeds"):
        assert {f"tables/{table}.csv", f"tables/{table}.tex"} <= names
    for figure in ("paired-seeds", "forest", "accuracy-matrix", "search-history"):
        assert {f"figures/{figure}.{kind}" for kind in ("svg", "png", "pdf")} <= names


def test_a_report_written_again_keeps_nothing_of_the_old_one(place, report):
    stale = place / "report" / "figures" / "stale.svg"
    stale.write_text("old")
    write_report(report, place / "report")
    assert not stale.exists()


def test_one_seeds_matrices_are_shown_on_request(place, report, tmp_path):
    write_report(report, tmp_path, 100)
    assert (tmp_path / "figures" / "accuracy-matrix-seed-100.svg").exists()
    assert "Accuracy matrix of seed 100" in (tmp_path / "index.html").read_text()
    with pytest.raises(InputError, match=r"--seed 7: .*Available: 100, "):
        write_report(report, tmp_path, 7)


def test_the_page_needs_nothing_but_itself_and_links_to_files_beside_it(place, report):
    page = (place / "report" / "index.html").read_text()
    assert "<svg" in page
    assert not re.search("src=", page)
    linked = re.findall(r"""href=["']([^#"'][^"']*)""", page)
    assert {"tables/results.csv", "tables/results.tex", "figures/answer.pdf"} <= set(linked)
    assert all((place / "report" / path).is_file() for path in linked)


def test_the_json_report_is_about_the_study(place, report):
    text = (place / "report" / "report.json").read_text()
    found = json.loads(text)
    assert text == to_json(report)
    assert (found["study"], found["metric"], found["phase"]) == (
        "small",
        "average_accuracy",
        "confirm",
    )
    assert [row["method"] for row in found["methods"]] == ["finetune", "replay", "ewc"]
    assert [row["method"] for row in found["comparisons"]] == ["finetune", "ewc"]


def test_the_numbers_of_the_report_are_those_of_the_ledger(place, report):
    found = json.loads((place / "report" / "report.json").read_text())
    ledger = Ledger(place / "ledger")
    for row in found["methods"]:
        scores = []
        for entry in ledger.entries("confirm", row["method"]):
            counts = ledger.outcome(entry).counts["main"][:, -1]
            scores += list((counts[..., 0, 0] / counts.sum((-1, -2))).mean(1))
        assert row["n"] == len(scores) == 10
        assert row["mean"] == pytest.approx(np.mean(scores))
        assert row["sd"] == pytest.approx(np.std(scores, ddof=1))
        assert row["footprint"] == HELD
        assert row["configuration"]["lr"]
    for row in found["tuning"]:
        entries = ledger.entries("tune", row["method"])
        assert row["trials"] == len(entries) == 4
        assert row["seconds"] == pytest.approx(sum(e.seconds for e in entries))
        assert row["samples"] == sum(e.samples for e in entries)


def test_a_worse_method_is_found_worse(report):
    verdicts = {c.method: c for c in report.comparisons}
    assert verdicts["finetune"].difference == pytest.approx(-0.3, abs=0.02)
    assert "worse" in verdicts["finetune"].verdict
    assert verdicts["ewc"].difference == 0


def test_tables_hold_a_row_a_method(place, report):
    text = (place / "report" / "tables" / "methods.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["method"] for row in rows] == ["finetune", "replay", "ewc"]


def test_the_markdown_report_names_command_and_verdicts(place, report):
    text = (place / "report" / "report.md").read_text()
    for part in ("python -m study run small.toml", "finetune against replay", "## Tuning"):
        assert part in text


def test_a_report_is_the_same_whenever_it_is_written(place, report):
    def content():
        return {p: p.read_bytes() for p in (place / "report").rglob("*") if p.is_file()}

    before = content()
    write_report(analyse_folder(place), place / "report")
    assert content() == before


def test_a_report_that_cannot_be_written_is_answered(report, tmp_path):
    (tmp_path / "report").write_text("")
    with pytest.raises(InputError, match=r"cannot write the report to .*report"):
        write_report(report, tmp_path / "report")


def test_analysing_leaves_a_damaged_ledger_as_it_is(tmp_path, capsys):
    build_study(tmp_path / "small", make_spec())
    for entry in (tmp_path / "small" / "ledger" / "confirm" / "replay").iterdir():
        (entry / "outcome.h5").write_bytes(b"")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    analysis = analyse_folder(tmp_path / "small")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    assert next(m for m in analysis.methods if m.method == "replay").n == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"confirm/replay/{entry.name}" in err


def test_a_folder_of_no_study_is_not_analysed(tmp_path):
    with pytest.raises(InputError, match="not the folder of a study"):
        analyse_folder(tmp_path)


def test_what_the_cautions_rest_on_comes_from_the_ledger(tmp_path):
    lr = {"choices": [1e-3, 2e-3]}
    chosen = {"space": {"lr": lr}, "fixed": {"batch_size": 16, "replay_ratio": 1.0}}
    changes = {"methods.replay": chosen, "tune.trials": 4, "tune.require": {"forgetting": -0.1}}
    by_seed = {1e-3: [0.6, 0.9], 2e-3: [0.8, 0.6]}

    def learn(work):
        return Run(np.array(by_seed[work["configuration"]["lr"]])[:, None, None])

    def fill(ledger, spec):
        Tune(make_sweep(spec, "replay", ledger), learn).run()
        params = make_study(spec, ledger).sweep("replay").best.params
        outcome = make_outcome(spec.confirm_seeds, 0.7)
        add(ledger, spec, "replay", params=params, outcome=outcome)

    found = method(record_of(tmp_path, changes, fill))
    numbers = {t.params["lr"]: t.number for t in reversed(found.tuning.history)}
    assert found.tuning.best_number == numbers[1e-3]  # 0.75 against 0.7
    assert found.tuning.favourites == {0: numbers[2e-3], 1: numbers[1e-3]}
    assert found.tuning.validation_samples == 1000
    assert found.tuning.unmet  # no forgetting where a gain is asked for
    assert not any(trial.feasible for trial in found.tuning.history)
    assert found.fewest_steps == 7  # 100 samples in mini-batches of 16
    limits = LEARNERS["replay"].Config.fields()["lr"].metadata
    by_option = {option.option: option for option in found.tuning.space}
    assert by_option["lr"].limits == (limits["low"], limits["high"])


def test_trials_of_other_code_are_told_apart_for_each_method(tmp_path, monkeypatch):
    _, spec, ledger = admit(tmp_path, DEFAULTS)
    for seeds in ((100,), (101,)):
        add(ledger, spec, "replay", seeds=seeds, outcome=make_outcome(seeds, 0.5))
    study = make_study(spec, ledger)
    assert left_out(study) == []
    monkeypatch.setattr(find_learner("replay"), "version", 99)
    told = "2 trials of replay ran with another version of the code: kept, but not in any table."
    assert left_out(study) == [told]
    assert told in study_record(study).circumstances
