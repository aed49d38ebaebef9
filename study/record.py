"""Turn the ledger of a study into the record that the analysis reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.metrics import PRIMARY, ReadoutMetric, accuracy_matrix
from analysis.one_study.analyse import Analysis, analyse
from analysis.one_study.units import by_unit
from analysis.records import (
    AlternativeRecord,
    DiagnosticRecord,
    MapRecord,
    MethodRecord,
    OptionRecord,
    PublishedRecord,
    StudyRecord,
    TrialRecord,
    TuningRecord,
)
from search_spaces.space import as_plain
from study.changes import changes, kept_seeds
from study.design import Design, Method, method_of, seeds_of_sweep
from study.ledger import Entry
from study.provenance import provenance, study_file
from study.run_notes import circumstances
from study.scores import all_scores, seed_scores
from study.search import importances
from study.state import Places, Study, Sweep, violation
from trainables import Map
from trainables.engine.outcome import Array, Outcome

FAVOURED = 5  # best trials of a sweep among which the tuning seeds choose
# diagnostic -> label -> seed -> values after each task: [I], or [I, R, C] for a map
Labels = dict[str, dict[str, dict[int, Array]]]


def study_record(study: Study) -> StudyRecord:
    """Return the record of a study, by seed or by the unit that the stream pairs."""
    record, stream = _seed_record(study), study.design.stream
    repeats = range(1, study.spec.tune.repeats)
    record = replace(record, repeats=tuple(_repeated(record, study, each) for each in repeats))
    if stream.unit == record.unit:
        return record
    return by_unit(record, stream.unit, stream.unit_of)


def _seed_record(study: Study) -> StudyRecord:
    spec, design, ledger = study.spec, study.design, study.ledger
    stream = design.stream
    planned = study.folder.facts.planned
    changed, kept = changes(study), kept_seeds(spec, planned)
    varied, unvaried = _variation(study)
    return StudyRecord(
        study=spec.study.name,
        stream=stream.title,
        scenario=spec.study.scenario,
        metric=spec.study.metric,
        reference=spec.study.reference,
        margin=spec.study.margin,
        alpha=spec.study.alpha,
        failed_rule=spec.study.failed,
        protocol=spec.tune.protocol,
        phase="confirm",
        number=spec.study.number,
        varied=varied,
        unvaried=unvaried,
        planned_seeds=planned.seeds,
        tune_seeds=design.chosen_on,
        chance=stream.kind.chance(stream.scenario, stream.options),
        methods=_method_records(study, 0),
        provenance=provenance(study, [*changed, *_note_on_kept_seeds(kept)]),
        study_file=study_file(design),
        objectives=tuple(spec.objectives),
        required=dict(spec.tune.require),
        directions=tuple(design.directions),
        published=tuple(_published(design)),
        comparisons=design.comparisons,
        planned_comparisons=study.planned_comparisons,
        stop=spec.confirm.stop,
        changes=tuple(changed),
        asked_seeds=spec.confirm_seeds,
        kept_seeds=tuple(kept),
        damaged=tuple(ledger.damaged),
        circumstances=tuple(circumstances(study)),
        dataset=stream.dataset,
        sample_bytes=stream.info.sample_bytes + 1,
        conditions=_conditions(study),
    )


def _conditions(study: Study) -> dict[str, str]:
    """Return what else two studies share if their seeds are pairs."""
    stream = study.design.stream
    options = {f"stream.{name}": str(value) for name, value in stream.options.plain().items()}
    data = {entry.data for entry in study.ledger.entries("confirm") if entry.data}
    version = str(stream.kind.version)
    return {"stream's version": version, **options, "data": ", ".join(sorted(data))}


def _repeated(record: StudyRecord, study: Study, repeat: int) -> StudyRecord:
    """Return the record of a study with a further sweep of each method, and its seeds."""
    return replace(
        record,
        methods=_method_records(study, repeat),
        planned_seeds=list(seeds_of_sweep(record.planned_seeds, repeat)),
        asked_seeds=seeds_of_sweep(record.asked_seeds, repeat),
        tune_seeds=list(study.design.seeds("tune", repeat)),
    )


def _method_records(study: Study, repeat: int) -> list[MethodRecord]:
    return [_method_record(study, method) for method in study.design.of_sweep(repeat).values()]


def _variation(study: Study) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what differs between the confirmation seeds of a study, and what is the same."""
    stream, methods = study.design.stream, study.methods.values()
    drawn = stream.kind.varies(stream.options)
    remembers = any("memory" in name for m in methods for name in m.kind.Config.fields())
    varied = [name for name, differs in drawn.items() if differs]
    unvaried = [name for name, differs in drawn.items() if not differs]
    return (
        (*varied, "initial weights", "batches", *(["memory"] if remembers else [])),
        (*unvaried, "data split", *(["tuning"] if study.spec.tune.trials else [])),
    )


