"""From the ledger to what the analysis reads, and from the analysis to files."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from analysis.metrics import (
    METRICS,
    accuracy_matrix,
    chance,
    forward_transfer,
    min_accuracy,
    recency_bias,
    worst_case_accuracy,
)
from analysis.records import MethodRecord, StudyRecord, TuningRecord
from analysis.report import markdown
from analysis.results import Analysis, analyse
from analysis.tables import to_csv, to_json
from study import plan, software
from study.confirm import confirmed
from study.folder import QUESTION, Folder
from study.ledger import Entry, Ledger
from study.plan import Method
from study.spec import Spec
from study.sweep import belongs, best_trial
from trainables import find_stream
from trainables.errors import InputError
from trainables.outcome import Array, Outcome
from trainables.streams.datasets import DATASETS


def study_record(
    spec: Spec, methods: Mapping[str, Method], ledger: Ledger, folder: Folder
) -> StudyRecord:
    """Return everything the analysis may know of a study."""
    stream = find_stream(spec.study.stream)
    classes = DATASETS[stream.dataset].classes
    planned = folder.facts["planned"]
    reader = _Reader(ledger)
    records = [_method_record(spec, method, ledger, reader) for method in methods.values()]
    return StudyRecord(
        study=spec.study.name,
        stream=stream.name,
        scenario=spec.study.scenario,
        metric=spec.study.metric,
        reference=spec.study.reference,
        margin=spec.study.margin,
        alpha=spec.study.alpha,
        failed_rule=spec.study.failed,
        protocol=spec.tune.protocol,
        phase="confirm",
        planned_seeds=list(planned["seeds"]),
        tune_seeds=list(spec.tune_seeds) if spec.tune.trials else [],
        seeds_added_later=[seed for seed in spec.confirm_seeds if seed not in planned["seeds"]],
        resolution=1 / reader.samples if reader.samples else 0.0,
        chance=chance(spec.study.scenario, classes, classes // stream.tasks),
        methods=records,
        provenance=_provenance(spec, folder),
    )


class _Reader:
    """Reads outcomes once each, and remembers how many samples they were tested on."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.samples = ledger, 0
        self._known: dict[str, Outcome] = {}

    def read(self, entry: Entry) -> Outcome:
        if entry.folder not in self._known:
            outcome = self.ledger.outcome(entry)
            self._known[entry.folder] = outcome
            counts = next(iter(outcome.counts.values()))
            self.samples = int(counts[0, -1].sum())
        return self._known[entry.folder]


def seed_scores(outcome: Outcome, metric: str, readout: str | None = None) -> list[float]:
    """Return a metric of each seed; NaN for a seed that diverged."""
    counts = outcome.counts[readout] if readout else next(iter(outcome.counts.values()))
    matrix = accuracy_matrix(counts)[:, :, : outcome.rows]
    scores = METRICS[metric].function(matrix)
    return _masked(outcome, scores)


def _masked(outcome: Outcome, scores: Array) -> list[float]:
    """Return the scores, NaN for a seed that diverged."""
    masked: list[float] = np.where(np.all(outcome.finite, axis=1), scores, np.nan).tolist()
    return masked


def all_scores(outcome: Outcome, scenario: str) -> dict[str, list[float]]:
    """Return every metric that is defined for an outcome, of each seed."""
    scores = {name: seed_scores(outcome, name) for name in METRICS}
    counts = next(iter(outcome.counts.values()))
    matrix = accuracy_matrix(counts)
    further: dict[str, Array] = {}
    if scenario in ("task", "domain") and outcome.rows == matrix.shape[2]:
        initial = accuracy_matrix(next(iter(outcome.initial.values()))[:, None])[:, 0]
        further["forward_transfer"] = forward_transfer(matrix, initial)
    if scenario == "class":
        own_classes = counts[:, -1].sum(axis=-1) > 0
        further["recency_bias"] = recency_bias(
            counts[:, :, : outcome.rows], own_classes[:, : outcome.rows]
        )
    if len(outcome.between["task"]):
        evaluations = _evaluations(outcome, matrix)
        further["min_accuracy"] = min_accuracy(*evaluations)
        further["worst_case_accuracy"] = worst_case_accuracy(*evaluations)
    return scores | {name: _masked(outcome, values) for name, values in further.items()}


