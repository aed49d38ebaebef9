"""The answer of a study in a few sentences: what scores best, by how much, how sure that is, and
what speaks against it.
"""

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

CAUTIONS = "Before you believe this"  # title of the section on reasons for doubt
MOST_PAIRS = 6  # comparisons with a sentence each; more are grouped by verdict


def headline(analysis: Analysis) -> tuple[str, ...]:
    """Return the answer in sentences, the most important first, and the reasons for doubt."""
    return (*answer(analysis), *_doubts(analysis))


def answer(analysis: Analysis) -> tuple[str, ...]:
    """Return the answer in sentences, the most important first."""
    if not any(row.mean is not None for row in analysis.methods):
        return ("There are no confirmation scores yet.",)
    if not analysis.comparisons:
        return (_leader(analysis), "Nothing was compared.")
    if not analysis.common_reference and len(analysis.comparisons) <= MOST_PAIRS:
        verdicts = [_sentence(comparison, analysis) for comparison in analysis.comparisons]
    else:
        verdicts = [_leader(analysis), *_by_verdict(analysis), *_bounds(analysis)]
    return (*verdicts, *_certainty(analysis))


def _leader(analysis: Analysis) -> str:
    """Return a sentence on the method that scores best, and its difference to the reference."""
    ranked = _ranked(analysis)
    if not ranked:
        return "Only offline bounds have scores."
    best, reference = ranked[0], analysis.common_reference
    score, metric = analysis.form.with_unit(best.mean), analysis.form.name
    if best.method == reference:
        near = [c.method for c in analysis.comparisons if c.verdict == INCONCLUSIVE]
        told = f"; not told apart from it: {', '.join(near)}" if near else ""
        return f"The reference {reference} scores best: {metric} {score}{told}."
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
    form = analysis.form
    difference = form.difference(c.difference)
    if difference is None:
        return ""
    interval = form.interval_of_difference((c.ci_low, c.ci_high), analysis.rules.margin)
    unit = " points" if form.in_percent else ""
    return f" ({difference}{unit}{f', interval {interval}' if interval else ''})"


def _sentence(c: Comparison, analysis: Analysis) -> str:
    return f"{c.method} is {_words(c)}{_amount(c, analysis)}."


def _by_verdict(analysis: Analysis) -> list[str]:
    """Return the methods of each verdict, the best verdicts first, without what the first sentence
    says.
    """
    groups: dict[str, list[Comparison]] = {}
    for comparison in sorted(analysis.comparisons, key=lambda c: _rank(c, analysis)):
        groups.setdefault(comparison.verdict, []).append(comparison)
    ranked, reference = _ranked(analysis), analysis.common_reference
    leader = ranked[0].method if ranked and reference else ""
    return [
        _sentence(group[0], analysis) if len(group) == 1 else _group(group, analysis)
        for group in groups.values()
        if [c.method for c in group] != [leader]
    ]


def _group(group: list[Comparison], analysis: Analysis) -> str:
    """Return a sentence on several comparisons of one verdict, with their differences."""
    verdict = _words(group[0]) if analysis.common_reference else group[0].verdict
    differences = [(analysis.label(c), analysis.form.difference(c.difference)) for c in group]
    listed = ", ".join(f"{label} {d}" if d else label for label, d in differences)
    is_in_points = analysis.form.in_percent and any(d for _, d in differences)
    return f"{numbers.begin(verdict)}: {listed}{' points' if is_in_points else ''}."


def _rank(c: Comparison, analysis: Analysis) -> float:
    missing = c.difference is None or c.verdict == NO_VERDICT
    return float("inf") if missing else -analysis.rules.sign * (c.difference or 0.0)


def _bounds(analysis: Analysis) -> list[str]:
    """Return a sentence on the offline bounds, if there are any."""
    bounds = [row for row in analysis.methods if row.is_offline and row.mean is not None]
    reached = [f"{row.method} {analysis.form.with_unit(row.mean)}" for row in bounds]
    if not reached:
        return []
    role = "an upper bound and no competitor" if len(reached) == 1 else "upper bounds"
    return [f"Trained on all tasks at once, {role}: {', '.join(reached)}."]


def _certainty(analysis: Analysis) -> list[str]:
    """Return a sentence on what the verdicts rest on; nothing without scores."""
    counts = sorted({c.n for c in analysis.comparisons if c.n})
    if not counts:
        return []
    seeds = numbers.count(counts[-1], analysis.record.unit)
    seeds = seeds if len(counts) == 1 else f"{counts[0]} to {seeds}"
    level, m = numbers.percent(analysis.rules.confidence), analysis.rules.family_size
    parts = [f"Over {seeds}"]
    if any(c.ci_low is not None for c in analysis.comparisons):
        at_once = f"s of all {m} comparisons hold at once" if m > 1 else " of the difference"
        parts.append(f"{level} interval{at_once}")
    if analysis.rules.margin > 0:
        parts.append(f"margin: {analysis.form.points(analysis.rules.margin)}")
    return [f"{'; '.join(parts)}."]


def _doubts(analysis: Analysis) -> list[str]:
    """Return a sentence that names the reasons for doubt, if there are any and scores, too."""
    if not analysis.cautions or all(row.mean is None for row in analysis.methods):
        return []
    doubts = "; ".join(caution.doubt for caution in analysis.cautions)
    return [f"Reasons for doubt (see {CAUTIONS}): {doubts}."]
