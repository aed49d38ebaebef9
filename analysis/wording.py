"""How numbers, p-values and seeds are written, in every rendering."""

from __future__ import annotations

from collections.abc import Iterable

MISSING = "-"
MOST_SEEDS_LISTED = 12


def number(value: float | None, decimals: int = 4) -> str:
    """The value to so many decimals; a dash for None, and no negative zero."""
    if value is None:
        return MISSING
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def p_value(p: float | None, name: str = "p") -> str:
    """`p < 0.001` or three decimals, never 0.000."""
    if p is None:
        return MISSING
    return f"{name} < 0.001" if p < 0.001 else f"{p:.3f}"


def p_clause(p: float) -> str:
    """The p-value inside a sentence: `p < 0.001` or `p = 0.012`."""
    return p_value(p) if p < 0.001 else f"p = {p_value(p)}"


def interval(low: float | None, high: float | None, decimals: int = 4) -> str:
    """`low to high`, or a dash."""
    if low is None or high is None:
        return MISSING
    return f"{number(low, decimals)} to {number(high, decimals)}"


def percent(share: float) -> str:
    """A share as a percentage without needless decimals."""
    return f"{100 * share:.4g} %"


def count(amount: int, noun: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{amount} {noun if amount == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """More than one: seeds, classes."""
    if noun.endswith("ry"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def begin(text: str) -> str:
    """The text as it begins a sentence; `str.capitalize` would lower its other letters."""
    return text[:1].upper() + text[1:]


def seed_list(seeds: Iterable[int]) -> str:
    """Seeds (or other units) in order, the tail of a long list counted instead of listed."""
    ordered = sorted(seeds)
    if not ordered:
        return "none"
    listed = ", ".join(str(seed) for seed in ordered[:MOST_SEEDS_LISTED])
    rest = len(ordered) - MOST_SEEDS_LISTED
    return f"{listed} and {rest} more" if rest > 0 else listed
