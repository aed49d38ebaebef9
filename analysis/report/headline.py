"""The answer of a study in a few sentences: what scores best, by how much, and how sure that is."""

from __future__ import annotations

from analysis import numbers
from analysis.one_study.analyse import Analysis, Comparison, MethodRow
from analysis.one_study.verdicts import (
    BETTER,
    EQUIVALENT,
    IDENTICAL,
    INCONCLUSIVE,
    NO_VERDICT,
    SUGGESTIVE,
    WORSE,
)
from analysis.report import values

MOST_PAIRS = 6  # comparisons with a sentence each; more are grouped by verdict


def headline(analysis: Analysis) -> tuple[str, ...]:
    """Return the answer in sentences, the most important first."""
    if not any(row.mean is not None for row in analysis.methods):
        return ("There are no confirmation scores yet.",)
    if not analysis.comparisons:
        return (_leader(analysis), "Nothing was compared.")
    if not analysis.common_reference and len(analysis.comparisons) <= MOST_PAIRS:
        return tuple(_sentence(comparison, analysis) for comparison in analysis.comparisons)
    return (_leader(analysis), *_by_verdict(analysis), *_bounds(analysis))


def _leader(analysis: Analysis) -> str:
    """Return a sentence on the method that scores best, and its difference to the reference."""
    ranked = _ranked(analysis)
    if not ranked:
        return "Only offline bounds have scores."
    best, reference = ranked[0], analysis.common_reference
    score = values.with_unit(analysis, best.mean)
    metric = analysis.metric.name.replace("_", " ")
    if best.method == reference:
        return f"No method scores better than the reference {reference}: {metric} {score}."
    text = f"{best.method} scores best: {metric} {score}"
    found = [c for c in analysis.comparisons if c.method == best.method]
    if not found or not reference:
        return f"{text}."
    return f"{text}, {_words(found[0])}{_amount(found[0], analysis)}."


def _ranked(analysis: Analysis) -> list[MethodRow]:
    rows = [row for row in analysis.methods if row.mean is not None and not row.is_offline]
    return sorted(rows, key=lambda row: -analysis.rules.sign * (row.mean or 0.0))


def _words(c: Comparison) -> str:
    """Return the verdict as words that end with what the method is compared with."""
    word = c.verdict.removeprefix(SUGGESTIVE)
    for start in (BETTER, WORSE):
        if word.startswith(start):
            rest = word.removeprefix(start).removeprefix(",")
            return f"{start} than {c.reference}{rest}{_hint(c)}"
    phrases = {
        EQUIVALENT: f"equivalent to {c.reference} within the margin",
        IDENTICAL: f"equal to {c.reference}",
        INCONCLUSIVE: f"not told apart from {c.reference}",
        NO_VERDICT: f"without a verdict against {c.reference}",
    }
    return phrases[word] + _hint(c)


def _hint(c: Comparison) -> str:
    return ", a suggestion only" if c.verdict.startswith(SUGGESTIVE) else ""


def _amount(c: Comparison, analysis: Analysis) -> str:
    """Return the difference with its interval in brackets; empty without a difference."""
    difference = values.difference(analysis, c)
    if difference is None:
        return ""
    interval = values.interval(analysis, c)
    unit = " points" if values.is_in_percent(analysis) else ""
    return f" ({difference}{unit}{f', interval {interval}' if interval else ''})"


def _sentence(c: Comparison, analysis: Analysis) -> str:
    return f"{c.method} is {_words(c)}{_amount(c, analysis)}."


def _by_verdict(analysis: Analysis) -> list[str]:
    """Return the methods of each verdict, the best verdicts first."""
    labels: dict[str, list[str]] = {}
    for comparison in sorted(analysis.comparisons, key=lambda c: _rank(c, analysis)):
        labels.setdefault(comparison.verdict, []).append(analysis.label(comparison))
    reference = analysis.common_reference
    against = f"Against {reference}, " if reference else ""
    return [f"{numbers.begin(f'{against}{v}')}: {', '.join(names)}." for v, names in labels.items()]


def _rank(c: Comparison, analysis: Analysis) -> float:
    missing = c.difference is None or c.verdict == NO_VERDICT
    return float("inf") if missing else -analysis.rules.sign * (c.difference or 0.0)


def _bounds(analysis: Analysis) -> list[str]:
    """Return a sentence on the offline bounds, if there are any."""
    bounds = [row for row in analysis.methods if row.is_offline and row.mean is not None]
    reached = [f"{row.method} {values.with_unit(analysis, row.mean)}" for row in bounds]
    if not reached:
        return []
    kind = "an offline bound" if len(reached) == 1 else "offline bounds"
    return [f"Trained on all tasks at once ({kind}): {', '.join(reached)}."]
