"""Whole studies to render: everything filled, hostile names, pictures without drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.metrics import ReadoutMetric
from analysis.records import (
    AlternativeRecord,
    DiagnosticRecord,
    MethodRecord,
    OptionRecord,
    PublishedRecord,
    StudyRecord,
    TrialRecord,
    TuningRecord,
)
from analysis.report.blocks import Picture, Table
from analysis.report.columns import Column

NAMES = ("replay", "ewc", "finetune")
HOSTILE = (
    r"a|b*c_d`e<script>alert(1)</script>\ ",
    "100% $x_1^2$ & #1 {~} [l](u)",
    '<img src=x onerror="alert(1)">',
    "naïve–façade ± ≤ … 日本 \"q\" 'r' --x &amp; &lt;",
    "-",
    "x" * 60,
)
SPACE = (
    OptionRecord("lr", "float", 1e-4, 1.0, log=True),
    OptionRecord("optimiser", "categorical", choices=["adam_w", "sgd"]),
    OptionRecord("hidden", "fixed", choices=[[64, 64]]),
)
OTHERS = ("average_incremental_accuracy", "retention_old", "forgetting", "recency_bias")
PICTURES = (
    "answer",
    *("paired-seeds", "forest", "accuracy-after-each-task", "accuracy-matrix"),
    *("memory-accuracy", "search-history", "importance", "slices", "pareto"),
    *("diagnostics-spikes", "maps-activity", "of-my-own"),
)


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str | None]] = (),
    numbers: Sequence[str] = (),
    name: str = "name",
) -> Table:
    """A table of texts; some of its columns hold numbers."""
    columns = tuple(
        Column(heading, heading, itemgetter(i), is_number=heading in numbers)
        for i, heading in enumerate(headings)
    )
    return Table("Title", columns, tuple(map(tuple, rows)), "Caption.", name)


def pictures(names: Sequence[str] = PICTURES) -> tuple[Picture, ...]:
    return tuple(Picture(name, f"title of {name}", f"caption of {name}", Figure) for name in names)


def svg(picture: Picture) -> str:
    return f'<svg role="img" id="{picture.name}-title"><title>{picture.name}</title></svg>'


def whole_study(
    names: Sequence[str] = NAMES, n: int = 8, tasks: int = 3, fronts: bool = True, **fields: Any
) -> StudyRecord:
    """A study with something in every section."""
    rng = np.random.default_rng(0)
    methods = [_method(name, 0.8 - 0.1 * i, n, tasks, rng) for i, name in enumerate(names)]
    several: dict[str, Any] = {
        "objectives": ("average_accuracy", "memory_bytes"),
        "directions": ("maximize", "minimize"),
    }
    given: dict[str, Any] = {
        "study": "digits",
        "stream": "split_digits",
        "scenario": "class",
        "metric": "average_accuracy",
        "reference": names[0],
        "margin": 0.01,
        "alpha": 0.05,
        "failed_rule": "error",
        "protocol": "end_of_stream",
        "phase": "confirm",
        "planned_seeds": list(range(100, 100 + n)),
        "tune_seeds": [0, 1, 2],
        "chance": 0.1,
        "methods": methods,
        "provenance": {"git": "abc_1", "command": "python -m study run digits"},
        "study_file": '[study]\nname = "digits"\n',
        "published": _published(names),
        **(several if fronts else {}),
    }
    return StudyRecord(**{**given, **fields})


def repeated_study() -> StudyRecord:
    """The same with a second configuration of each method, and with a second sweep."""
    record = whole_study()
    sweep = [replace(method, scores=_moved(method, seeds=1000)) for method in record.methods]
    seeds = [seed + 1000 for seed in record.planned_seeds]
    others = [
        AlternativeRecord(3, 0.7, {"lr": 0.1}, _moved(method, score=0.1))
        for method in record.methods
    ]
    methods = [
        replace(method, alternatives=(other,))
        for method, other in zip(record.methods, others, strict=True)
    ]
    again = replace(record, methods=sweep, planned_seeds=seeds)
    return replace(record, methods=methods, repeats=(again,))


def _moved(method: MethodRecord, seeds: int = 0, score: float = 0.0) -> dict[int, float]:
    return {seed + seeds: value - score for seed, value in method.scores.items()}


def _published(names: Sequence[str]) -> tuple[PublishedRecord, ...]:
    accuracy, slow = ReadoutMetric("average_accuracy"), ReadoutMetric("retention_old", "slow")
    return (
        PublishedRecord(names[0], accuracy, 0.79, 0.05, 10, "Smith 2020, Table 2", ""),
        PublishedRecord(names[-1], slow, 0.7, None, None, "Doe 2021", "no split"),
    )


def _method(name: str, level: float, n: int, tasks: int, rng: np.random.Generator) -> MethodRecord:
    seeds = range(100, 100 + n)
    learnt = np.tril(np.ones((tasks, tasks)))
    noise = rng.normal(0, 0.02, (n, tasks, tasks))
    matrices = {seed: (level + noise[i]) * learnt for i, seed in enumerate(seeds)}
    spikes = {seed: rng.uniform(1, 9, (tasks, 2)) for seed in seeds}
    diagnostic = DiagnosticRecord("spikes", "Spikes", "spikes", ("layer 1", "layer 2"), spikes)
    return MethodRecord(
        method=name,
        learner=name,
        configuration={"lr": 0.01, "name": name},
        scores={seed: float(matrix[-1].mean()) for seed, matrix in matrices.items()},
        other_metrics={
            ReadoutMetric(metric): {seed: float(rng.uniform()) for seed in seeds}
            for metric in OTHERS
        },
        footprint={"parameters": 123456, "memory": int(rng.integers(1, 10**6))},
        tuning=_tuning(level, rng),
        matrices=matrices,
        diagnostics=(diagnostic,) if n else (),
    )


def _tuning(level: float, rng: np.random.Generator) -> TuningRecord:
    history = tuple(
        TrialRecord(
            number,
            "complete",
            {"lr": 10.0**-number, "optimiser": "adam_w"},
            (level + float(rng.normal(0, 0.02)), float(rng.integers(1000, 10**6))),
        )
        for number in range(5)
    )
    values: list[float | None] = [trial.values[0] for trial in history]
    importance = {"lr": 0.75, "optimiser": 0.25}
    tuning = TuningRecord(5, 0, 0, 61.5, 123456, 3, values, 2, "random", history, importance)
    recheck = {seed: level + 0.01 * (seed % 4) for seed in range(100, 106)}
    rechecked = {seed: level - 0.01 * (seed % 3) for seed in recheck}
    return replace(tuning, space=SPACE, recheck=recheck, rechecked=rechecked)


def hostile_study(**fields: Any) -> StudyRecord:
    """The same with names that mean something in HTML, Markdown and LaTeX."""
    command = 'run ```x --set "a=<b>" && echo $HOME'
    odd = {"study": HOSTILE[0], "stream": HOSTILE[1], "protocol": HOSTILE[2]}
    provenance = {HOSTILE[2]: HOSTILE[1], "command": command}
    file = f"# {HOSTILE[1]} ```"
    return whole_study(HOSTILE, **{**odd, "provenance": provenance, "study_file": file, **fields})
