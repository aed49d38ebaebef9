"""Hand trials to Ray Tune, and write each to the ledger as it ends.

A trial whose worker is lost continues from its last checkpoint, until it is given up and fails with
the reason. Tune's own retries are not used: they count losses over the whole life of a trial, and
forget the count when the driver ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import OutOfMemoryError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from analysis.numbers import duration
from study.interruption import Interrupted, handle_signals
from study.ledger import Entry
from study.losses import WorkerLoss, final_reason, is_given_up, memory_ran_out
from study.run.context import RunContext
from study.run.lost_workers import loss_of, stopped_workers
from study.run.schedule import Schedule, free_slots, slots
from study.run.source import Source
from study.spec import Request
from trainables.errors import MachineError

# A trial is reported as silent after QUIET_FACTOR times the method's longest task, but not before
# QUIET_SECONDS; after QUIET_UNKNOWN seconds if no task of the method has ended yet.
QUIET_FACTOR = 10
QUIET_SECONDS = 60.0
QUIET_UNKNOWN = 600.0

MOST_IDLE = 10_000  # workers


class Halt(BaseException):
    """The driver's machine failed during a call from Tune; a type that Tune does not catch."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Running:
    """A trial that runs: its source and entry, its reports so far, and its worker."""

    source: Source
    entry: Entry
    request: Request
    steps: dict[str, float] = field(default_factory=dict)  # first objective by task
    actor: Any = None
    since: float = math.inf  # time of the start, or of the end of the last task
    silence_noted: bool = False  # whether the user has been told of its silence

    def again(self, entry: Entry) -> Running:
        """Return the trial before another worker continues it."""
        return Running(self.source, entry, self.request, dict(entry.steps))

    @property
    def label(self) -> str:
        """Name of the trial in messages."""
        return self.source.label(self.entry)

    @property
    def worker(self) -> str:
        """Ray's id of the worker; empty before the worker has begun."""
        return str(self.actor._actor_id.hex()) if self.actor else ""

    @property
    def tasks(self) -> int:
        """Number of tasks learnt, by this worker or by a lost one."""
        return max([len(self.steps), *(loss["tasks"] for loss in self.entry.losses)])


