"""Tables of the family's comparisons: the verdicts, and the evidence behind the verdicts."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from analysis import numbers
from analysis.one_study.analyse import Analysis, Comparison
from analysis.report.blocks import Table
from analysis.report.captions import protocol, units
from analysis.report.columns import Column, interval, merged, number_column, two_decimals
from analysis.statistics.estimates import Wins

METHOD = Column[Comparison]("method", "method")
VERDICTS, EVIDENCE, NEITHER = range(3)  # the table of the report that shows a column
_DIFFERENCES = (
    "Differences are method - reference over shared {units}, with the paired t-interval. p exact: "
    "sign-flip permutation test on the mean (from 17 {units} on with 99,999 random flips), "
    "Holm-adjusted over {m}. P(win): paired probability of outperforming the reference (ties count "
    "half), with the Wilson interval; meaningful where the interval excludes 0.5 and reaches "
    "beyond 0.75. "
)
_EVIDENCE = (
    "The t test assumes normal differences. Hedges g_z: mean difference in standard deviations of "
    "the differences, small-sample corrected. rho: correlation of the paired scores. MDE: "
    "smallest true difference seen with 80 % power, given the observed spread. "
)


def comparison_table(analysis: Analysis) -> Table:
    """Return all columns of the comparisons, for files and the terminal."""
    return Table(
        "Comparisons",
        (METHOD, *(column for _, column in _columns(analysis))),
        analysis.comparisons,
        _differences(analysis) + _EVIDENCE + protocol(analysis),
        "comparisons",
    )


def verdict_table(analysis: Analysis) -> Table:
    """Return the verdicts with the numbers that decide."""
    return Table(
        f"Comparisons with {analysis.record.reference}",
        (METHOD, *(column for table, column in _columns(analysis) if table == VERDICTS)),
        analysis.comparisons,
        _differences(analysis) + protocol(analysis),
        "comparisons",
    )


def evidence_table(analysis: Analysis) -> Table:
    """Return the evidence behind the verdicts: unadjusted tests, effect sizes, power."""
    return Table(
        "Behind the verdicts",
        (METHOD, *(column for table, column in _columns(analysis) if table == EVIDENCE)),
        analysis.comparisons,
        f"Neither p is adjusted. {_EVIDENCE}",
        "evidence",
    )


def evidence_file_table(analysis: Analysis) -> Table:
    """Return the evidence for files, with columns that no page shows."""
    tests = ("method", "reference", "n", "sd", "p_floor", "p_exact", "p_t", "p_t_holm", "p_tost")
    effects = ("hedges_g", "g_low", "g_high", "rho", "mde", "seeds_needed", "test_dependent")
    columns = (
        *map(Column, tests + effects),
        *(Column(key, value=_from_wins(key)) for key in ("wins", "ties", "losses")),
        Column("win_low", value=_from_wins("low")),
        Column("win_high", value=_from_wins("high")),
    )
    return Table("", columns, analysis.comparisons, name="evidence")


def _columns(analysis: Analysis) -> tuple[tuple[int, Column[Comparison]], ...]:
    """Return the columns beside the method, each with the table of the report that shows it."""
    level, m = numbers.percent(analysis.rules.confidence), analysis.rules.family_size
    p, wins = numbers.p_value, attrgetter("wins")
    g = attrgetter("hedges_g", "g_low", "g_high")
    return (
        (NEITHER, Column("reference", "reference")),
        (VERDICTS, number_column("", "n", attrgetter("n"), str)),  # the last but one in files
        (VERDICTS, number_column("difference", "difference")),
        *((VERDICTS, column) for column in merged(f"{level} CI", interval, "ci_low", "ci_high")),
        (EVIDENCE, number_column("p_exact", "p exact", format=p)),
        (VERDICTS, number_column("p_holm", f"p exact, Holm (m = {m})", format=p)),
        (EVIDENCE, number_column("p_t", "t (assumes normal differences)", format=p)),
        (NEITHER, Column("hedges_g")),
        (EVIDENCE, number_column("", f"Hedges g_z ({level} CI)", g, _effect)),
        (NEITHER, Column("p_win", value=_from_wins("share"))),
        (VERDICTS, number_column("", f"P(win) ({level} CI)", wins, _meaningful)),
        (EVIDENCE, number_column("", "won / tied / lost", wins, won_tied_lost)),
        (EVIDENCE, number_column("", "rho", attrgetter("rho"), two_decimals)),
        (EVIDENCE, number_column("", "MDE", attrgetter("mde"))),
        (VERDICTS, Column("verdict", "verdict")),
        (NEITHER, Column("n")),
        (NEITHER, Column("reason")),
    )


def won_share(wins: Wins) -> str:
    """Return P(win) with the interval."""
    return f"{wins.share:.2f} ({numbers.interval(wins.low, wins.high, 2)})"


def won_tied_lost(wins: Wins) -> str:
    """Return the numbers of seeds won, tied and lost."""
    return f"{wins.wins} / {wins.ties} / {wins.losses}"


def _meaningful(wins: Wins) -> str:
    return won_share(wins) + (", meaningful" if wins.meaningful else "")


def _effect(effect: tuple[float | None, float, float]) -> str | None:
    g, low, high = effect
    return None if g is None else f"{two_decimals(g)} ({numbers.interval(low, high, 2)})"


def _from_wins(name: str) -> Callable[[Comparison], Any]:
    return lambda comparison: comparison.wins and getattr(comparison.wins, name)


def _differences(analysis: Analysis) -> str:
    family = numbers.count(analysis.rules.family_size, "comparison")
    return _DIFFERENCES.format(units=units(analysis), m=family) + _no_spread(analysis)


def _no_spread(analysis: Analysis) -> str:
    """Return a sentence on the numbers that identical differences leave undefined."""
    if not any(c.identical for c in analysis.comparisons):
        return ""
    unit = analysis.record.unit
    return f"The same difference on every {unit}: no interval, t test, g_z or MDE. "
