"""Shared parts of figures: the style, the look of each method, words of captions, saving.

A figure is as wide as the screen of a phone, so that text is not scaled there. Black is only the
colour of text, axes and the reference: in an inline figure black becomes the page's text colour.
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

from analysis import numbers
from analysis.records import StudyRecord, methods_of
from analysis.report.blocks import Picture
from analysis.report.captions import seeds_vary

Arguments = ParamSpec("Arguments")
Dashes = str | tuple[int, tuple[int, ...]]

WIDTH = 4.2  # inches, 403 CSS pixels
TEXT = 9.0  # points
SMALL = 8.0
DPI = 200

INK = "#000000"
NEAR_BLACK = "#111111"  # of numbers on a light cell; not replaced by the page's text colour
GREY = "#8c8c8c"
BAND = 0.2  # opacity
METHOD_ID = "method: "  # first part of the id of what belongs to one method
BETWEEN = "\u241e"  # between the parts of such an id
METHOD_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito
MARKERS = ("s", "^", "D", "v", "P", "X", "<")  # 7 markers and 6 colours: 42 distinct methods
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
    "axes.titley": 1.0,  # a fixed position saves matplotlib the search at every drawing
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
    """Apply the style of all figures, regardless of the user's settings."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # A name may use any script; the reader of an SVG file has fonts for the script.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Make a drawing function draw in the style of all figures."""

    @functools.wraps(draw)
    def draw_styled(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with style():
            return draw(*args, **kwargs)

    return draw_styled


@dataclass(frozen=True)
class Look:
    """Colour, marker and dashes of a method, the same in every figure."""

    colour: str
    marker: str
    dashes: Dashes

    @property
    def line(self) -> dict[str, Any]:
        """`Line2D` properties of a line with markers."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dashes}

    @property
    def interval(self) -> dict[str, Any]:
        """`Line2D` properties of the line of an interval."""
        return {"color": self.colour, "linewidth": 1.6, "solid_capstyle": "butt"}

    def point(self, filled: bool = True) -> dict[str, Any]:
        """Return `Line2D` properties of a marker without a line."""
        face = self.colour if filled else "none"
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": face,
            "linestyle": "none",
        }


REFERENCE = Look(INK, "o", "-")


def looks(names: Iterable[str], reference: str | None = None) -> dict[str, Look]:
    """Return the look of each name by position; the reference is black with circles."""
    others = [name for name in names if name != reference]
    numbered = {name: numbered_look(number) for number, name in enumerate(others)}
    return numbered if reference is None else {reference: REFERENCE} | numbered


def numbered_look(number: int) -> Look:
    """Return one of 210 looks; the first 42 differ in colour or marker."""
    return Look(
        METHOD_COLOURS[number % len(METHOD_COLOURS)],
        MARKERS[number % len(MARKERS)],
        DASHES[number % len(DASHES)],
    )


def method_looks(record: StudyRecord) -> dict[str, Look]:
    """Return the look of each method of a study; a difference of two has that of the first."""
    found = looks((method.method for method in record.methods), record.reference)
    sides = {side: methods_of(side)[0] for pair in record.family for side in pair}
    return found | {side: found[first] for side, first in sides.items() if first in found}


def method_id(method: str, tips: Iterable[str] = ()) -> str:
    """Return the id of a part of a figure that is of one method, as matplotlib passes it to SVG.

    In the SVG file it becomes the attribute `data-method`, and the tips, one for each marker, what
    a pointer shows.
    """
    return METHOD_ID + BETWEEN.join([clean(method), *map(clean, tips)])


# --- text -----------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Return the text without characters invalid in XML: control characters and surrogates."""
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]", " ", text)


def text_width(text: str, size: float = SMALL) -> float:
    """Return a generous estimate of the width of a line of text, in inches."""
    return sum(map(_em, text)) * size / 72


def _em(letter: str) -> float:
    """Return the width of a letter relative to the font size."""
    if ord(letter) > 0x2E7F:  # CJK, emoji
        return 1.05
    if letter in "MW@%mw—":
        return 0.98
    if letter in "iljtfr.,:;|!'()[] ":
        return 0.41
    return 0.72 if letter.isupper() else 0.645