def _note_on_kept_seeds(kept: Sequence[int]) -> list[str]:
    if not kept:
        return []
    return [f"planned seeds no longer asked for, and kept: {', '.join(map(str, kept))}"]


def _published(design: Design) -> Iterator[PublishedRecord]:
    for method, figures in design.spec.published.items():
        primary = design.methods[method].kind.readouts[0]
        pairs = ((metric, figure) for metric, readings in figures.items() for figure in readings)
        for metric, figure in pairs:
            readout = figure.readout or primary
            yield PublishedRecord(
                method=method,
                metric=ReadoutMetric(metric, "" if readout == primary else readout),
                mean=figure.mean,
                sd=figure.sd,
                n=figure.n,
                source=figure.source,
                incomparable=figure.not_comparable,
            )


def _method_record(study: Study, method: Method) -> MethodRecord:
    confirmation = study.confirmation(method.name)
    first = {*study.spec.confirm_seeds, *study.folder.facts.planned.seeds}
    seeds = seeds_of_sweep(first, method.repeat)
    places = confirmation.places(seeds)  # a planned seed cannot be withdrawn
    outcomes = _Outcomes.of(study, places)
    table, labels = outcomes.table(study.spec.study.scenario), _by_label(outcomes.extras())
    return MethodRecord(
        method=method_of(method.name),
        learner=method.learner,
        configuration=confirmation.configuration or {},
        scores=table.pop(ReadoutMetric(study.spec.study.metric)),
        failures=places.failures,
        diverged=outcomes.diverged(),
        other_metrics=table,
        footprint=outcomes.footprint(),
        seconds=_seconds(places),
        tuning=_tuning_record(study, method),
        matrices=outcomes.matrices(),
        diagnostics=_diagnostics(method, labels),
        maps=_maps(method, labels),
        unconfirmed=confirmation.obstacle,
        offline=method.kind.offline,
        bound=method.kind.bound,
        readouts=method.kind.readouts,
        fewest_steps=outcomes.fewest_steps(confirmation.configuration or {}),
        alternatives=tuple(_alternatives(study, method, seeds)),
    )


def _seconds(places: Places) -> float | None:
    """Return the training time of each seed, the seeds of a trial alike; None without any."""
    entries = {entry.folder: entry for entry, _ in places.found.values()}.values()
    seeds = sum(len(entry.seeds) for entry in entries)
    return sum(entry.seconds for entry in entries) / seeds if seeds else None


