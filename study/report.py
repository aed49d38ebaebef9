"""Write reports: of one study, or of several side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from analysis.formats.html import Draw
from analysis.formats.renderings import across_files, files
from analysis.many_studies.compare import ManyStudies, compare_streams, streams_of
from analysis.one_study.analyse import Analysis
from analysis.report.blocks import Picture
from study.folder import obstacle
from trainables.errors import InputError

SUFFIXES = (".csv", ".tex", ".svg", ".png", ".pdf")  # of the files in a report's folders


def write_report(analysis: Analysis, place: Path, seed: int | None = None) -> None:
    """Write a study's report in every format: a page, Markdown, JSON, tables and figures.

    Args:
        place: folder of the report.
        seed: also draw the accuracy matrices of this seed.

    Raises:
        InputError: if the folder cannot be written or holds other files.
    """
    from analysis.figures import matrix_picture, pictures

    shown = pictures(analysis)
    if seed is not None:
        check_seed(analysis, seed)
        shown = (*shown, matrix_picture(analysis, seed))
    _write(shown, lambda shown, draw: files(analysis, shown, draw), place)


def check_replacement(analysis: Analysis, place: Path) -> None:
    """Refuse to replace a report with results by one without, as after a change of code."""
    if any(row.mean is not None for row in analysis.methods) or not _has_results(place):
        return
    raise InputError(
        f"{place} holds a report with results, and the study now has none: its trials were made "
        "by other code, or are gone. The report is kept. Give another folder with --out, or run "
        "the study again."
    )


def _has_results(place: Path) -> bool:
    try:
        found = json.loads((place / "report.json").read_bytes())
    except (OSError, ValueError):
        return False
    return any(method.get("mean") is not None for method in found.get("methods", []))


def check_seed(analysis: Analysis, seed: int) -> None:
    """Refuse a seed, or another unit that the study pairs, without an accuracy matrix."""
    seeds = sorted({s for t in analysis.trajectories for s in t.seeds})
    if seed not in seeds:
        listed = ", ".join(map(str, seeds)) or "none"
        raise InputError(
            f"--seed {seed}: {analysis.record.study} has no accuracy matrix of that "
            f"{analysis.record.unit}. Available: {listed}."
        )


def compare_studies(analyses: Sequence[Analysis], folders: Sequence[Path]) -> ManyStudies:
    """Compare several studies, which must share one alpha."""
    if len({analysis.rules.alpha for analysis in analyses}) > 1:
        pairs = zip(folders, analyses, strict=True)
        listed = ", ".join(f"{folder} {a.rules.alpha:g}" for folder, a in pairs)
        raise InputError(
            f"study.alpha differs ({listed}): intervals and tests need a common level. "
            "Give studies with the same alpha."
        )
    return compare_streams(streams_of(analyses))


def write_across(across: ManyStudies, analyses: Sequence[Analysis], place: Path) -> None:
    """Write the report of several studies side by side."""
    from analysis.figures import across_pictures

    shown = across_pictures(across)
    _write(shown, lambda shown, draw: across_files(across, analyses, shown, draw), place)


def _clear(place: Path) -> None:
    """Remove an earlier report; refuse a folder with other files."""
    if place.is_dir() and any(place.iterdir()) and not (place / "report.json").exists():
        raise InputError(f"{place} holds files that are not a report. Give an empty folder.")
    for pattern in ("*.csv", "figures/*", "tables/*", "paper/*"):
        for old in place.glob(pattern):
            if old.suffix in SUFFIXES:
                old.unlink()


def _write(
    shown: Sequence[Picture],
    texts: Callable[[Sequence[Picture], Draw], Mapping[str, str]],
    place: Path,
) -> None:
    from analysis.figures import inline, save

    def draw(picture: Picture) -> str:  # a figure is drawn once, for the files and the page
        return inline((place / "figures" / f"{picture.name}.svg").read_text("utf-8"), picture)

    try:
        _clear(place)
        place.mkdir(parents=True, exist_ok=True)
        (place / "report.json").touch()  # marks the folder as a report even if writing fails later
        for picture in shown:
            save(picture, place / "figures")
        for name, text in texts(shown, draw).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            # the reason of a failure may quote bytes that are not valid text
            (place / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        problem = obstacle(place) or error.strerror or str(error)
        raise InputError(f"cannot write the report to {place}: {problem}.") from None
