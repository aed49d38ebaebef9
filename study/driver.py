"""Hands trials to Ray Tune, and writes each to the ledger as it finishes."""

from __future__ import annotations

import dataclasses
import math
import shutil
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from study.ledger import Entry, Ledger
from study.spec import ResourcesSection
from trainables.foundation import Foundation
from trainables.streams.datasets import Split

MAX_LOST_WORKERS = 3  # times a trial goes on from its checkpoint after its worker died


@dataclass
class Running:
    """A trial on its way: its entry, and what was last reported of it."""

    entry: Entry
    steps: dict[str, float] = dataclasses.field(default_factory=dict)


class Recoveries(tune.Callback):  # type: ignore[misc]
    """Says that a trial goes on after its worker died."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._notify(f"{trial.config['label']}: its worker died; it goes on from its last task")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks


class Source(Searcher, ABC):  # type: ignore[misc]
    """Hands trials to Ray Tune and writes each to the ledger as it finishes.

    A subclass says what runs next (:meth:`propose`) and may listen to what finished
    (:meth:`finished`).
    """

    def __init__(self, ledger: Ledger, settings: Mapping[str, Any], tasks: int) -> None:
        super().__init__(metric="score", mode="max")
        self.ledger, self.settings, self.tasks = ledger, dict(settings), tasks
        self.trials: dict[str, Running] = {}
        self.lost: list[str] = []  # trials whose worker died too often

    @abstractmethod
    def propose(self) -> Entry | None:
        """Return the next trial, None when there are no more."""

    def reported(self, entry: Entry, task: int, score: float) -> None:
        """Hear of a finished task."""

    def finished(self, entry: Entry) -> Entry:
        """Hear of a finished trial, before it is written."""
        return entry

    def written(self, entry: Entry) -> None:
        """Hear of a trial that has been written."""

    # -- what Tune calls
    # --------------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> Any:
        entry = self.propose()
        if entry is None:
            return Searcher.FINISHED
        self.ledger.begin(entry)
        self.trials[trial_id] = Running(entry)
        return {
            "work": entry.work,
            "name": entry.slug,
            "label": entry.folder,
            **self.settings_of(entry),
        }

    def settings_of(self, entry: Entry) -> dict[str, Any]:
        """Return the settings of one trial."""
        return self.settings

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hear of a finished task, once, whoever tells: Tune keeps a trial's last one to itself."""
        running = self.trials[trial_id]
        for task, score in enumerate(result.get("curve", ()), start=1):
            if str(task) not in running.steps:
                running.steps[str(task)] = score
                self.reported(running.entry, task, score)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if error or not result:
            self.lost.append(self.trials.pop(trial_id).entry.folder)
            return
        self.on_trial_result(trial_id, result)
        running = self.trials.pop(trial_id)
        entry = dataclasses.replace(
            running.entry, steps=running.steps, **summary(result, running.entry, self.tasks)
        )
        outcome = b"" if entry.state == "failed" else result["outcome"]
        foundation = result.get("foundation", b"") if entry.state == "complete" else b""
        self.written(self.ledger.finish(self.finished(entry), outcome, foundation))

    def save(self, checkpoint_path: str) -> None:
        # the ledger is the only state; Tune insists on a file
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searchers


def summary(result: Mapping[str, Any], entry: Entry, tasks: int) -> dict[str, Any]:
    """Return how a trial ended, from the last thing it reported."""
    from study import software
    from trainables.outcome import Outcome
    from trainables.trial import reason

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
        "software": software(entry.work["learner"]),
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
    count: int,
    notify: Callable[[str], None],
    scheduler: TrialScheduler | None = None,
) -> None:
    """Run a source's trials to the end.

    ``pretrained`` are first tasks that need not be learnt again, by ``foundation_key``.

    A killed driver leaves the trials' checkpoints in ``storage``; the next run of the same trials
    goes on from them.
    """
    from trainables.trial import Trial

    bundle = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}
    request = classmethod(lambda cls, config: tune.PlacementGroupFactory([bundle]))
    named = type(name, (Trial,), {"default_resource_request": request})
    trainable = tune.with_parameters(named, data=data, pretrained=dict(pretrained))
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=source,
            scheduler=scheduler,
            num_samples=count,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.config["name"],
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            callbacks=[Recoveries(notify)],
            failure_config=tune.FailureConfig(max_failures=MAX_LOST_WORKERS),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
        ),
    )
    tuner.fit()
    if not source.lost and not source.trials:
        shutil.rmtree(storage / name, ignore_errors=True)