class Pruning(FIFOScheduler):  # type: ignore[misc]
    """Stops the weak trials of sweeps between tasks, and passes on why a trial was lost.

    Ray's own schedulers keep their comparisons in memory only; the search has them in the ledger.
    """

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.driver = driver

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        super().on_trial_add(controller, trial)
        if self.driver.trials_are_alike and not self.driver.workers_are_kept:
            self.driver.workers_are_kept = True
            _keep_idle_workers(controller, trial)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        should_stop = self.driver.should_stop(trial.trial_id, result)
        return str(TrialScheduler.STOP if should_stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, controller: Any, trial: Any) -> None:
        self.driver.errors[trial.trial_id] = _kept_error(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its schedulers


def _keep_idle_workers(controller: Any, trial: Any) -> None:
    """Let Tune keep all idle workers for later trials with the resources of a trial.

    Tune keeps a single one, and starts the others anew for the next trials, which takes seconds for
    each. It has no public setting for that; without the attribute, workers are started anew.
    """
    with contextlib.suppress(AttributeError):
        controller._actor_cache.increase_max(trial.placement_group_factory, by=MOST_IDLE)


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

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def setup(self, *args: Any, **info: Any) -> None:
        handle_signals()  # Tune has just set a handler for SIGUSR1

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        running = self.driver.trials[trial.trial_id]
        running.actor, running.since = trial.temporary_state.ray_actor, time.monotonic()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.driver.check_silence(time.monotonic())

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks


class Driver(Searcher):  # type: ignore[misc]
    """Asks the schedule for trials as slots become free, and hears how they end.

    Args:
        after_change: called when a trial has begun, has learnt a task, or has ended.

    Attributes:
        task_minutes: minutes without a finished task after which a trial is stopped; None: no
            limit.
    """

    def __init__(
        self,
        run: RunContext,
        sources: Sequence[Source],
        after_change: Callable[[Driver], None] = lambda driver: None,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self.run, self.ledger, self.console = run, run.study.ledger, run.console
        self.task_minutes = run.study.spec.resources.task_minutes
        self.schedule, self.after_change = Schedule(sources), after_change
        self.trials: dict[str, Running] = {}
        self.errors: dict[str, BaseException | None] = {}  # of lost workers, by trial
        self.silent: set[str] = set()  # trials whose worker was stopped for its silence
        self.retries: list[Running] = []  # lost trials that will continue
        self.workers_are_kept = False  # Tune has been told to keep idle workers
        self.exhausted = False  # all trials have been proposed and have ended
        self.longest: dict[str, float] = {}  # seconds of a method's longest task so far

    # -- called by Tune

    def suggest(self, trial_id: str) -> Any:
        with _halting():
            running = self._continued() or self._next()
            if running is None:
                # trials may be left that no machine has room for, until one joins
                waiting = self.retries or any(s.ready for s in self.schedule.sources)
                self.exhausted = not self.trials and not waiting
                # a running trial may still be lost, and need to continue
                return Searcher.FINISHED if self.exhausted else None
            settings = running.source.settings(running.entry)
        self.trials[trial_id], entry = running, running.entry
        settings |= {"cpus": running.request.cpus, "gpus": running.request.gpus}
        if memory_ran_out(entry.losses):
            settings |= {"stack": 1, "stacks": {}}
        self._tell()
        return {"work": entry.work, "name": entry.slug, "label": running.label, **settings}

    def _tell(self) -> None:
        """Tell of a change; a disk that fails there ends the run."""
        with _halting():
            self.after_change(self)

    def _continued(self) -> Running | None:
        """Return the first lost trial that there is room for."""
        for lost in self.retries:
            if self._count(lost.request)[1]:
                self.retries.remove(lost)
                return lost
        return None

    def _next(self) -> Running | None:
        """Start the next trial, if there is one."""
        found = self.schedule.next(self._count)
        if found is None:
            return None
        source, entry, request = found
        return Running(source, entry, request, dict(entry.steps))

    def _count(self, request: Request) -> tuple[int, int]:
        """Return the number of slots for trials with a request, all and free ones."""
        nodes = self.run.nodes()
        running = [each.request for each in self.trials.values()]
        return slots(nodes, request), free_slots(nodes, running, request)

    @property
    def trials_are_alike(self) -> bool:
        """Whether all trials ask for the same resources: idle workers then take no room from
        others.
        """
        return len({self.run.study.request(name) for name in self.run.study.methods}) == 1

    @property
    def busy(self) -> tuple[int, int]:
        """The number of slots that are busy, and of all slots for trials like the next ones."""
        requests = {source.request for source in self.schedule.sources if source.left}
        free = max((self._count(request)[1] for request in requests), default=0)
        return len(self.trials), len(self.trials) + free

    def should_stop(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take the result of a task, and return whether to stop the trial."""
        self.on_trial_result(trial_id, result)
        running = self.trials[trial_id]
        return running.source.should_stop(running.entry)

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
                running.source.after_task(running.entry, task, score)
                self._tell()

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
        with _halting():
            running.source.end(dataclasses.replace(running.entry, steps=running.steps), result)
        self._forget_checkpoints(running.entry)
        self._tell()

    def _forget_checkpoints(self, entry: Entry) -> None:
        for place in self.run.storage.glob(f"{entry.slug}*"):
            shutil.rmtree(place, ignore_errors=True)

    # -- lost workers

    def _loss(self, running: Running, error: BaseException | None) -> WorkerLoss:
        crash = self.run.storage / f"{running.entry.slug}.crash"
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
        source, losses = running.source, [*running.entry.losses, loss]
        entry = dataclasses.replace(running.entry, losses=losses, steps=running.steps)
        if not is_given_up(entry.losses, source.is_replaceable(entry)):
            source.begin(entry)
            self.retries.append(running.again(entry))
            self.console.say(f"{running.label}: {loss['reason']}; {source.after_loss}")
            return
        if loss["kind"] == "disk" and isinstance(error, OSError):
            source.begin(entry)
            raise OSError(error.errno, error.strerror, error.filename)
        source.give_up(entry, final_reason(entry.losses))

    def handle_memory_stop(self, error: OutOfMemoryError) -> None:
        """Count a loss for each trial whose worker Ray stopped, and continue all trials."""
        stopped = stopped_workers(error)
        for trial_id, running in list(self.trials.items()):
            if running.worker in stopped:
                self.handle_lost_worker(trial_id, self._loss(running, error))
            else:
                del self.trials[trial_id]
                entry = dataclasses.replace(running.entry, steps=running.steps)
                self.retries.append(running.again(entry))

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
                self.console.say(self._silence_message(running, quiet))

    def _unusual(self, method: str) -> float:
        """Return the seconds without a finished task after which a trial is reported as silent."""
        if method not in self.longest:
            return QUIET_UNKNOWN
        return max(QUIET_FACTOR * self.longest[method], QUIET_SECONDS)

    def _silence_message(self, running: Running, quiet: float) -> str:
        usual = self.longest.get(running.entry.method)
        longest = f"; the method's longest task took {duration(usual)}" if usual else ""
        limit = "" if self.task_minutes else " resources.task_minutes sets a limit."
        return f"{running.label}: no task has ended for {duration(quiet)}{longest}.{limit}"

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


@contextlib.contextmanager
def _halting() -> Iterator[None]:
    """Let an operating system error end the run; Tune would blame the trial, or try again."""
    try:
        yield
    except OSError as error:
        raise Halt(error) from None


def fit(driver: Driver) -> None:
    """Run the trials of a schedule to their end.

    A killed driver leaves checkpoints; the next run of the same trials continues from them.

    Raises:
        Interrupted: if Tune stops before all trials have ended.
        OSError: if the machine fails.
    """
    try:
        while not driver.exhausted:
            driver.workers_are_kept = False
            if _tune_ended(_tuner(driver), driver):
                break
            gc.collect()  # workers end when no object refers to them any more
    except Halt as halt:
        raise halt.error from None
    if driver.trials or not driver.exhausted:
        raise Interrupted
    shutil.rmtree(driver.run.storage, ignore_errors=True)


def _tune_ended(tuner: tune.Tuner, driver: Driver) -> bool:
    """Run Tune; return False if it stopped because a node's memory ran out, else True.

    Tune stops itself when Ray stops a worker to free memory.
    """
    try:
        tuner.fit()
    except Exception as error:
        logging.getLogger("ray").error("Ray Tune ended", exc_info=error)  # into Ray's log
        if isinstance(error.__cause__, OutOfMemoryError):
            driver.handle_memory_stop(error.__cause__)
            return False
        if driver.exhausted:  # Tune failed in its own summary; the ledger is complete
            return True
        if failing := system_error(error):
            raise failing from None
        raise MachineError(
            f"Ray ended the run ({error_line(error)}). Finished trials are kept: run the same "
            "command to continue."
        ) from error
    return True


def _tuner(driver: Driver) -> tune.Tuner:
    from trainables.engine.trial import Trial

    storage = driver.run.storage
    return tune.Tuner(
        Trial,
        tune_config=tune.TuneConfig(
            search_alg=driver,
            scheduler=Pruning(driver),
            num_samples=-1,  # until there are no more trials
            reuse_actors=True,
            trial_name_creator=lambda trial: trial.config["label"],
            trial_dirname_creator=lambda trial: trial.config["name"],
        ),
        run_config=tune.RunConfig(
            name=storage.name,
            storage_path=str(storage.parent),
            verbose=0,
            callbacks=[WorkerWatch(driver)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
        ),
    )
