"""Hands trials to Ray Tune, and writes each to the ledger as it finishes.

A trial whose worker is lost goes on from its last checkpoint, until it is given up: then it is a
failed trial, with the reason. Tune's own ways to go on are not used: they count losses over a
trial's whole life, and forget them when the driver ends.
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
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import OutOfMemoryError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from study.console import Console, duration
from study.interruption import Interrupted, heed
from study.ledger import Entry, Ledger, Loss
from study.run.losses import concluded, given_up, loss_of, memory_ran_out, stopped_workers
from study.spec import ResourcesSection
from trainables.engine.foundation import Foundation
from trainables.errors import MachineError, reason
from trainables.streams.datasets import Split

QUIET_FACTOR = 10  # a task that takes so many times longer than any before is spoken of
QUIET_SECONDS = 60.0  # ... but not before so long
QUIET_UNKNOWN = 600.0  # seconds without a task where none has ended before


class Halt(BaseException):
    """The driver's machine failed in the middle of a call from Tune, which lets this one pass."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Running:
    """A trial on its way: its entry, what was last reported of it, and by which worker."""

    entry: Entry
    steps: dict[str, float] = field(default_factory=dict)
    actor: Any = None
    since: float = math.inf  # when its last task ended, or it started
    spoken_of: bool = False  # because it has been quiet for so long

    @property
    def worker(self) -> str:
        """Ray's id of its worker; empty before it has begun."""
        return str(self.actor._actor_id.hex()) if self.actor else ""

    @property
    def tasks(self) -> int:
        """Tasks that were learnt, by this worker or by one that was lost."""
        before = [loss["tasks"] for loss in self.entry.losses]
        return max(len(self.steps), *before) if before else len(self.steps)


class Watch(FIFOScheduler):  # type: ignore[misc]
    """Stops weak trials between tasks, as their source says, and hears why a trial was lost.

    Ray's own schedulers remember what they have compared in memory only; the search knows it from
    the ledger.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        weak = self.source.weak(trial.trial_id, result)
        return str(TrialScheduler.STOP if weak else TrialScheduler.CONTINUE)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self.source.errors[trial.trial_id] = _error_of(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its schedulers


def _error_of(trial: Any) -> BaseException | None:
    """Return the error that Tune has kept of a trial; none where a full disk cut it off."""
    try:
        if trial.pickled_error_file is None:
            return RuntimeError(Path(trial.error_file).read_text(encoding="utf-8"))
        error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # whatever a file that is cut off makes of unpickling
        return None
    cause = getattr(error, "cause", None)
    # what Ray makes of an error of a worker's system has neither its number nor its file
    return cause if isinstance(cause, OSError) else error


class Workers(tune.Callback):  # type: ignore[misc]
    """Knows the worker of each trial, and looks for those that have been quiet for long."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def setup(self, *args: Any, **info: Any) -> None:
        heed()  # Tune has just taken SIGUSR1

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        running = self.source.trials[trial.trial_id]
        running.actor, running.since = trial.temporary_state.ray_actor, time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.source.listen(time.monotonic())

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks


