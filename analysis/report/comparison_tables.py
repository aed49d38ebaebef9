"""The pre-set family as neutral tables of strings: verdicts, and the evidence behind them."""

from __future__ import annotations

from dataclasses import replace

from analysis import wording
from analysis.one_study.analyse import Analysis, Comparison
from analysis.report import table_columns
from analysis.report.blocks import Table
from analysis.report.captions import protocol, units

_COUNTED = ("won / tied / lost", "rho", "MDE")
_DIFFERENCES = (
    "Differences are method - reference over shared {units}, with the paired t-interval. p exact: "
    "sign-flip permutation test on the mean (from 17 {units} on by 99,999 random flips), "
    "Holm-adjusted over {m}. P(win): paired "
    "probability of outperforming the reference (ties count half), Wilson interval; meaningful "
    "where that excludes 0.5 and reaches beyond 0.75. "
)
_EVIDENCE = (
    "The t test assumes normal differences. Hedges g_z: mean difference in standard deviations of "
    "the differences, small-sample corrected. rho: correlation of the paired scores. MDE: "
    "smallest true difference seen with 80 % power, from the spread seen. "
)


def comparison_table(analysis: Analysis) -> Table:
    """The pre-set family: each method against the reference, with everything known."""
    return Table(
        "Comparisons",
        _comparison_columns(analysis),
        tuple(_comparison_row(c) for c in analysis.comparisons),
        _differences(analysis) + _EVIDENCE + protocol(analysis),
        "comparisons",
    )


def verdict_table(analysis: Analysis) -> Table:
    """Of the comparisons, what a reader decides by."""
    level, family = _level(analysis), _holm(analysis)
    columns = ("n", "difference", f"{level} CI", family, f"P(win) ({level} CI)", "verdict")
    return replace(
        table_columns.pick(comparison_table(analysis), ("method", *columns)),
        title=f"Comparisons with {analysis.record.reference}",
        caption=_differences(analysis) + protocol(analysis),
    )


def evidence_table(analysis: Analysis) -> Table:
    """Of the comparisons, what stands behind the verdicts."""
    unadjusted = ("p exact", "t (assumes normal differences)")
    effect = f"Hedges g_z ({_level(analysis)} CI)"
    return replace(
        table_columns.pick(comparison_table(analysis), ("method", *unadjusted, effect, *_COUNTED)),
        title="Behind the verdicts",
        caption=f"Neither p is adjusted. {_EVIDENCE}".strip(),
        name="evidence",
    )


def _level(analysis: Analysis) -> str:
    return wording.percent(analysis.rules.confidence)


def _holm(analysis: Analysis) -> str:
    return f"p exact, Holm (m = {analysis.rules.comparisons})"


def _differences(analysis: Analysis) -> str:
    family = wording.count(analysis.rules.comparisons, "comparison")
    return _DIFFERENCES.format(units=units(analysis), m=family) + _no_spread(analysis)


def _no_spread(analysis: Analysis) -> str:
    """What is not defined where the differences do not vary."""
    if not any(c.identical for c in analysis.comparisons):
        return ""
    unit = analysis.record.unit
    return f"The same difference on every {unit}: no interval, t test, g_z or MDE. "


def _comparison_columns(analysis: Analysis) -> tuple[str, ...]:
    level = _level(analysis)
    return (
        "method",
        "reference",
        "n",
        "difference",
        f"{level} CI",
        "p exact",
        _holm(analysis),
        "t (assumes normal differences)",
        f"Hedges g_z ({level} CI)",
        f"P(win) ({level} CI)",
        *_COUNTED,
        "verdict",
    )


def _comparison_row(c: Comparison) -> tuple[str, ...]:
    g = f"{wording.number(c.hedges_g, 2)} ({wording.interval(c.g_low, c.g_high, 2)})"
    wins = c.wins
    share = f"{wins.share:.2f} ({wording.interval(wins.low, wins.high, 2)})" if wins else ""
    if wins and wins.meaningful:
        share += ", meaningful"
    return (
        c.method,
        c.reference,
        str(c.n),
        wording.number(c.difference),
        wording.interval(c.ci_low, c.ci_high),
        wording.p_value(c.p_exact),
        wording.p_value(c.p_holm),
        wording.p_value(c.p_t),
        wording.MISSING if c.hedges_g is None else g,
        share or wording.MISSING,
        f"{wins.wins} / {wins.ties} / {wins.losses}" if wins else wording.MISSING,
        wording.number(c.rho, 2),
        wording.number(c.mde),
        c.verdict,
    )
