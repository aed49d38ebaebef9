"""The report in Markdown; the renderer computes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from analysis.report.blocks import Block, Bullets, Code, Paragraph, Picture, Section, Table

_METACHARACTERS = re.compile(r"([\\|*_`\[\]~$])")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BLOCK_MARK = re.compile(r"(#|[-+>](?=\s|$)|\d+(?=[.)](?:\s|$)))")


def render(title: str, parts: Iterable[Section]) -> str:
    """Return sections under a title; pictures are links to `figures/NAME.svg`."""
    texts = [f"# {escape(title)}"]
    for part, sections in groupby(parts, attrgetter("part")):
        texts += [f"## {escape(part)}"] if part else []
        level = 3 if part else 2
        for section in sections:
            texts.append(f"{'#' * level} {escape(section.title)}")
            texts += [_block(block, level + 1, section.title) for block in section.blocks]
    return "\n\n".join(texts) + "\n"


def escape(text: str) -> str:
    """Return the text on one line, with Markdown's metacharacters escaped."""
    line = _METACHARACTERS.sub(r"\\\1", " ".join(text.split()))
    return _TAG.sub("&lt;", _ENTITY.sub("&amp;", line))


def _block(block: Block, level: int, above: str) -> str:
    """Return a block; a table has a heading of the level, unless the one above is the same."""
    match block:
        case Paragraph(text):
            return _escape_start(text)
        case Bullets(lines):
            return "\n".join(f"- {_escape_start(line)}" for line in lines)
        case Code():
            return _code(block)
        case Picture(name, title, caption):
            return f"![{escape(title)}](figures/{name}.svg)\n\n{escape(caption)}".rstrip()
        case Table():
            heading = "" if block.title == above else f"{'#' * level} {escape(block.title)}\n\n"
            return heading + table_text(block)


def _escape_start(text: str) -> str:
    """Return escaped text that does not begin a list, a heading or a quotation."""
    escaped = escape(text)
    mark = _BLOCK_MARK.match(escaped)
    if not mark:
        return escaped
    end = mark.end() if mark[0].isdigit() else 0
    return f"{escaped[:end]}\\{escaped[end:]}"


def _code(code: Code) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code.text)), default=0))
    return f"{fence}{code.language}\n{code.text}\n{fence}"


def table_text(table: Table) -> str:
    """Return a table and its caption."""
    head, *rows = [_line(map(escape, row)) for row in (table.headings, *table.texts)]
    lines = [head, _line(("---",) * len(table.headings)), *rows]
    caption = f"\n\n{escape(table.caption)}" if table.caption else ""
    return "\n".join(lines) + caption


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