def _evaluations(outcome: Outcome, matrix: Array) -> tuple[Array, Array]:
    """Return the accuracies at all evaluations in order, [S, N, T], and the task of each, [N]."""
    tasks = np.concatenate([outcome.between["task"], np.arange(outcome.rows)])
    order = np.argsort(tasks, kind="stable")  # of one task, those within it come first
    values = np.concatenate([accuracy_matrix(outcome.between["counts"]), matrix], axis=1)
    return values[:, order], tasks[order]


def _method_record(spec: Spec, method: Method, ledger: Ledger, reader: _Reader) -> MethodRecord:
    state = confirmed(spec, method, ledger)
    table: dict[str, dict[int, float]] = {name: {} for name in METRICS}
    known: dict[str, dict[str, list[float]]] = {}
    footprint: dict[str, int] = {}
    for seed, (entry, position) in sorted(state.places.items()):
        outcome = reader.read(entry)
        footprint = {kind: int(column[-1]) for kind, column in outcome.footprint.items()}
        if entry.folder not in known:
            known[entry.folder] = all_scores(outcome, spec.study.scenario)
        for name, values in known[entry.folder].items():
            table.setdefault(name, {})[seed] = values[position]
    return MethodRecord(
        method=method.name,
        learner=method.learner,
        configuration=state.configuration or {},
        scores=table.pop(spec.study.metric),
        failures=state.failures,
        other_metrics=table,
        footprint=footprint,
        tuning=_tuning_record(spec, method, ledger),
    )


def _tuning_record(spec: Spec, method: Method, ledger: Ledger) -> TuningRecord:
    entries = [e for e in ledger.entries("tune", method.name) if belongs(spec, method, e)]
    entries = [e for e in entries if e.number is not None and e.number < spec.tune.trials]
    values: list[float | None] = [None] * max(
        (e.number + 1 for e in entries if e.number is not None), default=0
    )
    for entry in entries:
        if entry.state == "complete" and entry.number is not None:
            values[entry.number] = entry.values[0]
    best = best_trial(spec, method, ledger)
    return TuningRecord(
        trials=len(entries),
        failed=sum(e.state in ("failed", "diverged") for e in entries),
        pruned=sum(e.state == "pruned" for e in entries),
        seconds=sum(e.seconds for e in entries),
        samples=sum(e.samples for e in entries),
        seeds_per_trial=len(spec.tune_seeds) if spec.tune.trials else 0,
        values=values,
        best_number=best.number if best else None,
        sampler=spec.tune.sampler,
    )


def _provenance(spec: Spec, folder: Folder) -> dict[str, str]:
    planned = folder.facts["planned"]
    asked = {key: (planned[key], getattr(spec.study, key)) for key in QUESTION}
    changed = [
        f"{key} was {before}, now {now}" for key, (before, now) in asked.items() if before != now
    ]
    found = {
        "command": folder.facts["command"],
        "study file": hashlib.sha256(str(spec.plain()).encode()).hexdigest()[:16],
        "python": platform.python_version(),
        **software(),
        "stack sizes": ", ".join(
            f"{name} {kept['size']}" for name, kept in folder.facts["stacks"].items()
        ),
    }
    if changed:
        found["changed after looking"] = "; ".join(changed)
    return {name: text for name, text in found.items() if text}


def analyse_folder(place: Path) -> Analysis:
    """Analyse a study from its folder alone."""
    folder, spec = Folder.open(place)
    methods = plan.resolve(spec, str(place / "study.json"))
    return analyse(study_record(spec, methods, folder.ledger(), folder))


def write_report(analysis: Analysis, place: Path) -> None:
    """Write ``report.md``, ``report.json`` and the tables as CSV."""
    files = {"report.md": markdown(analysis), "report.json": to_json(analysis), **to_csv(analysis)}
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the report to {place}: {error.strerror}.") from None
