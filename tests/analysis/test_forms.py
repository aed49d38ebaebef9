"""The form of a metric's values: percent or fractions, decimals, units, signs."""

from __future__ import annotations

import pytest

from analysis.forms import form_of

PERCENT = form_of("average_accuracy", "percent")
FRACTION = form_of("average_accuracy", "fraction")


@pytest.mark.parametrize(
    ("form", "heading", "value", "mean", "points"),
    [
        (PERCENT, "average accuracy (%)", "12.35", "12.3", "12.3 points"),
        (FRACTION, "average accuracy", "0.1235", "0.1235", "0.123"),
    ],
)
def test_a_value_and_its_size(form, heading, value, mean, points):
    assert (form.heading, form.value(0.12347), form.mean(0.12347)) == (heading, value, mean)
    assert form.points(0.12347) == points


def test_the_units_of_values_and_of_differences_differ():
    assert PERCENT.with_unit(0.854) == "85.4 %"
    assert PERCENT.unit_of_differences == " (points)"
    assert PERCENT.points(0.01) == "1 point"
    assert PERCENT.points(0.00012) == "0.012 points"
    assert (FRACTION.with_unit(0.854), FRACTION.unit_of_differences) == ("0.8540", "")


def test_only_shares_are_in_percent():
    assert form_of("forgetting", "percent").in_percent
    ratio = form_of("retention_ratio", "percent")
    assert ratio.in_percent is False
    assert ratio.plus_minus((1.0, 0.5)) == "1.0000 ± 0.5000"


@pytest.mark.parametrize(
    ("pair", "text"), [((0.5, 0.25), "50.0 ± 25.0"), ((0.5, None), "50.0"), ((None, None), None)]
)
def test_plus_minus(pair, text):
    assert PERCENT.plus_minus(pair) == text


def test_what_is_missing_stays_missing():
    assert PERCENT.value(None) == "-"
    assert PERCENT.difference(None) is None
    assert PERCENT.with_error((None, 0.1)) is None
    assert PERCENT.with_error((0.1, None)) == "10.00"
    assert PERCENT.interval((0.1, None)) is None
    assert PERCENT.interval_of_difference((None, 0.1), 0.01) is None


def test_a_difference_has_a_sign_and_no_negative_zero():
    signs = [PERCENT.difference(x) for x in (0.012, -0.012, 0.0001, -0.0001)]
    assert signs == ["+1.2", "-1.2", "+0.0", "+0.0"]


@pytest.mark.parametrize(
    ("ends", "margin", "text"),
    [
        ((0.01, 0.02), 0.005, "1.0 to 2.0"),
        ((0.0002, 0.02), 0.005, "0.02 to 2.00"),  # above 0
        ((-0.02, 0.0049), 0.005, "-2.00 to 0.49"),  # below the margin
        ((-0.00004, 0.02), 0.0, "-0.004 to 2.000"),  # below 0
    ],
)
def test_an_interval_shows_on_which_side_of_zero_and_margin_it_ends(ends, margin, text):
    assert PERCENT.interval_of_difference(ends, margin) == text
