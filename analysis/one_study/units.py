"""From seeds to what is paired instead of them, such as speakers: means over a unit's seeds.

Shape legend: I tasks learnt (rows), T tasks, K values of a diagnostic, R x C cells of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from analysis.records import DiagnosticRecord, MapRecord, MethodRecord, StudyRecord
from analysis.statistics.estimates import Array

Units = Mapping[int, tuple[int, ...]]  # the seeds of each unit


def by_unit(record: StudyRecord, unit: str, unit_of: Callable[[int], int]) -> StudyRecord:
    """A study of seeds as one of their units.

    A unit has the seeds that were planned and those that any method has run. A method has a unit
    once it has run them all, so that the two sides of a pair are means over the same seeds; one
    failed seed makes a failed unit.
    """
    run = {seed for method in record.methods for seed in method.attempted}
    units = grouped({*record.planned_seeds, *run}, unit_of)
    return replace(
        record,
        unit=unit,
        unit_seeds=units,
        added_seeds=tuple(sorted(run - set(record.planned_seeds))),
        planned_seeds=list(dict.fromkeys(map(unit_of, record.planned_seeds))),
        methods=[_method(method, units) for method in record.methods],
    )


def grouped(seeds: set[int], unit_of: Callable[[int], int]) -> dict[int, tuple[int, ...]]:
    """The seeds of each unit, both in ascending order."""
    units: dict[int, tuple[int, ...]] = {}
    for seed in sorted(seeds):
        unit = unit_of(seed)
        units[unit] = (*units.get(unit, ()), seed)
    return dict(sorted(units.items()))


def means(values: Mapping[int, float], units: Units) -> dict[int, float]:
    """The mean of each unit that has all its seeds; NaN where one of them is."""
    return {
        unit: float(np.mean([values[seed] for seed in seeds]))
        for unit, seeds in units.items()
        if all(seed in values for seed in seeds)
    }


def _method(method: MethodRecord, units: Units) -> MethodRecord:
    failed = method.failed_seeds
    whole = {unit: seeds for unit, seeds in units.items() if not set(seeds) & set(failed)}
    return replace(
        method,
        scores=means(method.scores, units),
        failures={
            unit: _failure(failed, seeds) for unit, seeds in units.items() if unit not in whole
        },
        other_metrics={name: means(of, units) for name, of in method.other_metrics.items()},
        matrices=_mean_arrays(method.matrices, whole),
        diagnostics=tuple(_diagnostic(record, whole) for record in method.diagnostics),
        maps=tuple(_map(record, whole) for record in method.maps),
    )


def _failure(failed: Mapping[int, str], seeds: tuple[int, ...]) -> str:
    """Which seeds of a unit failed, and why."""
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
    unite = _mean_cells if record.averaged else _of_first
    return replace(record, panels={name: unite(of, units) for name, of in record.panels.items()})


def _mean_cells(panel: Mapping[int, Array], units: Units) -> dict[int, Array]:
    """Each cell [I, R, C] as the mean of those of the unit's seeds that have a value in it."""
    known = {unit: [panel[s] for s in seeds if s in panel] for unit, seeds in units.items()}
    stacks = {
        unit: np.ma.masked_invalid(np.stack(of).astype(np.float64))
        for unit, of in known.items()
        if of
    }
    return {unit: stack.mean(axis=0).filled(np.nan) for unit, stack in stacks.items()}


def _of_first(panel: Mapping[int, Array], units: Units) -> dict[int, Array]:
    return {unit: panel[seeds[0]] for unit, seeds in units.items() if seeds[0] in panel}
