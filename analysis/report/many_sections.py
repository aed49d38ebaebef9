"""The report of several studies side by side, before any format; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import wording
from analysis.many_studies.compare import Across, Contrast
from analysis.one_study.analyse import Analysis
from analysis.report import many_tables
from analysis.report.blocks import Block, Bullets, Code, Paragraph, Picture, Section
from analysis.report.many_tables import with_interval
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
            *filled(many_tables.contrast_table(across), many_tables.standing_table(across)),
            *shelf.take_all(""),
        ),
        section(
            "Each stream",
            *filled(many_tables.verdict_table(across, analyses), many_tables.stream_table(across)),
        ),
        _ranks(across, ranks),
        section("Notes", *bullets([*_changed(analyses), *across.notes])),
        section("Left out", *filled(many_tables.left_out_table(across))),
        _provenance(analyses),
    ]
    return tuple(part for part in found if part.blocks)


def title(analyses: Sequence[Analysis]) -> str:
    """The studies' names in a line."""
    return ", ".join(dict.fromkeys(analysis.record.study for analysis in analyses))


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
    return [_sentence(contrast, f"{level} CI ") for contrast in across.contrasts]


def _sentence(c: Contrast, label: str) -> str:
    text = f"{c.method} against {c.reference}: P(win) {with_interval(c.p_win, 2, label)}"
    if c.meaningful:
        text += ", meaningful"
    if c.difference:
        text += f"; mean difference {with_interval(c.difference, 4, label)}"
    return f"{text}."


def _ranks(across: Across, pictures: Sequence[Picture]) -> Section:
    if across.ranking is None:
        return section("Ranks", *([Paragraph(across.no_ranking)] if across.no_ranking else []))
    table = many_tables.rank_table(across.ranking)
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
