"""From the ledger to what the analysis reads, and from the analysis to files."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.across import Across, compare_streams, streams_of
from analysis.blocks import Picture
from analysis.html import Draw
from analysis.metrics import (
    METRICS,
    accuracy_matrix,
    chance,
    forward_transfer,
    min_accuracy,
    recency_bias,
    worst_case_accuracy,
)
from analysis.records import (
    DiagnosticRecord,
    MapRecord,
    MethodRecord,
    PublishedRecord,
    StudyRecord,
    TrialRecord,
    TuningRecord,
)
from analysis.renderings import across_files, files
from analysis.results import Analysis, analyse
from analysis.units import by_unit, grouped, means
from study import installed, plan, software
from study.changes import changes, confirmed_methods
from study.confirm import confirmed, unconfirmed
from study.folder import Folder, Planned
from study.ledger import PRETRAINING, Entry, Ledger
from study.plan import Method
from study.search import importances
from study.spec import Spec
from study.sweep import best_trial, within_budget
from trainables import Map, find_learner, find_stream
from trainables.errors import InputError
from trainables.outcome import Array, Outcome

# diagnostic -> label -> seed -> what it measured after each task: [I], or [I, R, C] of a map
Labels = dict[str, dict[str, dict[int, Array]]]


def study_record(
    spec: Spec, methods: Mapping[str, Method], ledger: Ledger, folder: Folder
) -> StudyRecord:
    """Return everything the analysis may know of a study, by what its stream pairs."""
    record = _seed_record(spec, methods, ledger, folder)
    unit = find_stream(spec.study.stream).unit(plan.stream_options(spec))
    if unit == record.unit:
        return record
    return by_unit(record, unit, lambda seed: plan.unit_of(spec, seed))


def _seed_record(
    spec: Spec, methods: Mapping[str, Method], ledger: Ledger, folder: Folder
) -> StudyRecord:
    stream = find_stream(spec.study.stream)
    classes = stream.class_counts(spec.study.scenario, plan.stream_options(spec))
    planned = folder.facts.planned
    reader, changed = _Reader(ledger), changes(spec, methods, ledger, folder)
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
        tune_seeds=list(spec.tune_seeds) if spec.tune.trials else [],
        chance=chance(spec.study.scenario, *classes),
        methods=records,
        provenance=_provenance(spec, ledger, folder, changed),
        objectives=tuple(spec.objectives),
        directions=tuple(plan.direction(name) for name in spec.objectives),
        published=tuple(_published(spec, methods)),
        planned_methods=tuple(dict.fromkeys([*planned.methods, *confirmed_methods(ledger)])),
        changes=tuple(changed),
        damaged=tuple(ledger.damaged),
        dataset=stream.dataset,
        sample_bytes=plan.stream_info(spec).sample_bytes + 1,
    )


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


def of_readout(metric: str, readout: str) -> str:
    """Name a metric of another readout than the primary one."""
    return f"{metric} [{readout}]"


@dataclass(frozen=True)
class SeenDifferences:
    """Paired differences of one method to the reference seen so far, and where."""

    differences: tuple[float, ...]
    source: str


def seen_differences(
    spec: Spec, methods: Mapping[str, Method], folder: Folder
) -> dict[str, SeenDifferences]:
    """Return what a study knows of the spread of its differences: those of the confirmation, else
    those between the best trials on the tuning seeds.
    """
    ledger = folder.ledger()
    scores = {name: _seen(spec, method, ledger) for name, method in methods.items()}
    sources = (
        ("the confirmation", spec.study.stream),
        ("the tuning seeds", plan.tune_stream(spec)),
    )
    found = {}
    for name in methods:
        pairs = zip(scores[name], scores[spec.study.reference], sources, strict=True)
        for mine, theirs, (source, stream) in pairs:
            differences = _unit_differences(spec, mine, theirs, stream)
            if name != spec.study.reference and len(differences) > 1:
                found[name] = SeenDifferences(differences, source)
                break
    return found


def _unit_differences(
    spec: Spec, mine: Mapping[int, float], theirs: Mapping[int, float], stream: str
) -> tuple[float, ...]:
    """Return the mean difference of each unit, over the seeds that both methods have."""
    differences = {seed: mine[seed] - theirs[seed] for seed in set(mine) & set(theirs)}
    units = grouped(set(differences), lambda seed: plan.unit_of(spec, seed, stream))
    return tuple(means(differences, units).values())


def differences_of(place: Path) -> dict[str, tuple[float, ...]]:
    """Return the paired differences seen of each method, from a study's folder alone."""
    folder, spec, methods = opened(place)
    found = seen_differences(spec, methods, folder)
    return {name: seen.differences for name, seen in found.items()}


def _seen(spec: Spec, method: Method, ledger: Ledger) -> tuple[dict[int, float], dict[int, float]]:
    """Return a method's scores by seed: in the confirmation, and of its best trial."""
    metric = spec.study.metric
    confirming = {
        seed: seed_scores(ledger.outcome(entry), metric)[position]
        for seed, (entry, position) in confirmed(spec, method, ledger).places.items()
    }
    best = best_trial(spec, method, ledger)
    tuning = (
        dict(zip(best.seeds, seed_scores(ledger.outcome(best), metric), strict=True))
        if best
        else {}
    )
    return confirming, tuning


