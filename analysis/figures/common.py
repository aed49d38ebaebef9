"""What all figures share: their style, the look of each method, words of captions, saving.

A figure is as wide as a phone shows it, so that its text keeps its size there. Black is the colour
of text, axes and the reference alone: inline it becomes the page's own text colour.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec
from xml.etree import ElementTree

import matplotlib.style
from matplotlib.figure import Figure

from analysis import wording
from analysis.records import StudyRecord
from analysis.report.blocks import Picture
from analysis.report.captions import SEED_VARIES
from analysis.wording import plural

Arguments = ParamSpec("Arguments")
Dashes = str | tuple[int, tuple[int, ...]]

WIDTH = 4.2  # inches, 403 CSS pixels
TEXT = 9.0  # points
SMALL = 8.0
DPI = 200

INK = "#000000"
NEAR_BLACK = "#111111"  # for numbers on a light cell, which must not follow the page's colour
GREY = "#8c8c8c"
BAND = 0.2  # opacity
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito
MARKERS = ("s", "^", "D", "v", "P", "X", "<")  # 7, so that 42 methods differ
DASHES: tuple[Dashes, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.labelsize": TEXT,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlepad": 4,
    "axes.titlesize": TEXT,
    "axes.titley": 1.0,  # not searched for at every drawing
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": TEXT,
    "hatch.color": GREY,
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "path.simplify": True,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",
    "svg.hashsalt": "analysis.figures",
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.7,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.7,
}

# --- style ----------------------------------------------------------------------------------------


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures, whatever the user's own settings."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # A name may use any script; in SVG the reader's fonts show it.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """A drawing function that draws in the style of all figures."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return drawn


@dataclass(frozen=True)
class Look:
    """How a method is drawn, in every figure: colour, marker and dashes together."""

    colour: str
    marker: str
    dashes: Dashes

    @property
    def line(self) -> dict[str, Any]:
        """Line2D properties of a line with markers."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dashes}

    def point(self, filled: bool = True) -> dict[str, Any]:
        """Line2D properties of a marker alone."""
        face = self.colour if filled else "none"
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": face,
            "linestyle": "none",
        }


REFERENCE = Look(INK, "o", "-")


def looks(names: Iterable[str], reference: str | None = None) -> dict[str, Look]:
    """The look of each name by its place in the study; the reference is black with circles."""
    others = [name for name in names if name != reference]
    found = {name: numbered_look(place) for place, name in enumerate(others)}
    return found if reference is None else {reference: REFERENCE} | found


def numbered_look(place: int) -> Look:
    """One of 210 looks; the first 42 differ in colour or marker."""
    return Look(
        COLOURS[place % len(COLOURS)],
        MARKERS[place % len(MARKERS)],
        DASHES[place % len(DASHES)],
    )


def method_looks(record: StudyRecord) -> dict[str, Look]:
    """The look of each method of a study."""
    return looks((method.method for method in record.methods), record.reference)


# --- text -----------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """The text without what neither a font nor XML knows: control characters and half letters."""
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]", " ", text)


def text_width(text: str, size: float = SMALL) -> float:
    """About how wide a line is, in inches, rather too much than too little."""
    return sum(map(_em, text)) * size / 72


def _em(letter: str) -> float:
    if ord(letter) > 0x2E7F:  # CJK, emoji
        return 1.05
    if letter in "MW@%mw—":
        return 0.98
    if letter in "iljtfr.,:;|!'()[] ":
        return 0.41
    return 0.72 if letter.isupper() else 0.645


def shorten(text: str, width: float, size: float = SMALL) -> str:
    """The text cut in its middle to so many inches: names often differ at their end."""
    text = clean(text)
    kept = len(text)
    short = text
    while kept > 2 and text_width(short, size) > width:
        kept -= 1
        short = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
    return short


def words(name: str) -> str:
    """A metric's name as words."""
    return clean(name).replace("_", " ")


def several(counts: Collection[int], unit: str) -> str:
    """`10 seeds`, or `5 to 10 seeds` where methods differ."""
    least, most = min(counts), max(counts)
    if least != most:
        return f"{least} to {most} {plural(unit)}"
    return f"{most} {unit if most == 1 else plural(unit)}"


def varies(record: StudyRecord) -> str:
    """What differs between two units, in a clause."""
    if record.unit != "seed":
        return f"what varies is the {record.unit}"
    return SEED_VARIES


