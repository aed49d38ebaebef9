"""The Pareto fronts of sweeps with several objectives, as a new study.

A front is chosen on tuning seeds and validation data, where its values are biased upwards. In a new
study each configuration of the front is a method like any other, with intervals and tests on
unused seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from analysis.records import DECIDED
from analysis.statistics.pareto import Point, study_fronts
from study import check
from study.design import Method
from study.ledger import Entry
from study.spec import Spec
from study.state import Study, violation
from trainables.errors import InputError

Fronts = dict[str, list[Entry]]


def front_study(place: Path) -> str:
    """Return a study file that confirms the fronts of a study.

    Its methods are named ``METHOD_NUMBER``, after the method and the number of the trial.

    Raises:
        InputError: if the study has one objective only, no complete trial, or a configuration that
            cannot be confirmed.
    """
    study = Study.open(place)
    spec = study.spec
    if len(spec.objectives) < 2:
        raise InputError(
            f"{place}: a front needs at least two objectives, and this study has only "
            f"{spec.objectives[0]}. Give more in tune.objectives."
        )
    fronts = dict(_fronts(study))
    if not fronts:
        raise InputError(f"{place}: no trial is complete yet. Run the study first.")
    values = _values(study, fronts)
    source = f"the fronts of {place}"
    check.resolve(Spec.parse(values, source), source)
    comments = [f"The fronts of {spec.study.name}, on other seeds.", *_unfinished_sweeps(study)]
    if values["study"]["comparisons"]:
        word = "larg" if study.design.directions[1] == "minimize" else "small"
        comments += [
            f"Each configuration of {method} is compared with one of {other}."
            for method, other in _compared(study, fronts)
        ]
        comments += [
            f"The one to compare with has the next {word}er {spec.objectives[1]}; if there is "
            f"none, the {word}est.",
        ]
    comments += [f"No trial of {name} is complete." for name in spec.methods if name not in fronts]
    values["stream"].pop("contents", None)  # these facts are read from the user's file
    return "".join(f"# {line}\n" for line in comments) + tomli_w.dumps(values)


def _fronts(study: Study) -> Iterator[tuple[str, list[Entry]]]:
    """Yield each method with the trials on its front, ordered by the first objective.

    Of trials with equal configurations only the first is kept, and of trials with equal values:
    thresholds that no trial reaches, for instance, all give the same network.
    """
    trials = {name: study.sweep(name).finished for name in study.spec.methods}
    complete = {
        name: {
            e.number: e
            for e in entries
            if e.state == "complete" and e.number is not None and violation(e) == 0
        }
        for name, entries in trials.items()
    }
    points = {
        name: [Point(number, tuple(e.values)) for number, e in entries.items()]
        for name, entries in complete.items()
    }
    for front in study_fronts(points, study.design.directions):
        configurations: dict[str, Entry] = {}
        kept: dict[tuple[float, ...], Entry] = {}
        for point in front.points:
            entry = complete[front.method][point.number]
            configurations.setdefault(str(entry.work["configuration"]), entry)
        for entry in configurations.values():
            kept.setdefault(tuple(entry.values), entry)
        if kept:
            yield front.method, list(kept.values())


def _reference(study: Study, fronts: Fronts) -> str:
    """Return the method that the others are compared with: the study's reference, else the first
    method with a front.
    """
    named = study.spec.study.reference
    return named if named in fronts else next(iter(fronts))


def _compared(study: Study, fronts: Fronts) -> list[tuple[str, str]]:
    """Return the comparisons of the study between methods with a front; if there is none, each
    method beside `_reference`.
    """
    named = [pair for pair in study.design.comparisons if fronts.keys() >= set(pair)]
    reference = _reference(study, fronts)
    return named or [(method, reference) for method in fronts if method != reference]


def _comparisons(study: Study, fronts: Fronts) -> list[list[str]]:
    """Return the pairs to test: each configuration of a method, and the configuration of the method
    to compare with that has the next worse second objective, such as the next larger memory. So the
    latter is never at a disadvantage, unless its front does not reach as far.
    """
    signs = [1 if direction == "minimize" else -1 for direction in study.design.directions]
    if len(signs) != 2:
        return []

    def price(entry: Entry) -> float:
        return signs[1] * entry.values[1]

    rungs = {method: sorted(entries, key=price) for method, entries in fronts.items()}

    def counterpart(entry: Entry, other: str) -> Entry:
        return next((r for r in rungs[other] if price(r) >= price(entry)), rungs[other][-1])

    return [
        [_name(entry), _name(counterpart(entry, other))]
        for method, other in _compared(study, fronts)
        for entry in fronts[method]
    ]


def _first_unused_seed(study: Study) -> int:
    """Return the seed after all seeds that the study has used or asks for."""
    used = {seed for entry in study.ledger.entries() for seed in entry.seeds}
    return max(used | {*study.spec.tune_seeds, *study.spec.confirm_seeds}) + 1


def _unfinished_sweeps(study: Study) -> Iterator[str]:
    """Yield a sentence on each sweep that has not ended."""
    budget = study.spec.tune.trials
    for name in study.spec.methods:
        done = len(study.sweep(name).finished)
        if done < budget:
            yield f"The sweep of {name} has {done} of its {budget} trials."


def _values(study: Study, fronts: Fronts) -> dict[str, Any]:
    """Return the values of the new study file. Its reference is the best of its front."""
    spec = study.spec
    plain = spec.plain()
    changes = {
        "name": f"{spec.study.name[:58]}_front",
        "reference": _name(fronts[_reference(study, fronts)][0]),
        "comparisons": _comparisons(study, fronts),
    }
    number = "up_to" if spec.confirm.stop == DECIDED else "count"
    seeds = {"first": _first_unused_seed(study), number: len(spec.confirm_seeds)}
    return {
        "study": plain["study"] | changes,
        "stream": plain["stream"],
        "methods": {
            _name(entry): _section(study.methods[method], entry)
            for method, entries in fronts.items()
            for entry in entries
        },
        "tune": {"trials": 0},
        "confirm": plain["confirm"] | {"seeds": seeds, "chosen_on": study.design.chosen_on},
        "resources": {k: v for k, v in plain["resources"].items() if v is not None},
    }


def _name(entry: Entry) -> str:
    return f"{entry.method}_{entry.number}"


def _section(method: Method, entry: Entry) -> dict[str, Any]:
    """Return the table of a method that is fixed to the configuration of a trial."""
    default = method.configuration({})
    chosen = {k: v for k, v in entry.work["configuration"].items() if v != default[k]}
    return {"learner": method.learner, "fixed": method.fixed | chosen}
