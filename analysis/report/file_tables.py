"""Tables only of files: the numbers behind the figures, and wide tables with one number per row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from analysis.one_study.analyse import Analysis
from analysis.one_study.trajectories import Band
from analysis.report.blocks import Table
from analysis.report.columns import Column

Rows = Iterable[tuple[Any, ...]]


def file_tables(analysis: Analysis) -> tuple[Table, ...]:
    """Return every table that no page shows, under the name of the figure or of the wide table."""
    band = "mean sd low high"
    cell = "method diagnostic label unit after_task row column n mean seed value"
    return (
        _table("seeds", "method seed score failure", _seeds(analysis)),
        _table("secondary", "method metric n mean sd difference p_exact q", _secondary(analysis)),
        _table("per_task", f"method n task {band}", _tasks(analysis)),
        _table("accuracy-after-each-task", f"method n after_task {band}", _curves(analysis)),
        _table("accuracy-matrix", "method n after_task task mean", _matrices(analysis)),
        _table(
            "search-history", "method trial state objective best_so_far params", _trials(analysis)
        ),
        _table("expected_best", "method n expected", _expected_best(analysis)),
        _table(
            "diagnostics",
            f"method diagnostic label unit n after_task {band}",
            _diagnostics(analysis),
        ),
        _table("maps", cell, _map_cells(analysis)),
    )


def _table(name: str, keys: str, rows: Rows) -> Table:
    columns = tuple(Column(key, value=itemgetter(i)) for i, key in enumerate(keys.split()))
    return Table("", columns, tuple(rows), name=name)


def _seeds(analysis: Analysis) -> Rows:
    """Yield the score of each seed, or the reason of the failure."""
    reasons = {(f.method, f.seed): f.reason for f in analysis.failures if f.seed is not None}
    for row in analysis.methods:
        failed = [seed for method, seed in reasons if method == row.method]
        for seed in sorted({*row.scores, *failed}):
            yield row.method, seed, row.scores.get(seed), reasons.get((row.method, seed))


def _secondary(analysis: Analysis) -> Rows:
    """Yield each further metric of each method, with its test."""
    for row in analysis.secondary:
        tested = (row.difference, row.p_exact, row.q)
        yield (row.method, str(row.metric), row.n, row.mean, row.sd, *tested)


def _tasks(analysis: Analysis) -> Rows:
    """Yield the final accuracy on each task."""
    for t in analysis.trajectories:
        yield from ((t.method, t.n, *numbers) for numbers in _numbered(t.tasks))


def _curves(analysis: Analysis) -> Rows:
    """Yield the accuracy on the tasks learnt so far, after each task."""
    for t in analysis.trajectories:
        yield from ((t.method, t.n, *numbers) for numbers in _numbered(t.curve))


def _matrices(analysis: Analysis) -> Rows:
    """Yield the accuracy on each task, after each task."""
    for t in analysis.trajectories:
        for after, accuracies in enumerate(t.matrix, start=1):
            yield from ((t.method, t.n, after, *cell) for cell in enumerate(accuracies, start=1))


def _trials(analysis: Analysis) -> Rows:
    """Yield every trial of the sweeps."""
    best = {search.method: search.best_so_far for search in analysis.searches}
    for method in analysis.record.methods:
        so_far = dict(enumerate(best.get(method.method, ())))
        for trial in method.tuning.history:
            objective, number = trial.values[0] if trial.values else None, trial.number
            yield method.method, number, trial.state, objective, so_far.get(number), trial.params


def _expected_best(analysis: Analysis) -> Rows:
    """Yield the expected best of every number of random trials."""
    for search in analysis.searches:
        yield from ((search.method, *best) for best in enumerate(search.expected, start=1))


def _diagnostics(analysis: Analysis) -> Rows:
    """Yield the methods' own measurements, after each task."""
    for d in analysis.diagnostics:
        keys = (d.method, d.name, d.label, d.unit, d.n)
        yield from ((*keys, *numbers) for numbers in _numbered(d.band))


def _map_cells(analysis: Analysis) -> Rows:
    """Yield each cell of each map after each task: the mean, or the value of one seed."""
    for panel in analysis.maps:
        record = panel.record
        keys = (panel.method, record.name, panel.label, record.unit)
        for task, row, column in np.ndindex(panel.counts.shape):
            place = (task + 1, row + 1, column + record.first_column)
            value, n = panel.values[task][row][column], panel.counts[task, row, column]
            mean = (n, value, None, None) if panel.seed is None else (None, None, panel.seed, value)
            yield keys + place + mean


def _numbered(band: Band) -> Iterator[tuple[Any, ...]]:
    """Yield mean, sd, low and high of each position of a band, with the position from 1."""
    places = zip(band.mean, band.sd, band.low, band.high, strict=True)
    return ((place, *numbers) for place, numbers in enumerate(places, start=1))
