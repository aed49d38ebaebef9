"""The report of several studies side by side, before any format; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analysis import wording
from analysis.formats import data
from analysis.many_studies.compare import Across, Contrast, Interval, streams_of
from analysis.many_studies.ranks import Ranking
from analysis.one_study.analyse import Analysis, Comparison
from analysis.report.blocks import Block, Bullets, Code, Paragraph, Picture, Section, Table
from analysis.report.captions import plus_minus
from analysis.report.sections import Shelf, bullets, filled, section

CHANGED = "changed after looking"  # of the provenance
RANKING = "critical-difference"  # the picture that belongs to the ranks


def across_sections(
    across: Across, analyses: Sequence[Analysis], pictures: Sequence[Picture] = ()
) -> tuple[Section, ...]:
    """The report over streams: question, what holds on average, each stream, ranks, provenance."""
    shelf = Shelf(pictures)
    ranks = shelf.take(RANKING)
    found = [
        _question(across, analyses),
        section("Over all streams", *bullets(_sentences(across))),
        section(
            "Averages over streams",
            *filled(contrast_table(across), standing_table(across)),
            *shelf.take_all(""),
        ),
        section(
            "Each stream",
            *filled(verdict_table(across, analyses), stream_table(across)),
        ),
        _ranks(across, ranks),
        section("Notes", *bullets([*_changed(analyses), *across.notes])),
        section("Left out", *filled(left_out_table(across))),
        _provenance(analyses),
    ]
    return tuple(part for part in found if part.blocks)


def title(analyses: Sequence[Analysis]) -> str:
    """The studies' names in a line."""
    return ", ".join(dict.fromkeys(analysis.record.study for analysis in analyses))


def contrast_table(across: Across) -> Table:
    """Each method against the reference, averaged over the streams."""
    level = wording.percent(across.confidence)
    return Table(
        f"Comparisons with {across.reference}, averaged over streams",
        (
            "method",
            f"P(win) ({level} CI)",
            "interval by",
            f"difference ({level} CI)",
            f"difference of IQMs ({level} CI)",
        ),
        tuple(_contrast_row(contrast) for contrast in across.contrasts),
        "P(win): paired probability of outperforming the reference, mean over streams (ties count "
        "half); meaningful where the interval excludes 0.5 and reaches beyond 0.75. difference: "
        "method - reference in metric units, mean over streams. IQM: interquartile mean of "
        f"normalised scores, positive is better. {_bootstrap(across)}",
        "contrasts",
    )


def standing_table(across: Across) -> Table:
    """The interquartile mean of each method's normalised scores."""
    level = wording.percent(across.confidence)
    return Table(
        "Normalised scores",
        ("method", "IQM", f"{level} CI"),
        tuple(
            (
                s.method + (" (reference)" if s.method == across.reference else ""),
                wording.number(s.iqm.value),
                wording.interval(s.iqm.low, s.iqm.high),
            )
            for s in across.standings
        ),
        f"Interquartile mean over {wording.plural(across.unit)} and streams of scores that are 0 "
        f"at chance and 1 at the best possible value. {_bootstrap(across)}",
        "standings",
    )


def verdict_table(across: Across, analyses: Sequence[Analysis]) -> Table:
    """Each study's own comparisons, with the verdict of its own family."""
    level, units = wording.percent(across.confidence), wording.plural(across.unit)
    return Table(
        "Verdicts of the single studies",
        (
            *("method", "stream", "n", "mean ± sd", "difference", f"{level} CI"),
            *("p exact, Holm", "verdict"),
        ),
        tuple(
            _verdict_row(comparison, name, analysis)
            for name, analysis in _named(analyses)
            for comparison in analysis.comparisons
        ),
        "± is the sample standard deviation (ddof 1) over the method's confirmation "
        f"{units} in that study. Differences are method - reference over the n shared {units}, "
        "with the paired t-interval; p is Holm-adjusted within each study's own family.",
        "verdicts",
    )


def stream_table(across: Across) -> Table:
    """Wins on each stream, over the seeds that all methods share."""
    level = wording.percent(across.confidence)
    return Table(
        "Wins on each stream",
        ("method", "stream", "n", "difference", f"P(win) ({level} CI)", "won / tied / lost"),
        tuple(
            (
                contrast.method,
                each.stream,
                str(each.n),
                wording.number(each.difference),
                f"{each.wins.share:.2f} ({wording.interval(each.wins.low, each.wins.high, 2)})",
                f"{each.wins.wins} / {each.wins.ties} / {each.wins.losses}",
            )
            for contrast in across.contrasts
            for each in contrast.streams
        ),
        f"Over the n {wording.plural(across.unit)} that all methods share on the stream, Wilson "
        "intervals.",
        "streams",
    )


def rank_table(ranking: Ranking) -> Table:
    """Average ranks, and which methods cannot be told apart."""
    return Table(
        "Average ranks",
        ("method", "average rank", "not told apart from"),
        tuple(
            (method, wording.number(rank, 2), ", ".join(_peers(method, ranking)) or "none")
            for method, rank in zip(ranking.methods, ranking.ranks, strict=True)
        ),
        f"1 is best; {ranking.streams} streams. {ranking.summary}",
        "ranks",
    )


def left_out_table(across: Across) -> Table:
    """What takes no part, and why."""
    rows = tuple((item.name, item.kind, item.reason) for item in across.left_out)
    return Table("Left out", ("name", "what", "reason"), rows, "Not averaged.", "left_out")


def to_json(across: Across, analyses: Sequence[Analysis]) -> str:
    """The comparison over streams and every study's own document."""
    studies = [data.document(analysis) for analysis in analyses]
    return data.dumps(asdict(across) | {"studies": studies})