@dataclass(frozen=True)
class _Outcomes:
    """The outcomes of one configuration's trials, by folder, and the place of each seed."""

    by_folder: dict[str, Outcome]
    places: list[tuple[int, str, int]]  # seed, folder, position in the trial

    @classmethod
    def of(cls, study: Study, places: Places) -> _Outcomes:
        """Read the outcomes of the seeds that ran."""
        found = sorted(places.found.items())
        entries = {entry.folder: entry for _, (entry, _) in found}
        return cls(
            {folder: study.ledger.outcome(entry) for folder, entry in entries.items()},
            [(seed, entry.folder, position) for seed, (entry, position) in found],
        )

    def _by_seed(self) -> Iterator[tuple[int, Outcome, int]]:
        for seed, folder, position in self.places:
            yield seed, self.by_folder[folder], position

    def table(self, scenario: str) -> dict[ReadoutMetric, dict[int, float]]:
        """Return every metric by seed; the primary metrics even without any seed."""
        columns = {folder: all_scores(o, scenario) for folder, o in self.by_folder.items()}
        table: dict[ReadoutMetric, dict[int, float]] = {ReadoutMetric(name): {} for name in PRIMARY}
        for seed, folder, position in self.places:
            for metric, values in columns[folder].items():
                table.setdefault(metric, {})[seed] = values[position]
        return table

    def diverged(self) -> dict[int, str]:
        """Return the task on which each diverged seed diverged, in words."""
        tasks = {seed: outcome.diverged_on(place) for seed, outcome, place in self._by_seed()}
        return {seed: f"diverged on task {task}" for seed, task in tasks.items() if task}

    def matrices(self) -> dict[int, Array]:
        """Return the accuracy matrix of each seed."""
        counts = {seed: next(iter(o.counts.values()))[[at]] for seed, o, at in self._by_seed()}
        return {seed: accuracy_matrix(of_seed)[0] for seed, of_seed in counts.items()}

    def extras(self) -> dict[str, dict[int, Array]]:
        """Return what the method itself measured, by name and seed."""
        extras: dict[str, dict[int, Array]] = {}
        for seed, outcome, position in self._by_seed():
            for name, column in outcome.extras.items():
                extras.setdefault(name, {})[seed] = column[position]
        return extras

    def footprint(self) -> dict[str, int]:
        """Return the bytes held at the end of the stream, by kind: the mean over seeds."""
        held: dict[str, list[int]] = {}
        for _, outcome, position in self._by_seed():
            for kind, of_seeds in outcome.footprint.items():
                held.setdefault(kind, []).append(of_seeds[position, -1])
        return {kind: round(np.mean(of_seeds)) for kind, of_seeds in held.items()}

    def fewest_steps(self, configuration: Mapping[str, Any]) -> int | None:
        """Return the number of steps in the task with the fewest; None without mini-batches."""
        samples = [int(outcome.samples.min()) for outcome in self.by_folder.values()]
        size = configuration.get("batch_size")
        return math.ceil(min(samples) / size) if samples and size else None


def _alternatives(
    study: Study, method: Method, seeds: Sequence[int]
) -> Iterator[AlternativeRecord]:
    """Yield the configurations of a sweep that are confirmed beside the chosen one."""
    _, *others = study.all_fresh_seeds(method.name, "confirm")
    for state in others:
        trial = state.trial
        if trial is not None and trial.number is not None:
            yield AlternativeRecord(
                trial=trial.number,
                value=trial.values[0],
                configuration=state.configuration or {},
                scores=state.scores(seeds),
                failures=state.places(seeds).failures,
            )


def _by_label(extras: Mapping[str, dict[int, Array]]) -> Labels:
    """Return the values of each seed by name of the diagnostic and by label."""
    labels: Labels = {}
    for name, column in extras.items():
        diagnostic, label = name.split(": ", 1)
        labels.setdefault(diagnostic, {})[label] = column
    return labels


def _is_map(columns: Mapping[str, Mapping[int, Array]]) -> bool:
    return any(values.ndim > 1 for column in columns.values() for values in column.values())


def _maps(method: Method, labels: Labels) -> tuple[MapRecord, ...]:
    described = method.kind.maps
    return tuple(
        MapRecord(
            name=name,
            panels=columns,
            **described.get(name, Map(name, "", "row", "column"))._asdict(),
        )
        for name, columns in labels.items()
        if _is_map(columns)
    )


def _diagnostics(method: Method, labels: Labels) -> tuple[DiagnosticRecord, ...]:
    """Join the K labels of each diagnostic from [I] into [I, K]; NaN for a label a seed lacks."""
    described = method.kind.diagnostics
    return tuple(
        DiagnosticRecord(
            name=name,
            title=described.get(name, (name, ""))[0],
            unit=described.get(name, (name, ""))[1],
            labels=tuple(columns),
            values=_joined(list(columns.values())),
        )
        for name, columns in labels.items()
        if not _is_map(columns)
    )