class Source(Searcher, ABC):  # type: ignore[misc]
    """Hands trials to Ray Tune and writes each to the ledger as it finishes.

    A subclass says what runs next (:meth:`propose`) and may listen to what finished
    (:meth:`finished`).
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Mapping[str, Any],
        tasks: int,
        console: Console,
        task_minutes: float | None = None,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self.ledger, self.settings, self.tasks = ledger, dict(settings), tasks
        self.console, self.task_minutes = console, task_minutes
        self.trials: dict[str, Running] = {}
        self.errors: dict[str, BaseException | None] = {}  # of workers that were lost
        self.silent: set[str] = set()  # trials whose workers were stopped for their silence
        self.retries: list[Entry] = []  # lost, to go on
        self.exhausted = False  # all trials have been proposed, and none runs
        self.longest: dict[str, float] = {}  # seconds of a method's longest task so far

    @abstractmethod
    def propose(self) -> Entry | None:
        """Return the next trial, None when there are no more."""

    def weak(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial that has just finished a task should be stopped."""
        return False

    def reported(self, entry: Entry, task: int, score: float) -> None:
        """Hear of a finished task."""

    def finished(self, entry: Entry) -> Entry:
        """Hear of a finished trial, before it is written."""
        return entry

    def written(self, entry: Entry) -> None:
        """Hear of a trial that has been written."""
        self.console.trial_done(entry, None)

    # -- what Tune calls
    # --------------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> Any:
        with _halting():
            entry = self.retries.pop(0) if self.retries else self.propose()
            if entry is None:
                self.exhausted = not self.trials
                # one that runs may yet be lost, and go on
                return Searcher.FINISHED if self.exhausted else None
            self.ledger.begin(entry)
        self.trials[trial_id] = Running(entry, dict(entry.steps))
        work = {"work": entry.work, "name": entry.slug, "label": entry.folder}
        alone = {"stack": 1} if memory_ran_out(entry.losses) else {}
        return {**work, **self.settings_of(entry), **alone}

    def settings_of(self, entry: Entry) -> dict[str, Any]:
        """Return the settings of one trial."""
        return self.settings

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hear of a finished task, once, whoever tells: Tune keeps a trial's last one to itself."""
        running = self.trials[trial_id]
        running.since, running.spoken_of = time.monotonic(), False
        method, took = running.entry.method, result.get("time_this_iter_s", 0.0)
        self.longest[method] = max(self.longest.get(method, 0.0), took)
        for task, score in enumerate(result.get("curve", ()), start=1):
            if str(task) not in running.steps:
                running.steps[str(task)] = score
                self.reported(running.entry, task, score)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if error or not result:
            cause, silent = self.errors.pop(trial_id, None), trial_id in self.silent
            running = self.trials[trial_id]
            loss = self._silence(running) if silent else self._loss(running, cause)
            with _halting():
                self.lost(trial_id, loss, cause)
            return
        self.on_trial_result(trial_id, result)
        running = self.trials.pop(trial_id)
        entry = dataclasses.replace(
            running.entry, steps=running.steps, **summary(result, running.entry, self.tasks)
        )
        outcome = b"" if entry.state == "failed" else result["outcome"]
        foundation = result.get("foundation", b"") if entry.state == "complete" else b""
        self._write(entry, outcome, foundation)

    def _write(self, entry: Entry, outcome: bytes = b"", foundation: bytes = b"") -> None:
        with _halting():
            kept = self.ledger.finish(self.finished(entry), outcome, foundation)
        if kept.state == "failed":
            self.console.say(self._told_of_failure(kept))
        self.written(kept)

    def _told_of_failure(self, entry: Entry) -> str:
        where = self.ledger.folder / entry.folder / "traceback.txt"
        told = f". Its traceback: {where}" if entry.failure else ""
        return f"{entry.folder} failed: {entry.reason}{told}"

    # -- workers that are lost
    # --------------------------------------------------------------------------------------

    def _loss(self, running: Running, error: BaseException | None) -> Loss:
        crash = Path(self.settings["storage"]) / f"{running.entry.slug}.crash"
        return loss_of(error, running.tasks, crash, running.worker)

    def _silence(self, running: Running) -> Loss:
        reason = f"no task ended in {self.task_minutes:g} minutes (resources.task_minutes)"
        return {"kind": "silence", "reason": reason, "tasks": running.tasks}

    def lost(self, trial_id: str, loss: Loss, error: BaseException | None = None) -> None:
        """Let a trial whose worker was lost go on, or give it up.

        Raises:
            OSError: when it was lost because of a disk, again and again: that is nobody's result.
        """
        running = self.trials.pop(trial_id)
        losses = [*running.entry.losses, loss]
        entry = dataclasses.replace(running.entry, losses=losses, steps=running.steps)
        divisible = entry.phase == "confirm" and len(entry.seeds) > 1
        if not given_up(entry.losses, divisible):
            self.ledger.begin(entry)
            self.retries.append(entry)
            self.console.say(f"{entry.folder}: {loss['reason']}; it goes on from its last task")
            return
        if loss["kind"] == "disk" and isinstance(error, OSError):
            self.ledger.begin(entry)
            raise OSError(error.errno, error.strerror, error.filename)
        self._write(dataclasses.replace(entry, **failed("", concluded(entry.losses), entry)))

    def stopped_for_memory(self, error: OutOfMemoryError) -> None:
        """Count a loss of each trial whose worker Ray stopped, and let all others go on."""
        stopped = stopped_workers(error)
        for trial_id, running in list(self.trials.items()):
            if running.worker in stopped:
                self.lost(trial_id, self._loss(running, error))
            else:
                del self.trials[trial_id]
                self.retries.append(dataclasses.replace(running.entry, steps=running.steps))

    def listen(self, now: float) -> None:
        """Stop a worker that has been quiet for longer than is allowed; speak of one that has been
        for longer than is usual.
        """
        for trial_id, running in self.trials.items():
            quiet = now - running.since
            if self.task_minutes is not None and quiet > 60 * self.task_minutes:
                if running.actor is not None and trial_id not in self.silent:
                    self.silent.add(trial_id)
                    ray.kill(running.actor)
            elif quiet > self._unusual(running.entry.method) and not running.spoken_of:
                running.spoken_of = True
                self.console.say(self._told_of_silence(running.entry, quiet))

    def _unusual(self, method: str) -> float:
        """Seconds without a task after which a trial is spoken of."""
        if method not in self.longest:
            return QUIET_UNKNOWN
        return max(QUIET_FACTOR * self.longest[method], QUIET_SECONDS)

    def _told_of_silence(self, entry: Entry, quiet: float) -> str:
        usual = self.longest.get(entry.method)
        known = f"; its method's longest task took {duration(usual)}" if usual else ""
        limit = "" if self.task_minutes else " resources.task_minutes sets a limit."
        return f"{entry.folder}: no task has ended for {duration(quiet)}{known}.{limit}"

    # -- what Tune insists on
    # --------------------------------------------------------------------------------------

    def save(self, checkpoint_path: str) -> None:
        # the ledger is the only state; Tune wants a file
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searchers


