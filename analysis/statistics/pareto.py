"""Sweeps with several objectives: what is dominated, the front, and its hypervolume.

Shape legend: P points, K objectives. Inside, objectives are losses [P, K]: less is better.

Objectives of a trial are means over its tuning seeds, so a front is a statement about those: two
neighbours on it may change places on fresh seeds.
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
    """One complete trial: its number and its objectives in the study's order."""

    number: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Front:
    """One method's trials sorted into those on the front, the dominated and the left out.

    `points` are ordered by the first objective, best first. `hypervolume` is the volume (product of
    the objectives' units) between the front and `reference`, `share` that volume in units of the
    box from `reference` to the study's best value of each objective: 0 to 1, None for a flat box.
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
    """The front of each method's trials, all measured from one reference point.

    Args:
        trials: method -> its complete trials.
        directions: `minimize` or `maximize`, one per objective.

    The reference point is the worst value of each objective among all complete trials of all
    methods, so hypervolumes of one study compare with each other, and with no other study's. A
    point that is worst in one objective adds nothing, however good it is in the others.
    """
    _check(trials, directions)
    everything = _losses([p for points in trials.values() for p in points], directions)
    finite = everything[np.all(np.isfinite(everything), axis=1)]
    worst = finite.max(axis=0) if len(finite) else None
    best = finite.min(axis=0) if len(finite) else None
    return tuple(_front(name, of, directions, worst, best) for name, of in trials.items())


def dominated(losses: Array) -> list[bool]:
    """For each point of [P, K], whether another is at least as good in all and better in one.

    Equal points do not dominate each other, nor do those that differ by round-off.
    """
    losses = np.round(losses, DECIMALS)
    return [
        bool(np.any(np.all(losses <= point, axis=1) & np.any(losses < point, axis=1)))
        for point in losses
    ]


def hypervolume(losses: Array, reference: Array) -> float:
    """Exact volume of what [P, K] points dominate, up to the reference point [K].

    Points not better than the reference in every objective add nothing. Two objectives: the area
    under a staircase; more: slices along the last objective, each a problem with one less (Zitzler
    1999). Meant for fronts of some hundred points and up to four objectives.
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
    beaten = dominated(losses)
    order = sorted(range(len(finite)), key=lambda i: (*losses[i].tolist(), finite[i].number))
    volume = hypervolume(losses, worst) if worst is not None else 0.0
    return Front(
        method=method,
        directions=tuple(directions),
        points=tuple(finite[i] for i in order if not beaten[i]),
        dominated=tuple(sorted(finite[i].number for i in order if beaten[i])),
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
    """+1 for an objective to minimise, -1 for one to maximise [K]."""
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
