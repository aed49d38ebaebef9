"""How busy the slots of a cluster are: whole studies whose trials sleep, with real Ray.

    python tests/benchmarks/schedule.py [--slots 8 64] [--shape baselines digits] [--seconds 5]

Each study runs on logical slots of this machine, whatever its number of cores. A trial sleeps
instead of learning: a random time from three to five quarters of the given seconds in a sweep, and
in a confirmation a quarter more for each further seed. Printed for each study: the seconds until as
many trials have begun as there are slots (workers start in that time), and the share of slot time
that trials take: from the first trial to the last, from the first trial until fewer trials are left
than slots, and the same from the moment when as many have begun.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import ray
from ray import tune

from study.check import resolve
from study.console import Console
from study.folder import Folder
from study.run.cluster import QUIET
from study.run.context import RunContext, Stacks
from study.run.driver import Driver, fit
from study.run.foundations import Foundations
from study.run.schedule import Node
from study.run.whole import sources
from study.spec import Spec
from study.state import Study
from trainables.engine.outcome import Outcome

METHODS = {"baselines": 12, "digits": 4}
TRIALS = {"baselines": 8, "digits": 20}
TASKS = 5


class Sleeper(tune.Trainable):  # type: ignore[misc]
    """A trial that sleeps, and reports made-up measurements."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what a trial asks of Ray."""
        return tune.PlacementGroupFactory([{"CPU": config["cpus"]}])

    def setup(self, config: dict[str, Any]) -> None:
        self.work, self.seconds = config["work"], config["data"][0]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        began = time.time()
        time.sleep(seconds_of(self.work, self.seconds))
        digest = hashlib.sha256(str(self.work["configuration"]).encode()).digest()
        score = digest[0] / 256
        return {
            "done": True,
            "task": TASKS,
            "score": score,
            "scores": [score],
            "curve": [score] * TASKS,
            "outcome": made_up(self.work["seeds"], score).to_bytes(),
            "resumed": 0,
            "torch": "none",
            "device": "cpu",
            "host": "none",
            "processor": "none",
            "began": began,
            "ended": time.time(),
        }


def seconds_of(work: Mapping[str, Any], usual: float) -> float:
    """Return how long a trial sleeps: from three quarters of the usual time to five quarters."""
    digest = hashlib.sha256(str(work).encode()).digest()
    further = len(work["seeds"]) - 1 if work["seeds"][0] >= 100 else 0
    return usual * (0.75 + digest[0] / 510) * (1 + 0.25 * further)


def made_up(seeds: Sequence[int], score: float) -> Outcome:
    """Return the outcome of a trial whose accuracies are all the same."""
    counts = np.zeros((len(seeds), TASKS, TASKS, 10, 10), dtype=np.uint32)
    counts[..., 0, 0] = round(1000 * score)
    counts[..., 0, 1] = 1000 - round(1000 * score)
    return Outcome(
        seeds=np.array(seeds),
        counts={"main": counts},
        initial={"main": counts[:, 0]},
        finite=np.ones((len(seeds), TASKS), dtype=bool),
        seconds=np.full(TASKS, 1.0),
        samples=np.full(TASKS, 1),
        trained=np.full(TASKS, 1),
        footprint={kind: np.full(TASKS, 1) for kind in ("parameters", "memory", "auxiliary")},
        between={
            "task": np.zeros(0, dtype=int),
            "counts": np.zeros((len(seeds), 0, TASKS, 10, 10), dtype=np.uint32),
        },
        extras={},
    )


class Silent(Console):
    """Says nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""


def spec_of(shape: str) -> Spec:
    """Return a study of a shape, of methods that are the same but for their names."""
    names = [f"m{number:02d}" for number in range(METHODS[shape])]
    return Spec.parse(
        {
            "study": {"name": shape, "stream": "split_digits", "reference": names[0]},
            "methods": {name: {"learner": "replay"} for name in names},
            "tune": {"trials": TRIALS[shape], "seeds": [0, 1], "sampler": "random"},
            "confirm": {"seeds": {"first": 100, "count": 10}},
            "resources": {"seeds_per_stack": 10},
        },
        "benchmark",
    )


class Span(NamedTuple):
    """The time of a trial, and the trial."""

    began: float
    ended: float
    job: tuple[str, str, int | None]


@contextmanager
def cluster(slots: int) -> Iterator[None]:
    """Start a Ray with logical slots."""
    os.environ.update(QUIET)
    ray.init(
        num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    try:
        yield
    finally:
        ray.shutdown()


def run(shape: str, slots: int, seconds: float) -> list[Span]:
    """Run a study on a Ray that has been started; return the times of its trials."""
    spans: list[Span] = []
    spec = spec_of(shape)
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place))
        with folder.claim():
            ledger = folder.ledger(repair=True)
            folder.admit(spec, "benchmark", ledger)
            study = Study(resolve(spec, "benchmark"), folder, ledger)
            context = RunContext(
                study=study,
                console=Silent(),
                nodes=lambda: [Node(slots)],
                stacks=Stacks(study, {"cpu"}),
                data=dict.fromkeys(("tune", "confirm", "recheck"), seconds),
                foundations=Foundations(ledger, ray.put),
            )
            driver = Driver(context, sources(context))
            complete = driver.on_trial_complete

            def noted(trial_id: str, result: Any = None, error: bool = False) -> None:
                entry = driver.trials[trial_id].entry
                complete(trial_id, result, error)
                job = (entry.phase, entry.method, entry.number)
                spans.append(Span(result["began"], result["ended"], job))

            with (
                patch.object(driver, "on_trial_complete", noted),
                patch("trainables.engine.trial.Trial", Sleeper),
            ):
                fit(driver)
    return spans


def busy_share(spans: Sequence[Span], slots: int, first: float, last: float) -> float:
    """Return the share of slot time between two moments that trials take."""
    taken = sum(max(min(s.ended, last) - max(s.began, first), 0.0) for s in spans)
    return taken / (slots * (last - first))


def measures(spans: Sequence[Span], slots: int) -> dict[str, float]:
    """Return how busy the slots were."""
    first, last = min(s.began for s in spans), max(s.ended for s in spans)
    begun: dict[Any, float] = {}  # the seeds of a configuration are one job
    for span in spans:
        begun[span.job] = min(begun.get(span.job, math.inf), span.began)
    sweeps = [began for (phase, _, _), began in begun.items() if phase == "tune"]
    # then fewer are left than slots, or only those that wait for sweeps
    few = min(sorted(begun.values())[-min(slots, len(begun))], last)
    few = max(few, max(sweeps)) if slots > len(begun) - len(sweeps) else few
    filled = sorted(s.began for s in spans)[slots - 1]
    return {
        "trials": len(spans),
        "seconds": last - first,
        "seconds to fill": filled - first,
        "busy": busy_share(spans, slots, first, last),
        "busy until few are left": busy_share(spans, slots, first, few),
        "the same, once filled": busy_share(spans, slots, filled, few) if few > filled else 0.0,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slots", nargs="+", type=int, default=[8, 64])
    parser.add_argument("--shape", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    for slots in arguments.slots:
        with cluster(slots):
            for shape in arguments.shape:
                found = measures(run(shape, slots, arguments.seconds), slots)
                shown = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
                print(f"{shape}, {slots} slots: {shown}", flush=True)


if __name__ == "__main__":
    main()
