"""Long first tasks that trials of a study have in common, each learnt once.

Which first task a trial would take is decided where it runs, by what it computes; here it is only
foreseen. A wrong guess costs time, never a result: the trial then learns its first task itself.
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
        work: its pre-training: what it computes, for all the seeds those trials need.
        methods: theirs; it takes the size of a stack of the first.
    """

    work: Assignment
    methods: tuple[str, ...]

    @property
    def key(self) -> str:
        """What trials find it under."""
        return seedless_key(dataclasses.asdict(self.work), self.work.versions())

    def finished(self, ledger: Ledger) -> list[Entry]:
        """Return the trials that have learnt it and need not run again."""
        entries = ledger.entries(self.work.phase, PRETRAINING)
        done = [e for e in entries if e.state != "failed" and {*e.seeds} & {*self.work.seeds}]
        return [e for e in done if seedless_key(e.work, e.versions) == self.key]

    def missing(self, ledger: Ledger) -> list[int]:
        """Return the seeds that have not learnt it."""
        done = {seed for entry in self.finished(ledger) for seed in entry.seeds}
        return [seed for seed in self.work.seeds if seed not in done]


def before_sweeps(study: Study) -> list[SharedTask]:
    """Return the first tasks of the sweeps that have not ended."""
    return _merged(
        (method.name, _of_any_trial(study.design, method))
        for method in study.methods.values()
        if study.sweep(method.name).missing
    )


def before_confirmation(study: Study) -> list[SharedTask]:
    """Return the first tasks of the seeds that have not been confirmed."""
    found: list[tuple[str, Assignment | None]] = []
    for name, method in study.methods.items():
        confirmation = study.confirmation(name)
        if confirmation.configuration is not None and confirmation.missing:
            work = study.design.assignment(
                method, confirmation.configuration, "confirm", confirmation.missing
            )
            found.append((name, pretraining_of(work)))
    return _merged(found)


def foreseen(design: Design, phase: str) -> list[SharedTask]:
    """Return the first tasks of a whole phase, before anything is known of its trials; those of
    the confirmation as if the published values were the best.
    """
    methods = design.methods.values()
    if phase == "tune":
        tuned = methods if design.spec.tune.trials else ()
        return _merged((method.name, _of_any_trial(design, method)) for method in tuned)
    works = (design.assignment(m, m.configuration({}), phase) for m in methods)
    return _merged(zip(design.methods, map(pretraining_of, works), strict=True))


def _of_any_trial(design: Design, method: Method) -> Assignment | None:
    """Return the pre-training of a method's trials; None where it depends on what is searched."""
    configuration = method.configuration({})
    shared = method.kind.pretraining(method.kind.Config.parse(configuration))
    if shared is None or shared[1].keys() & method.space.keys():
        return None
    return pretraining_of(design.assignment(method, configuration, "tune"))


def _merged(found: Iterable[tuple[str, Assignment | None]]) -> list[SharedTask]:
    """Join what methods need: equal pre-trainings are one, with the seeds of all of them."""
    merged: dict[str, SharedTask] = {}
    for method, work in found:
        if work is None:
            continue
        new = SharedTask(work, ())
        known = merged.get(new.key, new)
        seeds = tuple(dict.fromkeys((*known.work.seeds, *work.seeds)))
        methods = (*known.methods, method)
        merged[new.key] = SharedTask(dataclasses.replace(work, seeds=seeds), methods)
    return list(merged.values())
