"""Published figures beside ours, at the very edges of the rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.metrics import ReadoutMetric
from analysis.one_study.published import compare
from analysis.records import MethodRecord, PublishedRecord, StudyRecord

SCORES = {100: 0.90, 101: 0.92, 102: 0.94, 103: 0.92}
HALF = stats.t.ppf(0.975, 3) * np.std(list(SCORES.values()), ddof=1) / 2  # 4 seeds


def figure(mean, metric="average_accuracy", **fields):
    known = {"sd": None, "n": None, "source": "table 1", "incomparable": "", **fields}
    return PublishedRecord(
        **{"method": "replay", "metric": ReadoutMetric(metric), "mean": mean, **known}
    )


def row(given, **fields):
    method = MethodRecord(
        "replay",
        "replay",
        {},
        SCORES,
        other_metrics={ReadoutMetric("retention_old"): {s: x - 0.1 for s, x in SCORES.items()}},
    )
    study = StudyRecord(
        study="small",
        stream="split_mnist",
        scenario="class",
        metric="average_accuracy",
        reference="replay",
        margin=0.01,
        alpha=0.05,
        failed_rule="error",
        protocol="end_of_stream",
        phase="confirm",
        planned_seeds=list(SCORES),
        tune_seeds=[],
        chance=0.1,
        methods=[replace(method, **fields)],
        published=(given,),
    )
    return compare(study)[0]


@pytest.mark.parametrize("side", [-1, 1])
def test_a_mean_inside_our_interval_is_reproduced_and_one_outside_is_not(side):
    assert row(figure(0.92 + side * (HALF - 1e-6))).verdict == "reproduced"
    assert row(figure(0.92 + side * (HALF + 1e-6))).verdict == "not reproduced"


@pytest.mark.parametrize("side", [-1, 1])
def test_a_published_spread_widens_the_interval(side):
    theirs = stats.t.ppf(0.975, 9) * 0.03 / np.sqrt(10)
    spread = {"sd": 0.03, "n": 10}
    assert row(figure(0.92 + side * (HALF + theirs - 1e-6), **spread)).verdict == "reproduced"
    assert row(figure(0.92 + side * (HALF + theirs + 1e-6), **spread)).verdict == "not reproduced"


def test_a_spread_over_an_unknown_number_of_runs_widens_nothing():
    assert row(figure(0.92 + HALF + 1e-6, sd=0.03)).verdict == "not reproduced"


def test_the_definition_decides_what_is_set_beside():
    found = row(figure(0.82, metric="retention_old"))
    assert (found.verdict, found.mean) == ("reproduced", pytest.approx(0.82))
    assert row(figure(0.92, metric="retention_old")).verdict == "not reproduced"


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7])
def test_scores_that_do_not_vary_still_say_whether_a_figure_is_reproduced(value):
    same = {"scores": {seed: sum([value] * 7) / 7 for seed in range(10)}}
    theirs = stats.t.ppf(0.975, 4) * 0.02 / np.sqrt(5)
    assert row(figure(value), **same).verdict == "reproduced"  # whatever the round-off of the mean
    assert row(figure(value + 1e-6), **same).verdict == "not reproduced"
    spread = {"sd": 0.02, "n": 5}
    assert row(figure(value + theirs - 1e-6, **spread), **same).verdict == "reproduced"
    assert row(figure(value + theirs + 1e-6, **spread), **same).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("given", "fields", "why"),
    [
        (figure(0.92, incomparable="other architecture"), {}, "other architecture"),
        (figure(0.92, method="gem"), {}, "no such method"),
        (figure(0.92, metric="forgetting"), {}, "no interval"),
        (figure(0.92), {"failures": {104: "boom"}}, "1 seed failed"),
        (figure(0.92), {"scores": {100: 0.9, 101: 0.95}}, "no interval"),
        (figure(0.92), {"scores": {}}, "nothing has been confirmed yet"),
    ],
)
def test_what_cannot_be_compared_says_why(given, fields, why):
    found = row(given, **fields)
    assert found.verdict == "not comparable"
    assert why in found.reason
