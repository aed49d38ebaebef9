"""Search spaces against the published ranges; each learner's suite checks that they are valid."""

from __future__ import annotations

import optuna
import pytest

from search_spaces import SPACES, find_space
from trainables import LEARNERS
from trainables.streams import StreamInfo

# methods/baselines: ranges to search for baselines
RANGES = {
    "finetune": {"lr": (1e-4, 1e-2)},
    "joint": {"lr": (1e-4, 1e-2)},
    "replay": {"lr": (1e-4, 1e-2), "replay_ratio": (0.25, 2.0)},
    "ewc": {"lr": (1e-4, 1e-2), "lam": (1.0, 1e10)},
}


def info(scenario="class"):
    tasks = None if scenario == "task_free" else 5
    return StreamInfo("split_digits", scenario, 64, 10, 1 / 16, tasks)


def suggested(name, scenario="class"):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    return find_space(name)(trial, info(scenario)), trial.distributions


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def test_every_learner_has_a_space_of_its_name():
    assert set(SPACES) == set(LEARNERS) == set(RANGES)


@pytest.mark.parametrize("name", RANGES)
def test_spaces_span_the_published_ranges_on_a_log_scale(name):
    values, distributions = suggested(name)
    assert set(values) == set(distributions) == set(RANGES[name])
    for key, (low, high) in RANGES[name].items():
        assert (distributions[key].low, distributions[key].high) == (low, high)
        assert distributions[key].log


@pytest.mark.parametrize("name", RANGES)
def test_a_space_is_the_same_in_every_scenario(name):
    spaces = [suggested(name, scenario)[1] for scenario in LEARNERS[name].scenarios]
    assert all(space == spaces[0] for space in spaces)


def test_the_memory_budget_is_not_searched():
    assert not any(key.startswith("memory") for key in suggested("replay")[0])


def test_a_learner_without_a_space_is_not_tuned():
    trial = optuna.create_study().ask()
    assert find_space("no_such_learner")(trial, info()) == {}
    assert trial.distributions == {}
