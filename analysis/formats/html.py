"""The report as one HTML file with inline vector figures, without network access.

The page is complete without its script, which sorts, filters and hides. The renderer computes
nothing. All text is escaped, and a content security policy forbids the page to load anything, and
to run anything but that script, even if a name contained markup.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from analysis.report.blocks import Block, Picture, Section, Table
from analysis.report.columns import Column

SHORT, LONG = 24, 40  # longest cell of a column that stays on one line; that wraps rarely
FIGURE_FORMATS = ("pdf", "svg", "png")
WHOLE = 20  # most rows of a table that is not divided between printed pages

_JOINT = re.compile(r"((?<=[^\W_])_+(?=[^\W_])|(?<=[^\W\d_])[./](?=[^\W\d_]))")

Draw = Callable[[Picture], str]


def render(title: str, parts: Iterable[Section], draw: Draw, files: Collection[str] = ()) -> str:
    """Return sections as an HTML page.

    Args:
        title: of the page.
        parts: sections of the page.
        draw: function from a picture to inline SVG, which is not escaped.
        files: files beside the page, by path; a table or figure links to its own.
    """
    sections = tuple(parts)
    names = [part for part, _ in groupby(sections, attrgetter("part"))]
    anchors = iter(_anchors([*filter(None, names), *(section.title for section in sections)]))
    heads = [(next(anchors) if name else "", name) for name in names]
    anchored = [(next(anchors), section) for section in sections]
    script = _environment().get_template("page.js").render()
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            title=" ".join(title.split()) or "study",
            parts=[
                (anchor, name, [each for each in anchored if each[1].part == name])
                for anchor, name in heads
            ],
            kind=_kind,
            classes=_classes,
            methods=_methods,
            breakable=_breakable,
            whole=WHOLE,
            script=Markup(script),
            digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            links=lambda block: _links(block, files),
            draw=lambda picture: Markup(draw(picture)),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("analysis.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _kind(block: Block) -> str:
    return type(block).__name__


def _classes(table: Table) -> list[str]:
    """Return the CSS classes of each column: `number`, also `lower` where lower is better, or
    `short`, `text` or `long` text.
    """
    texts = list(zip(*table.texts, strict=True)) or [()] * len(table.page_columns)
    return [
        _number_class(column) if column.is_number else _text_class(max(map(len, cells), default=0))
        for column, cells in zip(table.page_columns, texts, strict=True)
    ]


def _methods(table: Table) -> Sequence[str | None]:
    """Return the method that each row is about; None for rows that are not about a method."""
    named = [column for column in table.columns if column.key == "method"]
    if named:
        names = [named[0].value_of(row) for row in table.rows]
        return [None if name is None else str(name) for name in names]
    if table.headings[:1] == ("method",):
        return [cells[0] for cells in table.cells]
    return [None] * len(table.rows)


def _links(block: Block, files: Collection[str]) -> list[tuple[str, str]]:
    """Return the format and the path of each file of a table or a figure."""
    if isinstance(block, Table):
        paths = {"CSV": f"tables/{block.name}.csv", "LaTeX": f"tables/{block.name}.tex"}
    elif isinstance(block, Picture):
        paths = {kind.upper(): f"figures/{block.name}.{kind}" for kind in FIGURE_FORMATS}
    else:
        return []
    return [(kind, path) for kind, path in paths.items() if path in files]


def _number_class(column: Column[Any]) -> str:
    return "number lower" if column.lower_is_better else "number"


def _text_class(longest: int) -> str:
    if longest <= SHORT:
        return "short"
    return "text" if longest <= LONG else "long"


def _breakable(text: str) -> Markup:
    """Return the escaped text, with possible line breaks after `_`, `.` and `/` inside names."""
    parts = _JOINT.split(text)
    joined = [escape(part) + (Markup("<wbr>") if i % 2 else "") for i, part in enumerate(parts)]
    return Markup("").join(joined)


def _anchors(titles: Iterable[str]) -> list[str]:
    """Return a unique id for each title."""
    anchors: list[str] = []
    for title in titles:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        used = sum(anchor == slug or anchor.startswith(f"{slug}--") for anchor in anchors)
        anchors.append(f"{slug}--{used + 1}" if used else slug)
    return anchors