def _joined(columns: Sequence[Mapping[int, Array]]) -> dict[int, Array]:
    """Return the values of K labels for each seed, [I, K]."""
    any_label = {seed: values for column in columns for seed, values in column.items()}
    return {
        seed: np.stack(
            [column.get(seed, np.full(len(any_label[seed]), np.nan)) for column in columns], axis=1
        )
        for seed in sorted(any_label)
    }


def _tuning_record(study: Study, method: Method) -> TuningRecord:
    spec, sweep = study.spec, study.sweep(method.name)
    recheck = study.recheck(method.name).scores()
    entries, best = sweep.entries, sweep.best
    values: list[float | None] = [None] * max(
        (e.number + 1 for e in entries if e.number is not None), default=0
    )
    for entry in entries:
        if entry.state == "complete" and entry.number is not None:
            values[entry.number] = entry.values[0]
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
            TrialRecord(e.number, e.state, e.params, tuple(e.values), violation(e) == 0)
            for e in entries
            if e.number is not None
        ),
        importance=importances(entries, study.design.directions[0]),
        asked_trials=sweep.budget,
        unused_trials=len(sweep.over_budget),
        favourites=_favourites(study, sweep),
        validation_samples=_fewest_samples(study.ledger.outcome(best)) if best else 0,
        unmet=best is not None and violation(best) > 0,
        space=_searched(method) if sweep.budget else (),
        recheck=recheck,
        rechecked=study.confirmation(method.name).scores(recheck),
    )


def _favourites(study: Study, sweep: Sweep) -> dict[int, int]:
    """Return, for each tuning seed, the number of the trial that it scores best among the best."""
    feasible = [entry for entry in sweep.ranked if violation(entry) == 0]
    top = (feasible or sweep.ranked)[:FAVOURED]
    metric, sign = study.spec.study.metric, 1 if study.design.directions[0] == "maximize" else -1
    scores = {
        entry.number: dict(
            zip(entry.seeds, seed_scores(study.ledger.outcome(entry), metric), strict=True)
        )
        for entry in top
        if entry.number is not None
    }
    return {
        seed: max(scores, key=lambda number: sign * scores[number][seed])
        for seed in (top[0].seeds if len(top) > 1 else ())
    }


def _fewest_samples(outcome: Outcome) -> int:
    """Return the number of samples on which the task with the fewest is scored."""
    counts = next(iter(outcome.counts.values()))
    return int(counts[0, outcome.rows - 1, : outcome.rows].sum(axis=(1, 2)).min())


def _searched(method: Method) -> tuple[OptionRecord, ...]:
    """Return the options that a method's sweep searches, and those that the study file fixes."""
    kinds, defaults = method.kind.Config.kinds(), method.configuration({})
    searched = [
        OptionRecord(name, **as_plain(distribution, kinds[name]), limits=_limits(method, name))
        for name, distribution in method.space.items()
    ]
    fixed = [OptionRecord(name, "fixed", choices=[defaults[name]]) for name in method.fixed]
    return (*searched, *fixed)


def _limits(method: Method, option: str) -> tuple[float | None, float | None]:
    limits = method.kind.Config.fields()[option].metadata
    return limits["low"], limits["high"]


def _has_default(method: Method, entries: Sequence[Entry]) -> bool:
    """Whether trial 0 had the default configuration; not so if a range excludes a default value."""
    default = method.configuration({})
    return any(e.number == 0 and e.work["configuration"] == default for e in entries)


def analyse_folder(place: Path) -> Analysis:
    """Return the analysis of a study from its folder.

    >>> analysis = analyse_folder(Path("studies/digits"))
    >>> {row.method: round(row.mean, 2) for row in analysis.methods}
    {'finetune': 0.18, 'replay': 0.85, 'ewc': 0.18, 'joint': 0.92}
    """
    return analyse(study_record(Study.open(place)))
