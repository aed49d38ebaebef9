"""Whole studies in this process: trials run one after the other, with slots for two."""

from __future__ import annotations

import contextlib
import itertools
import pickle

import pytest
from ray.tune.search import Searcher

from study.run.cluster import Cluster
from study.run.schedule import Node
from trainables.engine.trial import Trial


class Local(Trial):
    """A trial in this process."""

    def _report_crashes(self):
        """This process is not the trial's."""


def fit_here(driver):
    """Run a driver's trials as Ray Tune would, but one after the other."""
    for label in map(str, itertools.count()):
        config = driver.suggest(label)
        if config == Searcher.FINISHED:
            return
        trial = Local(config)
        while not (result := trial.step())["done"]:
            driver.on_trial_result(label, result)
        driver.on_trial_complete(label, result)


def share_here(shared):
    """Return an object as a worker would get it."""
    return pickle.loads(pickle.dumps(shared))


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Let studies run here."""
    cluster = Cluster(lambda: [Node(2)], {"cpu"}, share_here)
    patch.setattr("study.run.whole.connected", lambda *given: contextlib.nullcontext(cluster))
    patch.setattr("study.run.whole.fit", fit_here)