def t_interval(record: StudyRecord, counts: Collection[int], of: str = "of the mean") -> str:
    """What a band or line is: `95 % t-intervals of the mean over 10 seeds; a seed varies ...`."""
    level = wording.percent(1 - record.alpha)
    return f"{level} t-intervals {of} over {several(counts, record.unit)}; {varies(record)}"


def no_interval(record: StudyRecord, thin: Collection[str]) -> str:
    """A sentence on methods too few of whose units ran, or whose units agree, if any."""
    if not thin:
        return ""
    return f" No interval below 3 {plural(record.unit)}, nor where all agree: {listed(thin)}."


def not_shown(record: StudyRecord, shown: Collection[str]) -> str:
    """A sentence on the methods that a figure of means leaves out, if any."""
    absent = [method.method for method in record.methods if method.method not in shown]
    if not absent:
        return ""
    return f" Not shown, because a {record.unit} failed or nothing was measured: {listed(absent)}."


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, on one line."""
    return ", ".join(map(clean, names))


# --- saving ---------------------------------------------------------------------------------------

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "png": {"dpi": DPI, "pil_kwargs": {"compress_level": 4}},
    "pdf": {"metadata": {"CreationDate": None}},
}
SVG_NAMES = ("{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}")
BACKGROUND = "background"
WIDEST = 1.6  # times the natural size, on a wide page


def slug(name: str) -> str:
    """The name as a file name and an id."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "figure"


def own_name(start: str, taken: set[str]) -> str:
    """A file name of its own, which is then taken: names may differ in odd characters only."""
    free, number = start, 2
    while free.lower() in taken:
        free, number = f"{start}-{number}", number + 1
    taken.add(free.lower())
    return free


def save(picture: Picture, folder: Path) -> list[Path]:
    """Write the picture as SVG, PNG and PDF, drawn once; the same picture gives the same bytes."""
    figure = picture.draw()
    paths = [folder / f"{slug(picture.name)}.{kind}" for kind in FORMATS]
    folder.mkdir(parents=True, exist_ok=True)
    for path, kind in zip(paths, FORMATS, strict=True):
        path.write_bytes(_written(figure, kind))
    return paths


def svg(picture: Picture) -> str:
    """The picture as an SVG element to stand in a page."""
    return inline(_written(picture.draw(), "svg").decode(), picture)


def inline(text: str, picture: Picture) -> str:
    """The SVG element to stand in a page, from the text of the picture's saved SVG file.

    It has no background, takes the page's text colour for black, fills the width it is given (up to
    a readable size), and its ids begin with the picture's name.
    """
    root = ElementTree.fromstring(text)
    _without_background(root)
    prefix = slug(picture.name) + "-"
    for element in root.iter():
        element.tag = _bare(element.tag)
        element.attrib = {
            _bare(key): _value(_bare(key), value, prefix) for key, value in element.attrib.items()
        }
    _adapt(root, picture, prefix)
    return ElementTree.tostring(root, encoding="unicode")


def _written(figure: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    figure.patch.set_gid(BACKGROUND)
    with style():
        figure.savefig(file, format=kind, **FORMATS[kind])
    return file.getvalue()


def _without_background(root: ElementTree.Element) -> None:
    unwanted = ("metadata", "style")
    for parent in list(root.iter()):
        for child in list(parent):
            if child.get("id") == BACKGROUND or _bare(child.tag) in unwanted:
                parent.remove(child)


def _bare(name: str) -> str:
    for space in SVG_NAMES:
        name = name.removeprefix(space)
    return name


def _value(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href":
        return value.replace("#", f"#{prefix}", 1)
    value = value.replace("url(#", f"url(#{prefix}").replace("'DejaVu Sans'", FONTS)
    return value.replace(f": {INK}", ": currentColor")


FONTS = "'DejaVu Sans', Verdana, sans-serif"


def _adapt(root: ElementTree.Element, picture: Picture, prefix: str) -> None:
    width = root.attrib.pop("width").removesuffix("pt")
    del root.attrib["height"]
    title = ElementTree.Element("title", id=f"{prefix}title")
    title.text = clean(picture.title)
    root.insert(0, title)
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "width": "100%",
        "role": "img",
        "aria-labelledby": f"{prefix}title",
        "fill": "currentColor",
        "style": f"max-width: {WIDEST * float(width):.0f}pt; stroke-linejoin: round",
    }


def numbers(values: Sequence[float | None]) -> list[float]:
    """The values for a line, which has a gap where there is none."""
    return [float("nan") if value is None else value for value in values]
