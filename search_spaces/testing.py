"""What every search space keeps to, as tests to inherit.

A package that adds a learner and its search space has this in a test module, and pytest runs it::

    from my_package import MyLearner
    from search_spaces.testing import SearchSpaceConformance

    class TestMySpace(SearchSpaceConformance):
        learners = [MyLearner]

The tests need pytest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import optuna
import pytest

from search_spaces import space_on
from search_spaces.space import decoded, encoded
from trainables import STREAMS, Learner
from trainables.streams import StreamInfo


class SearchSpaceConformance:
    """Checks that a test class of search spaces inherits.

    Attributes:
        learners: the learners whose search spaces are tested, each in its own scenarios.
    """

    learners: ClassVar[Sequence[type[Learner]]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        cases = [(learner, scenario) for learner in self.learners for scenario in learner.scenarios]
        names = [f"{learner.name}-{scenario}" for learner, scenario in cases]
        metafunc.parametrize(("learner", "scenario"), cases, ids=names)

    def info(self, learner: type[Learner], scenario: str) -> StreamInfo:
        """Describe the stream to search on: ``split_digits`` unless overridden."""
        stream = STREAMS["split_digits"]
        return stream.describe(scenario, stream.Options.parse({}))

    def test_it_gives_valid_configurations(self, learner: type[Learner], scenario: str) -> None:
        info, kinds = self.info(learner, scenario), learner.Config.kinds()
        space = space_on(learner.name, info)
        assert space, "no search space: register one in the group study.search_spaces"
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
        for _ in range(20):
            params = search.ask(dict(space)).params
            values = {name: decoded(value, kinds[name]) for name, value in params.items()}
            config = learner.Config.parse({**learner.published(info), **values})
            learner.check(config, info)

    def test_it_contains_the_published_defaults(
        self, learner: type[Learner], scenario: str
    ) -> None:
        info = self.info(learner, scenario)
        space = space_on(learner.name, info)
        defaults = learner.Config.parse(learner.published(info)).plain()
        optuna.trial.create_trial(  # refuses a value out of its range
            state=optuna.trial.TrialState.WAITING,
            params={name: encoded(defaults[name]) for name in space},
            distributions=dict(space),
        )
