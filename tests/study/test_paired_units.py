"""Streams whose results are those of classes or speakers, each the mean of several seeds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factory import Run, add, admit, build_study, make_outcome, make_spec, make_study

from analysis.metrics import ReadoutMetric
from analysis.one_study.analyse import analyse
from study import plan as module
from study.plan import plan
from study.record import study_record
from study.report import write_report
from study.seen_differences import seen_differences
from trainables import STREAMS
from trainables.engine.pilot import Pilot
from trainables.errors import InputError
from trainables.streams import SplitStream

TRACE = "Traceback\nValueError: too hot"
ACCURACY = {100: 0.5, 101: 0.6, 102: 0.7, 103: 0.7, 104: 0.9, 105: 0.8}
OF_CLASSES = {0: 0.75, 1: 0.6, 2: 0.75}  # seeds 102 and 105, 100 and 103, 101 and 104


class ByClass(SplitStream):
    """The digits, as if a seed left a class out."""

    name, dataset, reference, classes_left_out = "by_class", "digits", "made up", 3

    @classmethod
    def unit(cls, options):
        return "class"

    @classmethod
    def unit_of(cls, seed, options):
        return seed % cls.classes_left_out


@pytest.fixture(autouse=True)
def by_class(monkeypatch):
    monkeypatch.setitem(STREAMS, "by_class", ByClass)


def changes(count=6, **fields):
    stream = {"study.stream": "by_class", "tune.trials": 0, "confirm.seeds.count": count}
    return {**stream, **{key.replace("__", "."): value for key, value in fields.items()}}


def accuracies(seeds, of):
    return np.array([of[seed] for seed in seeds])[:, None, None]


def scored(ledger, spec, method, of):
    """Write a trial of these seeds, each with its accuracy on every task."""
    outcome = make_outcome(tuple(of), accuracies(of, of))
    return add(ledger, spec, method, seeds=tuple(of), outcome=outcome)


def record_of(place, fill, **fields):
    _, spec, ledger = admit(place, changes(**fields))
    fill(ledger, spec)
    return study_record(make_study(spec, ledger))


def method(record, name="replay"):
    return next(m for m in record.methods if m.method == name)


def test_a_seed_is_its_own_unit_unless_the_stream_says_otherwise():
    stream = STREAMS["split_digits"]
    options = stream.Options.parse({})
    assert (stream.unit(options), stream.unit_of(107, options)) == ("seed", 107)


def test_each_class_is_the_mean_of_its_seeds(tmp_path):
    record = record_of(tmp_path, lambda ledger, spec: scored(ledger, spec, "replay", ACCURACY))
    found = method(record)
    assert record.unit == "class"
    assert record.unit_seeds == {0: (102, 105), 1: (100, 103), 2: (101, 104)}
    assert sorted(record.planned_seeds) == [0, 1, 2]
    assert found.scores == pytest.approx(OF_CLASSES)
    assert found.other_metrics[ReadoutMetric("learning_accuracy")] == pytest.approx(OF_CLASSES)
    assert found.failures == {}
    for unit, accuracy in OF_CLASSES.items():
        assert found.matrices[unit] == pytest.approx(np.full((5, 5), accuracy))


def test_diagnostics_are_means_over_the_seeds_of_a_class(tmp_path):
    outcome = make_outcome(tuple(ACCURACY))
    steps = np.arange(5.0)
    values = np.array([seed - 100 + steps for seed in ACCURACY])
    outcome = replace(outcome, extras={"spikes: layer 1": values})
    found = method(record_of(tmp_path, lambda of, spec: add(of, spec, "replay", outcome=outcome)))
    [spikes] = found.diagnostics
    assert {unit: of[:, 0].tolist() for unit, of in spikes.values.items()} == {
        0: (3.5 + steps).tolist(),
        1: (1.5 + steps).tolist(),
        2: (2.5 + steps).tolist(),
    }


def fill_with_failures(ledger, spec):
    scored(ledger, spec, "finetune", dict.fromkeys(ACCURACY, 0.5))
    seeds = (100, 101, 103, 104, 105)
    outcome = make_outcome(seeds, accuracies(seeds, ACCURACY), diverged=(101,))
    add(ledger, spec, "replay", seeds=seeds, state="diverged", outcome=outcome)
    add(ledger, spec, "replay", seeds=(102,), state="failed", failure=TRACE)


def test_a_class_with_a_failed_seed_is_failed_and_names_the_seed(tmp_path):
    record = record_of(tmp_path, fill_with_failures)
    found = method(record)
    assert found.scores[1] == pytest.approx(0.6)
    assert math.isnan(found.scores[2])
    assert set(found.scores) == {1, 2}
    assert found.failures == {0: "seed 102: ValueError: too hot"}
    assert found.diverged == {2: "seed 101: diverged on task 5"}
    assert set(found.matrices) == {1}
    analysis = analyse(record)
    assert [(f.seed, f.reason) for f in analysis.failures] == [*found.failed_seeds.items()]
    [comparison] = analysis.comparisons
    assert comparison.verdict == "no verdict"
    assert comparison.reason.startswith(
        "failed classes of replay: 0, 2 (seed 101: diverged on task"
    )


def test_a_class_of_which_a_seed_has_not_run_is_a_gap(tmp_path):
    def fill(ledger, spec):
        scored(ledger, spec, "replay", ACCURACY)
        scored(ledger, spec, "finetune", {s: ACCURACY[s] for s in range(100, 105)})

    record = record_of(tmp_path, fill)
    assert method(record, "finetune").scores == pytest.approx({1: 0.6, 2: 0.75})
    [comparison] = analyse(record).comparisons
    assert comparison.reason == "planned classes that have not run for finetune: 0"


def learn(work):
    """Replay is better by 0.2, give or take what the seed does."""
    better = 0.7 if work["learner"] == "replay" else 0.5
    noise = {seed: 0.01 * (seed * 7 % 5) * (better > 0.6) for seed in work["seeds"]}
    return Run(accuracy=better + accuracies(work["seeds"], noise))


def test_n_is_the_number_of_classes_and_not_of_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(ByClass, "classes_left_out", 6)
    spec = make_spec(changes(12))
    ledger = build_study(tmp_path, spec, learn)
    analysis = analyse(study_record(make_study(spec, ledger)))
    [comparison] = analysis.comparisons
    assert (comparison.n, comparison.seeds) == (6, (0, 1, 2, 3, 4, 5))
    assert comparison.p_exact == pytest.approx(2 / 2**6)  # 2 / 2**12 over the seeds
    assert comparison.verdict.startswith("worse")


def test_the_report_says_what_a_class_is_the_mean_of(tmp_path):
    def fill(ledger, spec):
        for name in spec.methods:
            scored(ledger, spec, name, ACCURACY | {106: 0.5})

    analysis = analyse(record_of(tmp_path / "study", fill, count=7))
    expected = (
        "Each class is the mean of 2 to 3 seeds; the tests pair classes and not seeds, so n is the "
        "number of classes."
    )
    assert expected in analysis.notes
    write_report(analysis, tmp_path / "report", 2)
    text = (tmp_path / "report" / "report.md").read_text()
    assert expected in text
    assert "seeds of class 1: 100, 103, 106" in text
    assert "class 2" in text  # whose accuracy matrices were asked for
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["unit_seeds"]["1"] == [100, 103, 106]
    with pytest.raises(InputError, match=r"--seed 100: small .* of that class. Available: 0, 1, 2"):
        write_report(analysis, tmp_path / "report", 100)


@pytest.fixture
def tuned(tmp_path):
    """A study tuned on seeds 0 and 1, which are the numbers of classes too."""
    spec = make_spec(changes(tune__trials=2))
    ledger = build_study(tmp_path, spec, learn)
    return study_record(make_study(spec, ledger))


def test_a_class_may_be_tuned_on_and_confirmed_with_other_seeds(tuned):
    assert tuned.tune_seeds == [0, 1]
    analysis = analyse(tuned)
    [comparison] = analysis.comparisons
    assert (comparison.refusal, comparison.n) == (None, 3)
    [note] = [note for note in analysis.notes if "Tuning may have used the same classes" in note]
    assert "other seeds and scored on other samples" in note


def test_a_seed_of_a_class_cannot_serve_both(tuned):
    analysis = analyse(replace(tuned, tune_seeds=[0, 103]))
    [comparison] = analysis.comparisons
    assert comparison.refusal == "seeds of classes used for tuning and for confirmation: 1"
    assert any(note.startswith("Seeds of classes 1 served tuning") for note in analysis.notes)


def test_seeds_added_to_known_classes_are_told(tmp_path):
    build_study(tmp_path, make_spec(changes(6)), learn)
    spec = make_spec(changes(8))
    ledger = build_study(tmp_path, spec, learn)
    record = study_record(make_study(spec, ledger))
    assert record.unit_seeds[1] == (100, 103, 106)
    [note] = [note for note in analyse(record).notes if "added after looking" in note]
    assert note.startswith("Seeds of classes were added after looking (106, 107): p-values")


def test_planned_seeds_of_classes_that_are_asked_for_no_longer_are_told(tmp_path):
    build_study(tmp_path, make_spec(changes(7)), learn)
    spec = make_spec(changes(4))
    ledger = build_study(tmp_path, spec, learn)
    record = study_record(make_study(spec, ledger))
    assert record.unit_seeds[1] == (100, 103, 106)
    [note] = [note for note in analyse(record).notes if "now asks for" in note]
    assert "asks for 4 confirmation seeds, and this report covers 7." in note
    assert "(104, 105, 106): leaving" in note


def test_differences_seen_are_those_of_classes(tmp_path):
    _, spec, ledger = admit(tmp_path, changes())
    scored(ledger, spec, "replay", dict.fromkeys(ACCURACY, 0.5))
    scored(ledger, spec, "finetune", ACCURACY)
    seen = seen_differences(make_study(spec, ledger))
    assert set(seen) == {("finetune", "replay")}
    assert seen["finetune", "replay"].differences == pytest.approx((0.25, 0.1, 0.25))


def test_the_power_is_that_of_the_classes(monkeypatch):
    monkeypatch.setattr(module, "run_pilot", lambda *of: Pilot({1: 10.0}))
    found = plan(make_spec(changes(9)), "own.toml", Path("studies/small"), Path())
    assert found["methods"][0]["confirm_seeds"] == 9
    assert any("3 classes allow no verdict stronger than a" in note for note in found["notes"])
