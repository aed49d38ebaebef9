"""The front of sweeps with several objectives, as a study of its own.

A front is chosen on tuning seeds and validation data, and looks better there than it is. In a study
of its own each of its configurations is a method like any other, with intervals and tests on seeds
that nothing has been seen of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from analysis.statistics.pareto import Point, study_fronts
from study import check
from study.check import Method
from study.ledger import Entry, Ledger
from study.record import opened
from study.run.sweep import finished_trials
from study.spec import Spec
from trainables.errors import InputError

Fronts = dict[str, list[Entry]]


def front_study(place: Path) -> str:
    """Return a study file that confirms the fronts of a study: `METHOD_NUMBER` is a method's trial.

    Raises:
        InputError: where the study has one objective, no trial yet, or what cannot be confirmed.
    """
    folder, spec, methods = opened(place)
    if len(spec.objectives) < 2:
        raise InputError(
            f"{place}: a front needs two objectives or more, and this study has "
            f"{spec.objectives[0]} alone. Give more in tune.objectives."
        )
    ledger = folder.ledger()
    fronts = dict(_fronts(spec, methods, ledger))
    if not fronts:
        raise InputError(f"{place}: no trial is complete yet. Run the study first.")
    values = _values(spec, methods, fronts, _first_unseen(spec, ledger))
    source = f"the fronts of {place}"
    check.resolve(Spec.parse(values, source), source)
    said = [f"The fronts of {spec.study.name}, on other seeds.", *_lacking(spec, methods, ledger)]
    said += [f"No trial of {name} is complete." for name in methods if name not in fronts]
    return "".join(f"# {line}\n" for line in said) + tomli_w.dumps(values)


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
    for front in study_fronts(points, [check.direction(name) for name in spec.objectives]):
        kept: dict[str, Entry] = {}
        for point in front.points:
            entry = complete[front.method][point.number]
            kept.setdefault(str(entry.work["configuration"]), entry)
        if kept:
            yield front.method, list(kept.values())


def _first_unseen(spec: Spec, ledger: Ledger) -> int:
    """The seed after all that the study has, or is to have."""
    seen = {seed for entry in ledger.entries() for seed in entry.seeds}
    return max(seen | {*spec.tune_seeds, *spec.confirm_seeds}) + 1


def _lacking(spec: Spec, methods: Mapping[str, Method], ledger: Ledger) -> Iterator[str]:
    """Which sweeps have not ended."""
    for name, method in methods.items():
        done = len(finished_trials(spec, method, ledger))
        if done < spec.tune.trials:
            yield f"The sweep of {name} has {done} of its {spec.tune.trials} trials."


def _values(
    spec: Spec, methods: Mapping[str, Method], fronts: Fronts, first: int
) -> dict[str, Any]:
    """The study file; its reference is the best of the reference, else of the first method."""
    plain = spec.plain()
    best = (fronts.get(spec.study.reference) or next(iter(fronts.values())))[0]
    new = {"name": f"{spec.study.name[:58]}_front", "reference": _name(best)}
    seeds = {"first": first, "count": len(spec.confirm_seeds)}
    return {
        "study": plain["study"] | new,
        "stream": plain["stream"],
        "methods": {
            _name(entry): _section(methods[method], entry)
            for method, entries in fronts.items()
            for entry in entries
        },
        "tune": {"trials": 0},
        "confirm": plain["confirm"] | {"seeds": seeds, "chosen_on": check.chosen_on(spec)},
        "resources": {k: v for k, v in plain["resources"].items() if v is not None},
    }


def _name(entry: Entry) -> str:
    return f"{entry.method}_{entry.number}"


def _section(method: Method, entry: Entry) -> dict[str, Any]:
    """The table of a method that is fixed to a trial's configuration."""
    usual = check.configuration(method, {})
    chosen = {k: v for k, v in entry.work["configuration"].items() if v != usual[k]}
    return {"learner": method.learner, "fixed": method.fixed | chosen}
