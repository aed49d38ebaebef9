r"""A table as LaTeX that any document with booktabs can input.

Nothing but booktabs is needed: no array, longtable, tabularx or graphicx. A table that fits a line
of text keeps its natural width. In a wider one every column becomes a `p` column with its share of
`\linewidth`, so that text wraps and nothing is scaled; the font goes down to `\scriptsize`. A table
longer than a page becomes several floats, "continued". What pdfTeX cannot set is written as its
code point.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from analysis.report.blocks import Table

Cells = Sequence[str | None]  # of a row; None is missing

LINE = 80  # characters of \footnotesize that a line of text holds
NARROW = 86  # the same of \scriptsize
GAP = 2  # characters between two columns
MOST_LINES = 50  # of one float, its caption included
CAPTION_LINE = 75  # characters of a caption's line, which is half as high again as a row
LONG_WORD = 16  # letters from which a word may be broken anywhere
HYPHENATED = r"\hspace{0pt}"  # before the first word of a column: TeX may then divide it

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
_BREAK, _APART = "\u200b", "\u2060"  # stand for a possible line break and for no ligature
_JOINT = re.compile(r"([_/])(?=\w)")  # after which a long name may go on in the next line
_LONG_WORD = re.compile(rf"[^\s{_BREAK}]{{{LONG_WORD},}}")
_MARKS = {_BREAK: r"\allowbreak{}", _APART: "{}"}


def latex(table: Table) -> str:
    r"""A `table` environment with caption and label (`tab:NAME`), or several for a long table."""
    widths = _widths(table)
    pieces = _pieces(table, widths)
    return "\n".join(_float(table, rows, widths, i) for i, rows in enumerate(pieces))


def escape(text: str, narrow: bool = False) -> str:
    """The text as pdfTeX sets it, on one line; words too long for a column may be broken, those of
    a narrow one at their joints.
    """
    line = unicodedata.normalize("NFC", " ".join(text.split()))
    signed = _MINUS.sub("\u2212", line.replace("--", f"-{_APART}-"))
    jointed = _JOINT.sub(rf"\1{_BREAK}", signed) if narrow else signed
    broken = _LONG_WORD.sub(lambda word: _BREAK.join(word[0]), jointed)
    return "".join(map(_character, broken))


def _character(character: str) -> str:
    known = _SPECIAL.get(character) or _SYMBOLS.get(character) or _MARKS.get(character)
    if known:
        return known
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
    """Characters of each column where they must wrap; empty where all fit on a line."""
    columns = list(zip(table.headings, *table.texts, strict=True))
    natural = [max(map(len, cells)) for cells in columns]
    if sum(natural) + GAP * len(natural) <= LINE:
        return ()
    least = [max(map(_longest_word, cells)) for cells in columns]
    wanted = [max(map(len, cells[1:]), default=0) for cells in columns]
    whole = [
        max(need, want) if column.is_number else need
        for column, need, want in zip(table.shown, least, wanted, strict=True)
    ]
    room = NARROW - GAP * len(columns)
    start = whole if sum(whole) <= room else least  # numbers on one line where they can be
    spare = [max(0, want - need) for want, need in zip(wanted, start, strict=True)]
    scale = min(1.0, max(0, room - sum(start)) / (sum(spare) or 1))
    return tuple(need + scale * more for need, more in zip(start, spare, strict=True))


def _longest_word(text: str) -> int:
    parts = _JOINT.sub(r"\1 ", text).split()
    return min(LONG_WORD, max(map(len, parts), default=1))


def _pieces(table: Table, widths: Sequence[float]) -> list[list[Cells]]:
    """The rows of each float."""
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
    sides = [column.is_number for column in table.shown]
    lines = [
        r"\begin{table}[tbp]",
        r"\centering",
        *_caption(table, number),
        r"\scriptsize\setlength{\tabcolsep}{3pt}" if widths else r"\footnotesize",
        rf"\begin{{tabular}}{{{_columns(sides, widths)}}}",
        r"\toprule",
        _row(table.headings, sides, widths, HYPHENATED),
        r"\midrule",
        *(_row(row, sides, widths) for row in rows),
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


def _columns(sides: Sequence[bool], widths: Sequence[float]) -> str:
    if not widths:
        return "".join("r" if number else "l" for number in sides)
    whole = sum(widths) + GAP * len(widths)
    return "".join(
        rf"p{{\dimexpr{(w + GAP) / whole:.4f}\linewidth-2\tabcolsep\relax}}" for w in widths
    )


def _row(cells: Cells, sides: Sequence[bool], widths: Sequence[float], first: str = "") -> str:
    r"""A row; `\tabularnewline`, because ragged columns give another meaning to `\\`."""
    texts = [_cell(cell, bool(widths)) for cell in cells]
    if widths:
        ragged = [r"\raggedleft" if number else r"\raggedright" for number in sides]
        texts = [f"{side}{first or ' '}{text}" for side, text in zip(ragged, texts, strict=True)]
    return " & ".join(texts) + r" \tabularnewline"


def _cell(text: str | None, narrow: bool) -> str:
    return "--" if text is None else escape(text, narrow)