def system_error(error: BaseException | None) -> OSError | None:
    """Return the error of the operating system that an exception comes of, if one does."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def error_line(error: BaseException) -> str:
    """Return the last line of what an exception says: Tune's are whole tracebacks."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


@contextmanager
def _halting() -> Iterator[None]:
    """Let an error of the operating system end the run: Tune would take it for a trial's, or try
    again.
    """
    try:
        yield
    except OSError as error:
        raise Halt(error) from None


def summary(result: Mapping[str, Any], entry: Entry, tasks: int) -> dict[str, Any]:
    """Return how a trial ended, from the last thing it reported."""
    from study import software
    from trainables.engine.outcome import Outcome

    if "failure" in result:
        return failed(result["failure"], result["reason"], entry)
    try:
        outcome = Outcome.from_bytes(result["outcome"])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        return failed(traceback.format_exc(), f"unreadable outcome ({reason(error)})", entry)
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


def failed(failure: str, reason: str, entry: Entry) -> dict[str, Any]:
    """Return how a trial ended that has no result."""
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
    pretrained: Mapping[str, Foundation],
    resources: ResourcesSection,
    storage: Path,
) -> None:
    """Run a source's trials to the end.

    ``pretrained`` are first tasks that need not be learnt again, by ``foundation_key``.

    A killed driver leaves the trials' checkpoints in ``storage``; the next run of the same trials
    goes on from them.

    Raises:
        Interrupted: when a trial that was begun or is yet to come has not ended, whatever Tune
            says of that.
        OSError: when the machine fails.
    """
    try:
        while not source.exhausted:
            if _ended(_tuner(source, name, data, pretrained, resources, storage), source):
                break
            gc.collect()  # other trials' workers end when nothing knows them any more
    except Halt as halt:
        raise halt.error from None
    if source.trials or not source.exhausted:
        raise Interrupted
    shutil.rmtree(storage / name, ignore_errors=True)


def _ended(tuner: tune.Tuner, source: Source) -> bool:
    """Run Tune; return whether it ended by itself, and not because a node's memory ran out: it
    takes a worker that Ray stopped then for an error of its own.
    """
    try:
        tuner.fit()
    except Exception as error:
        logging.getLogger("ray").error("Ray Tune ended", exc_info=error)  # into Ray's log
        if isinstance(error.__cause__, OutOfMemoryError):
            source.stopped_for_memory(error.__cause__)
            return False
        if source.exhausted:  # Tune fails to sum up what the ledger has
            return True
        if failing := system_error(error):
            raise failing from None
        raise MachineError(
            f"Ray ended the run ({error_line(error)}). Finished trials are kept: run the same "
            "command to go on."
        ) from error
    return True


def _tuner(
    source: Source,
    name: str,
    data: dict[str, Split],
    pretrained: Mapping[str, Foundation],
    resources: ResourcesSection,
    storage: Path,
) -> tune.Tuner:
    from trainables.engine.trial import Trial

    bundle = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}
    request = classmethod(lambda cls, config: tune.PlacementGroupFactory([bundle]))
    named = type(name, (Trial,), {"default_resource_request": request})
    return tune.Tuner(
        tune.with_parameters(named, data=data, pretrained=dict(pretrained)),
        tune_config=tune.TuneConfig(
            search_alg=source,
            scheduler=Watch(source),
            num_samples=-1,  # until the source has no more
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.config["name"],
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[Workers(source)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
        ),
    )
