"""The best method and those that may be as good: by hand, and how often a statement is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.one_study.analyse import analyse
from analysis.one_study.leaders import leaders


@pytest.fixture
def analysis_of(make_method, make_study):
    def build(columns, **fields):
        methods = [make_method(name, scores) for name, scores in columns.items()]
        return analyse(make_study(methods, **{"reference": next(iter(columns)), **fields}))

    return build


NOISE = np.random.default_rng(3).normal(0, 0.01, (4, 10))


def columns(*means):
    return {f"m{i}": list(mean + NOISE[i]) for i, mean in enumerate(means)}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.5, 0.9, 0.9, 0.7), {"m1", "m2"}),
        ((0.9, 0.5, 0.6, 0.7), {"m0"}),  # the reference
        ((0.9, 0.9, 0.6, 0.7), {"m0", "m1"}),
        ((0.7, 0.7, 0.7, 0.7), {"m0", "m1", "m2", "m3"}),
    ],
)
def test_the_best_and_those_that_may_be_as_good(analysis_of, means, expected):
    found = analysis_of(columns(*means))
    assert set(leaders(found)) == expected
    ranked = sorted(found.methods, key=lambda row: -row.mean)
    assert leaders(found)[0] == ranked[0].method


def test_where_less_is_better_the_lowest_leads(analysis_of):
    found = analysis_of(columns(0.5, 0.9, 0.1), metric="forgetting")
    assert leaders(found) == ("m2",)


def test_the_intervals_decide(analysis_of):
    found = analysis_of(columns(0.5, 0.9, 0.89))
    one, two = found.comparisons
    touching = replace(two, ci_low=one.ci_low - 0.1, ci_high=one.ci_low)
    assert leaders(replace(found, comparisons=(one, touching))) == ("m1", "m2")
    apart = replace(touching, ci_high=one.ci_low - 1e-9)
    assert leaders(replace(found, comparisons=(one, apart))) == ("m1",)


def test_bounds_and_methods_that_are_not_compared(analysis_of, make_method, make_study):
    methods = [make_method(name, scores) for name, scores in columns(0.5, 0.9, 0.95).items()]
    bounded = [*methods[:2], replace(methods[2], offline=True)]
    assert leaders(analyse(make_study(bounded, reference="m0"))) == ("m1",)
    pairs = (("m1", "m0"), ("m2", "m1"))
    assert leaders(analyse(make_study(methods, reference="m0", comparisons=pairs))) == ()
    assert leaders(analyse(make_study(methods, reference="m0", comparisons=pairs[:1]))) == ()


def test_too_few_seeds_name_nobody(analysis_of):
    few = {name: scores[:5] for name, scores in columns(0.5, 0.9, 0.6).items()}
    assert leaders(analysis_of(few)) == ()


def test_a_method_left_out_is_worse_than_the_best(analysis_of):
    """In at most 5 % of studies is a method left out that is as good as the best one named."""
    rng, wrong, studies = np.random.default_rng(0), 0, 150
    means = np.array([0.70, 0.72, 0.72, 0.71])
    for _ in range(studies):
        scores = means[:, None] + rng.normal(0, 0.01, (4, 8)) + rng.normal(0, 0.02, 8)
        found = leaders(analysis_of({f"m{i}": list(row) for i, row in enumerate(scores)}))
        best = means[int(found[0][1])]
        wrong += any(means[i] >= best for i in range(4) if f"m{i}" not in found)
    assert wrong <= 14  # binomial(150, 0.05): more has probability 1 %
