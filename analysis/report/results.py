"""The answer of a study in one table: methods by result, with their differences and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from analysis import numbers
from analysis.metrics import METRICS
from analysis.one_study.analyse import Analysis, Comparison, Gap, MethodRow
from analysis.report.blocks import Table
from analysis.report.captions import units
from analysis.report.columns import Column, number_column

REFERENCE, BOUND = "reference", "bound, not tested"  # in the place of a verdict


@dataclass(frozen=True)
class Result:
    """A method with its comparison with the common reference, if there is one.

    For an offline bound `comparison` is the distance between the bound and the reference.
    """

    method: MethodRow
    comparison: Comparison | Gap | None
    is_reference: bool

    @property
    def verdict(self) -> str | None:
        """The verdict, or why there is none; None for a method that is not compared."""
        if isinstance(self.comparison, Comparison):
            return self.comparison.verdict
        if self.is_reference:
            return REFERENCE
        return BOUND if self.method.is_offline else None


def result_table(analysis: Analysis, with_intervals: bool = True) -> Table:
    """Return the methods, the best first and offline bounds last.

    Accuracies and their differences are in percent, unless the study file asks for fractions.

    Args:
        with_intervals: also show the intervals of the differences.
    """
    value = in_percent if _is_in_percent(analysis) else numbers.number
    unit = " (%)" if _is_in_percent(analysis) else ""
    metric = analysis.metric.name.replace("_", " ")
    columns = [
        Column("", "method", attrgetter("method.method")),
        *([] if _same_n(analysis) else [Column("", "n", _count, is_number=True)]),
        number_column("", f"{metric}{unit}", attrgetter("method"), partial(_plus_minus, value)),
    ]
    if analysis.common_reference:
        difference = attrgetter("comparison")
        columns.append(number_column("", "difference", difference, partial(_difference, value)))
        if with_intervals:
            shown = partial(_interval, analysis.rules.margin, _is_in_percent(analysis))
            columns.append(number_column("", "interval", difference, shown))
        columns.append(Column("", "verdict", attrgetter("verdict")))
    rows = tuple(sorted(_results(analysis), key=partial(_place, analysis.rules.sign)))
    return Table("", tuple(columns), rows, _caption(analysis, with_intervals), "results")


def in_percent(share: float | None) -> str:
    """Return a share in percent with one decimal.

    >>> in_percent(0.8543), in_percent(-0.0001)
    ('85.4', '0.0')
    """
    return numbers.number(None if share is None else 100 * share, 1)


def _is_in_percent(analysis: Analysis) -> bool:
    accuracy = METRICS["average_accuracy"].unit
    return analysis.record.number == "percent" and analysis.metric.unit == accuracy


def _results(analysis: Analysis) -> list[Result]:
    compared: dict[str, Comparison | Gap] = {}
    if analysis.common_reference:
        bounds = (gap for gap in analysis.gaps if gap.method == analysis.common_reference)
        compared |= {gap.bound: gap for gap in bounds}
        compared |= {c.method: c for c in analysis.comparisons}
    return [
        Result(row, compared.get(row.method), row.method == analysis.common_reference)
        for row in analysis.methods
    ]


def _place(sign: int, result: Result) -> tuple[bool, bool, float]:
    mean = result.method.mean
    return result.method.is_offline, mean is None, -sign * (mean or 0.0)


def _same_n(analysis: Analysis) -> bool:
    return len({row.n for row in analysis.methods}) == 1 and not analysis.failures


def _count(result: Result) -> str:
    row = result.method
    return f"{row.n}, {row.failed} failed" if row.failed else str(row.n)


def _plus_minus(value: Callable[[float | None], str], row: MethodRow) -> str | None:
    if row.mean is None:
        return None
    return value(row.mean) + ("" if row.sd is None else f" ± {value(row.sd)}")


def _difference(value: Callable[[float | None], str], compared: Comparison | Gap) -> str | None:
    if compared.difference is None:
        return None
    text = value(compared.difference)
    return text if text.startswith("-") else f"+{text}"


def _interval(margin: float, is_in_percent: bool, compared: Comparison | Gap) -> str | None:
    """Return the interval with as many decimals as show on which side of 0 and of the margin its
    ends lie.
    """
    if compared.ci_low is None or compared.ci_high is None:
        return None
    scale, fewest = (100, 1) if is_in_percent else (1, 4)
    low, high = scale * compared.ci_low, scale * compared.ci_high
    edges = (-scale * margin, 0.0, scale * margin)
    for decimals in range(fewest, fewest + 4):
        texts = numbers.number(low, decimals), numbers.number(high, decimals)
        if all(map(_on_the_same_side, texts, (low, high), (edges, edges))):
            break
    return " to ".join(texts)


def _on_the_same_side(text: str, value: float, edges: tuple[float, ...]) -> bool:
    """Return whether a rounded number lies on the same side of each edge as the number."""
    return all((float(text) > edge) == (value > edge) for edge in edges) and all(
        (float(text) < edge) == (value < edge) for edge in edges
    )


def _caption(analysis: Analysis, with_intervals: bool) -> str:
    row, rules = analysis.methods[0], analysis.rules
    over = f"{row.n} " if _same_n(analysis) else "n "
    text = f"Mean ± sample standard deviation over {over}confirmation {units(analysis)}. "
    if not analysis.common_reference:
        return text
    value = f"{rules.margin:g}"
    if _is_in_percent(analysis):
        points = f"{100 * rules.margin:g}"
        value = f"{points} point{'' if points == '1' else 's'}"
    margin = f", against a margin of {value}" if rules.margin > 0 else ""
    level, m = numbers.percent(rules.confidence), rules.family_size
    shown = "interval" if with_intervals else "interval of the difference"
    return (
        f"{text}Difference to {analysis.common_reference}; the verdict is read off the {shown}, "
        f"simultaneous over {numbers.count(m, 'comparison')} ({level}){margin}."
        + (
            " The interval of a bound is a t-interval by itself."
            if with_intervals and any(row.is_offline for row in analysis.methods)
            else ""
        )
    )
