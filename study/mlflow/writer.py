"""Write the MLflow mirror of a ledger: study run > method run > trial run > run of a seed.

Trials of the confirmation have a run for each seed. Only the driver writes the mirror, and only
from the ledger: the mirror can be rebuilt at any time, and a second writing changes nothing. A
server that is down delays the mirror and never stops or fails a study.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from analysis.one_study.analyse import Analysis, analyse
from study.ledger import Entry
from study.mlflow.measurements import Point, points_of_seed, points_of_trial
from study.mlflow.names import (
    ALTERNATIVE,
    NOTE,
    VALIDATION,
    VERDICT,
    data_of,
    scored,
    seed_name,
    seed_role,
    trial_name,
)
from study.mlflow.runs import Place, Runs
from study.mlflow.store import advice, is_in_folder, printable_uri, set_aside
from study.mlflow.summaries import (
    method_metrics,
    methods_view,
    note,
    origin_of_study,
    origin_of_trial,
    study_params,
    study_tags,
    texts_of,
    verdict_text,
)
from study.record import study_record
from study.report import write_report
from study.state import Study
from trainables.engine.outcome import Outcome
from trainables.errors import InputError, cause

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
RUNNING, INTERRUPTED, COMPLETE = "running", "interrupted", "complete"
RECONNECT_SECONDS = 60.0  # between two looks for runs that were deleted
ROOT = "study"  # key of the study's run


class RunningTrial(NamedTuple):
    """A trial that runs, and the first objective after each of its tasks so far."""

    entry: Entry
    steps: Mapping[str, float]


class Writer:
    """Writes the entries of a study that MLflow lacks."""

    def __init__(self, study: Study, uri: str) -> None:
        self.study, self.uri = study, uri
        self._runs = Runs(uri, study.folder, study.spec.study.name)
        self._parents: dict[str, str] = {}  # runs of the methods; empty while not connected
        self._connected_at = -math.inf
        self._taken = 0  # number of entries of the ledger's history that are written
        self._tasks: dict[str, int] = {}  # of running trials: the last one written, by key
        self._best: dict[str, tuple[int, float]] = {}  # written trials and best value, by method

    def write(self, analysis: Analysis | None) -> None:
        """Write every ledger entry that MLflow lacks; no trial runs now.

        Args:
            analysis: also write the summaries of the parent runs, and the report.
        """
        self._begin()  # each time: the server may be down, or runs may have been deleted
        self._write_entries(self.study.ledger.entries())
        self._choose()
        self.leave()  # a killed driver left runs that nobody may ask for again
        if analysis is not None:
            self._summarise(analysis)

    def update(self, running: Iterable[RunningTrial]) -> None:
        """Write the trials that have ended since the last update, and the tasks of running ones."""
        try:
            if time.monotonic() - self._connected_at > RECONNECT_SECONDS:
                self._begin()
                self._mark_parents_running()
            history = self.study.ledger.history
            new, count = history[self._taken :], len(history)
            self._write_entries(filter(self.study.ledger.learnt_study_data, new))
            self._taken = count
            ended = {entry.folder for entry in new}  # since the running trials were listed
            for trial in running:
                if trial.entry.method in self._parents and trial.entry.folder not in ended:
                    self._write_running(trial)
            self._write_best()
            self._choose()
        except Exception:
            self._connected_at = -math.inf  # connect anew, to find what has been written
            self._tasks.clear()
            self._best.clear()
            raise

    def leave(self) -> None:
        """Mark what still runs in MLflow as interrupted."""
        for key, known in [*self._runs.known.items()]:
            if known.state == RUNNING:
                self._runs.set_state(key, INTERRUPTED, "KILLED")

    # -- the runs of the study and of its methods

    def _begin(self) -> None:
        """Connect, and find or create the runs of the study and its methods."""
        self._runs.connect()
        entries, origin = self.study.ledger.entries(), origin_of_study(self.study)
        place = Place(ROOT, self.study.spec.study.name, None, "study")
        self._runs.place(place, origin, _began(entries))
        root = self._runs.replace_params(place, study_params(self.study))
        self._runs.log(root, tags=study_tags(self.study))
        self._keep_view(is_judged=False)
        for name, method in self.study.methods.items():
            own = [entry for entry in entries if entry.method == name]
            tags = {**origin, "method": name, "learner": method.learner}
            self._parents[name] = self._runs.place(self._place_of(name), tags, _began(own))
        for run in (root, *self._parents.values()):
            self._runs.add_data(run, self.study.folder.facts.data, "train, val, test")
        self._connected_at, self._taken = time.monotonic(), 0

    def _keep_view(self, is_judged: bool) -> None:
        """Keep the view of the methods that `ui` opens, sorted by what they have."""
        folder = self.study.folder
        among_others = not is_in_folder(self.uri, folder.path)
        self._runs.keep_view(folder.facts.id, methods_view(self.study, among_others, is_judged))

    def _place_of(self, method: str) -> Place:
        return Place(f"method/{method}", method, self._runs.known[ROOT].run, "method")

    def _mark_parents_running(self) -> None:
        for key in (ROOT, *(f"method/{name}" for name in self._parents)):
            if self._runs.known[key].state != RUNNING:
                self._runs.set_state(key, RUNNING, "RUNNING")

    def _write_best(self) -> None:
        """Write the number of trials and the best value of each sweep, where they are new."""
        objective = scored(VALIDATION, self._objective)
        for name, run in self._parents.items():
            sweep = self.study.sweep(name)
            if sweep.best is None:
                continue
            trials, best = len(sweep.entries), sweep.best.values[0]
            if self._best.get(name) != (trials, best):
                points = [Point("tune_trials", 0, float(trials)), Point(objective, 0, best)]
                self._runs.log(run, points)
                self._best[name] = trials, best

    def _choose(self) -> None:
        """Mark the trial with the configuration to confirm in each sweep that has ended."""
        ended = (name for name in self._parents if self.study.sweep(name).has_ended)
        trials = (self.study.confirmation(name).trial for name in ended)
        self._runs.choose({trial.folder for trial in trials if trial})

    def _summarise(self, analysis: Analysis) -> None:
        """Write results to the runs of the methods and the study, and the report."""
        entries = self.study.ledger.entries()
        for name in self._parents:
            configuration = self.study.confirmation(name).configuration
            place = self._place_of(name)
            run = self._runs.replace_params(place, texts_of(configuration or {}))
            tags = {VERDICT: verdict_text(analysis, name)}
            self._runs.summarise(run, method_metrics(analysis, name), tags)
            own = [entry for entry in entries if entry.method == name]
            self._runs.set_state(place.key, COMPLETE, "FINISHED", when=_ended(own))
        self._keep_view(is_judged=True)
        root = self._runs.known[ROOT].run
        self._runs.log(root, tags={NOTE: note(analysis)})
        self._runs.add_files(root, str(self.study.folder.path / "report"), "report")
        self._runs.set_state(ROOT, COMPLETE, "FINISHED", when=_ended(entries))

    # -- the runs of trials and of their seeds

    def _write_entries(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.method in self._parents and not self._is_written(entry):
                self._write_trial(entry)

    def _is_written(self, entry: Entry) -> bool:
        known = self._runs.known.get(entry.folder)
        return known is not None and (known.state, known.role) == (entry.state, self._role(entry))

    def _write_running(self, trial: RunningTrial) -> None:
        """Create the run of a trial with its configuration, and add the tasks learnt since."""
        entry, key = trial.entry, trial.entry.folder
        run = self._run_of(entry)
        written, name = self._last_task(entry), scored(data_of(entry.phase), self._objective)
        scores = {int(task): score for task, score in trial.steps.items() if math.isfinite(score)}
        new = [Point(name, task, score) for task, score in scores.items() if task > written]
        if self._runs.known[key].state != RUNNING:
            self._describe(run, entry)
            self._runs.set_state(key, RUNNING, "RUNNING", new)
        elif new:
            self._runs.log(run, new)
        self._tasks[key] = max([written, *scores])

    def _write_trial(self, entry: Entry) -> None:
        """Write a trial that has ended, and its seeds if it confirms a configuration."""
        run = self._run_of(entry)
        outcome = self.study.ledger.outcome(entry) if entry.digest else None
        self._describe(run, entry)
        if outcome is not None and entry.phase == "confirm":
            for position in range(len(entry.seeds)):
                self._write_seed(entry, outcome, position, run)
        name, written = scored(data_of(entry.phase), self._objective), self._last_task(entry)
        found = points_of_trial(entry, outcome, self._objective)
        new = [point for point in found if point.metric != name or point.step > written]
        status = STATUS[entry.state]
        self._runs.set_state(entry.folder, entry.state, status, new, entry.ended)

    def _write_seed(self, entry: Entry, outcome: Outcome, position: int, parent: str) -> None:
        seed, role = entry.seeds[position], self._role(entry)
        key = f"{entry.folder}/seed{seed}"
        place = Place(key, seed_name(entry, role, seed), parent, seed_role(role))
        state = "complete" if outcome.finite[position].all() else "diverged"
        run = self._runs.place(place, origin_of_trial(self.study, entry), _began([entry]))
        self._runs.log(run, params={"seed": str(seed), "method": entry.method})
        points = points_of_seed(entry, outcome, position)
        self._runs.set_state(key, state, STATUS[state], points, entry.ended)

    def _describe(self, run: str, entry: Entry) -> None:
        """Write the configuration of a trial and the data that it uses."""
        seeds = ", ".join(map(str, entry.seeds))
        params = texts_of(entry.work["configuration"])
        self._runs.log(run, params=params | {"seeds": seeds, "stream": entry.work["stream"]})
        name, _, digest = entry.data.partition(" ")
        if digest:
            self._runs.add_data(run, {name: digest}, f"train, {data_of(entry.phase)}")

    def _run_of(self, entry: Entry) -> str:
        """Return the run of a trial; create it if absent."""
        role, parent = self._role(entry), self._parents[entry.method]
        place = Place(entry.folder, trial_name(entry, role), parent, role)
        tags = origin_of_trial(self.study, entry)
        return self._runs.place(place, tags, _began([entry]))

    def _role(self, entry: Entry) -> str:
        """Return the role of a trial: of its phase, or that of an alternative, which confirms
        another configuration than the chosen one.
        """
        is_alternative = entry.phase == "confirm" and not self.study.confirmation(
            entry.method
        ).includes(entry)
        return ALTERNATIVE if is_alternative else f"{entry.phase}-trial"

    @property
    def _objective(self) -> str:
        """The metric that a trial reports after each task."""
        [objective, *_] = self.study.spec.objectives
        return objective

    def _last_task(self, entry: Entry) -> int:
        """Return the last task of a trial that is written, by this process or before."""
        if entry.folder not in self._tasks:
            known = self._runs.known[entry.folder]
            name = scored(data_of(entry.phase), self._objective)
            # without a state, the run has just been created
            steps = self._runs.steps_of(known.run, name) if known.state else set()
            self._tasks[entry.folder] = max(steps, default=0)
        return self._tasks[entry.folder]


def _began(entries: Iterable[Entry]) -> float | None:
    """Return the time at which the first trial began; None if none has ended."""
    return min((entry.ended - entry.seconds for entry in entries if entry.ended), default=None)


def _ended(entries: Iterable[Entry]) -> float | None:
    """Return the time at which the last trial ended; None if there is none."""
    return max((entry.ended for entry in entries), default=None)


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
        if is_in_folder(uri, place):
            set_aside(place)
        try:
            Writer(study, uri).write(analysis)
        except Exception as error:
            raise InputError(f"{unwritten(uri, error)}.{advice(uri, place)}") from None
