"""What methods and study files add to a report: diagnostics, published figures, readouts."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
from factory import Run, Tune, add, build_study, make_outcome, make_spec, make_study, make_sweep

from analysis.metrics import ReadoutMetric
from analysis.one_study.analyse import analyse
from study import check
from study.folder import Folder
from study.ledger import Ledger
from study.record import study_record
from study.report import write_report
from study.scores import all_scores
from study.search import importances
from study.seen_differences import seen_differences
from study.state import Study
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.errors import InputError
from trainables.learner import Map
from trainables.methods.replay import Replay
from trainables.streams import datasets


def record_of(place, spec):
    folder = Folder.open(place)[0]
    return study_record(Study(check.resolve(spec, "x"), folder, folder.ledger()))


def method_of(record, name):
    return next(method for method in record.methods if method.method == name)


def with_spikes(seeds):
    extras = {
        f"memory_classes: class {c}": np.add.outer(np.array(seeds), np.arange(5)) + 10 * c
        for c in range(2)
    }
    return dataclasses.replace(make_outcome(seeds), extras=extras)


def test_labels_of_a_diagnostic_are_joined_over_trials_by_seed(tmp_path):
    spec = make_spec({"tune.trials": 0})
    ledger = build_study(tmp_path, spec)
    for entry in ledger.entries("confirm", "replay"):
        ledger.finish(entry, with_spikes(entry.seeds).to_bytes())
    (found,) = method_of(record_of(tmp_path, spec), "replay").diagnostics
    assert (found.name, found.title, found.unit) == (
        "memory_classes",
        "Samples held per class",
        "samples",
    )
    assert found.labels == ("class 0", "class 1")
    assert found.values[102].tolist() == [[102 + i, 112 + i] for i in range(5)]


def test_a_label_that_some_seeds_lack_is_nan_for_them(tmp_path):
    spec = make_spec({"tune.trials": 0, "methods": {"replay": {}}})
    ledger = build_study(tmp_path, spec)
    first, second = ledger.entries("confirm", "replay")
    whole = with_spikes(first.seeds)
    ledger.finish(first, whole.to_bytes())
    fewer = {"memory_classes: class 1": with_spikes(second.seeds).extras["memory_classes: class 1"]}
    ledger.finish(second, dataclasses.replace(whole, extras=fewer).to_bytes())
    (found,) = method_of(record_of(tmp_path, spec), "replay").diagnostics
    assert found.labels == ("class 0", "class 1")
    assert np.isnan(found.values[second.seeds[0]][:, 0]).all()
    assert np.isfinite(found.values[second.seeds[0]][:, 1]).all()
    assert np.isfinite(found.values[first.seeds[0]]).all()


def with_map(seeds):
    """Seed s has s + layer after each task, NaN for the class 1 until the last."""
    values = np.broadcast_to(
        np.array(seeds, dtype=float)[:, None, None, None] + np.arange(3)[:, None],
        (len(seeds), 5, 3, 2),
    ).copy()
    values[:, :-1, :, 1] = np.nan
    extras = with_spikes(seeds).extras | {"activity: asleep": values}
    return dataclasses.replace(make_outcome(seeds), extras=extras)


@pytest.fixture
def mapped_study(tmp_path, monkeypatch):
    """A study whose replay tells of a map."""
    shown = Map("Change of activity", "spikes", "layer", "class")
    monkeypatch.setattr(Replay, "maps", {"activity": shown})
    spec = make_spec({"tune.trials": 0})
    ledger = build_study(tmp_path, spec)
    for entry in ledger.entries("confirm", "replay"):
        ledger.finish(entry, with_map(entry.seeds).to_bytes())
    return tmp_path, spec


def test_a_map_is_joined_over_trials_by_seed(mapped_study):
    record = record_of(*mapped_study)
    replay, finetune = method_of(record, "replay"), method_of(record, "finetune")
    (found,) = replay.maps
    assert (found.name, found.title, found.unit) == ("activity", "Change of activity", "spikes")
    assert (found.rows, found.columns, found.averaged) == ("layer", "class", True)
    assert sorted(found.panels["asleep"]) == [100, 101, 102, 103]
    assert found.panels["asleep"][102][-1].tolist() == [[102 + r] * 2 for r in range(3)]
    assert [d.name for d in replay.diagnostics] == ["memory_classes"]
    assert finetune.maps == ()


def test_a_map_that_is_declared_no_more_is_shown_under_its_name(mapped_study, monkeypatch):
    monkeypatch.setattr(Replay, "maps", {})
    (found,) = method_of(record_of(*mapped_study), "replay").maps
    assert (found.title, found.rows, found.columns) == ("activity", "row", "column")


def test_maps_are_in_the_report_beside_the_curves(mapped_study):
    place, spec = mapped_study
    analysis = analyse(record_of(place, spec))
    write_report(analysis, place / "report")
    assert (place / "report/figures/maps-activity.svg").exists()
    page = (place / "report/report.md").read_text("utf-8")
    part = page.partition("## Method diagnostics")[2].partition("\n## ")[0]
    assert "figures/maps-activity.svg" in part
    assert "mean over 4 seeds" in part
    rows = list(csv.DictReader((place / "report/tables/maps.csv").open(encoding="utf-8")))
    assert len(rows) == 5 * 3 * 2
    assert {row["diagnostic"] for row in rows} == {"activity"}
    assert (rows[-1]["row"], rows[-1]["column"], rows[-1]["mean"]) == ("3", "1", "103.5")
    table = (place / "report/tables/diagnostics.csv").read_text("utf-8")
    assert "memory_classes" in table
    assert "activity" not in table


def test_a_learner_is_asked_after_each_task_and_its_memory_adds_up():
    configuration = {"hidden": [16], "epochs": 1, "batch_size": 16, "memory_total": 60}
    work = Assignment("replay", configuration, "split_digits", "class", {}, "tune", (3, 4))
    course = Course(work, work.seeds, datasets.load("digits", None), "cpu")
    while not course.done:
        course.advance()
    extras = course.outcome().extras
    held = np.stack([extras[f"memory_classes: class {c}"] for c in range(10)])
    assert held.shape == (10, 2, 5)
    assert (held.sum(0) == 60).all()
    assert (held[2:, :, 0] == 0).all()
    assert (held[:, :, -1] > 0).sum() > 10


def test_published_figures_are_checked_and_carried_over(tmp_path):
    figure = {"mean": 0.9, "sd": 0.01, "n": 20, "source": "table 2"}
    spec = make_spec({"tune.trials": 0, "published": {"replay": {"retention_old": figure}}})
    build_study(tmp_path, spec)
    (found,) = record_of(tmp_path, spec).published
    assert (found.method, found.metric, found.mean, found.sd, found.n, found.source) == (
        "replay",
        ReadoutMetric("retention_old"),
        0.9,
        0.01,
        20,
        "table 2",
    )


@pytest.mark.parametrize(
    ("published", "told"),
    [
        ({"reply": {"retention_old": {"mean": 0.9}}}, "published.reply: .*Did you mean 'replay'"),
        ({"replay": {"retention": {"mean": 0.9}}}, "published.replay: unknown metric 'retention'"),
        (
            {"replay": {"retention_old": {"mean": 0.9, "readout": "slow"}}},
            "published.replay.retention_old.readout: .*Allowed: main",
        ),
        (
            {"replay": {"retention_old": {"meen": 0.9}}},
            "published.replay.retention_old.0: .*'mean'",
        ),
        ({"replay": {"retention_old": {}}}, "published.replay.retention_old.0.mean is missing"),
    ],
)
def test_a_published_figure_of_nothing_is_refused(published, told):
    with pytest.raises(InputError, match=told):
        check.resolve(make_spec({"published": published}), "small.toml")


def test_readouts_beyond_the_primary_one_are_metrics_of_their_own():
    outcome = make_outcome((1, 2), 0.8)
    both = dataclasses.replace(
        outcome,
        counts={"fast": outcome.counts["main"], "slow": make_outcome((1, 2), 0.6).counts["main"]},
    )
    scores = all_scores(both, "class")
    assert scores[ReadoutMetric("average_accuracy")] == pytest.approx([0.8, 0.8])
    assert scores[ReadoutMetric("average_accuracy", "slow")] == pytest.approx([0.6, 0.6])


def test_the_history_of_a_sweep_and_what_mattered_in_it(tmp_path):
    spec = make_spec({"tune.trials": 40, "confirm.seeds": [100]})
    build_study(tmp_path, spec)
    tuning = method_of(record_of(tmp_path, spec), "replay").tuning
    assert [trial.number for trial in tuning.history] == list(range(40))
    assert all(set(trial.params) == {"lr", "replay_ratio"} for trial in tuning.history)
    # the stand-in's score depends on the learning rate alone
    assert tuning.importance["lr"] > tuning.importance["replay_ratio"]
    assert sum(tuning.importance.values()) == pytest.approx(1.0)


def test_importance_needs_trials_that_differ(tmp_path):
    spec, ledger = make_spec({"tune.trials": 3}), Ledger(tmp_path)
    assert importances([], "maximize") == {}
    Tune(make_sweep(spec, "replay", ledger), lambda work: Run(0.5)).run()
    assert importances(ledger.entries("tune"), "maximize") in ({}, {"lr": 0.5, "replay_ratio": 0.5})


def test_the_accuracy_matrix_of_each_seed_is_there(tmp_path):
    spec = make_spec({"tune.trials": 0})
    build_study(tmp_path, spec, lambda work: Run(np.arange(25).reshape(5, 5) / 100))
    found = method_of(record_of(tmp_path, spec), "replay").matrices
    assert sorted(found) == [100, 101, 102, 103]
    np.testing.assert_allclose(found[101], np.arange(25).reshape(5, 5) / 100)


def test_the_differences_seen_are_those_of_the_confirmation_or_else_the_best_trials(tmp_path):
    spec = make_spec({"tune.trials": 2, "tune.seeds": [0, 1, 2]})

    def learn(work):
        base = 0.5 if work["learner"] == "finetune" else 0.7
        steps = [base + (0.01 if base > 0.6 else 0.03) * i for i in range(len(work["seeds"]))]
        return Run(np.array(steps)[:, None, None])

    place = tmp_path / "small"
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(repair=True)
        folder.admit(spec, "x", ledger)
        for name in spec.methods:
            Tune(make_sweep(spec, name, ledger), learn).run()
    (found,) = seen_differences(make_study(spec, folder.ledger())).items()
    assert (found[0], found[1].source) == (("finetune", "replay"), "the tuning seeds")
    assert found[1].differences == pytest.approx((-0.2, -0.18, -0.16))
    for name in spec.methods:
        outcome = make_outcome(spec.confirm_seeds, 0.5 if name == "finetune" else 0.6)
        best = dict(ledger.entries("tune", name)[0].params)
        add(ledger, spec, name, params=best, outcome=outcome)
    (found,) = seen_differences(make_study(spec, folder.ledger())).values()
    assert found.source == "the confirmation"
    assert found.differences == pytest.approx([-0.1] * 4)
