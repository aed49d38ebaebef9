"""A study record to vary: three methods, ten seeds, everything in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from analysis.metrics import ReadoutMetric
from analysis.records import MethodRecord, StudyRecord, TuningRecord

REFERENCE = (0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.81, 0.83, 0.79, 0.80)
CLOSE = (0.80, 0.82, 0.78, 0.82, 0.81, 0.78, 0.80, 0.83, 0.79, 0.80)
RECHECK = {100: 0.82, 101: 0.83, 102: 0.81}
FAR = (0.70, 0.72, 0.69, 0.71, 0.70, 0.69, 0.70, 0.72, 0.71, 0.69)


def method(name: str, scores: Sequence[float], **fields: Any) -> MethodRecord:
    """A method; a metric of its primary readout may be given by its name."""
    seeded = {100 + i: score for i, score in enumerate(scores)}
    rechecked = {seed: seeded[seed] for seed in RECHECK if seed in seeded}
    checks = {"recheck": RECHECK, "rechecked": rechecked}
    tuning = TuningRecord(12, 1, 2, 60.0, 5000, 3, [0.7, None, 0.85], 2, "tpe", **checks)
    whole = {"learner": name, "configuration": {"lr": 0.01}, "scores": seeded, "tuning": tuning}
    others = {
        ReadoutMetric(of) if isinstance(of, str) else of: measured
        for of, measured in fields.pop("other_metrics", {}).items()
    }
    return MethodRecord(**{"method": name, **whole, "other_metrics": others, **fields})


def study(methods: Sequence[MethodRecord] | None = None, **fields: Any) -> StudyRecord:
    if methods is None:
        methods = [method("replay", REFERENCE), method("ewc", CLOSE), method("finetune", FAR)]
    most = max((len(m.scores) for m in methods), default=0)
    whole = {
        "study": "digits",
        "stream": "split_digits",
        "scenario": "class",
        "metric": "average_accuracy",
        "reference": "replay",
        "margin": 0.01,
        "alpha": 0.05,
        "failed_rule": "error",
        "protocol": "end_of_stream",
        "phase": "confirm",
        "planned_seeds": list(range(100, 100 + most)),
        "tune_seeds": [0, 1, 2],
        "chance": 0.1,
        "methods": list(methods),
        "provenance": {"git": "abc_1", "command": "python -m study run digits"},
    }
    return StudyRecord(**{**whole, **fields})


@pytest.fixture
def make_method() -> Callable[..., MethodRecord]:
    return method


@pytest.fixture
def make_study() -> Callable[..., StudyRecord]:
    return study
