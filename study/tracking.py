"""The MLflow mirror of the ledger: study run > method run > trial run > (confirmation) one run per
seed.

Written by the driver only, and only from the ledger; it can be rebuilt at any time and a second
writing changes nothing. A server that is down delays the mirror and never stops or fails a study.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from analysis.metrics import accuracy_curve, accuracy_matrix
from analysis.results import Analysis, analyse
from study import plan
from study.folder import Folder
from study.ledger import Entry, Ledger
from study.plan import Method
from study.results import all_scores, study_record, write_report
from study.spec import Spec
from trainables.errors import InputError

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
KEY, STATE = "study.key", "study.state"


def default_uri(place: Path) -> str:
    """SQLite in the study's folder."""
    return f"sqlite:///{place.absolute()}/mlflow.db"


class Mirror:
    """Keeps MLflow up to date while a study runs, from a thread of its own."""

    def __init__(
        self,
        folder: Folder,
        spec: Spec,
        methods: Mapping[str, Method],
        ledger: Ledger,
        uri: str | None,
        notify: Callable[[str], None],
    ) -> None:
        self.uri = uri or default_uri(folder.path)
        self._writer = Writer(folder, spec, methods, ledger, self.uri)
        self._notify, self._place = notify, folder.path
        self._wake, self._stop, self._down = threading.Event(), False, False
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.poke()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def poke(self) -> None:
        """Say that the ledger has grown."""
        self._wake.set()

    def finish(self, analysis: Analysis) -> None:
        """Bring the mirror up to date and add the report."""
        self._end()
        try:
            self._writer.write(analysis)
        except Exception as error:
            self._notify(
                f"MLflow at {self.uri} could not be written ({_first_line(error)}). "
                "The study itself is complete; "
                f"`python -m study track {self._place}` writes the mirror later."
            )

    def _end(self) -> None:
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._down:
            self._wake.wait()
            self._wake.clear()
            if self._stop:
                return
            try:
                self._writer.write(None)
            except Exception as error:
                self._down = True
                self._notify(
                    f"MLflow at {self.uri} is not reachable ({_first_line(error)}); "
                    "the study goes on."
                )


