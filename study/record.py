"""From the ledger to what the analysis reads."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.metrics import (
    METRICS,
    accuracy_matrix,
    chance,
)
from analysis.one_study.analyse import Analysis, analyse
from analysis.one_study.units import by_unit
from analysis.records import (
    DiagnosticRecord,
    MapRecord,
    MethodRecord,
    PublishedRecord,
    StudyRecord,
    TrialRecord,
    TuningRecord,
)
from study import check, installed, software
from study.changes import changes, confirmed_methods, kept_seeds
from study.check import Method
from study.circumstances import circumstances
from study.folder import Folder, Planned
from study.ledger import PRETRAINING, Entry, Ledger
from study.run.confirmation import confirmed, unconfirmed
from study.run.sweep import belongs, best_trial, within_budget
from study.scores import all_scores, of_readout
from study.search import importances
from study.spec import Spec
from trainables import Map, find_learner, find_stream
from trainables.engine.outcome import Array, Outcome
from trainables.errors import InputError

# diagnostic -> label -> seed -> what it measured after each task: [I], or [I, R, C] of a map
Labels = dict[str, dict[str, dict[int, Array]]]


def study_record(
    spec: Spec, methods: Mapping[str, Method], ledger: Ledger, folder: Folder
) -> StudyRecord:
    """Return everything the analysis may know of a study, by what its stream pairs."""
    record = _seed_record(spec, methods, ledger, folder)
    unit = find_stream(spec.study.stream).unit(check.stream_options(spec))
    if unit == record.unit:
        return record
    return by_unit(record, unit, lambda seed: check.unit_of(spec, seed))


def _seed_record(
    spec: Spec, methods: Mapping[str, Method], ledger: Ledger, folder: Folder
) -> StudyRecord:
    stream = find_stream(spec.study.stream)
    classes = stream.class_counts(spec.study.scenario, check.stream_options(spec))
    planned = folder.facts.planned
    reader, changed = _Reader(ledger), changes(spec, methods, ledger, folder)
    kept = kept_seeds(spec, planned)
    records = [_method_record(spec, method, ledger, reader, planned) for method in methods.values()]
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
        planned_seeds=planned.seeds,
        tune_seeds=check.chosen_on(spec),
        chance=chance(spec.study.scenario, *classes),
        methods=records,
        provenance=_provenance(spec, ledger, folder, [*changed, *_told(kept)]),
        objectives=tuple(spec.objectives),
        directions=tuple(check.direction(name) for name in spec.objectives),
        published=tuple(_published(spec, methods)),
        planned_methods=tuple(dict.fromkeys([*planned.methods, *confirmed_methods(ledger)])),
        changes=tuple(changed),
        asked_seeds=spec.confirm_seeds,
        kept_seeds=tuple(kept),
        damaged=tuple(ledger.damaged),
        circumstances=tuple(circumstances(spec, methods, ledger)),
        dataset=stream.dataset,
        sample_bytes=check.stream_info(spec).sample_bytes + 1,
    )


def _told(kept: Sequence[int]) -> list[str]:
    if not kept:
        return []
    return [f"planned seeds no longer asked for, and kept: {', '.join(map(str, kept))}"]


def _published(spec: Spec, methods: Mapping[str, Method]) -> Iterator[PublishedRecord]:
    for method, figures in spec.published.items():
        primary = find_learner(methods[method].learner).readouts[0]
        for metric, figure in ((m, figure) for m, several in figures.items() for figure in several):
            readout = figure.readout or primary
            yield PublishedRecord(
                method=method,
                metric=metric if readout == primary else of_readout(metric, readout),
                mean=figure.mean,
                sd=figure.sd,
                n=figure.n,
                source=figure.source,
                incomparable=figure.not_comparable,
            )


class _Reader:
    """Reads outcomes once each."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._known: dict[str, Outcome] = {}

    def read(self, entry: Entry) -> Outcome:
        if entry.folder not in self._known:
            self._known[entry.folder] = self.ledger.outcome(entry)
        return self._known[entry.folder]


def _method_record(
    spec: Spec, method: Method, ledger: Ledger, reader: _Reader, planned: Planned
) -> MethodRecord:
    wanted = {*spec.confirm_seeds, *planned.seeds}
    state = confirmed(spec, method, ledger, wanted)  # a planned seed cannot be taken back
    kind = find_learner(method.learner)
    table: dict[str, dict[int, float]] = {name: {} for name in METRICS}
    known: dict[str, dict[str, list[float]]] = {}
    footprint: dict[str, int] = {}
    matrices: dict[int, Array] = {}
    extras: dict[str, dict[int, Array]] = {}
    for seed, (entry, position) in sorted(state.places.items()):
        outcome = reader.read(entry)
        footprint = {kind: int(column[-1]) for kind, column in outcome.footprint.items()}
        if entry.folder not in known:
            known[entry.folder] = all_scores(outcome, spec.study.scenario)
        for name, values in known[entry.folder].items():
            table.setdefault(name, {})[seed] = values[position]
        counts = next(iter(outcome.counts.values()))[position : position + 1]
        matrices[seed] = accuracy_matrix(counts)[0]
        for name, column in outcome.extras.items():
            extras.setdefault(name, {})[seed] = column[position]
    labels = _by_label(extras)
    return MethodRecord(
        method=method.name,
        learner=method.learner,
        configuration=state.configuration or {},
        scores=table.pop(spec.study.metric),
        failures=state.failures,
        other_metrics=table,
        footprint=footprint,
        tuning=_tuning_record(spec, method, ledger),
        matrices=matrices,
        diagnostics=_diagnostics(method, labels),
        maps=_maps(method, labels),
        unconfirmed=unconfirmed(spec, method, ledger),
        offline=kind.offline,
        readouts=kind.readouts,
    )


