"""The runs of one study in MLflow: found by their tags, created once, described anew."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from study.folder import Folder
from study.mlflow.measurements import Point
from study.mlflow.names import NOTE, VERDICT, VIEW
from study.mlflow.store import (
    artifact_location,
    check_reachable,
    follow_moved_folder,
    is_in_folder,
    quieten,
)

KEY, STATE, ID, PARENT = "study.key", "study.state", "study.id", "mlflow.parentRunId"
ROLE, CHOSEN, LAYOUT = "role", "chosen", "study.layout"
OWN_TAGS = (STATE, CHOSEN, NOTE, VERDICT)  # of results, written at the end
CURRENT_LAYOUT = "2"  # of names and parameters; raise it where older runs have to be replaced
REPLACED = "replaced"  # layout of a run that another one stands for
MOST_METRICS = 1000  # in one call of MLflow
LONGEST_DIGEST = 36  # of a data set in MLflow


class Place(NamedTuple):
    """The place of a run in the tree: its key, its name, the run above it, and its role."""

    key: str
    name: str
    parent: str | None
    role: str


class KnownRun(NamedTuple):
    """A run in MLflow, with the tags under which it was written."""

    run: str
    state: str = ""
    role: str = ""
    name: str = ""
    is_chosen: bool = False

    @classmethod
    def of(cls, run: Any) -> KnownRun:
        """Return a run of MLflow."""
        tags, name = run.data.tags, run.info.run_name
        return cls(run.info.run_id, tags.get(STATE, ""), tags.get(ROLE, ""), name, CHOSEN in tags)


class Runs:
    """The runs of a study, in an experiment of the study's name."""

    def __init__(self, uri: str, folder: Folder, name: str) -> None:
        self.uri, self.name = uri, name
        self.known: dict[str, KnownRun] = {}  # by key
        self._folder = folder
        self._client: Any = None
        self._experiment = ""

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
        place = self._folder.path
        found = self._client.get_experiment_by_name(self.name)
        if found is None:
            made: str = self._client.create_experiment(
                self.name, artifact_location(self.uri, place)
            )
            return made
        experiment: str = found.experiment_id
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment)
        if is_in_folder(self.uri, place):
            follow_moved_folder(place, experiment, found.artifact_location)
        return experiment

    def _recognise(self) -> None:
        """Find the runs of earlier writings by their tags; restore deleted ones.

        Runs of another layout are deleted in MLflow, and their trials written anew.
        """
        from mlflow.entities import ViewType

        self.known = {}
        for run in self._search(ViewType.ACTIVE_ONLY):
            if run.data.tags.get(LAYOUT) == CURRENT_LAYOUT:
                self.known[run.data.tags[KEY]] = KnownRun.of(run)
            else:
                self._client.delete_run(run.info.run_id)
        for run in self._search(ViewType.DELETED_ONLY):
            key, layout = run.data.tags[KEY], run.data.tags.get(LAYOUT)
            if key not in self.known and layout == CURRENT_LAYOUT:
                self._client.restore_run(run.info.run_id)
                self.known[key] = KnownRun.of(run)

    def _search(self, view: int) -> list[Any]:
        """Return the study's runs."""
        found: list[Any] = []
        token: str | None = None
        of_study = f"tags.{ID} = '{self._folder.facts.id}'"
        while True:
            page = self._client.search_runs(
                [self._experiment], of_study, view, 1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def place(self, place: Place, tags: Mapping[str, str], start: float | None = None) -> str:
        """Return the run at a place, with the name and role of the place; create it if absent.

        Args:
            tags: of a new run.
            start: of a new run, in seconds since 1970; None: now.
        """
        known = self.known.get(place.key)
        if known is None:
            return self._create(place, tags, start)
        if known.role != place.role:  # another trial of the sweep is the best one now
            self._client.set_tag(known.run, ROLE, place.role)
        if known.name != place.name:
            self._client.update_run(known.run, name=place.name)
        self.known[place.key] = known._replace(role=place.role, name=place.name)
        return known.run

    def _create(self, place: Place, tags: Mapping[str, str], start: float | None) -> str:
        own = {KEY: place.key, ROLE: place.role, "mlflow.runName": place.name}
        own |= {PARENT: place.parent} if place.parent else {}
        fixed = {ID: self._folder.facts.id, LAYOUT: CURRENT_LAYOUT}
        began = None if start is None else int(start * 1000)
        all_tags = {**tags, **own, **fixed}
        made = self._client.create_run(self._experiment, began, all_tags, place.name)
        run: str = made.info.run_id
        self.known[place.key] = KnownRun(run, role=place.role, name=place.name)
        return run

    def replace_params(self, place: Place, params: Mapping[str, str]) -> str:
        """Give a run these parameters; return the run.

        MLflow never changes a parameter. A run with others is deleted, and its children move to a
        new run at the same place.
        """
        run = self.known[place.key].run
        shown = self._client.get_run(run)
        if shown.data.params and shown.data.params != params:
            former, tags = run, {n: v for n, v in shown.data.tags.items() if n not in OWN_TAGS}
            run = self._create(place, tags, shown.info.start_time / 1000)
            for child in self._children(former):
                self._client.set_tag(child, PARENT, run)
            self._client.set_tag(former, LAYOUT, REPLACED)  # whoever restores it
            self._client.delete_run(former)
        self.log(run, params=params)
        return run

    def _children(self, run: str) -> list[str]:
        from mlflow.entities import ViewType

        return [
            child.info.run_id
            for child in self._search(ViewType.ACTIVE_ONLY)
            if child.data.tags.get(PARENT) == run
        ]

    def log(
        self,
        run: str,
        points: Sequence[Point] = (),
        when: float | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write points, then parameters and tags: who finds the tags finds everything.

        Args:
            when: time of the points, in seconds since 1970; None: now.
        """
        from mlflow.entities import Metric, Param, RunTag

        stamp = int((time.time() if when is None else when) * 1000)
        rows = [Metric(point.metric, point.value, stamp, point.step) for point in points]
        last = max(len(rows) - 1, 0) // MOST_METRICS * MOST_METRICS  # start of the last call
        for start in range(0, last, MOST_METRICS):
            self._client.log_batch(run, rows[start : start + MOST_METRICS])
        given = [Param(name, value) for name, value in (params or {}).items()]
        marks = [RunTag(name, value) for name, value in (tags or {}).items()]
        self._client.log_batch(run, rows[last:], given, marks)

    def steps_of(self, run: str, metric: str) -> set[int]:
        """Return the steps of a metric that are written."""
        return {point.step for point in self._client.get_metric_history(run, metric)}

    def summarise(
        self, run: str, metrics: Mapping[str, float], tags: Mapping[str, str | None]
    ) -> None:
        """Let a run show these numbers and tags, and no number that it showed before.

        What it shows already is not written again. MLflow cannot delete a number: NaN stands for
        one that is no longer defined.

        Args:
            tags: None stands for a tag that the run shall not have.
        """
        shown = self._client.get_run(run).data
        wanted = dict.fromkeys(shown.metrics, math.nan) | dict(metrics)
        new = [
            Point(name, 0, value)
            for name, value in wanted.items()
            if name not in shown.metrics or not _is_same(shown.metrics[name], value)
        ]
        present = {name: text for name, text in tags.items() if text is not None}
        self.log(run, new, tags=present)
        for name in shown.tags.keys() & tags.keys() - present.keys():
            self._client.delete_tag(run, name)

    def choose(self, keys: set[str]) -> None:
        """Mark the runs of these keys as chosen, and no others."""
        for key, known in self.known.items():
            if known.is_chosen and key not in keys:
                self._client.delete_tag(known.run, CHOSEN)
            elif not known.is_chosen and key in keys:
                self._client.set_tag(known.run, CHOSEN, "true")
            self.known[key] = known._replace(is_chosen=key in keys)

    def set_state(
        self,
        key: str,
        state: str,
        status: str,
        points: Sequence[Point] = (),
        when: float | None = None,
    ) -> None:
        """Write points, then a state, and give the run a status of MLflow.

        Args:
            when: time of the points and of the end, in seconds since 1970; None: now.
        """
        known = self.known[key]
        self.log(known.run, points, when, tags={STATE: state})
        if status == "RUNNING":
            self._client.update_run(known.run, status=status)
        else:
            stamp = None if when is None else int(when * 1000)
            self._client.set_terminated(known.run, status, stamp)
        self.known[key] = known._replace(state=state)

    def keep_view(self, name: str, view: Mapping[str, Any]) -> None:
        """Keep a view of the list of runs, for an address that names it."""
        self._client.set_experiment_tag(self._experiment, f"{VIEW}{name}", json.dumps(view))

    def add_data(self, run: str, hashes: Mapping[str, str], purpose: str) -> None:
        """Name the data sets that a run uses, and what for."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(name, digest[:LONGEST_DIGEST], "local", json.dumps({"uri": name})),
                [InputTag("mlflow.data.context", purpose)],
            )
            for name, digest in hashes.items()
        ]
        if inputs:
            self._client.log_inputs(run, inputs)

    def add_files(self, run: str, folder: str, name: str) -> None:
        """Copy a folder to the files of a run."""
        self._client.log_artifacts(run, folder, name)


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