def shorten(text: str, width: float, size: float = SMALL) -> str:
    """Return the text cut in the middle to a width in inches: names often differ at the end."""
    text = clean(text)
    length = len(text)
    short = text
    while length > 2 and text_width(short, size) > width:
        length -= 1
        short = text[: (length + 1) // 2] + "…" + text[len(text) - length // 2 :]
    return short


def words(name: str) -> str:
    """Return the name of a metric as words."""
    return clean(name).replace("_", " ")


def count_range(counts: Collection[int], unit: str) -> str:
    """Return `10 seeds`, or `5 to 10 seeds` if the counts differ."""
    fewest, most = min(counts), max(counts)
    if fewest != most:
        return f"{fewest} to {most} {numbers.plural(unit)}"
    return numbers.count(most, unit)


def variation(record: StudyRecord) -> str:
    """Return a clause on the difference between two units."""
    if record.unit != "seed":
        return f"the {record.unit} varies"
    return seeds_vary(record)


def t_interval(record: StudyRecord, counts: Collection[int]) -> str:
    """Return a clause: `95 % t-intervals of the mean over 10 seeds; seeds differ in ...`."""
    level = numbers.percent(1 - record.alpha)
    units = count_range(counts, record.unit)
    return f"{level} t-intervals of the mean over {units}; {variation(record)}"


def no_interval(record: StudyRecord, methods: Collection[str]) -> str:
    """Return a sentence on the methods without an interval; empty for no methods."""
    if not methods:
        return ""
    units = numbers.plural(record.unit)
    reason = f"fewer than 3 {units} or identical values"
    if record.failed_rule == "worst" and any(method.failed_seeds for method in record.methods):
        reason += f" or failed {units} that count as a score"
    return f" No interval, because of {reason}: {name_list(methods)}."


def not_shown(record: StudyRecord, shown: Collection[str]) -> str:
    """Return a sentence on the methods without means; empty if all methods are shown."""
    absent = [method.method for method in record.methods if method.method not in shown]
    if not absent:
        return ""
    reason = f"because a {record.unit} failed or nothing was measured"
    return f" Not shown, {reason}: {name_list(absent)}."


def name_list(names: Iterable[str]) -> str:
    """Return names for a sentence, on one line."""
    return ", ".join(map(clean, names))


# --- saving ---------------------------------------------------------------------------------------

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "svg": {"metadata": {"Date": None, "Creator": None}},
    "png": {"dpi": DPI, "pil_kwargs": {"compress_level": 4}},
    "pdf": {"metadata": {"CreationDate": None}},
}
SVG_NAMES = ("{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}")
BACKGROUND = "background"
WIDEST = 1.6  # greatest width on a page, relative to the natural width


def slug(name: str) -> str:
    """Return the name as a file name and an id."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "figure"


def unique_name(name: str, used_names: set[str]) -> str:
    """Return the name, with a number if already used, and add the result to the used names.

    Two names may have the same slug, if they differ only in special characters.
    """
    unique, number = name, 2
    while unique.lower() in used_names:
        unique, number = f"{name}-{number}", number + 1
    used_names.add(unique.lower())
    return unique


def save(picture: Picture, folder: Path) -> None:
    """Write the picture as SVG, PNG and PDF; the same picture always gives the same bytes."""
    figure = picture.draw()
    folder.mkdir(parents=True, exist_ok=True)
    for kind in FORMATS:
        (folder / f"{slug(picture.name)}.{kind}").write_bytes(encoded(figure, kind))


def inline(text: str, picture: Picture) -> str:
    """Return an SVG element for a page, from the text of the picture's saved SVG file.

    The element has no background, the page's text colour in place of black, the available width (up
    to a readable size), and ids that begin with the picture's name.
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


def encoded(figure: Figure, kind: str) -> bytes:
    """Return the bytes of a figure as `svg`, `png` or `pdf`."""
    file = io.BytesIO()
    figure.patch.set_gid(BACKGROUND)
    with style():
        figure.savefig(file, format=kind, **FORMATS[kind])
    return _with_methods(file.getvalue()) if kind == "svg" else file.getvalue()


def _with_methods(svg: bytes) -> bytes:
    """Turn the ids of methods into attributes and tips."""
    for prefix, name in (("", SVG_NAMES[0]), ("xlink", SVG_NAMES[1])):
        ElementTree.register_namespace(prefix, name.strip("{}"))
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        if element.get("id", "").startswith(METHOD_ID):
            method, *tips = element.attrib.pop("id").removeprefix(METHOD_ID).split(BETWEEN)
            element.set("data-method", method)
            markers = list(element.iter(f"{SVG_NAMES[0]}use"))
            if len(markers) == len(tips):
                for marker, tip in zip(markers, tips, strict=True):
                    ElementTree.SubElement(marker, f"{SVG_NAMES[0]}title").text = tip
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


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


def floats(values: Sequence[float | None]) -> list[float]:
    """Return the values with NaN for None, which leaves a gap in a line."""
    return [float("nan") if value is None else value for value in values]
