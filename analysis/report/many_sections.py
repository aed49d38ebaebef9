"""The report of several studies side by side, before any format; the module computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import numbers
from analysis.forms import Form
from analysis.many_studies.compare import Contrast, ManyStudies
from analysis.many_studies.further import compare_further
from analysis.one_study.analyse import Analysis
from analysis.report import many_tables
from analysis.report.blocks import Block, Bullets, Paragraph, Picture, Section
from analysis.report.many_tables import with_interval
from analysis.report.sections import Shelf, bullets, provenance_blocks, section, with_rows

CHANGED = "changed after looking"  # key of the provenance
RANKING = "critical-difference"  # name of the picture for the section on ranks


def across_sections(
    across: ManyStudies, analyses: Sequence[Analysis], pictures: Sequence[Picture] = ()
) -> tuple[Section, ...]:
    """Return the report over streams: question, averages, each stream, ranks, notes, provenance."""
    shelf, form = Shelf(pictures), many_tables.form_of(analyses)
    rank_pictures = shelf.take(RANKING)
    all_sections = [
        _question(across, analyses),
        section("Over all streams", *bullets(_sentences(across, form))),
        section(
            "Averages over streams",
            *with_rows(
                many_tables.contrast_table(across, form), many_tables.standing_table(across)
            ),
            *shelf.take_all(""),
        ),
        section(
            "Each stream",
            *with_rows(
                many_tables.verdict_table(across, analyses), many_tables.stream_table(across, form)
            ),
        ),
        _further(analyses),
        _ranks(across, rank_pictures),
        section("Notes", *bullets([*_changed(analyses), *across.notes])),
        section("Left out", *with_rows(many_tables.left_out_table(across))),
        _provenance(analyses),
    ]
    return tuple(part for part in all_sections if part.blocks)


def title(analyses: Sequence[Analysis]) -> str:
    """Return the names of the studies as a title."""
    return ", ".join(dict.fromkeys(analysis.record.study for analysis in analyses))


def _question(across: ManyStudies, analyses: Sequence[Analysis]) -> Section:
    streams = numbers.count(len(across.streams), "stream")
    shared = [
        f"{stream}: {numbers.count(len(seeds), across.unit)} shared by all methods "
        f"({numbers.seed_list(seeds)})."
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


def _sentences(across: ManyStudies, form: Form) -> list[str]:
    level = numbers.percent(across.confidence)
    return [_sentence(contrast, form, f"{level} CI ") for contrast in across.contrasts]


def _sentence(c: Contrast, form: Form, label: str) -> str:
    text = f"{c.method} against {c.reference}: P(win) {with_interval(c.p_win, 2, label)}"
    if c.difference:
        difference = many_tables.mean_difference(form, c.difference, label)
        text += f"; mean difference{form.unit_of_differences} {difference}"
    return f"{text}."


def _ranks(across: ManyStudies, pictures: Sequence[Picture]) -> Section:
    if across.ranking is None:
        return section("Ranks", *([Paragraph(across.no_ranking)] if across.no_ranking else []))
    table = many_tables.rank_table(across.ranking)
    return section("Ranks", Paragraph(across.ranking.summary), *pictures, *with_rows(table))


def _further(analyses: Sequence[Analysis]) -> Section:
    """Return the methods of further studies on the stream of the first one."""
    if len(analyses) < 2:
        return section("From study to study")
    found = compare_further(analyses)
    same_stream = len({analysis.record.stream for analysis in analyses}) < len(analyses)
    return section(
        "From study to study",
        *with_rows(many_tables.further_table(found)),
        *(bullets(found.differing) if same_stream else ()),
    )


def _changed(analyses: Sequence[Analysis]) -> list[str]:
    """Return a note for each study with a question changed after looking."""
    changes = [(a.record.study, a.record.provenance.get(CHANGED)) for a in analyses]
    return [f"{study}, {CHANGED}: {change}." for study, change in changes if change]


def _provenance(analyses: Sequence[Analysis]) -> Section:
    blocks: list[Block] = []
    for analysis in analyses:
        blocks += [Paragraph(f"{analysis.record.study}:"), *provenance_blocks(analysis.record)]
    return section("Provenance", *blocks)
