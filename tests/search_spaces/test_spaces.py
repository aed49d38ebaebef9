"""Search spaces against the published ranges; each learner's suite checks that they are valid."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from search_spaces import SPACES, find_space
from study.search import SpaceTrial, encoded
from trainables import LEARNERS
from trainables.methods.spiking.spiking_naive import SpikingNaive
from trainables.streams import StreamInfo

AWAKE = {"lr": (1e-4, 0.3), "hidden": [[400, 400], [1200, 1200], [4000, 4000]]}
SLEEP = {
    "sleep_steps": (50, 2000),
    "sleep_growth": [0.0, 1 / 3, 0.5],
    "inc": (1e-4, 0.1),
    "dec_ratio": (1e-3, 1.0),
    "beta_first": (3.0, 1000.0),
    "beta_hidden": (3.0, 1000.0),
    "beta_last": (3.0, 1000.0),
    "max_rate": (20.0, 500.0),
    "mask_keep": (0.05, 1.0),
    "decay": [0.9, 0.99, 0.999, 1.0],
    "gate": ["logistic", "matlab", "none"],
    "normalisation": ["fixed", "consistent", "reference_code"],
}
NAIVE = {
    "lr": (5e-5, 1e-2),
    "epochs": (5, 100),
    "new_class_mean": (1e-4, 3e-2),
    "new_class_std": (1e-4, 3e-2),
}
REHEARSAL = {"ratio": [1, 2, 5, 10, 20], "order": ["sequential", "interleaved", "mixed"]}
# the methods' tables of what to search: low and high, or a list of choices
RANGES = {
    "finetune": {"lr": (1e-4, 1e-2)},
    "joint": {"lr": (1e-4, 1e-2)},
    "replay": {"lr": (1e-4, 1e-2), "replay_ratio": (0.25, 2.0)},
    "ewc": {"lr": (1e-4, 1e-2), "lam": (1.0, 1e10)},
    "der": {"lr": (1e-4, 0.3), "alpha": (0.05, 2.0), "beta": (0.1, 2.0)},
    "fssg": {
        "lr": (1e-4, 5e-3),
        "lr_slow": (5e-5, 2e-3),
        "replay_probability": (0.1, 1.0),
        "replay_ratio": (0.25, 2.0),
        "interval": (1, 50),
        "consolidation_epochs": (0, 20),
        "lam_task": (0.0, 1.0),
        "lam_consolidation": (0.0, 1.0),
        "tau": (1.0, 6.0),
        "dropout": (0.0, 0.5),
        "grad_clip": (0.1, 10.0),
        "hidden": [[128, n, 128, n] for n in (16, 32, 64, 128)],  # the summary has n
        "slow_hidden": [[64, 64], [128, 64], [256, 128], [512, 256], [1024, 512]],
    },
    "gem": {"lr": (3e-3, 0.3), "gamma": (0.0, 1.0)},
    "agem": {"lr": (1e-4, 1e-2), "ref_batch": (10, 256)},
    "icarl": {"lr": (1e-4, 1e-2)},
    "gdumb": {"lr": (0.01, 0.1), "passes": (30, 256)},
    "si": {"lr": (1e-4, 1e-2), "c": (0.1, 1e5), "xi": (0.01, 1.0)},
    "lwf": {"lr": (1e-4, 1e-2), "alpha": (0.1, 10.0), "tau": (1.0, 4.0)},
    "sleep_replay": AWAKE | SLEEP,
    "icarl_sleep": {"lr": (1e-4, 1e-2)} | SLEEP,
    "merging": AWAKE,
    "wake_joint": AWAKE,
    "spiking_naive": NAIVE,
    "spiking_rehearsal": NAIVE | REHEARSAL,
    "latent_replay": NAIVE | REHEARSAL | {"depth": [1, 2, 3], "codec": ["binary", "sums"]},
}


def info(scenario="class"):
    tasks = None if scenario == "task_free" else 5
    return StreamInfo("split_digits", scenario, 64, 10, 1 / 16, tasks, steps=100)


def suggested(name, scenario="class"):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    values = SpaceTrial(trial, {}, {}, name).sample(find_space(name), info(scenario))
    return values, trial.distributions


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def test_every_learner_has_a_space_of_its_name():
    assert set(SPACES) == set(LEARNERS) == set(RANGES)


@pytest.mark.parametrize("name", RANGES)
def test_spaces_span_the_published_ranges(name):
    values, distributions = suggested(name)
    assert set(values) == set(distributions) == set(RANGES[name])
    for key, allowed in RANGES[name].items():
        if isinstance(allowed, list):
            assert distributions[key].choices == tuple(map(encoded, allowed))
            continue
        low, high = allowed
        assert (distributions[key].low, distributions[key].high) == (low, high)
        linear = low == 0 or key in ("replay_probability", "mask_keep")
        assert distributions[key].log != linear


@pytest.mark.parametrize("name", RANGES)
def test_a_space_is_the_same_in_every_scenario(name):
    spaces = [suggested(name, scenario)[1] for scenario in LEARNERS[name].scenarios]
    if issubclass(LEARNERS[name], SpikingNaive):  # but for what concerns new classes
        assert spaces[0].keys() == {k for k in spaces[1] if not k.startswith("new_class")}
        spaces = [{key: space[key] for key in spaces[0]} for space in spaces]
    assert all(space == spaces[0] for space in spaces)


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_a_space_are_within_the_limits_of_its_options(name):
    _, distributions = suggested(name)
    numbers = {key: d for key, d in distributions.items() if hasattr(d, "low")}
    assert numbers
    for key, distribution in numbers.items():
        for end in (distribution.low, distribution.high):
            LEARNERS[name].Config.parse({key: end})
    for key in distributions.keys() - numbers.keys():
        for choice in RANGES[name][key]:
            LEARNERS[name].Config.parse({key: choice})


def test_a_ratio_that_does_not_divide_the_steps_is_not_searched():
    trial = optuna.create_study().ask()
    SpaceTrial(trial, {}, {}, "latent_replay").sample(
        find_space("latent_replay"), replace(info(), steps=50)
    )
    assert trial.distributions["ratio"].choices == (1, 2, 5, 10)


def test_without_sleep_nothing_of_it_is_searched():
    trial = optuna.create_study().ask()
    given = SpaceTrial(trial, {"sleep_steps": 0}, {}, "sleep_replay")
    assert set(given.sample(find_space("sleep_replay"), info())) == set(AWAKE)
    assert set(trial.params) == set(AWAKE)


def test_the_memory_budget_is_not_searched():
    assert not any(key.startswith("memory") for key in suggested("replay")[0])


def test_a_learner_without_a_space_is_not_tuned():
    trial = optuna.create_study().ask()
    assert find_space("no_such_learner")(trial, info()) == {}
    assert trial.distributions == {}
