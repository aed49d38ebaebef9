"""Sweeps with several objectives: dominated trials, the Pareto front, and the hypervolume.

Shape legend: P points, K objectives. The functions work on losses [P, K]: lower is better.

Objectives of a trial are means over the tuning seeds, so a front holds for the tuning seeds: on
fresh seeds two neighbours on the front may change places.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.statistics.estimates import DECIMALS, Array

Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Point:
    """One complete trial: the number, and the objectives in the study's order."""

    number: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Front:
    """One method's trials: on the front, dominated, and left out.

    `points` is the front, ordered by the first objective, best first. `hypervolume` is the volume
    between the front and `reference`, in the product of the objectives' units. `share` is the
    hypervolume relative to the box from `reference` to the study's best value of each objective: 0
    to 1, None for a flat box.
    """

    method: str
    directions: tuple[Direction, ...]
    points: tuple[Point, ...]
    dominated: tuple[int, ...]  # trial numbers, ascending
    left_out: tuple[int, ...]  # trials with an objective that is not a finite number
    reference: tuple[float, ...] | None  # None: no trial of the study is complete
    hypervolume: float
    share: float | None


def study_fronts(
    trials: Mapping[str, Sequence[Point]], directions: Sequence[Direction]
) -> tuple[Front, ...]:
    """Return the front of each method, with one reference point for all methods.

    Args:
        trials: method -> the complete trials of the method.
        directions: `minimize` or `maximize`, one per objective.

    The reference point is the worst value of each objective among all complete trials of all
    methods. Hypervolumes are therefore comparable within a study and not between studies. A point
    with the worst value of one objective adds no volume, however good the other objectives are.

    >>> trials = {"ewc": [Point(0, (0.9, 5.0)), Point(1, (0.8, 9.0)), Point(2, (0.7, 2.0))]}
    >>> (front,) = study_fronts(trials, ["maximize", "minimize"])
    >>> [point.number for point in front.points], front.dominated
    ([0, 2], (1,))
    """
    _check(trials, directions)
    losses = _losses([p for points in trials.values() for p in points], directions)
    finite = losses[np.all(np.isfinite(losses), axis=1)]
    worst = finite.max(axis=0) if len(finite) else None
    best = finite.min(axis=0) if len(finite) else None
    return tuple(_front(name, points, directions, worst, best) for name, points in trials.items())


def dominated(losses: Array) -> list[bool]:
    """Return for each point of [P, K] whether another point is at least as good in all objectives
    and better in one.

    Points that are equal, or differ by round-off, do not dominate each other.
    """
    losses = np.round(losses, DECIMALS)
    return [
        bool(np.any(np.all(losses <= point, axis=1) & np.any(losses < point, axis=1)))
        for point in losses
    ]


def hypervolume(losses: Array, reference: Array) -> float:
    """Return the exact volume that points [P, K] dominate, up to the reference point [K].

    Only points better than the reference in every objective add volume. Two objectives: the area
    under a staircase. More objectives: slices along the last objective, each a problem with one
    objective fewer (Zitzler 1999). Meant for fronts of some hundred points and up to four
    objectives.
    """
    inside = losses[np.all(losses < reference, axis=1)]
    if not len(inside):
        return 0.0
    if inside.shape[1] == 1:
        return float(reference[0] - inside.min())
    if inside.shape[1] == 2:
        return _area(inside, reference)
    return _sliced(inside, reference)


def _area(losses: Array, reference: Array) -> float:
    ordered = losses[np.argsort(losses[:, 0], kind="stable")]
    widths = np.diff(ordered[:, 0], append=reference[0])
    heights = reference[1] - np.minimum.accumulate(ordered[:, 1])
    return float(widths @ heights)


def _sliced(losses: Array, reference: Array) -> float:
    ordered = losses[np.argsort(losses[:, -1], kind="stable")]
    depths = np.diff(ordered[:, -1], append=reference[-1])
    slices = enumerate(depths.tolist(), start=1)
    volumes = [
        depth * hypervolume(ordered[:count, :-1], reference[:-1])
        for count, depth in slices
        if depth > 0
    ]
    return math.fsum(volumes)


def _front(
    method: str,
    points: Sequence[Point],
    directions: Sequence[Direction],
    worst: Array | None,
    best: Array | None,
) -> Front:
    finite = [p for p in points if all(map(math.isfinite, p.values))]
    losses = _losses(finite, directions)
    is_dominated = dominated(losses)
    order = sorted(range(len(finite)), key=lambda i: (*losses[i].tolist(), finite[i].number))
    volume = hypervolume(losses, worst) if worst is not None else 0.0
    return Front(
        method=method,
        directions=tuple(directions),
        points=tuple(finite[i] for i in order if not is_dominated[i]),
        dominated=tuple(sorted(finite[i].number for i in order if is_dominated[i])),
        left_out=tuple(sorted({p.number for p in points} - {p.number for p in finite})),
        reference=None if worst is None else tuple((_signs(directions) * worst + 0.0).tolist()),
        hypervolume=volume,
        share=_share(volume, worst, best),
    )


def _share(volume: float, worst: Array | None, best: Array | None) -> float | None:
    if worst is None or best is None:
        return None
    box = float(np.prod(worst - best))
    return volume / box if box > 0 else None


def _signs(directions: Sequence[Direction]) -> Array:
    """Return [K]: +1 for an objective to minimise, -1 for an objective to maximise."""
    return np.array([1.0 if d == "minimize" else -1.0 for d in directions])


def _losses(points: Sequence[Point], directions: Sequence[Direction]) -> Array:
    values = np.array([p.values for p in points], dtype=np.float64)
    return values.reshape(len(points), len(directions)) * _signs(directions)


def _check(trials: Mapping[str, Sequence[Point]], directions: Sequence[Direction]) -> None:
    unknown = [d for d in directions if d not in ("minimize", "maximize")]
    if unknown or not directions:
        raise ValueError(
            "`directions` needs minimize or maximize for each objective, not "
            f"{', '.join(unknown) or 'nothing'}"
        )
    for method, points in trials.items():
        for point in points:
            if len(point.values) != len(directions):
                raise ValueError(
                    f"trial {point.number} of {method} has {len(point.values)} objectives; "
                    f"the study has {len(directions)}"
                )
