"""The figures of a report, drawn from an `Analysis` when a format needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from analysis.figures import (
    accuracy_matrix,
    after_each_task,
    answer,
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
from analysis.figures.common import inline, save
from analysis.many_studies.compare import ManyStudies
from analysis.one_study.analyse import Analysis
from analysis.report.blocks import Picture

__all__ = ["across_pictures", "inline", "matrix_picture", "pictures", "save"]

_SOURCES: tuple[Callable[[Analysis], Iterator[Picture]], ...] = (  # in the order of the report
    answer.pictures,
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
    """Return the figures of a study that have content, in the order of the report.

    >>> for picture in pictures(analysis):  # doctest: +SKIP
    ...     save(picture, Path("figures"))
    """
    return tuple(picture for source in _SOURCES for picture in source(analysis))


def across_pictures(across: ManyStudies) -> tuple[Picture, ...]:
    """Return the figures of a comparison over several studies."""
    return tuple(many_studies.pictures(across))
