"""The form of numbers, p-values and seeds in every report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MISSING = "-"
MOST_SEEDS_LISTED = 12


def number(value: float | None, decimals: int = 4) -> str:
    """Return the rounded value; a dash for None, never a negative zero.

    >>> number(0.98765), number(-0.00001), number(None)
    ('0.9877', '0.0000', '-')
    """
    if value is None:
        return MISSING
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def p_value(p: float | None, name: str = "p") -> str:
    """Return three decimals, or `p < 0.001`, never 0.000; without the name under a heading."""
    if p is None:
        return MISSING
    return f"{name} < 0.001".lstrip() if p < 0.001 else f"{p:.3f}"


def p_clause(p: float) -> str:
    """Return a p-value for a sentence: `p < 0.001` or `p = 0.012`."""
    return p_value(p) if p < 0.001 else f"p = {p_value(p)}"


def interval(low: float | None, high: float | None, decimals: int = 4) -> str:
    """Return `low to high`, or a dash."""
    if low is None or high is None:
        return MISSING
    return f"{number(low, decimals)} to {number(high, decimals)}"


def percent(share: float) -> str:
    """Return a share as a percentage without trailing zeros: `95 %`, `99.5 %`."""
    return f"{100 * share:.4g} %"


def duration(seconds: float) -> str:
    """Return a time in a readable unit.

    >>> duration(75), duration(600), duration(9000)
    ('75 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(amount: float) -> str:
    """Return bytes in decimal units.

    >>> size(0), size(500), size(1000), size(20_300_000)
    ('0', '500 B', '1 kB', '20.3 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(amount) >= factor:
            return f"{amount / factor:.3g} {unit}"
    return f"{amount:.3g} B" if amount else "0"


def count(amount: int, noun: str) -> str:
    """Return an amount with the noun: `1 seed`, `2 seeds`."""
    return f"{amount} {noun if amount == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return the plural of a noun: seeds, classes, entries, days."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def enumeration(items: Sequence[str]) -> str:
    """Return items in a sentence.

    >>> enumeration(["weights", "batches", "memory"])
    'weights, batches and memory'
    """
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def begin(text: str) -> str:
    """Return the text with a capital first letter; `str.capitalize` would lower the others."""
    return text[:1].upper() + text[1:]


def seed_list(seeds: Iterable[int]) -> str:
    """Return seeds or other units in ascending order, at most 12 of them, and the number left out.

    >>> seed_list(range(14))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more'
    """
    ordered = sorted(seeds)
    if not ordered:
        return "none"
    listed = ", ".join(str(seed) for seed in ordered[:MOST_SEEDS_LISTED])
    rest = len(ordered) - MOST_SEEDS_LISTED
    return f"{listed} and {rest} more" if rest > 0 else listed
