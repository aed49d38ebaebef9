"""The table of results: the order of methods, percent and fractions, bounds and missing numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.one_study.analyse import analyse
from analysis.report.results import result_table
from analysis.report.sections import refusals

SIX = [0.80, 0.82, 0.78, 0.81, 0.79, 0.80]  # mean 0.8, sd 0.0141


def up(scores, by):
    return [score + by for score in scores]


@pytest.fixture
def four(make_method, make_study):
    def build(**fields):
        methods = [
            make_method("low", up(SIX, -0.2)),
            make_method("joint", up(SIX, 0.1), offline=True),
            make_method("replay", SIX),
            make_method("high", up(SIX, 0.05)),
        ]
        pairs = (("low", "replay"), ("high", "replay"))
        return make_study(methods, **{"comparisons": pairs[1:], **fields})

    return build


def test_methods_are_sorted_with_the_bound_apart(four):
    table = result_table(analyse(four()))
    headings = ("method", "average accuracy (%)", "difference", "interval", "verdict")
    assert table.headings == headings
    assert table.texts == (
        ("high", "85.0 ± 1.4", "+5.0", "-", "better by more than the margin"),
        ("replay", "80.0 ± 1.4", "-", "-", "reference"),
        ("low", "60.0 ± 1.4", "-", "-", "-"),  # not named among the comparisons
        ("joint", "90.0 ± 1.4", "+10.0", "-", "bound, not tested"),
    )
    assert "over 6 confirmation seeds" in table.caption
    assert "1 comparison (95 %), against a margin of 1 point." in table.caption


def test_where_lower_is_better_the_lowest_comes_first(four):
    methods = [row[0] for row in result_table(analyse(four(metric="forgetting"))).texts]
    assert methods == ["low", "replay", "high", "joint"]


def test_a_study_may_ask_for_fractions(four):
    assert result_table(analyse(four(number="fraction"))).texts[0][1:3] == (
        "0.8500 ± 0.0141",
        "+0.0500",
    )


def test_intervals_can_be_left_out(make_method, make_study):
    methods = [make_method("replay", SIX), make_method("ewc", [0.7, 0.6, 0.7, 0.6, 0.7, 0.6])]
    analysis = analyse(make_study(methods))
    (c,) = analysis.comparisons
    interval = f"{100 * c.ci_low:.1f} to {100 * c.ci_high:.1f}"
    assert result_table(analysis).texts[1][3] == interval
    assert interval not in result_table(analysis, with_intervals=False).texts[1]


def test_failed_seeds_are_counted_and_refusals_grouped_by_reason(four):
    study = four(comparisons=())
    lost = replace(study.methods[2], failures={100: "boom"})
    analysis = analyse(replace(study, methods=[*study.methods[:2], lost, study.methods[3]]))
    table = result_table(analysis)
    assert table.headings[1] == "n"
    assert [row[:3] for row in table.texts if row[0] == "replay"] == [
        ("replay", "5, 1 failed", "-"),
    ]
    (reason,) = refusals(analysis)
    assert reason.startswith("No verdict for low, high: failed seeds of replay: 100 (boom)")


def test_without_a_common_reference_there_are_no_differences(four):
    pairs = (("low", "replay"), ("joint", "high"))
    table = result_table(analyse(four(comparisons=pairs)))
    assert table.headings == ("method", "average accuracy (%)")
    assert table.caption.endswith("seeds.")


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (-0.008, -0.0004, "-0.80 to -0.04"),  # not "-0.8 to 0.0"
        (-0.02, -0.01001, "-2.000 to -1.001"),  # beyond a margin of 1 point
        (-0.02, -0.01, "-2.0 to -1.0"),
        (0.0312, 0.0498, "3.1 to 5.0"),
    ],
)
def test_a_rounded_interval_shows_the_side_of_zero_and_of_the_margin(four, low, high, shown):
    analysis = analyse(four())
    named = replace(analysis.comparisons[0], ci_low=low, ci_high=high)
    table = result_table(replace(analysis, comparisons=(named,)))
    assert [row[3] for row in table.texts if row[0] == "high"] == [shown]


def test_the_reference_is_that_of_the_comparisons(four):
    rows = result_table(analyse(four(reference="low"))).texts
    assert [row[0] for row in rows if row[-1] == "reference"] == ["replay"]


def test_a_bound_that_is_compared_has_no_untested_distance_too(four):
    analysis = analyse(four(comparisons=(("joint", "replay"),)))
    assert [row[-1] for row in result_table(analysis).texts if row[0] == "joint"] == [
        "better by more than the margin"
    ]
    assert {gap.method for gap in analysis.gaps} == {"low", "high"}


def test_a_pair_the_other_way_round_is_the_same_comparison(four):
    study = four(planned_comparisons=(("replay", "high"), ("low", "replay")))
    assert analyse(study).rules.family_size == 2