def to_csv(across: Across, analyses: Sequence[Analysis]) -> dict[str, str]:
    """The texts of `contrasts.csv` and so on, by file name; a table without rows is left out."""
    found = {
        "contrasts": [_contrast_data(contrast) for contrast in across.contrasts],
        "standings": [{"method": s.method, **asdict(s.iqm)} for s in across.standings],
        "verdicts": [
            {"stream": name, "study": analysis.record.study, **row}
            for name, analysis in _named(analyses)
            for row in data.comparison_rows(analysis)
        ],
        "streams": _stream_data(across),
        "ranks": _rank_data(across.ranking),
        "left_out": [asdict(item) for item in across.left_out],
    }
    return {
        f"{name}.csv": data.csv_text(list(rows[0]), rows) for name, rows in found.items() if rows
    }


def _question(across: Across, analyses: Sequence[Analysis]) -> Section:
    streams = wording.count(len(across.streams), "stream")
    shared = [
        f"{stream}: {wording.count(len(seeds), across.unit)} shared by all methods "
        f"({wording.seed_list(seeds)})."
        for stream, seeds in zip(across.streams, across.seeds, strict=True)
    ]
    metrics = list(dict.fromkeys(analysis.metric.name for analysis in analyses))
    return section(
        "Question",
        Paragraph(
            f"Which methods do better or worse than {across.reference} over {streams}?"
            if across.reference
            else f"What do these methods reach over {streams}?"
        ),
        Bullets(
            (
                f"Methods in common: {', '.join(across.methods) or 'none'}.",
                f"Metric: {', '.join(metrics)}.",
                *shared,
            )
        ),
    )


def _sentences(across: Across) -> list[str]:
    level = wording.percent(across.confidence)
    return [
        f"{c.method} against {c.reference}: P(win) {_interval(c.p_win, 2, f'{level} CI ')}"
        f"{', meaningful' if c.meaningful else ''}"
        + (
            f"; mean difference {_interval(c.difference, 4, f'{level} CI ')}"
            if c.difference
            else ""
        )
        + "."
        for c in across.contrasts
    ]


def _ranks(across: Across, pictures: Sequence[Picture]) -> Section:
    if across.ranking is None:
        return section("Ranks", *([Paragraph(across.no_ranking)] if across.no_ranking else []))
    table = rank_table(across.ranking)
    return section("Ranks", Paragraph(across.ranking.summary), *pictures, *filled(table))


def _changed(analyses: Sequence[Analysis]) -> list[str]:
    """What of the single studies is not as it was asked before looking."""
    changed = [(a.record.study, a.record.provenance.get(CHANGED)) for a in analyses]
    return [f"{study}, {CHANGED}: {what}." for study, what in changed if what]


def _provenance(analyses: Sequence[Analysis]) -> Section:
    blocks: list[Block] = []
    for analysis in analyses:
        command = analysis.record.provenance.get("command")
        if command:
            blocks += [Paragraph(f"{analysis.record.study}:"), Code(command)]
    return section("Provenance", *blocks)


def _named(analyses: Sequence[Analysis]) -> list[tuple[str, Analysis]]:
    """Each study with the name that the comparison over streams gives it."""
    names = [scores.stream for scores in streams_of(analyses)]
    return list(zip(names, analyses, strict=True))


def _interval(found: Interval, decimals: int, prefix: str = "") -> str:
    value = wording.number(found.value, decimals)
    if found.low is None or found.high is None:
        return value
    return f"{value} ({prefix}{wording.interval(found.low, found.high, decimals)})"


def _contrast_row(c: Contrast) -> tuple[str, ...]:
    return (
        c.method,
        _interval(c.p_win, 2) + (", meaningful" if c.meaningful else ""),
        c.p_win_by or wording.MISSING,
        _interval(c.difference, 4) if c.difference else wording.MISSING,
        _interval(c.iqm_difference, 4),
    )


def _verdict_row(c: Comparison, stream: str, analysis: Analysis) -> tuple[str, ...]:
    row = next(row for row in analysis.methods if row.method == c.method)
    return (
        c.method,
        stream,
        str(c.n),
        plus_minus(row.mean, row.sd),
        wording.number(c.difference),
        wording.interval(c.ci_low, c.ci_high),
        wording.p_value(c.p_holm),
        c.verdict,
    )


def _peers(method: str, ranking: Ranking) -> list[str]:
    together = {peer for group in ranking.groups if method in group for peer in group}
    return [peer for peer in ranking.methods if peer in together and peer != method]


def _bootstrap(across: Across) -> str:
    units = wording.plural(across.unit)
    return f"Intervals: {across.resamples:,} resamples of the {units}, paired (see the notes)."


def _contrast_data(c: Contrast) -> dict[str, Any]:
    found: dict[str, Any] = {"method": c.method, "reference": c.reference}
    intervals = {"p_win": c.p_win, "difference": c.difference, "iqm": c.iqm_difference}
    for name, each in intervals.items():
        found[name] = each.value if each else None
        found[f"{name}_low"] = each.low if each else None
        found[f"{name}_high"] = each.high if each else None
    return found | {"p_win_by": c.p_win_by, "meaningful": c.meaningful, "identical": c.identical}


def _stream_data(across: Across) -> list[dict[str, Any]]:
    return [
        {"method": contrast.method, "reference": contrast.reference, "stream": each.stream}
        | {"n": each.n, "difference": each.difference}
        | asdict(each.wins)
        for contrast in across.contrasts
        for each in contrast.streams
    ]


def _rank_data(ranking: Ranking | None) -> list[dict[str, Any]]:
    if ranking is None:
        return []
    pairs = zip(ranking.methods, ranking.ranks, strict=True)
    return [
        {"method": method, "rank": rank, "not_told_apart_from": _peers(method, ranking)}
        for method, rank in pairs
    ]
