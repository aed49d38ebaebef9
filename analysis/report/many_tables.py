"""Tables of several studies side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from analysis import numbers
from analysis.forms import FRACTION, Form
from analysis.many_studies.compare import (
    Contrast,
    Interval,
    ManyStudies,
    Standing,
    StreamContrast,
    streams_of,
)
from analysis.many_studies.further import Further
from analysis.many_studies.ranks import Ranking
from analysis.one_study.analyse import Analysis, Comparison, MethodRow
from analysis.report.blocks import Table
from analysis.report.columns import (
    Column,
    interval,
    merged,
    number_column,
    two_decimals,
)
from analysis.report.comparison_tables import comparison_table, won_share, won_tied_lost


class StudyComparison(NamedTuple):
    """A comparison in one of several studies."""

    stream: str
    study: str
    comparison: Comparison
    row: MethodRow | None  # None: a difference of two methods


def form_of(analyses: Sequence[Analysis]) -> Form:
    """Return how values of the studies' metrics are written: in percent if all studies do so."""
    forms = [analysis.form for analysis in analyses]
    return replace(forms[0], in_percent=all(f.in_percent for f in forms)) if forms else FRACTION


class Wins(NamedTuple):
    """A contrast on one stream."""

    contrast: Contrast
    on_stream: StreamContrast


def with_interval(estimate: Interval, decimals: int = 4, label: str = "") -> str:
    """Return an estimate with the interval, if any, in brackets after a label."""
    value = numbers.number(estimate.value, decimals)
    ends = interval((estimate.low, estimate.high), decimals)
    return f"{value} ({label}{ends})" if ends else value


def mean_difference(form: Form, estimate: Interval, label: str = "") -> str:
    """Return a difference in the form of its metric, with the interval as in `with_interval`."""
    value, ends = form.value(estimate.value), form.interval((estimate.low, estimate.high))
    return f"{value} ({label}{ends})" if ends else value


def contrast_table(across: ManyStudies, form: Form) -> Table:
    """Return each method against the reference, averaged over the streams."""
    difference = f"difference{form.unit_of_differences}"
    text = partial(mean_difference, form)
    level, share = numbers.percent(across.confidence), partial(with_interval, decimals=2)
    return Table(
        f"Comparisons with {across.reference}, averaged over streams",
        (
            Column("method", "method"),
            Column("reference"),
            *_estimate("p_win", f"P(win) ({level} CI)", attrgetter("p_win"), share),
            Column("", "interval by", lambda c: c.p_win_by or None),
            *_estimate("difference", f"{difference} ({level} CI)", attrgetter("difference"), text),
            *_estimate("iqm", f"difference of IQMs ({level} CI)", attrgetter("iqm_difference")),
            *map(Column, ("p_win_by", "identical")),
        ),
        across.contrasts,
        "P(win): paired probability of outperforming the reference, mean over streams (ties count "
        "half). difference: method - reference, mean over streams. IQM: "
        f"interquartile mean of normalised scores, positive is better. {_bootstrap(across)}",
        "contrasts",
    )


def standing_table(across: ManyStudies) -> Table:
    """Return the interquartile mean of each method's normalised scores."""
    level = numbers.percent(across.confidence)
    return Table(
        "Normalised scores",
        (
            Column("method"),
            Column("", "method", partial(_marked_method, across)),
            number_column("value", "IQM", attrgetter("iqm.value")),
            Column("low", value=attrgetter("iqm.low")),
            Column("high", value=attrgetter("iqm.high")),
            number_column("", f"{level} CI", attrgetter("iqm.low", "iqm.high"), interval),
        ),
        across.standings,
        f"Interquartile mean over {numbers.plural(across.unit)} and streams of scores that are 0 "
        f"at chance and 1 at the best possible value. {_bootstrap(across)}",
        "standings",
    )


def verdict_table(across: ManyStudies, analyses: Sequence[Analysis]) -> Table:
    """Return the comparisons of each study, with the verdicts of that study's family."""
    level, units = numbers.percent(across.confidence), numbers.plural(across.unit)
    ends, form = attrgetter("comparison.ci_low", "comparison.ci_high"), form_of(analyses)
    difference = f"difference{form.unit_of_differences}"
    return Table(
        "Verdicts of the single studies",
        (
            Column("", "method", attrgetter("comparison.method")),
            Column("stream", "stream"),
            Column("study", "study"),
            *_comparison_columns(analyses),
            number_column("", "n", attrgetter("comparison.n"), str),
            number_column("", f"mean ± sd{form.unit}", attrgetter("row"), _mean_and_sd(form)),
            number_column("", difference, attrgetter("comparison.difference"), form.value),
            number_column("", f"simultaneous {level} interval", ends, form.interval),
            number_column("", "p adjusted", attrgetter("comparison.p_adjusted"), numbers.p_value),
            Column("", "verdict", attrgetter("comparison.verdict")),
        ),
        tuple(
            StudyComparison(
                stream.stream, analysis.record.study, comparison, rows.get(comparison.method)
            )
            for stream, analysis in zip(streams_of(analyses), analyses, strict=True)
            for rows in [{row.method: row for row in analysis.methods}]
            for comparison in analysis.comparisons
        ),
        "± is the sample standard deviation (ddof 1) over the method's confirmation "
        f"{units} in that study. Differences are method - reference over the n shared {units}, "
        "with the interval that is simultaneous over the study's own family; p adjusted: times the "
        "number of its comparisons.",
        "verdicts",
    )


