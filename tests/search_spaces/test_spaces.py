"""Search spaces against the published ranges."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest
from optuna.distributions import FloatDistribution, IntDistribution

import search_spaces
from search_spaces import (
    SPACES,
    find_space,
    leaky,
    one_of,
    recurrent,
    space,
    space_on,
    whole_space,
)
from search_spaces.space import as_plain, decoded, ends_or_choices
from trainables import LEARNERS
from trainables.methods.spiking.recurrent import RecurrentLearner
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
LINEAR = ("replay_probability", "mask_keep", "threshold", "probe_epochs")
LEAKY = {
    "lr": (1e-4, 1e-2),
    "loss": ["ce_count", "ce_rate", "mse_count"],
    "steps": (5, 50),
    "beta": [0.5, 0.8, 0.9, 0.95, 0.99, 0.999],
    "threshold": (0.25, 2.0),
    "surrogate": ["fast_sigmoid", "atan", "sigmoid"],
    "slope": (2.0, 100.0),  # 2 is the source's of atan
    "encoding": ["direct", "rate", "static"],
}
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
    "synaptic": {
        "lr": (1e-4, 1e-2),
        "mode": ["isolated", "cumulative"],
        "size": (0.125, 2.0),  # 8 to 128 channels of the source's 64
        "later_sizes": [[0.1], [0.25], [0.5], [1.0], [2.0]],
        "max_growths": (0, 4),
        "threshold": (0.5, 0.99),
        "growth": (0.1, 1.0),
        "probe_epochs": (1, 5),
        "min_gain": (0.0, 0.05),
        "cap": (1.0, 8.0),
        "dropout": (0.0, 0.5),
        "initial": ["small", "kaiming"],
        "thaw": [0.0, 0.01, 0.03, 0.1],
        "distillation": (0.0, 2.0),
        "tau": (1.0, 6.0),
    },
    "spiking_finetune": LEAKY,
    "spiking_joint": LEAKY,
    "spiking_replay": LEAKY
    | {
        "replay_ratio": (0.25, 2.0),
        "replay_schedule": ["interleaved", "epoch_start"],
        "replay_lr": (1e-5, 1e-2),
        "head_loss": ["own", "seen"],
        "alignment": ["after", "off"],
    },
    "latent_replay": NAIVE | REHEARSAL | {"depth": [1, 2, 3], "codec": ["binary", "sums"]},
}


def info(scenario="class"):
    tasks = None if scenario == "task_free" else 5
    return StreamInfo("split_digits", scenario, 64, 10, 1 / 16, tasks, steps=100)


def test_every_learner_has_a_space_of_its_name():
    assert set(SPACES) == set(LEARNERS) == set(RANGES)


@pytest.mark.parametrize("name", RANGES)
def test_spaces_span_the_published_ranges(name):
    found, kinds = space_on(name, info()), LEARNERS[name].Config.kinds()
    assert set(found) == set(RANGES[name])
    for key, allowed in RANGES[name].items():
        assert ends_or_choices(found[key], kinds[key]) == list(allowed)
        if isinstance(allowed, tuple):
            linear = allowed[0] == 0 or (key in LINEAR and not name.startswith("spiking"))
            assert found[key].log != linear


@pytest.mark.parametrize("name", RANGES)
def test_a_space_is_the_same_in_every_scenario(name):
    spaces = [space_on(name, info(scenario)) for scenario in LEARNERS[name].scenarios]
    if name == "spiking_replay":  # but for heads, and for epochs that task-free streams lack
        common = set.intersection(*map(set, spaces))
        assert {*spaces[0]} - common == {"replay_schedule", "replay_lr"}
        spaces = [{key: found[key] for key in common} for found in spaces]
    if issubclass(LEARNERS[name], RecurrentLearner):  # but for what concerns new classes
        assert spaces[0].keys() == {k for k in spaces[1] if not k.startswith("new_class")}
        spaces = [{key: found[key] for key in spaces[0]} for found in spaces]
    assert all(found == spaces[0] for found in spaces)


@pytest.mark.parametrize("name", RANGES)
def test_the_ends_of_a_space_are_within_the_limits_of_its_options(name):
    kinds = LEARNERS[name].Config.kinds()
    for key, distribution in space_on(name, info()).items():
        whole = isinstance(distribution, IntDistribution)
        assert whole == (kinds[key] is int) or key in ("ratio", "depth")
        for value in ends_or_choices(distribution, kinds[key]):
            LEARNERS[name].Config.parse({key: value})


def test_a_ratio_that_does_not_divide_the_steps_is_not_searched():
    for steps, fit in ((100, (1, 2, 5, 10, 20)), (50, (1, 2, 5, 10)), (7, (1,))):
        found = space_on("latent_replay", replace(info(), steps=steps))
        assert found["ratio"].choices == fit


def test_the_memory_budget_is_not_searched():
    assert not any(key.startswith("memory") for name in SPACES for key in space_on(name, info()))


def test_a_learner_without_a_space_is_not_tuned():
    assert space_on("no_such_learner", info()) == find_space("no_such_learner") == {}


@pytest.mark.parametrize("name", RANGES)
def test_the_whole_space_of_a_learner_is_that_of_streams_that_it_can_learn(name):
    found, kinds = whole_space(LEARNERS[name]), LEARNERS[name].Config.kinds()
    whole = {key: ends_or_choices(of, kinds[key]) for key, of in found.items()}
    assert whole == {key: list(allowed) for key, allowed in RANGES[name].items()}


# -- as plain values


def test_lists_are_given_to_optuna_as_text_and_come_back_as_lists():
    widths = one_of([[8], [16, 16], [8]])
    assert widths.choices == ("[8]", "[16, 16]")
    assert [decoded(text, tuple[int, ...]) for text in widths.choices] == [[8], [16, 16]]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("[8]", str), ("true", str | None), (0.5, float), (True, bool), (3, int | None), (None, int)],
)
def test_other_values_come_back_as_they_are(value, kind):
    assert one_of([value]).choices == (value,)
    assert decoded(value, kind) is value


def test_a_text_that_is_no_list_is_left_for_the_learner_to_refuse():
    assert decoded("wide", tuple[int, ...]) == "wide"


def test_a_step_is_listed_where_a_range_has_one():
    assert "step" not in as_plain(IntDistribution(1, 9), int)
    assert as_plain(IntDistribution(2, 8, step=2), int)["step"] == 2
    assert "step" not in as_plain(FloatDistribution(0, 1), float)
    assert as_plain(FloatDistribution(0, 9, step=1), float)["step"] == 1.0


@pytest.mark.parametrize("module", [search_spaces, space, recurrent, leaky])
def test_the_examples_hold(module):
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
