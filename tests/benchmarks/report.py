"""How long the report of a large study takes: 30 methods, 30 seeds, 10 tasks, 20 trials each.

python tests/benchmarks/report.py           seconds of each part
python tests/benchmarks/report.py --json    the same for a script
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from analysis.metrics import PRIMARY, ReadoutMetric
from analysis.one_study.analyse import analyse
from analysis.records import MethodRecord, StudyRecord, TrialRecord, TuningRecord
from study.report import write_report

METHODS, SEEDS, TASKS, TRIALS = 30, 30, 10, 20


def method(number: int, rng: np.random.Generator) -> MethodRecord:
    """Return a method whose accuracy decays from task to task, at a pace of its own."""
    age = np.clip(np.subtract.outer(np.arange(TASKS), np.arange(TASKS)), 0, None)
    pace = 0.005 * (1 + number % 10)
    matrices = {
        100 + s: np.clip(0.9 - pace * age + rng.normal(0, 0.01, age.shape), 0, 1)
        for s in range(SEEDS)
    }
    right = np.stack(list(matrices.values()))
    counts = np.zeros((*right.shape, 2, 2))
    counts[..., 0, 0], counts[..., 0, 1] = right, 1 - right
    metrics = {
        ReadoutMetric(name): dict(zip(matrices, kind(counts).tolist(), strict=True))
        for name, kind in PRIMARY.items()
    }
    values = rng.uniform(0.5, 0.9, TRIALS).tolist()
    history = tuple(
        TrialRecord(i, "complete", {"lr": 10 ** rng.uniform(-4, -2), "ratio": rng.uniform()}, (v,))
        for i, v in enumerate(values)
    )
    best = int(np.argmax(values))
    tuning = TuningRecord(
        TRIALS,
        0,
        0,
        60.0,
        10**6,
        3,
        list(values),
        best,
        "random",
        history,
        {"lr": 0.8, "ratio": 0.2},
    )
    return MethodRecord(
        method=f"method_{number}",
        learner="replay",
        configuration={"lr": 1e-3},
        scores=metrics.pop(ReadoutMetric("average_accuracy")),
        other_metrics=metrics,
        footprint={"parameters": 400_000, "memory": 785 * 100 * (number + 1), "auxiliary": 0},
        tuning=tuning,
        matrices=matrices,
    )


def study() -> StudyRecord:
    """Return the whole study."""
    rng = np.random.default_rng(0)
    return StudyRecord(
        study="large",
        stream="split_mnist",
        scenario="class",
        metric="average_accuracy",
        reference="method_0",
        margin=0.005,
        alpha=0.05,
        failed_rule="error",
        protocol="end_of_stream",
        phase="confirm",
        planned_seeds=list(range(100, 100 + SEEDS)),
        tune_seeds=[0, 1, 2],
        chance=0.1,
        methods=[method(number, rng) for number in range(METHODS)],
        objectives=("average_accuracy",),
        directions=("maximize",),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    record = study()
    started = time.perf_counter()
    analysis = analyse(record)
    analysed = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_report(analysis, Path(folder))
    written = time.perf_counter()
    found = {
        "analyse_seconds": analysed - started,
        "write_seconds": written - analysed,
        "seconds": written - started,
    }
    if parser.parse_args().json:
        print(json.dumps(found, indent=2))
        return
    for name, seconds in found.items():
        print(f"{name:16} {seconds:.1f}")


if __name__ == "__main__":
    main()
