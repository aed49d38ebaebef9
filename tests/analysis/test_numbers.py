"""How numbers are written."""

from __future__ import annotations

import pytest

from analysis import numbers


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, "-"),
        (0.0, "p < 0.001"),
        (1e-9, "p < 0.001"),
        (0.00099, "p < 0.001"),
        (0.001, "0.001"),
        (0.0124, "0.012"),
        (1.0, "1.000"),
    ],
)
def test_p_values(p, text):
    assert numbers.p_value(p) == text
    if p is not None:
        assert numbers.p_clause(p) == (text if text.startswith("p") else f"p = {text}")


def test_numbers():
    assert numbers.number(0.12345) == "0.1235"
    assert numbers.number(-0.00001) == "0.0000"
    assert numbers.number(None) == "-"
    assert numbers.interval(-0.5, 0.25, 2) == "-0.50 to 0.25"
    assert numbers.interval(None, 1.0) == "-"
    assert numbers.percent(0.95) == "95 %"
    assert numbers.percent(0.995) == "99.5 %"


def test_a_sentence_begins_with_a_capital_and_keeps_the_others():
    assert numbers.begin("SHD speakers") == "SHD speakers"
    assert numbers.begin("seeds of A") == "Seeds of A"


def test_counts_and_seed_lists():
    assert numbers.count(1, "seed") == "1 seed"
    assert numbers.count(2, "seed") == "2 seeds"
    assert numbers.seed_list([3, 1, 2]) == "1, 2, 3"
    assert numbers.seed_list([]) == "none"
    assert numbers.seed_list(range(14)).endswith("11 and 2 more")