def _by_label(extras: Mapping[str, dict[int, Array]]) -> Labels:
    """Return what seeds measured by the name of its diagnostic and by label."""
    labels: Labels = {}
    for name, column in extras.items():
        diagnostic, label = name.split(": ", 1)
        labels.setdefault(diagnostic, {})[label] = column
    return labels


def _is_map(columns: Mapping[str, Mapping[int, Array]]) -> bool:
    return any(values.ndim > 1 for column in columns.values() for values in column.values())


def _maps(method: Method, labels: Labels) -> tuple[MapRecord, ...]:
    known = find_learner(method.learner).maps
    return tuple(
        MapRecord(name=name, panels=of, **known.get(name, Map(name, "", "row", "column"))._asdict())
        for name, of in labels.items()
        if _is_map(of)
    )


def _diagnostics(method: Method, labels: Labels) -> tuple[DiagnosticRecord, ...]:
    """Join the labels of each diagnostic: [I] of each into [I, K]; NaN where a seed lacks one."""
    known = find_learner(method.learner).diagnostics
    return tuple(
        DiagnosticRecord(
            name=name,
            title=known.get(name, (name, ""))[0],
            unit=known.get(name, (name, ""))[1],
            labels=tuple(of),
            values=_joined(list(of.values())),
        )
        for name, of in labels.items()
        if not _is_map(of)
    )


def _joined(columns: Sequence[Mapping[int, Array]]) -> dict[int, Array]:
    """Return the K labels' values of each seed, [I, K]."""
    known = {seed: values for column in columns for seed, values in column.items()}
    return {
        seed: np.stack(
            [column.get(seed, np.full(len(known[seed]), np.nan)) for column in columns], axis=1
        )
        for seed in sorted(known)
    }


def _tuning_record(spec: Spec, method: Method, ledger: Ledger) -> TuningRecord:
    run, asked = ledger.entries("tune", method.name), spec.tune.trials
    entries = [e for e in run if within_budget(spec, method, e)]
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
        has_default=_has_default(method, entries),
        history=tuple(
            TrialRecord(e.number, e.state, e.params, tuple(e.values))
            for e in entries
            if e.number is not None
        ),
        importance=importances(entries, check.direction(spec.objectives[0])),
        asked=asked,
        left_out=sum((e.number or 0) >= asked and belongs(spec, method, e) for e in run),
    )


def _has_default(method: Method, entries: Sequence[Entry]) -> bool:
    """Whether trial 0 had the published values with what the study file fixes: a range that leaves
    one of them out makes it another configuration.
    """
    default = check.configuration(method, {})
    return any(e.number == 0 and e.work["configuration"] == default for e in entries)


def _provenance(
    spec: Spec, ledger: Ledger, folder: Folder, changed: Sequence[str]
) -> dict[str, str]:
    found = {
        "command": folder.facts.command,
        "study file": hashlib.sha256(str(spec.plain()).encode()).hexdigest()[:16],
        "python": platform.python_version(),
        **{name: ", ".join(of) for name, of in _software(ledger).items()},
        "devices": ", ".join(sorted({e.device for e in ledger.entries() if e.device})),
        "data": ", ".join(f"{name} {digest}" for name, digest in folder.facts.data.items()),
        "stack sizes": ", ".join(
            f"{name} {kept.size}" for name, kept in folder.facts.stacks.items()
        ),
    }
    if changed:
        found["changed after looking"] = "; ".join(changed)
    return {name: text for name, text in found.items() if text}


def _software(ledger: Ledger) -> dict[str, list[str]]:
    """Return the versions that trials ran with; those of now where there are none."""
    found: dict[str, list[str]] = {}
    entries = [*ledger.entries(), *ledger.entries(method=PRETRAINING)]
    for each in [entry.software for entry in entries if entry.software] or [software()]:
        for name, version in each.items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return found


def opened(place: Path) -> tuple[Folder, Spec, dict[str, Method]]:
    """Open the folder of a study and resolve it.

    Raises:
        InputError: with the packages its trials ran with that are missing here.
    """
    folder, spec = Folder.open(place)
    try:
        return folder, spec, check.resolve(spec, str(place / "study.json"))
    except InputError as error:
        missing = sorted(
            f"{name} {', '.join(of)}"
            for name, of in _software(folder.ledger(lambda text: None)).items()
            if name != "git" and not installed(name)
        )
        if not missing:
            raise
        raise InputError(
            f"{error} Its trials ran with {' and '.join(missing)}, which is not installed here."
        ) from None


def analyse_folder(place: Path) -> Analysis:
    """Analyse a study from its folder alone."""
    folder, spec, methods = opened(place)
    return analyse(study_record(spec, methods, folder.ledger(), folder))
