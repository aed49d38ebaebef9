"""The report as one HTML file with inline vector figures: no network access, no script.

The renderer computes nothing. All text is escaped, and a content security policy forbids the page
to load or run anything, even if a name contained markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from analysis.report.blocks import Block, Picture, Section, Table

SHORT, LONG = 24, 40  # longest cell of a column that stays on one line; that wraps rarely
WHOLE = 20  # most rows of a table that is not divided between printed pages

_JOINT = re.compile(r"((?<=[^\W_])_+(?=[^\W_])|(?<=[^\W\d_])[./](?=[^\W\d_]))")

Draw = Callable[[Picture], str]


def render(title: str, parts: Iterable[Section], draw: Draw) -> str:
    """Return sections as an HTML page.

    Args:
        title: of the page.
        parts: sections of the page.
        draw: function from a picture to inline SVG, which is not escaped.
    """
    sections = tuple(parts)
    anchors = _anchors([section.title for section in sections])
    return _template().render(
        title=" ".join(title.split()) or "study",
        parts=list(zip(anchors, sections, strict=True)),
        kind=_kind,
        classes=_classes,
        breakable=_breakable,
        whole=WHOLE,
        draw=lambda picture: Markup(draw(picture)),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("analysis.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.jinja")


def _kind(block: Block) -> str:
    return type(block).__name__


def _classes(table: Table) -> list[str]:
    """Return the CSS class of each column: `number`, or `short`, `text` or `long` text."""
    texts = list(zip(*table.texts, strict=True)) or [()] * len(table.page_columns)
    return [
        "number" if column.is_number else _text_class(max(map(len, cells), default=0))
        for column, cells in zip(table.page_columns, texts, strict=True)
    ]


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
