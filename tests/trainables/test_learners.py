"""Our learners, held to what every learner has to keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance import LearnerConformance, make_stream

from trainables import LEARNERS, InputError, find_learner
from trainables.ewc import EWC
from trainables.finetune import Finetune
from trainables.joint import Joint
from trainables.replay import Replay
from trainables.streams.datasets import load

QUICK = {"hidden": [32], "epochs": 2, "batch_size": 6, "lr": 5e-3}


class TestFinetune(LearnerConformance):
    learner = Finetune
    options = QUICK
    forgets = True


class TestFinetuneSGD(LearnerConformance):
    learner = Finetune
    options = QUICK | {"optimiser": "sgd", "lr": 0.01, "momentum": 0.9, "layer_norm": True}
    forgets = True


class TestJoint(LearnerConformance):
    learner = Joint
    options = QUICK

    def memory_bytes(self, learner):
        """All the training data, from the first step on: 8 x 8 pixels and a label a sample."""
        samples = load("digits", Path())["train"]["labels"].size
        return samples * (64 + 1) if learner.trained else 0


class TestReplay(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_total": 100}


class TestReplayPerTask(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_per_task": 20}
    only = ("task", "domain", "class")


class TestReplayBalanced(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_total": 103, "memory_policy": "balanced"}
    only = ("task", "domain", "class")


class TestReplayBalancedPerTask(LearnerConformance):
    learner = Replay
    options = QUICK | {"memory_per_task": 20, "memory_policy": "balanced", "replay_ratio": 0.7}
    only = ("task", "domain", "class")


class TestEWC(LearnerConformance):
    learner = EWC
    options = QUICK | {"lam": 100.0}
    forgets = True


class TestEWCOnline(LearnerConformance):
    learner = EWC
    options = QUICK | {"lam": 100.0, "online": True, "gamma": 0.9, "fisher_samples": 50}
    forgets = True


def test_every_learner_is_held_to_the_conformance_suite():
    tested = {kind.learner for kind in LearnerConformance.__subclasses__()}
    assert tested == set(LEARNERS.values())


def test_names_are_those_of_the_classes():
    assert all(find_learner(name).name == name for name in LEARNERS)


def test_an_unknown_learner_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'replay'"):
        find_learner("reply")


def test_learners_of_equal_networks_start_from_equal_weights():
    stream = make_stream("class")
    kinds = [
        kind(kind.Config.parse(QUICK), stream.info, stream.seeds) for kind in LEARNERS.values()
    ]
    first = [w.tolist() for w in kinds[0].network.parameters()]
    assert all([w.tolist() for w in kind.network.parameters()] == first for kind in kinds)
