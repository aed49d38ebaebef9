"""The files of a report in every format, except the saved figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from analysis.formats import data, html, latex, markdown, paper
from analysis.formats.html import Draw
from analysis.many_studies.compare import ManyStudies
from analysis.one_study.analyse import Analysis
from analysis.report import many_sections
from analysis.report.blocks import Picture, Section, Table
from analysis.report.sections import sections


def files(analysis: Analysis, pictures: Sequence[Picture], draw: Draw) -> dict[str, str]:
    """Return the text of every file of a study's report, by path within the report folder.

    Args:
        analysis: of the study.
        pictures: figures of the study. `report.md` links to `figures/NAME.svg`, which the caller
            saves.
        draw: function from a picture to inline SVG, for the HTML page.
    """
    parts = sections(analysis, pictures)
    tables = _tables(parts, data.to_csv(analysis))
    return {
        **_pages(analysis.record.study, parts, draw, tables),
        "report.json": data.to_json(analysis),
        **tables,
        **{f"paper/{name}": text for name, text in paper.paper_files(analysis).items()},
    }


def across_files(
    across: ManyStudies, analyses: Sequence[Analysis], pictures: Sequence[Picture], draw: Draw
) -> dict[str, str]:
    """Return the text of every file of a report about several studies; see `files`."""
    parts = many_sections.across_sections(across, analyses, pictures)
    tables = _tables(parts, data.across_to_csv(across, analyses))
    return {
        **_pages(many_sections.title(analyses), parts, draw, tables),
        "report.json": data.across_to_json(across, analyses),
        **tables,
    }


def _pages(
    title: str, parts: Sequence[Section], draw: Draw, tables: Iterable[str]
) -> dict[str, str]:
    shown = (block for part in parts for block in part.blocks if isinstance(block, Picture))
    figures = [f"figures/{p.name}.{kind}" for p in shown for kind in html.FIGURE_FORMATS]
    return {
        "index.html": html.render(title, parts, draw, {*tables, *figures}),
        "report.md": markdown.render(title, parts),
    }


def _tables(parts: Iterable[Section], csv_texts: Mapping[str, str]) -> dict[str, str]:
    tables = [block for part in parts for block in part.blocks if isinstance(block, Table)]
    return {f"tables/{name}": text for name, text in csv_texts.items()} | {
        f"tables/{table.name}.tex": latex.latex(table) for table in tables
    }
