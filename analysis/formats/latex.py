r"""Tables as LaTeX for any document with booktabs.

The table needs no package but booktabs: no array, longtable, tabularx or graphicx. A table that
fits a line of text keeps its natural width. In a wider table every column is a `p` column with a
share of `\linewidth`, so that text wraps and nothing is scaled, and the font is `\scriptsize`. A
table longer than a page becomes several floats, "continued". A character that pdfTeX cannot set is
written as its code point.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from analysis.report.blocks import Table

Cells = Sequence[str | None]  # of a row; None: a missing value

LINE = 80  # characters of \footnotesize in a line of text
NARROW = 86  # characters of \scriptsize in a line of text
GAP = 2  # characters between two columns
MOST_LINES = 50  # of one float, caption included
CAPTION_LINE = 75  # characters in a line of the caption, which is 1.5 times as high as a row
LONG_WORD = 16  # fewest letters of a word that may be broken anywhere
HYPHENATED = r"\hspace{0pt}"  # lets TeX hyphenate the first word of a column

_SPECIAL = {
    **{c: f"\\{c}" for c in "{}$&#_%"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    '"': "{''}",
    "`": "{`}",
}
_SYMBOLS = {
    **{"±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$", "−": "$-$"},
    **{"–": "--", "—": "---", "…": r"\ldots{}", "→": r"$\rightarrow$", "≠": r"$\neq$"},
    **{"‘": "`", "’": "'", "“": "``", "”": "''", "·": r"$\cdot$", "°": r"$^\circ$"},
    **{"↑": r"$\uparrow$", "↓": r"$\downarrow$", "←": r"$\leftarrow$"},
    **{"≈": r"$\approx$", "∞": r"$\infty$", "•": r"$\bullet$", "\u00a0": "~", "§": r"\S{}"},
    **{"ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}"},
    **{"α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "Δ": r"$\Delta$"},
    **{"ε": r"$\epsilon$", "η": r"$\eta$", "λ": r"$\lambda$", "μ": r"$\mu$", "µ": r"$\mu$"},
    **{"ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$", "θ": r"$\theta$", "Σ": r"$\Sigma$"},
    **{"²": r"$^2$", "³": r"$^3$", "ı": r"\i{}", "Ł": r"\L{}", "œ": r"\oe{}", "Œ": r"\OE{}"},
}
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"'},
    **{"\u030a": "r", "\u030c": "v", "\u0327": "c", "\u0304": "=", "\u0306": "u", "\u0307": "."},
}
_MINUS = re.compile(r"(?<![\w.)\]-])-(?=\d)")
_BREAK, _APART = "\u200b", "\u2060"  # placeholders: a possible line break, and no ligature
_JOINT = re.compile(r"([_/])(?=\w)")  # a long name may be broken after it
_LONG_WORD = re.compile(rf"[^\s{_BREAK}]{{{LONG_WORD},}}")
_MARKS = {_BREAK: r"\allowbreak{}", _APART: "{}"}


def latex(table: Table) -> str:
    r"""Return a `table` environment with caption and label (`tab:NAME`), or several of a long
    table.
    """
    widths = _widths(table)
    pieces = _pieces(table, widths)
    return "\n".join(_float(table, rows, widths, i) for i, rows in enumerate(pieces))


def escape(text: str, narrow: bool = False) -> str:
    r"""Return the text escaped for pdfTeX, on one line.

    Long words may be broken anywhere, and in a narrow column after `_` and `/`.

    >>> escape("50 % of task_1")
    '50 \\% of task\\_1'
    """
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    signed = _MINUS.sub("\u2212", line.replace("--", f"-{_APART}-"))
    jointed = _JOINT.sub(rf"\1{_BREAK}", signed) if narrow else signed
    broken = _LONG_WORD.sub(lambda word: _BREAK.join(word[0]), jointed)
    return "".join(map(_character, broken))


def _character(character: str) -> str:
    command = _SPECIAL.get(character) or _SYMBOLS.get(character) or _MARKS.get(character)
    if command:
        return command
    if " " <= character <= "~":
        return character
    return _accented(character) or f"{{[}}U+{ord(character):04X}{{]}}"


def _accented(character: str) -> str:
    parts = unicodedata.normalize("NFD", character)
    if len(parts) != 2 or parts[1] not in _ACCENTS or not parts[0].isascii():
        return ""
    return f"\\{_ACCENTS[parts[1]]}{{{parts[0]}}}"


# --- widths ---------------------------------------------------------------------------------------


def _widths(table: Table) -> tuple[float, ...]:
    """Return the width of each column in characters; empty for a table that fits a line."""
    columns = list(zip(table.headings, *table.texts, strict=True))
    natural = [max(map(len, cells)) for cells in columns]
    if sum(natural) + GAP * len(natural) <= LINE:
        return ()
    least = [max(map(_longest_word, cells)) for cells in columns]
    wanted = [max(map(len, cells[1:]), default=0) for cells in columns]
    unwrapped = [
        max(need, want) if column.is_number else need
        for column, need, want in zip(table.page_columns, least, wanted, strict=True)
    ]
    room = NARROW - GAP * len(columns)
    start = unwrapped if sum(unwrapped) <= room else least  # numbers stay on one line if possible
    extra = [max(0, want - need) for want, need in zip(wanted, start, strict=True)]
    scale = min(1.0, max(0, room - sum(start)) / (sum(extra) or 1))
    return tuple(need + scale * more for need, more in zip(start, extra, strict=True))


def _longest_word(text: str) -> int:
    parts = _JOINT.sub(r"\1 ", text).split()
    return min(LONG_WORD, max(map(len, parts), default=1))


def _pieces(table: Table, widths: Sequence[float]) -> list[list[Cells]]:
    """Return the rows of each float."""
    pieces: list[list[Cells]] = [[]]
    room = MOST_LINES - 1.5 * len(table.caption) / CAPTION_LINE
    used = _height(table.headings, widths)
    for row, texts in zip(table.cells, table.texts, strict=True):
        height = _height(texts, widths)
        if pieces[-1] and used + height > room:
            pieces.append([])
            used, room = _height(table.headings, widths), MOST_LINES - 2
        pieces[-1].append(row)
        used += height
    return pieces


def _height(cells: Sequence[str], widths: Sequence[float]) -> int:
    if not widths:
        return 1
    return max(_lines(len(cell), width) for cell, width in zip(cells, widths, strict=True))


def _lines(length: int, width: float) -> int:
    return 1 if length <= width else math.ceil(1.2 * length / width)


# --- text -----------------------------------------------------------------------------------------


def _float(table: Table, rows: Sequence[Cells], widths: Sequence[float], number: int) -> str:
    are_numbers = [column.is_number for column in table.page_columns]
    lines = [
        r"\begin{table}[tbp]",
        r"\centering",
        *_caption(table, number),
        r"\scriptsize\setlength{\tabcolsep}{3pt}" if widths else r"\footnotesize",
        rf"\begin{{tabular}}{{{_columns(are_numbers, widths)}}}",
        r"\toprule",
        _row(table.headings, are_numbers, widths, HYPHENATED),
        r"\midrule",
        *(_row(row, are_numbers, widths) for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _caption(table: Table, number: int) -> list[str]:
    title = escape(table.title)
    if number:
        return [rf"\caption[]{{{title}, continued.}}"]
    text = f"{title}. {escape(table.caption)}".rstrip()
    label = re.sub(r"[^\w.-]", "-", table.name or table.title, flags=re.ASCII)
    return [rf"\caption[{title}]{{{text}}}", rf"\label{{tab:{label}}}"]


def _columns(are_numbers: Sequence[bool], widths: Sequence[float]) -> str:
    if not widths:
        return "".join("r" if is_number else "l" for is_number in are_numbers)
    total = sum(widths) + GAP * len(widths)
    return "".join(
        rf"p{{\dimexpr{(w + GAP) / total:.4f}\linewidth-2\tabcolsep\relax}}" for w in widths
    )


def _row(
    cells: Cells, are_numbers: Sequence[bool], widths: Sequence[float], prefix: str = " "
) -> str:
    r"""Return a row; it ends in `\tabularnewline`, because ragged columns redefine `\\`."""
    texts = [_cell(cell, bool(widths)) for cell in cells]
    if widths:
        sides = [r"\raggedleft" if is_number else r"\raggedright" for is_number in are_numbers]
        texts = [f"{side}{prefix}{text}" for side, text in zip(sides, texts, strict=True)]
    return " & ".join(texts) + r" \tabularnewline"


def _cell(text: str | None, narrow: bool) -> str:
    return "--" if text is None else escape(text, narrow)
