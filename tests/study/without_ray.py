"""Whole studies in this process: trials run one after the other, with slots for two."""

from __future__ import annotations

import contextlib
import itertools
import pickle

import pytest
from ray.tune.search import Searcher

from trainables.engine.trial import Trial


def fit_here(source, name, data, pretrained, resources, storage):
    """Run a source's trials as Ray Tune would, but one after the other."""
    kept = pickle.dumps(pretrained)

    class Local(Trial):
        def setup(self, config, *given):
            super().setup(config, data, pickle.loads(kept))

        def _report_crashes(self):
            """This process is not the trial's."""

    for label in map(str, itertools.count()):
        config = source.suggest(label)
        if config == Searcher.FINISHED:
            return
        trial = Local(config)
        while not (result := trial.step())["done"]:
            source.on_trial_result(label, result)
        source.on_trial_complete(label, result)


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Let studies run here."""
    patch.setattr("study.run.phases.connected", lambda *given: contextlib.nullcontext({"CPU": 2.0}))
    patch.setattr("study.run.context.fit", fit_here)
