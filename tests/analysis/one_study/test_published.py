"""Published results beside measured ones: the rule at its edges, and how often it is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.metrics import ReadoutMetric
from analysis.one_study.published import compare
from analysis.records import MethodRecord, PublishedRecord, StudyRecord

SCORES = {100: 0.90, 101: 0.92, 102: 0.94, 103: 0.92}
ERROR = np.std(list(SCORES.values()), ddof=1) / 2  # of the mean of 4 seeds
HALF = stats.t.ppf(0.975, 3) * ERROR
MARGIN = 0.05


def figure(mean, metric="average_accuracy", **fields):
    known = {"sd": None, "n": None, "source": "table 1", "incomparable": "", **fields}
    return PublishedRecord(
        **{"method": "replay", "metric": ReadoutMetric(metric), "mean": mean, **known}
    )


def row(given, margin=MARGIN, **fields):
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
        margin=margin,
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


def words(given, distances, **fields):
    """The verdicts where the measured mean lies so far above, or below, the published one."""
    means = [given.mean + side * distance for distance in distances for side in (1, -1)]
    return {row(replace(given, mean=mean), **fields).verdict for mean in means}


@pytest.mark.parametrize("tolerance", ["margin", "published sd"])
def test_the_interval_of_the_difference_is_read_against_the_tolerance(tolerance):
    given = figure(0.92, sd=0.03 if tolerance == "published sd" else None)
    edge = MARGIN if given.sd is None else given.sd
    assert words(given, (0.0, edge - HALF - 1e-6)) == {"reproduced"}
    between = (edge - HALF + 1e-6, edge, edge + HALF - 1e-6)
    assert words(given, between) == {"cannot tell with 4 seeds"}
    assert words(given, (edge + HALF + 1e-6, 0.5)) == {"not reproduced"}
    assert row(given).reason == f"tolerance {100 * edge:g} points, the {tolerance}"


def test_a_difference_that_is_not_0_and_within_the_tolerance_is_reproduced():
    found = row(figure(0.92 - HALF - 0.001), margin=0.1)
    assert 0 < found.low < found.high < 0.1
    assert (found.difference, found.tolerance) == (pytest.approx(HALF + 0.001), 0.1)
    assert found.verdict == "reproduced"


def test_the_error_of_the_published_mean_widens_the_interval():
    found = row(figure(0.9, sd=0.03, n=10))
    theirs = 0.03 / np.sqrt(10)
    welch = stats.ttest_ind_from_stats(0.92, 2 * ERROR, 4, 0.9, 0.03, 10, equal_var=False)
    assert found.difference / np.hypot(ERROR, theirs) == pytest.approx(welch.statistic)
    df = (ERROR**2 + theirs**2) ** 2 / (ERROR**4 / 3 + theirs**4 / 9)
    assert 2 * stats.t.sf(abs(welch.statistic), df) == pytest.approx(welch.pvalue)
    half = stats.t.ppf(0.975, df) * np.hypot(ERROR, theirs)
    assert (found.low, found.high) == pytest.approx((0.02 - half, 0.02 + half))
    exact = row(figure(0.9, sd=0.03))
    assert (exact.low, exact.high) == pytest.approx((0.02 - HALF, 0.02 + HALF))


def test_few_published_runs_cannot_be_reproduced_within_their_own_spread():
    same = {"scores": {seed: 0.92 + 1e-6 * (seed % 2) for seed in range(30)}}
    few, enough = (row(figure(0.92, sd=0.03, n=n), **same) for n in (6, 7))
    assert few.verdict == "cannot tell with 30 seeds"
    assert few.reason.endswith("; 6 published runs are too few, whatever is measured")
    assert enough.verdict == "reproduced"


def test_a_wide_interval_reproduces_nothing_and_a_narrow_one_decides():
    def sleep(n, mean, sd):
        z = stats.norm.ppf((np.arange(n) + 0.5) / n)
        return dict(enumerate(mean + sd * z / np.std(z, ddof=1)))

    given = figure(0.4847, n=5)
    five = row(given, 0.005, scores=sleep(5, 0.4207, 0.1058))
    assert (five.mean, five.sd) == pytest.approx((0.4207, 0.1058))
    assert five.low < five.mean - 0.4847 < 0 < five.high  # the published mean is in the interval
    assert five.verdict == "cannot tell with 5 seeds"
    assert row(given, 0.005, scores=sleep(30, 0.4457, 0.0659)).verdict == "not reproduced"


def test_without_a_tolerance_nothing_is_reproduced():
    found = row(figure(0.92), margin=0)
    assert found.verdict == "cannot tell with 4 seeds"
    assert found.reason.startswith("no tolerance")
    assert row(figure(0.92 + HALF + 1e-6), margin=0).verdict == "not reproduced"


def test_the_definition_decides_what_is_set_beside():
    found = row(figure(0.82, metric="retention_old", sd=0.03))
    assert (found.verdict, found.mean) == ("reproduced", pytest.approx(0.82))
    assert row(figure(0.92, metric="retention_old", sd=0.03)).verdict == "not reproduced"
    # the margin is in units of the primary metric
    assert row(figure(0.82, metric="retention_old")).reason.startswith("no tolerance")


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7])
def test_scores_that_do_not_vary_still_say_whether_a_figure_is_reproduced(value):
    same = {"scores": {seed: sum([value] * 7) / 7 for seed in range(10)}}
    # whatever the round-off of the mean
    assert words(figure(value), (0.0, MARGIN), **same) == {"reproduced"}
    assert words(figure(value), (MARGIN + 1e-6,), **same) == {"not reproduced"}


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_seeds_cannot_tell(n):
    found = row(figure(0.5), scores=dict.fromkeys(range(n), 0.9))
    assert found.verdict == f"cannot tell with {n} seed{'s' if n > 1 else ''}"
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize(
    ("given", "fields", "why"),
    [
        (figure(0.92, incomparable="other architecture"), {}, "other architecture"),
        (figure(0.92, method="gem"), {}, "no such method"),
        (figure(0.92, metric="forgetting"), {}, "this metric was not measured"),
        (figure(0.92), {"failures": {104: "boom"}}, "1 seed failed"),
        (figure(0.92), {"scores": {}}, "nothing has been confirmed yet"),
    ],
)
def test_what_cannot_be_compared_says_why(given, fields, why):
    found = row(given, **fields)
    assert found.verdict == "not comparable"
    assert why in found.reason


# How often the words are false where the truth lies on the edge of the tolerance: neither
# "reproduced" nor "not reproduced" is known to be true there.


@pytest.mark.parametrize("n", [3, 5, 10, 30])
@pytest.mark.parametrize("runs", [None, 5, 30])
def test_at_the_edge_of_the_tolerance_no_word_is_claimed_too_often(n, runs):
    rng, studies = np.random.default_rng(n), 1500
    claimed = {"reproduced": 0, "not reproduced": 0}
    for side in rng.choice([-1, 1], studies):
        theirs = rng.normal(0, 1, runs or 1)
        known = {"sd": float(np.std(theirs, ddof=1)), "n": runs} if runs else {}
        edge = known.get("sd", 2.0)
        ours = rng.normal(side * edge, 1, n)
        given = figure(float(theirs.mean()) if runs else 0.0, **known)
        verdict = row(given, edge, scores=dict(enumerate(ours))).verdict
        if verdict in claimed:
            claimed[verdict] += 1
    assert max(claimed.values()) / studies <= 0.05


def test_a_true_reproduction_is_told_with_enough_seeds():
    rng = np.random.default_rng(0)
    found = [
        row(figure(0.0), 1.0, scores=dict(enumerate(rng.normal(0, 1, 30)))).verdict
        for _ in range(200)
    ]
    assert found.count("reproduced") > 190
    assert "not reproduced" not in found
