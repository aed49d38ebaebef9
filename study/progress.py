"""How far a study is: what is done of what is asked for, the best values, and the time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.numbers import duration
from study.design import FRESH_PHASES
from study.state import FreshSeeds, Study

DONE = {"tune": "tuned", "confirm": "confirmed", "recheck": "rechecked"}


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        done: number of trials (phase ``tune``) or of configurations that are done, and of all, by
            phase.
        running: number of trials that run.
        slots: number of trials that can run at once; None if it is not known.
        failed: number of trials and seeds that crashed.
        best: the best value of each sweep so far.
        seconds_left: time left; None before a trial has ended.
    """

    done: dict[str, tuple[int, int]]
    running: int
    slots: int | None
    failed: int
    best: dict[str, float]
    seconds_left: float | None

    @property
    def line(self) -> str:
        """The progress in a line.

        >>> Progress({"tune": (34, 96), "confirm": (2, 12)}, 8, 8, 0, {"ewc": 0.7}, 90.0).line
        'tuned 34/96, confirmed 2/12, 8/8 slots busy, 2 min left; best in validation: ewc 0.7000'
        """
        parts = [f"{DONE[phase]} {done}/{all_}" for phase, (done, all_) in self.done.items()]
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts.append(f"{self.running}/{self.slots} slots busy" if self.slots else "")
        if self.seconds_left:
            parts.append(f"{duration(self.seconds_left)} left")
        best = ", ".join(f"{name} {value:.4f}" for name, value in self.best.items())
        return ", ".join(filter(None, parts)) + (f"; best in validation: {best}" if best else "")


def progress(study: Study, running: int = 0, slots: int | None = None) -> Progress:
    """Return how far a study is.

    Args:
        running: number of trials that run now.
        slots: number of trials that can run at once.
    """
    sweeps = [study.sweep(name) for name in study.methods]
    asked, missing = sum(s.budget for s in sweeps), sum(len(s.missing) for s in sweeps)
    done = {"tune": (asked - missing, asked)} if asked else {}
    for phase in FRESH_PHASES:
        states = [s for name in study.methods for s in study.all_fresh_seeds(name, phase)]
        asking = [state for state in states if state.seeds]
        if asking:
            done[phase] = (sum(map(_is_done, asking)), len(asking))
    return Progress(
        done,
        running,
        slots,
        failed=study.crashed,
        best={s.method.name: s.best.values[0] for s in sweeps if s.best},
        seconds_left=_seconds_left(study, slots or running),
    )


def _is_done(state: FreshSeeds) -> bool:
    return state.sweep.has_ended and not state.missing


def _seconds_left(study: Study, slots: int) -> float | None:
    """Return the time of the missing trials, if each takes as long as those of its method did."""
    measured = [study.times(name) for name in study.methods]
    trial = _mean([times.trial for times in measured])
    seed = _mean([times.seed for times in measured])
    if not slots or (trial is None and seed is None):
        return None
    if seed is None:  # no trial is complete yet
        seed = (trial or 0.0) / len(study.design.seeds("tune"))
    seconds = 0.0
    for name, times in zip(study.methods, measured, strict=True):
        seconds += len(study.sweep(name).missing) * (times.trial or trial or 0.0)
        seconds += _fresh_seeds_left(study, name) * (times.seed or seed)
    return seconds / slots


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _fresh_seeds_left(study: Study, method: str) -> int:
    return sum(
        len(state.missing) if state.sweep.has_ended else len(state.seeds)
        for state in study.all_fresh_seeds(method)
    )
