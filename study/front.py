"""The front of sweeps with several objectives, as a study of its own.

A front is chosen on tuning seeds and validation data, and looks better there than it is. On fresh
seeds each of its configurations is a method like any other, with intervals and tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from analysis.pareto import Point, study_fronts
from study import plan
from study.ledger import Entry, Ledger
from study.plan import Method
from study.results import opened
from study.spec import Spec
from study.sweep import finished_trials
from trainables.errors import InputError


def front_study(place: Path) -> str:
    """Return a study file that confirms the fronts of a study: `METHOD_NUMBER` is a method's trial.

    Raises:
        InputError: where the study has one objective, or no trial yet.
    """
    folder, spec, methods = opened(place)
    if len(spec.objectives) < 2:
        raise InputError(
            f"{place}: a front needs two objectives or more, and this study has "
            f"{spec.objectives[0]} alone. Give more in tune.objectives."
        )
    fronts = dict(_fronts(spec, methods, folder.ledger()))
    found = {
        f"{name}_{entry.number}": _section(methods[name], entry)
        for name, entries in fronts.items()
        for entry in entries
    }
    if not found:
        raise InputError(f"{place}: no trial is complete yet. Run the study first.")
    first = fronts.get(spec.study.reference) or next(iter(fronts.values()))
    return _written(spec, found, f"{first[0].method}_{first[0].number}")


def _fronts(
    spec: Spec, methods: Mapping[str, Method], ledger: Ledger
) -> Iterator[tuple[str, list[Entry]]]:
    """Each method with trials on its front, by the first objective; of equal configurations one."""
    trials = {name: finished_trials(spec, method, ledger) for name, method in methods.items()}
    complete = {
        name: {e.number: e for e in entries if e.state == "complete" and e.number is not None}
        for name, entries in trials.items()
    }
    points = {
        name: [Point(number, tuple(e.values)) for number, e in entries.items()]
        for name, entries in complete.items()
    }
    for front in study_fronts(points, [plan.direction(name) for name in spec.objectives]):
        kept: dict[str, Entry] = {}
        for point in front.points:
            entry = complete[front.method][point.number]
            kept.setdefault(str(entry.work["configuration"]), entry)
        if kept:
            yield front.method, list(kept.values())


def _section(method: Method, entry: Entry) -> dict[str, Any]:
    """The table of a method that is fixed to a trial's configuration."""
    usual = plan.configuration(method, {})
    chosen = {k: v for k, v in entry.work["configuration"].items() if v != usual[k]}
    return {"learner": method.learner, "fixed": {**method.fixed, **chosen}}


def _written(spec: Spec, methods: Mapping[str, Any], reference: str) -> str:
    plain, name = spec.plain(), spec.study.name
    study = {**plain["study"], "name": f"{name}_front"[:64], "reference": reference}
    seeds = ", ".join(map(str, spec.tune_seeds))
    values = {
        "study": study,
        "stream": plain["stream"],
        "methods": methods,
        "tune": {"trials": 0},
        "confirm": plain["confirm"],
        "resources": plain["resources"],
    }
    return (
        f"# The fronts of {name}, on fresh seeds. Its sweeps chose them on the seeds {seeds} and "
        f"validation data.\n{tomli_w.dumps(values)}"
    )
