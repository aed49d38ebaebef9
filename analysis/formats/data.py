"""An `Analysis` as data: one JSON document, and a CSV text for each table and most figures.

Numbers are unrounded; what is undefined is null in JSON and empty in CSV, never NaN.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from analysis.one_study.analyse import Analysis, Comparison, MemoryPoint, SecondaryRow
from analysis.one_study.published import PublishedRow
from analysis.one_study.trajectories import Band, MapPanel

Rows = list[dict[str, Any]]

METHOD_FIELDS = ("method", "n", "mean", "sd", "ci_low", "ci_high", "configuration", "footprint")
COMPARISON_FIELDS = (
    "method",
    "reference",
    "difference",
    "ci_low",
    "ci_high",
    "p_exact",
    "p_holm",
    "p_t",
    "hedges_g",
    "p_win",
    "verdict",
)
TUNING_FIELDS = ("method", "trials", "failed", "pruned", "seconds", "samples")
OPTION_FIELDS = ("method", "option", "importance", "default", "chosen")
_EVIDENCE_FIELDS = (
    *("method", "reference", "n", "sd", "p_floor", "p_exact", "p_t", "p_t_holm", "p_tost"),
    *("hedges_g", "g_low", "g_high", "rho", "mde", "seeds_needed", "test_dependent"),
)
_MAP_FIELDS = (
    *("method", "diagnostic", "label", "unit", "after_task", "row", "column"),
    *("n", "mean", "seed", "value"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\n")
_BAND_FIELDS = ("mean", "sd", "low", "high")


def to_json(analysis: Analysis) -> str:
    """The study as JSON: `methods`, `comparisons`, `tuning`, and notes; null where undefined."""
    return dumps(document(analysis))


def document(analysis: Analysis) -> dict[str, Any]:
    """What `to_json` writes, before it is text."""
    record = analysis.record
    return {
        "study": record.study,
        "metric": record.metric,
        "phase": record.phase,
        "unit": record.unit,
        "unit_seeds": record.unit_seeds,
        "methods": [_fields(row, METHOD_FIELDS) for row in analysis.methods],
        "comparisons": [_comparison_fields(c) for c in analysis.comparisons],
        "tuning": [_fields(row, TUNING_FIELDS) for row in analysis.tuning],
        "reference": record.reference,
        "margin": record.margin,
        "alpha": record.alpha,
        "reasons": {c.method: c.reason for c in analysis.comparisons},
        "notes": list(analysis.notes),
        "published": [asdict(row) for row in analysis.published],
        "fronts": [asdict(front) for front in analysis.fronts],
    }


def dumps(value: Any) -> str:
    """The value as JSON text, with null for what is not a finite number."""
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def to_csv(analysis: Analysis) -> dict[str, str]:
    """The texts of `methods.csv`, `comparisons.csv` and so on, by file name.

    One for every table of the report, under the table's name, and the numbers behind the figures,
    under the figure's. A table without rows is left out, but for methods and comparisons.
    """
    always = ("methods", "comparisons")
    texts = {}
    for name, (names, rows_of) in _files(analysis).items():
        rows = rows_of(analysis)
        if rows or name in always:
            texts[f"{name}.csv"] = csv_text(names, rows)
    return texts


def csv_text(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header and a line per row; cells that are not a plain value are JSON.

    A text that a spreadsheet would take for a formula, as a name or a source may be, begins with an
    apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, names))
    for row in rows:
        writer.writerow(_cell(plain(row[name])) for name in names)
    return text.getvalue()


def comparison_rows(analysis: Analysis) -> Rows:
    """Each comparison with its verdict and the reason for it."""
    return [_comparison_fields(c) | {"n": c.n, "reason": c.reason} for c in analysis.comparisons]


def option_rows(analysis: Analysis) -> Rows:
    """Each searched option of each method, most important first."""
    configurations = {row.method: row.configuration for row in analysis.methods}
    return [
        {
            "method": search.method,
            "option": each.option,
            "importance": each.importance,
            "default": _defaults(analysis, search.method).get(each.option),
            "chosen": configurations[search.method].get(each.option),
        }
        for search in analysis.searches
        for each in search.slices
    ]


def point_rows(analysis: Analysis) -> Rows:
    """Each complete trial of the sweeps with several objectives: front, dominated, left out."""
    histories = {m.method: {t.number: t for t in m.tuning.history} for m in analysis.record.methods}
    rows: Rows = []
    for front in analysis.fronts:
        numbers = {
            "front": [point.number for point in front.points],
            "dominated": front.dominated,
            "left out": front.left_out,
        }
        for place, trials in numbers.items():
            for number in trials:
                values = histories[front.method][number].values
                named = dict(zip(analysis.record.objectives, values, strict=True))
                rows.append({"method": front.method, "trial": number, **named, "place": place})
    return rows


def map_rows(analysis: Analysis) -> Rows:
    """Each cell of each map after each task: its mean, or one seed's value."""
    return [row for panel in analysis.maps for row in _map_rows(panel)]