WRITTEN = (".csv", ".tex", ".svg", ".png", ".pdf")  # by a report, in its folders


class _Reader:
    """Reads outcomes once each."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._known: dict[str, Outcome] = {}

    def read(self, entry: Entry) -> Outcome:
        if entry.folder not in self._known:
            self._known[entry.folder] = self.ledger.outcome(entry)
        return self._known[entry.folder]


def seed_scores(outcome: Outcome, metric: str, readout: str | None = None) -> list[float]:
    """Return a metric of each seed; NaN for a seed that diverged."""
    counts = outcome.counts[readout] if readout else next(iter(outcome.counts.values()))
    return _masked(outcome, METRICS[metric](counts[:, :, : outcome.rows]))


def _masked(outcome: Outcome, scores: Array) -> list[float]:
    """Return the scores, NaN for a seed that diverged."""
    masked: list[float] = np.where(np.all(outcome.finite, axis=1), scores, np.nan).tolist()
    return masked


def all_scores(outcome: Outcome, scenario: str) -> dict[str, list[float]]:
    """Return every metric that is defined for an outcome, of each seed."""
    scores = {name: seed_scores(outcome, name) for name in METRICS}
    for readout in list(outcome.counts)[1:]:
        scores |= {
            of_readout(name, readout): seed_scores(outcome, name, readout) for name in METRICS
        }
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
    entries = [e for e in ledger.entries("tune", method.name) if within_budget(spec, method, e)]
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
        importance=importances(entries, plan.direction(spec.objectives[0])),
        asked=spec.tune.trials,
    )


def _has_default(method: Method, entries: Sequence[Entry]) -> bool:
    """Whether trial 0 had the published values with what the study file fixes: a range that leaves
    one of them out makes it another configuration.
    """
    default = plan.configuration(method, {})
    return any(e.number == 0 and e.work["configuration"] == default for e in entries)


def _provenance(
    spec: Spec, ledger: Ledger, folder: Folder, changed: Sequence[str]
) -> dict[str, str]:
    found = {
        "command": folder.facts.command,
        "study file": hashlib.sha256(str(spec.plain()).encode()).hexdigest()[:16],
        "python": platform.python_version(),
        **{name: ", ".join(of) for name, of in _software(ledger).items()},
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
        return folder, spec, plan.resolve(spec, str(place / "study.json"))
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


def write_report(analysis: Analysis, place: Path, seed: int | None = None) -> None:
    """Write a study's report in every format: one page, Markdown, JSON, tables and figures; with
    the accuracy matrices of one ``seed``, if wanted.
    """
    from analysis.figures import matrix_picture, pictures

    shown = pictures(analysis)
    if seed is not None:
        check_seed(analysis, seed)
        shown = (*shown, matrix_picture(analysis, seed))
    _write(shown, lambda shown, draw: files(analysis, shown, draw), place)


def check_seed(analysis: Analysis, seed: int) -> None:
    """Raise when a study has no accuracy matrix of a seed, or of what it pairs instead."""
    known = sorted({s for t in analysis.trajectories for s in t.seeds})
    if seed not in known:
        listed = ", ".join(map(str, known)) or "none"
        raise InputError(
            f"--seed {seed}: {analysis.record.study} has no accuracy matrix of that "
            f"{analysis.record.unit}. "
            f"There are: {listed}."
        )


def compare(analyses: Sequence[Analysis], folders: Sequence[Path]) -> Across:
    """Compare several studies, which must have been tested at one alpha."""
    if len({analysis.rules.alpha for analysis in analyses}) > 1:
        pairs = zip(folders, analyses, strict=True)
        listed = ", ".join(f"{folder} {a.rules.alpha:g}" for folder, a in pairs)
        raise InputError(
            f"study.alpha differs ({listed}): there is no one level for their intervals and "
            "tests. Give studies of the same alpha."
        )
    return compare_streams(streams_of(analyses))


def write_across(across: Across, analyses: Sequence[Analysis], place: Path) -> None:
    """Write the report of several studies side by side."""
    from analysis.figures import across_pictures

    shown = across_pictures(across)
    _write(shown, lambda shown, draw: across_files(across, analyses, shown, draw), place)


def _clear(place: Path) -> None:
    """Remove an earlier report, and refuse a folder that holds something else."""
    if place.is_dir() and any(place.iterdir()) and not (place / "report.json").exists():
        raise InputError(f"{place} holds other files than a report. Give an empty folder.")
    for pattern in ("*.csv", "figures/*", "tables/*"):
        for old in place.glob(pattern):
            if old.suffix in WRITTEN:
                old.unlink()


def _write(
    shown: Sequence[Picture],
    texts: Callable[[Sequence[Picture], Draw], Mapping[str, str]],
    place: Path,
) -> None:
    from analysis.figures import inline, save

    def draw(picture: Picture) -> str:  # drawing once serves the files and the page
        return inline((place / "figures" / f"{picture.name}.svg").read_text("utf-8"), picture)

    try:
        _clear(place)
        place.mkdir(parents=True, exist_ok=True)
        (place / "report.json").touch()  # marks the folder as a report, should writing end here
        for picture in shown:
            save(picture, place / "figures")
        for name, text in texts(shown, draw).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the report to {place}: {error.strerror}.") from None
