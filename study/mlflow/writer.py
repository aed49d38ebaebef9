"""Write the MLflow mirror of a ledger: study run > method run > trial run > run of a seed.

Trials of the confirmation have a run for each seed. Only the driver writes the mirror, and only
from the ledger: the mirror can be rebuilt at any time, and a second writing changes nothing. A
server that is down delays the mirror and never stops or fails a study.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis import numbers
from analysis.metrics import accuracy_curve, accuracy_matrix
from analysis.one_study.analyse import Analysis, analyse
from study.ledger import Entry
from study.mlflow.store import (
    DATABASE,
    advice,
    artifact_location,
    check_reachable,
    database,
    follow_moved_folder,
    metric_name,
    printable_uri,
    quieten,
    set_aside,
)
from study.record import study_record
from study.report import write_report
from study.scores import all_scores
from study.state import Study
from trainables.engine.outcome import Outcome
from trainables.errors import InputError, cause

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
KEY, STATE, ID, PARENT = "study.key", "study.state", "study.id", "mlflow.parentRunId"
ROLE, ALTERNATIVE = "role", "alternative-trial"
RUNNING, INTERRUPTED = "running", "interrupted"  # states of trials that have not ended
CURVE = "accuracy_so_far"
MOST_METRICS = 1000  # in one call of MLflow
RECONNECT_SECONDS = 60.0  # between two looks for runs that were deleted


class RunningTrial(NamedTuple):
    """A trial that runs, and the first objective after each of its tasks so far."""

    entry: Entry
    steps: Mapping[str, float]


class _KnownRun(NamedTuple):
    """A run in MLflow, with the state and the role under which it was written."""

    run: str
    state: str
    role: str

    @classmethod
    def of(cls, run: Any) -> _KnownRun:
        """Return a run of MLflow."""
        tags = run.data.tags
        return cls(run.info.run_id, tags.get(STATE, ""), tags.get(ROLE, ""))


class Writer:
    """Writes the entries of a study that MLflow lacks."""

    def __init__(self, study: Study, uri: str) -> None:
        self.study, self.uri = study, uri
        self._client: Any = None
        self._experiment = ""
        self._known: dict[str, _KnownRun] = {}  # by key
        self._root = ""
        self._parents: dict[str, str] = {}  # runs of the methods; empty while not connected
        self._connected_at = -math.inf
        self._taken = 0  # number of entries of the ledger's history that are written
        self._points: dict[str, int] = {}  # tasks of running trials that are written, by key

    def write(self, analysis: Analysis | None) -> None:
        """Write every ledger entry that MLflow lacks; no trial runs now.

        Args:
            analysis: also write the summaries of the parent runs, and the report.
        """
        self._begin()  # each time: the server may be down, or runs may have been deleted
        self._write_entries(self.study.ledger.entries())
        self.leave()  # a killed driver left runs that nobody may ask for again
        if analysis is not None:
            self._summaries(analysis, self._root, self._parents)

    def update(self, running: Iterable[RunningTrial]) -> None:
        """Write the trials that have ended since the last update, and the tasks of running ones."""
        try:
            if time.monotonic() - self._connected_at > RECONNECT_SECONDS:
                self._begin()
            history = self.study.ledger.history
            new, count = history[self._taken :], len(history)
            self._write_entries(filter(self.study.ledger.learnt_study_data, new))
            self._taken = count
            ended = {entry.folder for entry in new}  # since the running trials were listed
            for trial in running:
                if trial.entry.method in self._parents and trial.entry.folder not in ended:
                    self._write_running(trial)
        except Exception:
            self._connected_at = -math.inf  # connect anew, to find what has been written
            self._points.clear()
            raise

    def leave(self) -> None:
        """Mark the trials that still run in MLflow as interrupted."""
        from mlflow.entities import RunTag

        for key, known in self._known.items():
            if known.state == RUNNING:
                self._client.log_batch(known.run, tags=[RunTag(STATE, INTERRUPTED)])
                self._client.set_terminated(known.run, "KILLED")
                self._known[key] = known._replace(state=INTERRUPTED)

    def _begin(self) -> None:
        """Connect, and find or create the runs of the study and its methods."""
        self.connect()
        self._root = self._run("study", self.study.spec.study.name, None, "study")
        self._parents = {
            name: self._run(f"method/{name}", name, self._root, "method")
            for name in self.study.methods
        }
        self._connected_at, self._taken = time.monotonic(), 0

    def _write_entries(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.method in self._parents and not self._is_written(entry):
                self._trial(entry, self._parents[entry.method])

    def _write_running(self, trial: RunningTrial) -> None:
        """Create the run of a trial with its configuration, and add the tasks learnt since."""
        from mlflow.entities import Metric, Param, RunTag

        entry, key = trial.entry, trial.entry.folder
        known = self._known.get(key)
        run = self._run(key, self._label(entry), self._parents[entry.method], self._role(entry))
        rows, when = [], int(time.time() * 1000)
        written, name = self._points_of(key, run), self._curve_name
        for task, score in list(trial.steps.items())[written:]:
            rows.append(Metric(name, score, when, int(task)))
        begins = known is None or known.state != RUNNING
        if begins:
            params = [Param(k, v) for k, v in _params(entry).items()]
            tags = [*_tags(entry), RunTag(STATE, RUNNING)]
            self._client.log_batch(run, rows, params, tags)
            self._client.update_run(run, status="RUNNING")
            self._known[key] = self._known[key]._replace(state=RUNNING)
        elif rows:
            self._client.log_batch(run, rows)
        self._points[key] = written + len(rows)

    def _points_of(self, key: str, run: str) -> int:
        """Return the number of tasks of a trial that are written, by this process or before."""
        if key not in self._points:
            known = self._known.get(key)  # without a state, the run has just been created
            begun = known is not None and known.state
            past = self._client.get_metric_history(run, self._curve_name) if begun else []
            self._points[key] = len({point.step for point in past})
        return self._points[key]

    @property
    def _curve_name(self) -> str:
        """Name of the metric with a point a task."""
        [objective, *_] = self.study.spec.objectives
        return CURVE if objective == "average_accuracy" else f"{objective}_so_far"

    def _is_written(self, entry: Entry) -> bool:
        known = self._known.get(entry.folder)
        return known is not None and (known.state, known.role) == (entry.state, self._role(entry))

    def _role(self, entry: Entry) -> str:
        """Return the role of a trial: of its phase, or that of an alternative, which confirms
        another configuration than the chosen one.
        """
        is_alternative = entry.phase == "confirm" and not self.study.confirmation(
            entry.method
        ).includes(entry)
        return ALTERNATIVE if is_alternative else f"{entry.phase}-trial"

    def connect(self) -> None:
        """Find or create the experiment, and find the runs of earlier writings."""
        quieten()
        check_reachable(self.uri)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self.uri)
        self._experiment = self._find_experiment()
        self._recognise()

    def _find_experiment(self) -> str:
        """Return the experiment of the study's name; create or restore it if needed."""
        name, place = self.study.spec.study.name, self.study.folder.path
        found = self._client.get_experiment_by_name(name)
        if found is None:
            made: str = self._client.create_experiment(name, artifact_location(self.uri, place))
            return made
        experiment: str = found.experiment_id
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment)
        if database(self.uri) == place.resolve() / DATABASE:
            follow_moved_folder(place, experiment, found.artifact_location)
        return experiment

    def _recognise(self) -> None:
        """Find the runs of earlier writings by their tags; restore deleted ones."""
        from mlflow.entities import ViewType

        self._known = {}
        for run in self._runs(ViewType.ACTIVE_ONLY):
            self._known[run.data.tags[KEY]] = _KnownRun.of(run)
        for run in self._runs(ViewType.DELETED_ONLY):
            if run.data.tags[KEY] not in self._known:
                self._client.restore_run(run.info.run_id)
                self._known[run.data.tags[KEY]] = _KnownRun.of(run)

    def _runs(self, view: int) -> list[Any]:
        """Return the study's runs."""
        found: list[Any] = []
        token: str | None = None
        of_study = f"tags.{ID} = '{self.study.folder.facts.id}'"
        while True:
            page = self._client.search_runs(
                [self._experiment], of_study, view, 1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def _run(
        self, key: str, name: str, parent: str | None, role: str, entry: Entry | None = None
    ) -> str:
        """Return the run of a key; create it if absent, with the start of its entry or now."""
        if known := self._known.get(key):
            if known.role != role:  # another trial of the sweep is the best one now
                self._client.set_tag(known.run, ROLE, role)
                self._known[key] = known._replace(role=role)
            return known.run
        tags = {KEY: key, ID: self.study.folder.facts.id, ROLE: role, "mlflow.runName": name}
        if parent:
            tags[PARENT] = parent
        start = int((entry.ended - entry.seconds) * 1000) if entry else None
        made = self._client.create_run(self._experiment, start, tags, name)
        run: str = made.info.run_id
        self._known[key] = _KnownRun(run, "", role)
        return run

    def _label(self, entry: Entry) -> str:
        """Return the name of a trial's run."""
        label = entry.folder.split("/")[-1].rsplit("-", 1)[0]
        return f"{self._role(entry).removesuffix('-trial')} {label}"

    def _trial(self, entry: Entry, parent: str) -> None:
        run = self._run(entry.folder, self._label(entry), parent, self._role(entry), entry)
        metrics: dict[str, float] = {"seconds": entry.seconds, "samples": float(entry.samples)}
        curves: dict[str, list[float]] = {}
        if entry.digest:
            outcome = self.study.ledger.outcome(entry)
            found = all_scores(outcome, entry.work["scenario"])
            scores = {metric_name(*metric): values for metric, values in found.items()}
            metrics |= {name: _mean(values) for name, values in scores.items()}
            metrics |= {
                metric_name(f"bytes.{kind}"): float(held[:, -1].mean())
                for kind, held in outcome.footprint.items()
            }
            matrix = accuracy_matrix(next(iter(outcome.counts.values())))[:, :, : outcome.rows]
            curve = accuracy_curve(matrix)
            curves = {
                self._curve_name: list(entry.steps.values()),
                CURVE: [_mean(list(row)) for row in curve.T],
                **_diagnostic_curves(outcome),
            }
            if entry.phase == "confirm":
                for position, seed in enumerate(entry.seeds):
                    of_seed = {name: values[position] for name, values in scores.items()}
                    state = "complete" if outcome.finite[position].all() else "diverged"
                    seed_entry = dataclasses.replace(entry, state=state)
                    self._seed(seed_entry, seed, run, of_seed, list(curve[position]))
        self._log_and_end(run, entry, entry.folder, metrics, curves, _params(entry))

    def _seed(
        self, entry: Entry, seed: int, parent: str, scores: Mapping[str, float], curve: list[float]
    ) -> None:
        key = f"{entry.folder}/seed{seed}"
        role = "alternative-seed" if self._role(entry) == ALTERNATIVE else "seed"
        run = self._run(key, f"seed {seed}", parent, role, entry)
        params = {"seed": str(seed), "method": entry.method}
        self._log_and_end(run, entry, key, scores, {CURVE: curve}, params)

    def _log_and_end(
        self,
        run: str,
        entry: Entry,
        key: str,
        metrics: Mapping[str, float],
        curves: Mapping[str, list[float]],
        params: Mapping[str, str],
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        when = int(entry.ended * 1000)
        rows = [Metric(name, value, when, 0) for name, value in metrics.items()]
        written = {self._curve_name: self._points_of(key, run)}
        rows += [
            Metric(name, value, when, i + 1)
            for name, curve in curves.items()
            for i, value in enumerate(curve)
            if i >= written.get(name, 0) and not math.isnan(value)
        ]
        tags = [*_tags(entry), RunTag(STATE, entry.state)]
        given = [Param(k, v) for k, v in params.items()]
        self._client.log_batch(run, rows[:MOST_METRICS], given, tags)
        for start in range(MOST_METRICS, len(rows), MOST_METRICS):
            self._client.log_batch(run, rows[start : start + MOST_METRICS])
        self._client.set_terminated(run, STATUS[entry.state], when)
        self._known[key] = self._known[key]._replace(state=entry.state)

    def _summaries(self, analysis: Analysis, study: str, parents: Mapping[str, str]) -> None:
        """Write sortable numbers and verdicts to the method runs, the report to the study run."""
        from mlflow.entities import Metric

        # with a fixed time, a second writing of the same numbers adds nothing
        when = int(max((entry.ended for entry in self.study.ledger.entries()), default=0.0) * 1000)
        for row, tuning in zip(analysis.methods, analysis.tuning, strict=True):
            error = row.sd / row.n**0.5 if row.sd is not None else None
            summary = {
                "confirm_mean": row.mean,
                "confirm_sd": row.sd,
                "confirm_standard_error": error,
                f"confirm_{numbers.plural(analysis.record.unit)}": row.n,
                "tune_best": tuning.best_value,
                "tune_default": tuning.default_value,
                "tune_trials": tuning.trials,
                "tune_failed": tuning.failed,
                "tune_pruned": tuning.pruned,
                "tune_seconds": tuning.seconds,
                "selection": tuning.selection,
                "shift": tuning.shift,
            }
            present = {name: float(value) for name, value in summary.items() if value is not None}
            self._client.log_batch(
                parents[row.method],
                [Metric(name, value, when, 0) for name, value in present.items()],
            )
        for method, parent in parents.items():
            self._client.set_terminated(parent)
            found = [c for c in analysis.comparisons if c.method == method]
            verdicts = [f"{c.verdict} (against {c.reference})" for c in found]
            if verdicts:
                self._client.set_tag(parent, "verdict", "; ".join(verdicts))
        self._client.set_tag(study, "study.folder", str(self.study.folder.path.resolve()))
        self._client.set_terminated(study)
        self._client.log_artifacts(study, str(self.study.folder.path / "report"), "report")


def _params(entry: Entry) -> dict[str, str]:
    """Return the parameters of a trial's run."""
    params = {k: str(v) for k, v in entry.work["configuration"].items()}
    return params | {"seeds": ", ".join(map(str, entry.seeds)), "stream": entry.work["stream"]}


def _tags(entry: Entry) -> list[Any]:
    """Return the tags of a trial's run besides its state."""
    from mlflow.entities import RunTag

    return [RunTag("method", entry.method), RunTag("phase", entry.phase)]


def _diagnostic_curves(outcome: Outcome) -> dict[str, list[float]]:
    """Return the method's own numbers after each task, by name: the mean over the seeds that have
    one, NaN if none has.
    """
    curves = {}
    for name, values in outcome.extras.items():
        if values.ndim == 2:  # no map
            present = np.isfinite(values)
            totals, counts = np.where(present, values, 0.0).sum(axis=0), present.sum(axis=0)
            means = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts > 0)
            curves[metric_name(name.replace(": ", "."))] = means.tolist()
    return curves


def _mean(values: list[float]) -> float:
    return float(sum(values) / len(values))


def unwritten(uri: str, error: Exception) -> str:
    """Return the message that MLflow could not be written, with the reason."""
    return f"MLflow at {printable_uri(uri)} could not be written ({cause(error)})"


def rebuild(place: Path, uri: str) -> None:
    """Write the whole mirror of a study from its folder; move a damaged database away first.

    Raises:
        InputError: if the study is being run, or MLflow cannot be written.
    """
    with Study.open(place).folder.claim("write a copy of the folder"):
        study = Study.open(place)
        analysis = analyse(study_record(study))
        write_report(analysis, place / "report")
        if database(uri) == (place / DATABASE).resolve():
            set_aside(place)
        try:
            Writer(study, uri).write(analysis)
        except Exception as error:
            raise InputError(f"{unwritten(uri, error)}.{advice(uri, place)}") from None
