"""Write the MLflow mirror of a ledger: study run > method run > trial run > run of a seed.

Trials of the confirmation have a run for each seed. Only the driver writes the mirror, and only
from the ledger: the mirror can be rebuilt at any time, and a second writing changes nothing. A
server that is down delays the mirror and never stops or fails a study.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

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
from trainables.errors import InputError, cause

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
KEY, STATE, ID, PARENT = "study.key", "study.state", "study.id", "mlflow.parentRunId"
ROLE, ALTERNATIVE = "role", "alternative-trial"


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

    def write(self, analysis: Analysis | None) -> None:
        """Write every ledger entry that MLflow lacks.

        Args:
            analysis: also write the summaries of the parent runs, and the report.
        """
        self.connect()  # each time: the server may be down, or runs may have been deleted
        root = self._run("study", self.study.spec.study.name, None, "study")
        parents = {
            name: self._run(f"method/{name}", name, root, "method") for name in self.study.methods
        }
        for entry in self.study.ledger.entries():
            if entry.method in parents and not self._is_written(entry):
                self._trial(entry, parents[entry.method])
        if analysis is not None:
            self._summaries(analysis, root, parents)

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

    def _trial(self, entry: Entry, parent: str) -> None:
        label = entry.folder.split("/")[-1].rsplit("-", 1)[0]
        role = self._role(entry)
        name = f"{role.removesuffix('-trial')} {label}"
        run = self._run(entry.folder, name, parent, role, entry)
        metrics: dict[str, float] = {"seconds": entry.seconds, "samples": float(entry.samples)}
        curves: dict[str, list[float]] = {}
        if entry.digest:
            outcome = self.study.ledger.outcome(entry)
            found = all_scores(outcome, entry.work["scenario"])
            scores = {metric_name(*metric): values for metric, values in found.items()}
            metrics |= {name: _mean(values) for name, values in scores.items()}
            metrics |= {
                metric_name(f"bytes.{kind}"): float(column[-1])
                for kind, column in outcome.footprint.items()
            }
            matrix = accuracy_matrix(next(iter(outcome.counts.values())))[:, :, : outcome.rows]
            curve = accuracy_curve(matrix)
            curves["accuracy_so_far"] = [_mean(list(row)) for row in curve.T]
            if entry.phase == "confirm":
                for position, seed in enumerate(entry.seeds):
                    of_seed = {name: values[position] for name, values in scores.items()}
                    state = "complete" if outcome.finite[position].all() else "diverged"
                    seed_entry = dataclasses.replace(entry, state=state)
                    self._seed(seed_entry, seed, run, of_seed, list(curve[position]))
        params = {k: str(v) for k, v in entry.work["configuration"].items()}
        params |= {"seeds": ", ".join(map(str, entry.seeds)), "stream": entry.work["stream"]}
        self._log_and_end(run, entry, entry.folder, metrics, curves, params)

    def _seed(
        self, entry: Entry, seed: int, parent: str, scores: Mapping[str, float], curve: list[float]
    ) -> None:
        key = f"{entry.folder}/seed{seed}"
        role = "alternative-seed" if self._role(entry) == ALTERNATIVE else "seed"
        run = self._run(key, f"seed {seed}", parent, role, entry)
        params = {"seed": str(seed), "method": entry.method}
        self._log_and_end(run, entry, key, scores, {"accuracy_so_far": curve}, params)

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
        rows += [
            Metric(name, value, when, i + 1)
            for name, curve in curves.items()
            for i, value in enumerate(curve)
        ]
        tags = [
            RunTag("method", entry.method),
            RunTag("phase", entry.phase),
            RunTag(STATE, entry.state),
        ]
        self._client.log_batch(run, rows, [Param(k, v) for k, v in params.items()], tags)
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