def further_table(further: Further) -> Table:
    """Return the methods of further studies against the reference of the first one."""
    level, units = numbers.percent(further.rules.confidence), further.rules.units
    form = further.rules.form
    return Table(
        f"Methods of further studies against {further.reference} of {further.study}",
        (
            Column("method", "method"),
            Column("reference"),
            number_column("n", "n", format=str),
            number_column("difference", f"difference{form.unit_of_differences}", format=form.value),
            *merged(f"simultaneous {level} interval", form.interval, "ci_low", "ci_high"),
            number_column("p_adjusted", "p adjusted", format=numbers.p_value),
            Column("verdict", "verdict"),
            Column("reason", "reason"),
        ),
        further.comparisons,
        f"Not planned: no study asked for these comparisons before its {units} had run, so a "
        f"verdict is a hint, for a study that names both methods. The {units} are pairs, because "
        "stream, options and data are equal. Intervals and p are for all rows together.",
        "further",
    )


def stream_table(across: ManyStudies, form: Form) -> Table:
    """Return the wins on each stream, over the seeds that all methods share."""
    level = numbers.percent(across.confidence)
    wins_keys = ("wins", "ties", "losses", "share", "low", "high")
    return Table(
        "Wins on each stream",
        (
            Column("method", "method", attrgetter("contrast.method")),
            Column("reference", value=attrgetter("contrast.reference")),
            Column("stream", "stream", attrgetter("on_stream.stream")),
            number_column("n", "n", attrgetter("on_stream.n"), str),
            number_column(
                "difference",
                f"difference{form.unit_of_differences}",
                attrgetter("on_stream.difference"),
                form.value,
            ),
            *(Column(key, value=attrgetter(f"on_stream.wins.{key}")) for key in wins_keys),
            number_column("", f"P(win) ({level} CI)", attrgetter("on_stream.wins"), won_share),
            number_column("", "won / tied / lost", attrgetter("on_stream.wins"), won_tied_lost),
        ),
        tuple(
            Wins(contrast, on_stream)
            for contrast in across.contrasts
            for on_stream in contrast.streams
        ),
        f"Over the n {numbers.plural(across.unit)} that all methods share on the stream, with "
        "Wilson intervals.",
        "streams",
    )


def rank_table(ranking: Ranking) -> Table:
    """Return average ranks, and for each method the methods that cannot be told apart from it."""
    ranks = dict(zip(ranking.methods, ranking.ranks, strict=True))
    return Table(
        "Average ranks",
        (
            Column("method", "method", str),
            number_column("rank", "average rank", ranks.get, two_decimals),
            Column("not_told_apart_from", "not told apart from", partial(_peers, ranking), _listed),
        ),
        ranking.methods,
        f"1 is best; {ranking.streams} streams. {ranking.summary}",
        "ranks",
    )


def left_out_table(across: ManyStudies) -> Table:
    """Return the methods and streams left out, with the reasons."""
    return Table(
        "Left out",
        (
            Column("kind"),
            Column("name", "name"),
            Column("", "what", attrgetter("kind")),
            Column("reason", "reason"),
        ),
        across.left_out,
        "Not averaged.",
        "left_out",
    )


def _estimate(
    key: str,
    heading: str,
    get: Callable[[Contrast], Interval | None],
    format: Callable[[Interval], str] = with_interval,
) -> tuple[Column[Contrast], ...]:
    """Return an estimate and the ends of the interval: three columns of files, one of pages."""
    return (
        Column(key, value=lambda row: getattr(get(row), "value", None)),
        Column(f"{key}_low", value=lambda row: getattr(get(row), "low", None)),
        Column(f"{key}_high", value=lambda row: getattr(get(row), "high", None)),
        number_column("", heading, get, format),
    )


def _marked_method(across: ManyStudies, standing: Standing) -> str:
    return standing.method + (" (reference)" if standing.method == across.reference else "")


def _comparison_columns(analyses: Sequence[Analysis]) -> tuple[Column[Any], ...]:
    """Return the file columns of a study's comparisons."""
    return tuple(
        replace(column, heading="", value=partial(_comparison_value, column))
        for analysis in analyses[:1]
        for column in comparison_table(analysis).columns
        if column.key
    )


def _comparison_value(column: Column[Comparison], row: StudyComparison) -> Any:
    return column.value_of(row.comparison)


def _mean_and_sd(form: Form) -> Callable[[MethodRow], str | None]:
    return lambda row: form.plus_minus((row.mean, row.sd))


def _listed(methods: Sequence[str]) -> str:
    return ", ".join(methods) or "none"


def _peers(ranking: Ranking, method: str) -> list[str]:
    """Return the methods that cannot be told apart from a method."""
    group_members = {peer for group in ranking.groups if method in group for peer in group}
    return [peer for peer in ranking.methods if peer in group_members and peer != method]


def _bootstrap(across: ManyStudies) -> str:
    units = numbers.plural(across.unit)
    return f"Intervals: {across.resamples:,} resamples of the {units}, paired (see the notes)."
