"""Long first tasks that trials of a study have in common, each learnt once.

This module only predicts the first task of a trial: the trial itself looks for a foundation that
fits its assignment. A wrong prediction costs time, never a result, because a trial without a
foundation learns the first task itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from study.design import Design, Method
from study.ledger import PRETRAINING, Entry, Ledger
from study.state import Study
from trainables.engine.assignment import Assignment, pretraining_of, seedless_key


@dataclass(frozen=True)
class SharedTask:
    """A first task that trials have in common.

    Attributes:
        work: the assignment of the pre-training, for all seeds of those trials.
        methods: the methods of those trials; the first one sets the stack size.
    """

    work: Assignment
    methods: tuple[str, ...]

    @property
    def key(self) -> str:
        """Key under which trials find the foundation."""
        return seedless_key(dataclasses.asdict(self.work), self.work.versions())

    def finished(self, ledger: Ledger) -> list[Entry]:
        """Return the pre-trainings of this first task that need not run again."""
        entries = ledger.entries(self.work.phase, PRETRAINING)
        done = [e for e in entries if e.state != "failed" and {*e.seeds} & {*self.work.seeds}]
        return [e for e in done if seedless_key(e.work, e.versions) == self.key]

    def missing(self, ledger: Ledger) -> list[int]:
        """Return the seeds that have not learnt this first task."""
        done = {seed for entry in self.finished(ledger) for seed in entry.seeds}
        return [seed for seed in self.work.seeds if seed not in done]


def first_tasks_of_sweeps(study: Study) -> list[SharedTask]:
    """Return the first tasks of the sweeps that have not ended."""
    return _merged(
        (method.name, _common_pretraining(study.design, method))
        for method in study.methods.values()
        if study.sweep(method.name).missing
    )


def first_tasks_of_fresh_seeds(
    study: Study, phase: str, methods: Iterable[str]
) -> list[SharedTask]:
    """Return the first tasks of the seeds of some methods that have yet to run in a phase."""
    found: list[tuple[str, Assignment | None]] = []
    for name in methods:
        method = study.methods[name]
        for state in study.all_fresh_seeds(name, phase):
            if state.configuration is not None and state.missing:
                work = study.design.assignment(method, state.configuration, phase, state.missing)
                found.append((name, pretraining_of(work)))
    return _merged(found)


def first_tasks_of_phase(design: Design, phase: str) -> list[SharedTask]:
    """Return the first tasks of a whole phase, predicted before any trial has run.

    Confirmation and recheck are taken to be of the published values.
    """
    methods = design.methods.values() if design.spec.tune.trials or phase == "confirm" else ()
    if phase == "tune":
        return _merged((method.name, _common_pretraining(design, method)) for method in methods)
    works = {m.name: design.assignment(m, m.configuration({}), phase) for m in methods}
    return _merged((name, pretraining_of(work)) for name, work in works.items())


def _common_pretraining(design: Design, method: Method) -> Assignment | None:
    """Return the pre-training of all trials of a sweep.

    None if the first task depends on a searched option, or if the learner has no pre-training.
    """
    configuration = method.configuration({})
    shared = method.kind.pretraining(method.kind.Config.parse(configuration))
    if shared is None or shared[1].keys() & method.space.keys():
        return None
    return pretraining_of(design.assignment(method, configuration, "tune"))


def _merged(found: Iterable[tuple[str, Assignment | None]]) -> list[SharedTask]:
    """Join equal pre-trainings of several methods into one with the seeds of all."""
    merged: dict[str, SharedTask] = {}
    for method, work in found:
        if work is None:
            continue
        new = SharedTask(work, ())
        earlier = merged.get(new.key, new)
        seeds = tuple(dict.fromkeys(earlier.work.seeds + work.seeds))
        merged[new.key] = SharedTask(
            dataclasses.replace(work, seeds=seeds),
            tuple(dict.fromkeys((*earlier.methods, method))),
        )
    return list(merged.values())
