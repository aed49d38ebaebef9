"""The figures of a report: drawn when a format asks for them, from an `Analysis` alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from analysis.figures import (
    accuracy_matrix,
    after_each_task,
    diagnostics,
    forest,
    fronts,
    history,
    importance,
    many_studies,
    maps,
    memory,
    paired,
    slices,
)
from analysis.figures.accuracy_matrix import matrix_picture
from analysis.figures.common import inline, save, svg
from analysis.many_studies.compare import Across
from analysis.one_study.analyse import Analysis
from analysis.report.blocks import Picture

__all__ = ["across_pictures", "inline", "matrix_picture", "pictures", "save", "svg"]

_IN_ORDER: tuple[Callable[[Analysis], Iterator[Picture]], ...] = (
    paired.pictures,
    forest.pictures,
    after_each_task.pictures,
    accuracy_matrix.pictures,
    memory.pictures,
    history.pictures,
    fronts.pictures,
    importance.pictures,
    slices.pictures,
    diagnostics.pictures,
    maps.pictures,
)


def pictures(analysis: Analysis) -> tuple[Picture, ...]:
    """The figures of a study in the order of its report: those that have something to show."""
    return tuple(picture for of in _IN_ORDER for picture in of(analysis))


def across_pictures(across: Across) -> tuple[Picture, ...]:
    """The figures of several studies."""
    return tuple(many_studies.pictures(across))
