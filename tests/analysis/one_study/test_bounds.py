"""The share of the way from joint training to naive fine-tuning."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.metrics import ReadoutMetric
from analysis.one_study.analyse import analyse
from analysis.report.tables import method_table, secondary_table

ACC, GAP = "average_accuracy", ReadoutMetric("cl_gap")
TRANSFER = (  # of what happens to a task while others are learnt
    *("average_incremental_accuracy", "learning_accuracy", "retention_ratio"),
    *("backward_transfer", "forward_transfer", "forgetting"),
    *("min_accuracy", "worst_case_accuracy"),
)


@pytest.fixture
def bounded(make_method, make_study):
    """A study of replay, ewc and both bounds; the bounds have names of their own."""

    def build(upper=(0.9, 0.9, 0.9), lower=(0.2, 0.2, 0.3), **fields):
        return make_study(
            [
                make_method("replay", (0.6, 0.9, 0.3)),
                make_method("offline", upper, bound="upper"),
                make_method("ewc", (0.2, 0.1, 0.3)),
                make_method("naive", lower, bound="lower"),
            ],
            **fields,
        )

    return build


def gaps(study):
    return {row.method: row for row in analyse(study).secondary if row.metric == GAP}


def test_the_gap_is_that_of_each_pair(bounded):
    found = gaps(bounded())
    assert list(found) == ["replay", "ewc"]  # the bounds are 0 and 1 by construction
    assert found["replay"].mean == pytest.approx((3 / 7 + 0 + 1) / 3)
    assert found["ewc"].mean == pytest.approx((1 + 8 / 7 + 1) / 3)
    assert found["ewc"].difference == pytest.approx((4 / 7 + 8 / 7 + 0) / 3)


def test_the_table_says_what_it_is_and_which_way_is_better(bounded):
    table = secondary_table(analyse(bounded()))
    assert table.headings == ("method", "cl gap (%) ↓")


def test_there_is_none_without_both_bounds(bounded):
    study = bounded()
    for bound in ("offline", "naive"):
        study = bounded()
        study.methods[:] = [m for m in study.methods if m.method != bound]
        assert gaps(study) == {}


def test_bounds_that_agree_leave_it_undefined_and_no_mean(bounded):
    assert gaps(bounded(upper=(0.9, 0.9, 0.3)))["replay"].mean is None
    assert gaps(bounded(upper=(0.9, 0.9, 0.1 + 0.2)))["replay"].mean is None  # but for round-off
    assert gaps(bounded(upper=(0.9, math.nan, 0.9)))["ewc"].mean is None
    assert gaps(bounded(lower=(0.2, 0.2)))["replay"].mean is None  # one seed failed, or is to run


def test_it_is_of_the_accuracy_whatever_the_primary_metric(make_method, make_study):
    def named(name, accuracy, bound=None):
        others = {ACC: {100: accuracy, 101: accuracy}}
        return make_method(name, (0.1, 0.1), other_metrics=others, bound=bound)

    methods = [named("replay", 0.6), named("joint", 0.8, "upper"), named("finetune", 0.3, "lower")]
    found = gaps(make_study(methods, metric="forgetting"))
    assert found["replay"].mean == pytest.approx(0.4)


def test_the_gap_says_nothing_new_and_is_not_tested_with_the_others(make_method, make_study):
    def named(name, level, bound=None):
        scores = [level + 0.01 * i * i for i in range(8)]
        old = {"retention_old": {100 + i: x * (1 + 0.1 * i) for i, x in enumerate(scores)}}
        return make_method(name, scores, other_metrics=old, bound=bound)

    methods = [named("replay", 0.6), named("ewc", 0.5), named("joint", 0.9, "upper")]
    alone = analyse(make_study(methods)).secondary
    both = analyse(make_study([*methods, named("finetune", 0.2, "lower")])).secondary
    assert all(row.q is None and row.p_exact is None for row in both if row.metric == GAP)
    tested = [row for row in both if row.q is not None]
    assert len(tested) == len([row for row in alone if row.q is not None]) + 1
    assert {str(row.metric) for row in tested} == {"retention_old"}


@pytest.fixture
def with_bound(make_method, make_study):
    """A study with an offline bound that has every metric, of two readouts."""

    def build(**fields):
        names = [*TRANSFER, ReadoutMetric("forgetting", "slow"), "retention_old"]
        others = {name: {100 + i: 0.1 * i for i in range(8)} for name in names}
        scores = [0.8 + 0.01 * i for i in range(8)]
        bound = {"offline": True, "bound": "upper", "other_metrics": others}
        methods = [make_method("upper", scores, **bound)]
        return make_study([make_method("replay", scores, other_metrics=others), *methods], **fields)

    return build


def test_an_offline_bound_has_no_metrics_of_transfer(with_bound):
    found = analyse(with_bound())
    kept = [str(row.metric) for row in found.secondary if row.method == "upper"]
    assert kept == ["retention_old"]
    assert "An offline bound has no metrics of transfer." in secondary_table(found).caption


def test_an_offline_bound_is_called_one(with_bound):
    table = method_table(analyse(with_bound()))
    assert table.texts[1][0] == "upper (offline bound)"
    assert "upper: an offline bound" in table.caption


def test_an_offline_bound_is_no_competitor(with_bound):
    found = analyse(with_bound())
    assert found.comparisons == ()
    assert found.rules.family_size == 1
    named = analyse(with_bound(comparisons=(("upper", "replay"),)))
    assert [c.method for c in named.comparisons] == ["upper"]  # unless the study file says so


def test_the_distance_from_a_bound_is_an_estimate_of_its_own(make_method, make_study):
    upper, lower = np.linspace(0.9, 0.97, 8), np.linspace(0.5, 0.64, 8)
    methods = [make_method("replay", lower), make_method("joint", upper, offline=True)]
    (gap,) = analyse(make_study(methods)).gaps
    assert (gap.bound, gap.method, gap.n) == ("joint", "replay", 8)
    mean = stats.ttest_rel(upper, lower).confidence_interval(0.95)
    assert gap.difference == pytest.approx((upper - lower).mean())
    assert (gap.ci_low, gap.ci_high) == pytest.approx((mean.low, mean.high))
    failed = [methods[0], replace(methods[1], failures={100: "boom"})]
    assert analyse(make_study(failed)).gaps[0].difference is None


def test_an_offline_bound_has_no_distance_by_a_metric_of_transfer(with_bound):
    (gap,) = analyse(with_bound(metric="forgetting")).gaps
    assert (gap.n, gap.difference) == (0, None)
