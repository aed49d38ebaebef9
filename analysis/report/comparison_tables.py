"""Tables of the family's comparisons: the verdicts, and the evidence behind the verdicts."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from analysis import numbers
from analysis.one_study.analyse import Analysis, Comparison
from analysis.report.blocks import Table
from analysis.report.captions import name_of_test, protocol, units
from analysis.report.columns import Column, merged, number_column, two_decimals
from analysis.statistics.estimates import Wins

METHOD = Column[Comparison]("method", "method")
AGAINST = Column[Comparison]("", "against", attrgetter("reference"))
VERDICTS, EVIDENCE, NEITHER = range(3)  # the table of the report that shows a column
_DIFFERENCES = (
    "Differences are method - {reference} over shared {units}. The interval is simultaneous: with "
    "{level} probability the intervals of all {m} hold their true differences, if the differences "
    "of {units} are symmetric. The verdict is read off the interval. {source} p adjusted: {test}, "
    "times the number of comparisons. P(win): paired "
    "probability of outperforming {reference} (ties count half), with the Wilson interval of "
    "each comparison by itself. "
)
_FROM_SIGN_FLIPS = "The interval holds every difference that the sign-flip test does not reject."
_FROM_BETS = (
    "The interval holds every difference that the anytime-valid test does not reject, and holds "
    "its level after any number of {units}."
)
_FROM_T = (
    "The interval is a t-interval, which assumes normal differences: the exact test cannot decide "
    "with so few {units}."
)
_SIGN_FLIPS = "sign-flip permutation test on the mean (from 17 {units} on with 99,999 random flips)"
_BETS = (
    "anytime-valid test (2 / e, where e is the largest e-value so far of bets on the sign of each "
    "{unit}'s difference)"
)
_EVIDENCE = (
    "The t test and the t-interval assume normal differences. Hedges g_z: mean difference in "
    "standard deviations of the differences, small-sample corrected. rho: correlation of the "
    "paired scores. MDE: smallest true difference seen with 80 % power, given the observed spread. "
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
        f"Comparisons with {analysis.common_reference}"
        if analysis.common_reference
        else "Comparisons",
        (METHOD, *(column for table, column in _columns(analysis) if table == VERDICTS)),
        analysis.comparisons,
        _differences(analysis) + protocol(analysis),
        "comparisons",
    )


def evidence_table(analysis: Analysis) -> Table:
    """Return the evidence behind the verdicts: unadjusted tests, effect sizes, power."""
    return Table(
        "Behind the verdicts",
        (
            METHOD,
            *(() if analysis.common_reference else (AGAINST,)),
            *(column for table, column in _columns(analysis) if table == EVIDENCE),
        ),
        analysis.comparisons,
        f"Neither p nor interval is adjusted. {_EVIDENCE}",
        "evidence",
    )


def gap_table(analysis: Analysis) -> Table:
    """Return the distance of each method from each offline bound."""
    level, form = numbers.percent(analysis.rules.confidence), analysis.form
    unit = form.unit_of_differences
    return Table(
        "Distance from the offline bounds",
        (
            Column("bound", "offline bound"),
            METHOD,
            number_column("n", "n", format=str),
            number_column("difference", f"bound - method{unit}", format=form.value),
            *merged(f"{level} CI", form.interval, "ci_low", "ci_high"),
        ),
        analysis.gaps,
        "An offline bound is trained on all tasks at once from the start: it is no competitor and "
        "is not tested. Each t-interval is that of one distance by itself.",
        "gaps",
    )


def evidence_file_table(analysis: Analysis) -> Table:
    """Return the evidence for files, with columns that no page shows."""
    tests = ("method", "reference", "n", "sd", "p_floor", "p_exact", "p_t", "p_t_adjusted")
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
    form, unit = analysis.form, analysis.form.unit_of_differences
    level, p, wins = numbers.percent(analysis.rules.confidence), numbers.p_value, attrgetter("wins")
    simultaneous, t_interval = f"simultaneous {level} interval", f"{level} t-interval"
    g = attrgetter("hedges_g", "g_low", "g_high")
    return (
        (NEITHER if analysis.common_reference else VERDICTS, Column("reference", "against")),
        (VERDICTS, number_column("", "n", attrgetter("n"), str)),  # the last but one in files
        (VERDICTS, number_column("difference", f"difference{unit}", format=form.value)),
        *(
            (VERDICTS, column)
            for column in merged(simultaneous, form.interval, "ci_low", "ci_high")
        ),
        (EVIDENCE, number_column("p_exact", f"p of the {name_of_test(analysis)}", format=p)),
        (VERDICTS, number_column("p_adjusted", "p adjusted", format=p)),
        (EVIDENCE, number_column("p_t", "p of the t test", format=p)),
        *((EVIDENCE, column) for column in merged(t_interval, form.interval, "t_low", "t_high")),
        (NEITHER, Column("hedges_g")),
        (EVIDENCE, number_column("", f"Hedges g_z ({level} CI)", g, _effect)),
        (NEITHER, Column("p_win", value=_from_wins("share"))),
        (VERDICTS, number_column("", f"P(win) ({level} CI)", wins, won_share)),
        (EVIDENCE, number_column("", "won / tied / lost", wins, won_tied_lost)),
        (EVIDENCE, number_column("", "rho", attrgetter("rho"), two_decimals)),
        (EVIDENCE, number_column("", f"MDE{unit}", attrgetter("mde"), form.value)),
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


def _effect(effect: tuple[float | None, float, float]) -> str | None:
    g, low, high = effect
    return None if g is None else f"{two_decimals(g)} ({numbers.interval(low, high, 2)})"


def _from_wins(name: str) -> Callable[[Comparison], Any]:
    return lambda comparison: comparison.wins and getattr(comparison.wins, name)


def _differences(analysis: Analysis) -> str:
    rules = analysis.rules
    compared = [c for c in analysis.comparisons if c.ci_low is not None]
    by_test, test = (_FROM_BETS, _BETS) if rules.is_anytime else (_FROM_SIGN_FLIPS, _SIGN_FLIPS)
    sources = {_FROM_T if rules.capped(c.n) else by_test for c in compared}
    text = _DIFFERENCES.format(
        units=units(analysis),
        level=numbers.percent(rules.confidence),
        m=numbers.count(rules.family_size, "comparison"),
        reference=analysis.common_reference or "the other method",
        source=" ".join(sorted(sources)).format(units=units(analysis)),
        test=test.format(units=units(analysis), unit=analysis.record.unit),
    )
    return text + _no_spread(analysis) + _imputed(analysis)


def _no_spread(analysis: Analysis) -> str:
    """Return a sentence on the numbers that identical differences leave undefined."""
    if not any(c.identical for c in analysis.comparisons):
        return ""
    unit = analysis.record.unit
    return f"The same difference on every {unit}: no interval, t test, g_z or MDE. "


def _imputed(analysis: Analysis) -> str:
    """Return a sentence on comparisons in which failed seeds count as a score."""
    if not any(c.imputed for c in analysis.comparisons):
        return ""
    return (
        f"Where failed {units(analysis)} count as a score: no interval, t test, g_z or MDE; the "
        "verdict is read off p adjusted. "
    )
