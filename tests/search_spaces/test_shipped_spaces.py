"""Every shipped learner has a search space, valid in each of its scenarios."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optuna.distributions import FloatDistribution

from search_spaces import SPACES
from search_spaces.testing import SearchSpaceConformance
from trainables import LEARNERS, find_learner
from trainables.learner import Learner
from trainables.methods.spiking.recurrent import RecurrentLearner
from trainables.streams import StreamInfo


class TestSpaces(SearchSpaceConformance):
    learners = tuple(find_learner(name) for name in LEARNERS)

    def info(self, learner: type[Learner], scenario: str) -> StreamInfo:
        digits = super().info(learner, scenario)
        return replace(digits, steps=16) if issubclass(learner, RecurrentLearner) else digits


@pytest.mark.parametrize(
    ("space", "check"),
    [
        ({"lr": FloatDistribution(-1.0, -0.5)}, "test_it_gives_valid_configurations"),
        ({}, "test_it_gives_valid_configurations"),
        ({"lr": FloatDistribution(0.9, 0.99)}, "test_it_contains_the_published_defaults"),
    ],
)
def test_a_wrong_space_is_found(monkeypatch, space, check):
    learner = find_learner("finetune")
    monkeypatch.setitem(SPACES, "finetune", space)
    with pytest.raises(Exception, match=r"lr|no search space"):
        getattr(SearchSpaceConformance(), check)(learner, "class")
