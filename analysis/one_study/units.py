"""From seeds to units of pairing, such as speakers: means over the seeds of each unit.

Shape legend: I tasks learnt (rows), T tasks, K values of a diagnostic, R x C cells of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from analysis.records import (
    AlternativeRecord,
    DiagnosticRecord,
    MapRecord,
    MethodRecord,
    StudyRecord,
)
from analysis.statistics.estimates import Array

Units = Mapping[int, tuple[int, ...]]  # the seeds of each unit


def by_unit(record: StudyRecord, unit: str, unit_of: Callable[[int], int]) -> StudyRecord:
    """Return a study record by units instead of seeds.

    A unit has the planned seeds and the seeds that any method has run. A method has a score for a
    unit once the method has run all seeds of the unit, so that both sides of a pair are means over
    the same seeds. A unit with a failed seed has failed.
    """
    run = {seed for method in record.methods for seed in method.attempted_seeds}
    units = seeds_by_unit({*record.planned_seeds, *run}, unit_of)
    return replace(
        record,
        unit=unit,
        unit_seeds=units,
        added_seeds=tuple(sorted(run - set(record.planned_seeds))),
        planned_seeds=list(dict.fromkeys(map(unit_of, record.planned_seeds))),
        methods=[_method(method, units) for method in record.methods],
        repeats=tuple(by_unit(repeat, unit, unit_of) for repeat in record.repeats),
    )


def seeds_by_unit(seeds: set[int], unit_of: Callable[[int], int]) -> dict[int, tuple[int, ...]]:
    """Return the seeds of each unit; units and seeds in ascending order.

    >>> seeds_by_unit({5, 2, 1}, lambda seed: seed % 2)
    {0: (2,), 1: (1, 5)}
    """
    units: dict[int, tuple[int, ...]] = {}
    for seed in sorted(seeds):
        unit = unit_of(seed)
        units[unit] = (*units.get(unit, ()), seed)
    return dict(sorted(units.items()))


def unit_means(values: Mapping[int, float], units: Units) -> dict[int, float]:
    """Return the mean of each unit with values for all its seeds; NaN if a value is NaN."""
    return {
        unit: float(np.mean([values[seed] for seed in seeds]))
        for unit, seeds in units.items()
        if all(seed in values for seed in seeds)
    }


def _method(method: MethodRecord, units: Units) -> MethodRecord:
    failed = method.failed_seeds
    intact = {unit: seeds for unit, seeds in units.items() if not set(seeds) & set(failed)}
    reasons = {unit: _failure(failed, units[unit]) for unit in units if unit not in intact}
    crashed = {unit for unit in reasons if set(units[unit]) & set(method.failures)}
    return replace(
        method,
        scores=unit_means(method.scores, units),
        failures={unit: reason for unit, reason in reasons.items() if unit in crashed},
        diverged={unit: reason for unit, reason in reasons.items() if unit not in crashed},
        other_metrics={
            metric: unit_means(scores, units) for metric, scores in method.other_metrics.items()
        },
        matrices=_mean_arrays(method.matrices, intact),
        diagnostics=tuple(_diagnostic(record, intact) for record in method.diagnostics),
        maps=tuple(_map(record, intact) for record in method.maps),
        alternatives=tuple(_alternative(record, units) for record in method.alternatives),
    )


def _alternative(record: AlternativeRecord, units: Units) -> AlternativeRecord:
    failed = record.failures
    reasons = {unit: _failure(failed, seeds) for unit, seeds in units.items()}
    return replace(
        record,
        scores=unit_means(record.scores, units),
        failures={unit: reason for unit, reason in reasons.items() if reason},
    )


def _failure(failed: Mapping[int, str], seeds: tuple[int, ...]) -> str:
    """Return the reasons of the failed seeds of a unit."""
    return "; ".join(f"seed {seed}: {failed[seed]}" for seed in seeds if seed in failed)


def _mean_arrays(arrays: Mapping[int, Array], units: Units) -> dict[int, Array]:
    return {
        unit: np.mean([arrays[seed] for seed in seeds], axis=0)
        for unit, seeds in units.items()
        if all(seed in arrays for seed in seeds)
    }


def _diagnostic(record: DiagnosticRecord, units: Units) -> DiagnosticRecord:
    return replace(record, values=_mean_arrays(record.values, units))


def _map(record: MapRecord, units: Units) -> MapRecord:
    merge = _mean_cells if record.averaged else _first_seed
    panels = {label: merge(arrays, units) for label, arrays in record.panels.items()}
    return replace(record, panels=panels)


def _mean_cells(panel: Mapping[int, Array], units: Units) -> dict[int, Array]:
    """Return the mean of each cell [I, R, C] over the seeds of a unit with a value in the cell."""
    arrays = {unit: [panel[s] for s in seeds if s in panel] for unit, seeds in units.items()}
    stacks = {
        unit: np.ma.masked_invalid(np.stack(unit_arrays).astype(np.float64))
        for unit, unit_arrays in arrays.items()
        if unit_arrays
    }
    return {unit: stack.mean(axis=0).filled(np.nan) for unit, stack in stacks.items()}


def _first_seed(panel: Mapping[int, Array], units: Units) -> dict[int, Array]:
    return {unit: panel[seeds[0]] for unit, seeds in units.items() if seeds[0] in panel}
