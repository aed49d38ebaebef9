"""The answer of a study in one table: methods by result, with their differences and verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from analysis import numbers
from analysis.forms import Ends
from analysis.one_study.analyse import Analysis, Comparison, Gap, MethodRow
from analysis.one_study.verdicts import Rules
from analysis.report.blocks import Table
from analysis.report.captions import units
from analysis.report.columns import Column, number_column

FORGETTING = "forgetting"
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
    """Return the methods, the best first and offline bounds last, for the terminal.

    Args:
        with_intervals: also show the intervals of the differences.
    """
    return Table(
        "",
        (*_scores(analysis), *_comparisons(analysis, with_intervals), *_verdicts(analysis)),
        sorted_results(analysis),
        _caption(analysis, with_intervals),
        "results",
    )


def page_table(analysis: Analysis) -> Table:
    """Return the methods, the best first and offline bounds last, with what they cost."""
    return Table(
        "Methods",
        (
            *_scores(analysis),
            *_verdicts(analysis),  # here, to be seen on a narrow screen
            *_comparisons(analysis, True, analysis.form.unit_of_differences),
            *_adjusted(analysis),
            *_forgetting(analysis),
            *_costs(analysis),
            *_of_files(analysis),
        ),
        sorted_results(analysis),
        f"{_caption(analysis, with_intervals=True)} {_cost_caption(analysis)}",
        "results",
    )


def _scores(analysis: Analysis) -> list[Column[Result]]:
    return [
        Column("", "method", attrgetter("method.method")),
        *([] if _same_n(analysis) else [Column("", "n", _count, is_number=True)]),
        number_column(
            "",
            analysis.form.heading,
            attrgetter("method.mean", "method.sd"),
            analysis.form.plus_minus,
        ),
    ]


def _verdicts(analysis: Analysis) -> list[Column[Result]]:
    """Return the column of the verdicts against the common reference, if there is one."""
    return [Column("", "verdict", attrgetter("verdict"))] if analysis.common_reference else []


def _comparisons(
    analysis: Analysis, with_intervals: bool, unit: str = ""
) -> Iterator[Column[Result]]:
    """Yield the columns of the differences to the common reference, if there is one.

    Args:
        unit: for the headings, where there is room.
    """
    if not analysis.common_reference:
        return
    form = analysis.form
    difference = partial(_of_comparison, "difference")
    yield number_column("", f"difference{unit}", difference, form.difference)
    if with_intervals:
        interval = partial(form.interval_of_difference, margin=analysis.rules.margin)
        yield number_column("", f"interval{unit}", _ends, interval)


def _adjusted(analysis: Analysis) -> list[Column[Result]]:
    """Return the column of the adjusted p, if there is a common reference."""
    p, text = partial(_adjusted_p, analysis.rules), partial(numbers.p_value, name="")
    column = number_column("", "adjusted p", p, text, lower_is_better=True)
    return [column] if analysis.common_reference else []


def _of_files(analysis: Analysis) -> Iterator[Column[Result]]:
    """Yield the columns of the file: the same numbers, not rounded."""
    for key in ("method", "n", "failed", "mean", "sd"):
        yield Column(key, value=attrgetter(f"method.{key}"))
    for key in ("difference", "ci_low", "ci_high"):
        yield Column(key, value=partial(_of_comparison, key))
    yield Column("p_adjusted", value=partial(_adjusted_p, analysis.rules))
    yield Column("verdict", value=attrgetter("verdict"))
    yield Column(FORGETTING, value=partial(_mean_forgetting, analysis))
    for key in ("held", "seconds"):
        yield Column(key, value=attrgetter(f"method.{key}"))


def _of_comparison(key: str, result: Result) -> float | None:
    return getattr(result.comparison, key, None)


def _ends(result: Result) -> Ends:
    return _of_comparison("ci_low", result), _of_comparison("ci_high", result)


def _mean_forgetting(analysis: Analysis, result: Result) -> float | None:
    row = analysis.score_of(result.method.method, FORGETTING)
    return row.mean if row else None


def _adjusted_p(rules: Rules, result: Result) -> float | None:
    """Return the adjusted p of the test that decides."""
    c = result.comparison
    if not isinstance(c, Comparison):
        return None
    return c.p_t_adjusted if rules.capped(c.n) else c.p_adjusted


def _forgetting(analysis: Analysis) -> Iterator[Column[Result]]:
    """Yield the column of forgetting, where it is measured beside the primary metric."""
    form = analysis.record.form_of(FORGETTING)
    rows = [analysis.score_of(row.method, FORGETTING) for row in analysis.methods]
    if any(row and row.mean is not None for row in rows):
        value = partial(_mean_forgetting, analysis)
        yield number_column("", form.heading, value, form.mean, lower_is_better=True)


def _costs(analysis: Analysis) -> Iterator[Column[Result]]:
    if any(row.held is not None for row in analysis.methods):
        held = attrgetter("method.held")
        yield number_column("", "bytes held", held, numbers.size, lower_is_better=True)
    if any(row.seconds is not None for row in analysis.methods):
        seconds = attrgetter("method.seconds")
        yield number_column("", "time per seed", seconds, numbers.duration, lower_is_better=True)


def _cost_caption(analysis: Analysis) -> str:
    sentences = []
    if any(isinstance(r.comparison, Comparison) for r in sorted_results(analysis)):
        sentences.append("Adjusted p: of the test that decides, times the number of comparisons.")
    if any(row.held is not None for row in analysis.methods):
        sentences.append("Bytes held: everything beside the network at the end of the stream.")
    if any(row.seconds is not None for row in analysis.methods):
        sentences.append("Time: training, the seeds of a trial alike; trials may share a machine.")
    return " ".join(sentences)


def sorted_results(analysis: Analysis) -> tuple[Result, ...]:
    """Return the methods, the best first, those without a mean and offline bounds last."""
    return tuple(sorted(_results(analysis), key=partial(_place, analysis.rules.sign)))


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


def _caption(analysis: Analysis, with_intervals: bool) -> str:
    row, rules = analysis.methods[0], analysis.rules
    over = f"{row.n} " if _same_n(analysis) else "n "
    text = f"Mean ± sample standard deviation over {over}confirmation {units(analysis)}. "
    if not analysis.common_reference:
        return text
    margin = (
        f", against a margin of {analysis.form.points(rules.margin)}" if rules.margin > 0 else ""
    )
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
