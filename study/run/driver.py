"""Hand trials to Ray Tune, and write each to the ledger as it ends.

A trial whose worker is lost continues from its last checkpoint, until it is given up and fails with
the reason. Tune's own retries are not used: they count losses over the whole life of a trial, and
forget the count when the driver ends.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import shutil
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Required, TypedDict

import ray
from ray import cloudpickle, tune
from ray.exceptions import OutOfMemoryError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from study.console import Console, duration
from study.design import FRESH_PHASES
from study.interruption import Interrupted, handle_signals
from study.ledger import Entry, Ledger, WorkerLoss
from study.run.lost_workers import (
    final_reason,
    is_given_up,
    loss_of,
    memory_ran_out,
    stopped_workers,
)
from study.spec import ResourcesSection
from trainables.engine.foundation import Foundation
from trainables.errors import MachineError, reason
from trainables.streams.datasets import Split

# A trial is reported as silent after QUIET_FACTOR times the method's longest task, but not before
# QUIET_SECONDS; after QUIET_UNKNOWN seconds if no task of the method has ended yet.
QUIET_FACTOR = 10
QUIET_SECONDS = 60.0
QUIET_UNKNOWN = 600.0


class TrialSettings(TypedDict, total=False):
    """The settings of a trial besides its assignment, as the worker reads them."""

    objectives: Required[list[str]]
    gpus: Required[float]
    storage: Required[str]
    """folder of the checkpoints"""
    stack: int
    """number of seeds trained at once"""
    foundation: bool
    """whether to return what the first task leaves behind"""


class Halt(BaseException):
    """The driver's machine failed during a call from Tune; a type that Tune does not catch."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Running:
    """A trial that runs: its entry, its reports so far, and its worker."""

    entry: Entry
    steps: dict[str, float] = field(default_factory=dict)  # first objective by task
    actor: Any = None
    since: float = math.inf  # time of the start, or of the end of the last task
    silence_noted: bool = False  # whether the user has been told of its silence

    @property
    def worker(self) -> str:
        """Ray's id of the worker; empty before the worker has begun."""
        return str(self.actor._actor_id.hex()) if self.actor else ""

    @property
    def tasks(self) -> int:
        """Number of tasks learnt, by this worker or by a lost one."""
        return max([len(self.steps), *(loss["tasks"] for loss in self.entry.losses)])


class SourceScheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops the weak trials of a source between tasks, and passes on why a trial was lost.

    Ray's own schedulers keep their comparisons in memory only; the search has them in the ledger.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        should_stop = self.source.should_stop(trial.trial_id, result)
        return str(TrialScheduler.STOP if should_stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self.source.errors[trial.trial_id] = _kept_error(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its schedulers


def _kept_error(trial: Any) -> BaseException | None:
    """Return the error that Tune has kept of a trial; None if its file is truncated."""
    try:
        if trial.pickled_error_file is None:
            return RuntimeError(Path(trial.error_file).read_text(encoding="utf-8"))
        error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # unpickling a truncated file may raise anything
        return None
    cause = getattr(error, "cause", None)
    # Ray's wrapper of an operating system error has neither its number nor its file
    return cause if isinstance(cause, OSError) else error


class WorkerWatch(tune.Callback):  # type: ignore[misc]
    """Records the worker of each trial, and looks for silent ones."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def setup(self, *args: Any, **info: Any) -> None:
        handle_signals()  # Tune has just set a handler for SIGUSR1

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        running = self.source.trials[trial.trial_id]
        running.actor, running.since = trial.temporary_state.ray_actor, time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.source.check_silence(time.monotonic())

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks


class Source(Searcher, ABC):  # type: ignore[misc]
    """A source of trials, which writes each trial to the ledger as it ends.

    A subclass returns the next trial (:meth:`propose`). It may override :meth:`should_stop`,
    :meth:`after_task`, :meth:`before_write`, :meth:`after_write` and :meth:`settings_of`.

    Args:
        settings: settings of all trials.
        tasks: number of tasks in a complete trial.
        task_minutes: minutes without a finished task after which a trial is stopped; None: no
            limit.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: TrialSettings,
        tasks: int,
        console: Console,
        task_minutes: float | None = None,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self.ledger, self.settings, self.tasks = ledger, settings.copy(), tasks
        self.console, self.task_minutes = console, task_minutes
        self.trials: dict[str, Running] = {}
        self.errors: dict[str, BaseException | None] = {}  # of lost workers, by trial
        self.silent: set[str] = set()  # trials whose worker was stopped for its silence
        self.retries: list[Entry] = []  # lost trials that will continue
        self.exhausted = False  # all trials have been proposed and have ended
        self.longest: dict[str, float] = {}  # seconds of a method's longest task so far

    @abstractmethod
    def propose(self) -> Entry | None:
        """Return the next trial; None if there are no more."""

    def should_stop(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take the result of a task, and return whether to stop the trial."""
        return False

    def after_task(self, entry: Entry, task: int, score: float) -> None:
        """Take note of a finished task and its score."""

    def before_write(self, entry: Entry, outcome: bytes) -> Entry:
        """Return the entry of an ended trial as it will be written to the ledger.

        Args:
            outcome: of the trial; empty for a failed one.
        """
        return entry

    def after_write(self, entry: Entry) -> None:
        """Take note of a trial that has been written to the ledger."""
        self.console.trial_done(entry, None)

    # -- called by Tune

    def suggest(self, trial_id: str) -> Any:
        with _halting():
            entry = self.retries.pop(0) if self.retries else self.propose()
            if entry is None:
                self.exhausted = not self.trials
                # a running trial may still be lost, and need to continue
                return Searcher.FINISHED if self.exhausted else None
            self.ledger.begin(entry)
        self.trials[trial_id] = Running(entry, dict(entry.steps))
        settings = self.settings_of(entry)
        if memory_ran_out(entry.losses):
            settings = {**settings, "stack": 1}
        return {"work": entry.work, "name": entry.slug, "label": entry.folder, **settings}

    def settings_of(self, entry: Entry) -> TrialSettings:
        """Return the settings of one trial."""
        return self.settings

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take in the scores of finished tasks, each once.

        Tune does not call this method for the last task of a trial: :meth:`on_trial_complete` does.
        """
        running = self.trials[trial_id]
        running.since, running.silence_noted = time.monotonic(), False
        method, seconds = running.entry.method, result.get("time_this_iter_s", 0.0)
        self.longest[method] = max(self.longest.get(method, 0.0), seconds)
        for task, score in enumerate(result.get("curve", ()), start=1):
            if str(task) not in running.steps:
                running.steps[str(task)] = score
                self.after_task(running.entry, task, score)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if error or not result:
            cause, running = self.errors.pop(trial_id, None), self.trials[trial_id]
            is_silent = trial_id in self.silent
            loss = self._silence(running) if is_silent else self._loss(running, cause)
            with _halting():
                self.handle_lost_worker(trial_id, loss, cause)
            return
        self.on_trial_result(trial_id, result)
        running = self.trials.pop(trial_id)
        entry = dataclasses.replace(
            running.entry, steps=running.steps, **result_fields(result, running.entry, self.tasks)
        )
        outcome = b"" if entry.state == "failed" else result["outcome"]
        foundation = result.get("foundation", b"") if entry.state == "complete" else b""
        self._write(entry, outcome, foundation)

    def _write(self, entry: Entry, outcome: bytes = b"", foundation: bytes = b"") -> None:
        with _halting():
            written = self.ledger.finish(self.before_write(entry, outcome), outcome, foundation)
        if written.state == "failed":
            self.console.say(self._failure_message(written))
        self.after_write(written)

    def _failure_message(self, entry: Entry) -> str:
        file = self.ledger.folder / entry.folder / "traceback.txt"
        traceback_ = f". Traceback: {file}" if entry.failure else ""
        return f"{entry.folder} failed: {entry.reason}{traceback_}"

    # -- lost workers

    def _loss(self, running: Running, error: BaseException | None) -> WorkerLoss:
        crash = Path(self.settings["storage"]) / f"{running.entry.slug}.crash"
        return loss_of(error, running.tasks, crash, running.worker)

    def _silence(self, running: Running) -> WorkerLoss:
        reason = f"no task ended in {self.task_minutes:g} minutes (resources.task_minutes)"
        return {"kind": "silence", "reason": reason, "tasks": running.tasks}

    def handle_lost_worker(
        self, trial_id: str, loss: WorkerLoss, error: BaseException | None = None
    ) -> None:
        """Continue a trial whose worker was lost, or give it up.

        Raises:
            OSError: after repeated losses because of a disk, which say nothing about the trial.
        """
        running = self.trials.pop(trial_id)
        losses = [*running.entry.losses, loss]
        entry = dataclasses.replace(running.entry, losses=losses, steps=running.steps)
        divisible = entry.phase in FRESH_PHASES and len(entry.seeds) > 1
        if not is_given_up(entry.losses, divisible):
            self.ledger.begin(entry)
            self.retries.append(entry)
            self.console.say(f"{entry.folder}: {loss['reason']}; continues from its last task")
            return
        if loss["kind"] == "disk" and isinstance(error, OSError):
            self.ledger.begin(entry)
            raise OSError(error.errno, error.strerror, error.filename)
        self._write(
            dataclasses.replace(entry, **failure_fields("", final_reason(entry.losses), entry))
        )

    def handle_memory_stop(self, error: OutOfMemoryError) -> None:
        """Count a loss for each trial whose worker Ray stopped, and continue all trials."""
        stopped = stopped_workers(error)
        for trial_id, running in list(self.trials.items()):
            if running.worker in stopped:
                self.handle_lost_worker(trial_id, self._loss(running, error))
            else:
                del self.trials[trial_id]
                self.retries.append(dataclasses.replace(running.entry, steps=running.steps))

    def check_silence(self, now: float) -> None:
        """Stop workers that exceed the time limit of a task; report unusual silences once."""
        for trial_id, running in self.trials.items():
            quiet = now - running.since
            if self.task_minutes is not None and quiet > 60 * self.task_minutes:
                if running.actor is not None and trial_id not in self.silent:
                    self.silent.add(trial_id)
                    ray.kill(running.actor)
            elif quiet > self._unusual(running.entry.method) and not running.silence_noted:
                running.silence_noted = True
                self.console.say(self._silence_message(running.entry, quiet))

    def _unusual(self, method: str) -> float:
        """Return the seconds without a finished task after which a trial is reported as silent."""
        if method not in self.longest:
            return QUIET_UNKNOWN
        return max(QUIET_FACTOR * self.longest[method], QUIET_SECONDS)

    def _silence_message(self, entry: Entry, quiet: float) -> str:
        usual = self.longest.get(entry.method)
        longest = f"; the method's longest task took {duration(usual)}" if usual else ""
        limit = "" if self.task_minutes else " resources.task_minutes sets a limit."
        return f"{entry.folder}: no task has ended for {duration(quiet)}{longest}.{limit}"

    # -- required by Tune

    def save(self, checkpoint_path: str) -> None:
        # the ledger is the only state; Tune wants a file
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searchers


def system_error(error: BaseException | None) -> OSError | None:
    """Return the operating system error behind an exception; None if there is none."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def error_line(error: BaseException) -> str:
    """Return the last line of an exception's message; Tune's messages are whole tracebacks."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


@contextmanager
def _halting() -> Iterator[None]:
    """Let an operating system error end the run; Tune would blame the trial, or try again."""
    try:
        yield
    except OSError as error:
        raise Halt(error) from None


def result_fields(result: Mapping[str, Any], entry: Entry, tasks: int) -> dict[str, Any]:
    """Return the fields of an entry that follow from a trial's last report."""
    from study import software
    from trainables.engine.outcome import Outcome

    if "failure" in result:
        return failure_fields(result["failure"], result["reason"], entry)
    try:
        outcome = Outcome.from_bytes(result["outcome"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        return failure_fields(
            traceback.format_exc(), f"unreadable outcome ({reason(error)})", entry
        )
    state = "complete" if result["task"] >= tasks else "pruned"
    if not outcome.finite.all() or not all(math.isfinite(value) for value in result["scores"]):
        state = "diverged"
    return {
        "state": state,
        "values": list(result["scores"]),
        "seconds": float(outcome.seconds.sum()),
        "samples": int(outcome.samples.sum()) * len(entry.seeds),
        "resumed": int(result["resumed"]),
        "software": {**software(entry.work["learner"]), "torch": result["torch"]},
        "device": result["device"],
    }


def failure_fields(failure: str, reason: str, entry: Entry) -> dict[str, Any]:
    """Return the fields of the entry of a failed trial."""
    from study import software

    return {
        "state": "failed",
        "failure": failure,
        "reason": reason,
        "software": software(entry.work["learner"]),
    }


def fit(
    source: Source,
    name: str,
    data: dict[str, Split],
    foundations: Mapping[str, Foundation],
    resources: ResourcesSection,
    storage: Path,
) -> None:
    """Run the trials of a source to their end.

    A killed driver leaves checkpoints in ``storage``; the next run of the same trials continues
    from them.

    Args:
        name: name of the Tune experiment, and of its folder in ``storage``.
        foundations: foundations of first tasks that have been learnt, by ``foundation_key``.

    Raises:
        Interrupted: if Tune stops before all trials have ended.
        OSError: if the machine fails.
    """
    try:
        while not source.exhausted:
            if _tune_ended(_tuner(source, name, data, foundations, resources, storage), source):
                break
            gc.collect()  # workers end when no object refers to them any more
    except Halt as halt:
        raise halt.error from None
    if source.trials or not source.exhausted:
        raise Interrupted
    shutil.rmtree(storage / name, ignore_errors=True)


def _tune_ended(tuner: tune.Tuner, source: Source) -> bool:
    """Run Tune; return False if it stopped because a node's memory ran out, else True.

    Tune stops itself when Ray stops a worker to free memory.
    """
    try:
        tuner.fit()
    except Exception as error:
        logging.getLogger("ray").error("Ray Tune ended", exc_info=error)  # into Ray's log
        if isinstance(error.__cause__, OutOfMemoryError):
            source.handle_memory_stop(error.__cause__)
            return False
        if source.exhausted:  # Tune failed in its own summary; the ledger is complete
            return True
        if failing := system_error(error):
            raise failing from None
        raise MachineError(
            f"Ray ended the run ({error_line(error)}). Finished trials are kept: run the same "
            "command to continue."
        ) from error
    return True


def _tuner(
    source: Source,
    name: str,
    data: dict[str, Split],
    foundations: Mapping[str, Foundation],
    resources: ResourcesSection,
    storage: Path,
) -> tune.Tuner:
    from trainables.engine.trial import Trial

    bundle = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}
    request = classmethod(lambda cls, config: tune.PlacementGroupFactory([bundle]))
    trainable = type(name, (Trial,), {"default_resource_request": request})
    return tune.Tuner(
        tune.with_parameters(trainable, data=data, pretrained=dict(foundations)),
        tune_config=tune.TuneConfig(
            search_alg=source,
            scheduler=SourceScheduler(source),
            num_samples=-1,  # until the source has no more trials
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.config["name"],
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[WorkerWatch(source)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
        ),
    )
