"""The report as one HTML file: no network, no script, vector figures inside.

It draws sections and computes nothing. Everything that is not markup of ours is escaped; a content
security policy forbids the page to load or run anything, whatever a name may hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from analysis.report.blocks import Block, Picture, Section, Table

SHORT, LONG = 24, 40  # characters of a cell up to which it stays on a line; wraps with ease
WHOLE = 20  # rows up to which a table is not divided between pages

_JOINT = re.compile(r"((?<=[^\W_])_+(?=[^\W_])|(?<=[^\W\d_])[./](?=[^\W\d_]))")

Draw = Callable[[Picture], str]


def render(title: str, parts: Iterable[Section], draw: Draw) -> str:
    """Sections as a page.

    Args:
        title: of the page.
        parts: its sections.
        draw: a picture as inline SVG, which is trusted as it is.
    """
    given = tuple(parts)
    anchors = _anchors([part.title for part in given])
    return _template().render(
        title=" ".join(title.split()) or "study",
        parts=list(zip(anchors, given, strict=True)),
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
    """What each column holds: `number`, or text that is `short`, `text` or `long`."""
    texts = list(zip(*table.texts, strict=True)) or [()] * len(table.shown)
    return [
        "number" if column.is_number else _length(max(map(len, cells), default=0))
        for column, cells in zip(table.shown, texts, strict=True)
    ]


def _length(longest: int) -> str:
    if longest <= SHORT:
        return "short"
    return "text" if longest <= LONG else "long"


def _breakable(text: str) -> Markup:
    """The text, escaped, with a possible line break after the joints of a long name."""
    parts = _JOINT.split(text)
    joined = [escape(part) + (Markup("<wbr>") if i % 2 else "") for i, part in enumerate(parts)]
    return Markup("").join(joined)


def _anchors(titles: Iterable[str]) -> list[str]:
    """A unique id for each title."""
    found: list[str] = []
    for title in titles:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        used = sum(anchor == slug or anchor.startswith(f"{slug}--") for anchor in found)
        found.append(f"{slug}--{used + 1}" if used else slug)
    return found