def _map_rows(panel: MapPanel) -> Iterator[dict[str, Any]]:
    of = panel.of
    about = {"method": panel.method, "diagnostic": of.name, "label": panel.label, "unit": of.unit}
    none = dict.fromkeys(_MAP_FIELDS)
    for task, row, column in np.ndindex(panel.counts.shape):
        place = {"after_task": task + 1, "row": row + 1, "column": column + of.first_column}
        value = panel.values[task][row][column]
        if panel.seed is None:
            found = {"n": panel.counts[task, row, column], "mean": value}
        else:
            found = {"seed": panel.seed, "value": value}
        yield none | about | place | found


def plain(value: Any) -> Any:
    """The value in what JSON knows: null for NaN and infinity, lists for tuples and arrays."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


# --- one function for each file -------------------------------------------------------------------


def _files(
    analysis: Analysis,
) -> dict[str, tuple[Sequence[str], Callable[[Analysis], Rows]]]:
    objectives = analysis.record.objectives
    kinds = dict.fromkeys(kind for row in analysis.methods for kind in row.footprint)
    counts = ("wins", "ties", "losses", "win_low", "win_high")
    tuned = ("sampler", "seeds_per_trial", "configurations")
    chosen = ("default_value", "best_value", "optimism")
    trial = ("method", "trial", "state", "objective", "best_so_far", "params")
    diagnosed = ("method", "diagnostic", "label", "unit", "n", "after_task", *_BAND_FIELDS)
    return {
        "methods": ((*METHOD_FIELDS, "learner", "failed"), _methods),
        "comparisons": ((*COMPARISON_FIELDS, "n", "reason"), comparison_rows),
        "evidence": ((*_EVIDENCE_FIELDS, *counts), _evidence),
        "seeds": (("method", "seed", "score", "failure"), _seeds),
        "accuracy-after-each-task": (("method", "n", "after_task", *_BAND_FIELDS), _curves),
        "accuracy-matrix": (("method", "n", "after_task", "task", "mean"), _matrices),
        "per_task": (("method", "n", "task", *_BAND_FIELDS), _tasks),
        "memory": (_names(MemoryPoint), _rows_of("memory", MemoryPoint)),
        "tuning": ((*TUNING_FIELDS, *tuned, *chosen), _tuning),
        "search-history": (trial, _history),
        "expected_best": (("method", "n", "expected"), _expected),
        "hypervolume": (_HYPERVOLUME, _fronts),
        "pareto": (("method", "trial", *objectives, "place"), point_rows),
        "importance": (OPTION_FIELDS, option_rows),
        "diagnostics": (diagnosed, _diagnostics),
        "maps": (_MAP_FIELDS, map_rows),
        "secondary": (_names(SecondaryRow), _rows_of("secondary", SecondaryRow)),
        "configurations": (("method", "learner", "configuration"), _methods),
        "footprint": (("method", *kinds, "memory_samples"), _footprints),
        "failures": (("method", "seed", "reason", "counted_as"), _failures),
        "published": (_names(PublishedRow), _rows_of("published", PublishedRow)),
    }


_HYPERVOLUME = ("method", "front", "dominated", "left_out", "reference", "hypervolume", "share")


def _names(row: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(row))


def _rows_of(name: str, row: type) -> Callable[[Analysis], Rows]:
    return lambda analysis: [_fields(each, _names(row)) for each in getattr(analysis, name)]


def _methods(analysis: Analysis) -> Rows:
    return [_fields(row, (*METHOD_FIELDS, "learner", "failed")) for row in analysis.methods]


def _evidence(analysis: Analysis) -> Rows:
    return [_fields(c, _EVIDENCE_FIELDS) | _wins(c) for c in analysis.comparisons]


def _wins(c: Comparison) -> dict[str, Any]:
    wins = c.wins
    return {
        "wins": wins.wins if wins else None,
        "ties": wins.ties if wins else None,
        "losses": wins.losses if wins else None,
        "win_low": wins.low if wins else None,
        "win_high": wins.high if wins else None,
    }


def _seeds(analysis: Analysis) -> Rows:
    reasons = {(f.method, f.seed): f.reason for f in analysis.failures if f.seed is not None}
    return [
        {
            "method": row.method,
            "seed": seed,
            "score": row.scores.get(seed),
            "failure": reasons.get((row.method, seed)),
        }
        for row in analysis.methods
        for seed in sorted({*row.scores, *(s for m, s in reasons if m == row.method)})
    ]


def _curves(analysis: Analysis) -> Rows:
    return [
        {"method": t.method, "n": t.n, **row}
        for t in analysis.trajectories
        for row in _band(t.curve, "after_task")
    ]


def _tasks(analysis: Analysis) -> Rows:
    return [
        {"method": t.method, "n": t.n, **row}
        for t in analysis.trajectories
        for row in _band(t.tasks, "task")
    ]


def _matrices(analysis: Analysis) -> Rows:
    return [
        {"method": t.method, "n": t.n, "after_task": i, "task": j, "mean": accuracy}
        for t in analysis.trajectories
        for i, row in enumerate(t.matrix, start=1)
        for j, accuracy in enumerate(row, start=1)
    ]


def _tuning(analysis: Analysis) -> Rows:
    return [asdict(row) for row in analysis.tuning]


def _history(analysis: Analysis) -> Rows:
    best = {search.method: search.best_so_far for search in analysis.searches}
    return [
        {
            "method": method.method,
            "trial": trial.number,
            "state": trial.state,
            "objective": trial.values[0] if trial.values else None,
            "best_so_far": _at(best.get(method.method, ()), trial.number),
            "params": trial.params,
        }
        for method in analysis.record.methods
        for trial in method.tuning.history
    ]


def _expected(analysis: Analysis) -> Rows:
    return [
        {"method": search.method, "n": n, "expected": value}
        for search in analysis.searches
        for n, value in enumerate(search.expected, start=1)
    ]


def _fronts(analysis: Analysis) -> Rows:
    return [
        _fields(front, ("method", "dominated", "left_out", "reference", "hypervolume", "share"))
        | {"front": [point.number for point in front.points]}
        for front in analysis.fronts
    ]


def _diagnostics(analysis: Analysis) -> Rows:
    return [
        {"method": d.method, "diagnostic": d.name, "label": d.label, "unit": d.unit, "n": d.n} | row
        for d in analysis.diagnostics
        for row in _band(d.band, "after_task")
    ]


def _footprints(analysis: Analysis) -> Rows:
    kinds = dict.fromkeys(kind for row in analysis.methods for kind in row.footprint)
    return [
        {"method": row.method, "memory_samples": row.memory_samples}
        | {kind: row.footprint.get(kind) for kind in kinds}
        for row in analysis.methods
        if row.footprint
    ]


def _failures(analysis: Analysis) -> Rows:
    return [asdict(failure) for failure in analysis.failures]


def _band(band: Band, position: str) -> Rows:
    columns = zip(band.mean, band.sd, band.low, band.high, strict=True)
    return [
        {position: i} | dict(zip(_BAND_FIELDS, values, strict=True))
        for i, values in enumerate(columns, start=1)
    ]


def _defaults(analysis: Analysis, method: str) -> dict[str, Any]:
    record = next(m for m in analysis.record.methods if m.method == method)
    if not record.tuning.has_default:
        return {}
    return next((t.params for t in record.tuning.history if t.number == 0), {})


def _at(values: Sequence[float | None], position: int) -> float | None:
    return values[position] if 0 <= position < len(values) else None


def _comparison_fields(c: Comparison) -> dict[str, Any]:
    share = c.wins.share if c.wins else None
    return {name: share if name == "p_win" else getattr(c, name) for name in COMPARISON_FIELDS}


def _fields(row: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    text = re.sub("\r\n?", "\n", value)  # a lone return would not be quoted, and end the row
    return f"'{text}" if text.startswith(_FORMULA) else text