class Writer:
    """Writes what MLflow lacks of a study."""

    def __init__(
        self, folder: Folder, spec: Spec, methods: Mapping[str, Method], ledger: Ledger, uri: str
    ) -> None:
        self.folder, self.spec, self.methods, self.ledger, self.uri = (
            folder,
            spec,
            methods,
            ledger,
            uri,
        )
        self._client: Any = None
        self._known: dict[str, tuple[str, str]] = {}  # key -> run, state

    def write(self, analysis: Analysis | None) -> None:
        """Write every ledger entry that is not there yet; with an analysis, the parents' summaries
        and the report.
        """
        if self._client is None:
            self.connect()
        study = self._run("study", self.spec.study.name, None, "study")
        parents = {
            name: self._run(f"method/{name}", name, study, "method") for name in self.methods
        }
        for entry in self.ledger.entries():
            if (
                entry.method in parents
                and self._known.get(entry.folder, ("", ""))[1] != entry.state
            ):
                self._trial(entry, parents[entry.method])
        if analysis is not None:
            self._summaries(analysis, study, parents)

    def connect(self) -> None:
        """Find or make the experiment, and the runs of an earlier writing."""
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
        logging.getLogger("alembic").setLevel(logging.ERROR)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        name = self.spec.study.name
        experiment = client.get_experiment_by_name(name)
        artifacts = (
            (self.folder.path / "mlflow_artifacts").absolute().as_uri() if self._local else None
        )
        self._experiment = (
            experiment.experiment_id if experiment else client.create_experiment(name, artifacts)
        )
        self._client = client
        self._recognise()

    @property
    def _local(self) -> bool:
        return self.uri.startswith("sqlite:")

    def _recognise(self) -> None:
        """Find the runs of an earlier writing by their tags."""
        token: str | None = None
        place = str(self.folder.path.absolute())
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.study.folder = '{place}'",
                max_results=1000,
                page_token=token,
            )
            for run in page:
                self._known[run.data.tags[KEY]] = (run.info.run_id, run.data.tags.get(STATE, ""))
            token = page.token
            if not token:
                return

    def _run(
        self, key: str, name: str, parent: str | None, role: str, entry: Entry | None = None
    ) -> str:
        """Return the run of a key, made when absent; it starts when its entry did, or now."""
        if key in self._known:
            return self._known[key][0]
        tags = {
            KEY: key,
            "role": role,
            "mlflow.runName": name,
            "study.folder": str(self.folder.path.absolute()),
        }
        if parent:
            tags["mlflow.parentRunId"] = parent
        start = int((entry.ended - entry.seconds) * 1000) if entry else None
        made = self._client.create_run(self._experiment, start, tags, name)
        run: str = made.info.run_id
        self._known[key] = (run, "")
        return run

    def _trial(self, entry: Entry, parent: str) -> None:
        label = entry.folder.split("/")[-1].rsplit("-", 1)[0]
        role = f"{entry.phase}-trial"
        run = self._run(entry.folder, f"{entry.phase} {label}", parent, role, entry)
        metrics: dict[str, float] = {"seconds": entry.seconds, "samples": float(entry.samples)}
        curves: dict[str, list[float]] = {}
        if entry.digest:
            outcome = self.ledger.outcome(entry)
            scores = all_scores(outcome, entry.work["scenario"])
            metrics |= {name: _mean(values) for name, values in scores.items()}
            metrics |= {
                f"bytes.{kind}": float(column[-1]) for kind, column in outcome.footprint.items()
            }
            matrix = accuracy_matrix(next(iter(outcome.counts.values())))[:, :, : outcome.rows]
            curve = accuracy_curve(matrix)
            curves["accuracy_so_far"] = [_mean(list(row)) for row in curve.T]
            if entry.phase == "confirm":
                for position, seed in enumerate(entry.seeds):
                    own = {name: values[position] for name, values in scores.items()}
                    state = "complete" if outcome.finite[position].all() else "diverged"
                    alone = dataclasses.replace(entry, state=state)
                    self._seed(alone, seed, run, own, list(curve[position]))
        params = {k: str(v) for k, v in entry.work["configuration"].items()}
        params |= {"seeds": ", ".join(map(str, entry.seeds)), "stream": entry.work["stream"]}
        self._log(run, entry, entry.folder, metrics, curves, params)

    def _seed(
        self, entry: Entry, seed: int, parent: str, scores: Mapping[str, float], curve: list[float]
    ) -> None:
        key = f"{entry.folder}/seed{seed}"
        run = self._run(key, f"seed {seed}", parent, "seed", entry)
        params = {"seed": str(seed), "method": entry.method}
        self._log(run, entry, key, scores, {"accuracy_so_far": curve}, params)

    def _log(
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
        self._known[key] = (run, entry.state)

    def _summaries(self, analysis: Analysis, study: str, parents: Mapping[str, str]) -> None:
        """Sortable numbers and verdicts on the parents, and the report on the study's run."""
        from mlflow.entities import Metric

        # a second writing of the same numbers at the same time adds nothing
        when = int(max((entry.ended for entry in self.ledger.entries()), default=0.0) * 1000)
        for row, tuning in zip(analysis.methods, analysis.tuning, strict=True):
            error = row.sd / row.n**0.5 if row.sd is not None else None
            numbers = {
                "confirm_mean": row.mean,
                "confirm_sd": row.sd,
                "confirm_standard_error": error,
                "confirm_seeds": row.n,
                "tune_best": tuning.best_value,
                "tune_default": tuning.default_value,
                "tune_trials": tuning.trials,
                "tune_failed": tuning.failed,
                "tune_pruned": tuning.pruned,
                "tune_seconds": tuning.seconds,
            }
            known = {name: float(value) for name, value in numbers.items() if value is not None}
            self._client.log_batch(
                parents[row.method], [Metric(name, value, when, 0) for name, value in known.items()]
            )
            self._client.set_terminated(parents[row.method])
        for comparison in analysis.comparisons:
            self._client.set_tag(parents[comparison.method], "verdict", comparison.verdict)
        for path in sorted((self.folder.path / "report").glob("*")):
            self._client.log_artifact(study, str(path), "report")
        self._client.set_terminated(study)


def _mean(values: list[float]) -> float:
    return float(sum(values) / len(values))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def rebuild(place: Path, uri: str) -> None:
    """Write the whole mirror of a study from its folder.

    Raises:
        InputError: when the tracking server cannot be written.
    """
    folder, spec = Folder.open(place)
    methods = plan.resolve(spec, str(place / "study.json"))
    ledger = folder.ledger()
    analysis = analyse(study_record(spec, methods, ledger, folder))
    write_report(analysis, place / "report")
    try:
        Writer(folder, spec, methods, ledger, uri).write(analysis)
    except Exception as error:
        raise InputError(f"MLflow at {uri} could not be written: {_first_line(error)}.") from None
