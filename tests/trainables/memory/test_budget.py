"""How much a memory may hold: by hand, and as every learner with a memory keeps to it."""

from __future__ import annotations

import bisect
import dataclasses
import functools
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spiking_digits import SpikingDigits
from torch import Tensor

from trainables import LEARNERS, STREAMS, InputError
from trainables.memory import (
    Remembering,
    capacity,
    capacity_per_task,
    check_budget,
    equal_shares,
)
from trainables.memory.base import SlotMemory
from trainables.methods.spiking.recurrent import RecurrentLearner
from trainables.streams import StreamInfo
from trainables.streams.datasets import load
from trainables.testing import build, learn, leaves, make_stream, task_of

MNIST = StreamInfo("toy", "class", inputs=784, outputs=10, scale=1 / 255, tasks=5)
UNTOLD = dataclasses.replace(MNIST, scenario="task_free", tasks=None)


def config(**values):
    return Remembering.parse(values)


@given(st.integers(1, 10**6), st.integers(1, 3072), st.integers(0, 400), st.integers(1, 20))
def test_a_budget_of_bytes_is_filled_as_far_as_whole_samples_go(allowed, inputs, extra, tasks):
    stream = dataclasses.replace(MNIST, inputs=inputs, tasks=tasks)
    held, each = capacity(config(memory_bytes=allowed), stream, extra), inputs + 1 + extra
    assert held * each <= allowed < (held + 1) * each
    if not extra:
        of_a_task = capacity_per_task(config(memory_bytes=allowed), stream)
        assert of_a_task * tasks <= held < (of_a_task + 1) * tasks


# options, extra bytes -> samples over the stream, of each of five tasks
BY_HAND = [
    ({}, 0, 1000, 200),
    ({"memory_total": 503}, 0, 503, 100),
    ({"memory_total": 503}, 40, 503, 100),
    ({"memory_per_task": 30}, 0, 150, 30),
    ({"memory_per_task": 30, "memory_total": 7}, 0, 150, 30),
    ({"memory_bytes": 785_000}, 0, 1000, 200),
    ({"memory_bytes": 784_999}, 0, 999, 199),
    ({"memory_bytes": 785_000}, 40, 951, 190),
    ({"memory_bytes": 785_000, "memory_per_task": 30, "memory_total": 7}, 0, 1000, 200),
]


@pytest.mark.parametrize(("options", "extra", "total", "each"), BY_HAND, ids=str)
def test_budgets_by_hand(options, extra, total, each):
    assert capacity(config(**options), MNIST, extra) == total
    if not extra:
        assert capacity_per_task(config(**options), MNIST) == each
    check_budget(config(**options), MNIST, extra, shared=True)


# options, bytes besides samples -> samples of each task after one, two and four tasks
SHARED_SO_FAR = [
    ({"memory_total": 103}, 0, [103, 51, 25]),
    ({"memory_total": 103, "memory_per_task": 30}, 0, [30, 30, 30]),
    ({"memory_bytes": 78_500, "memory_per_task": 30}, 0, [100, 50, 25]),
    ({"memory_bytes": 78_500}, 1, [99, 49, 24]),
]


@pytest.mark.parametrize(("options", "besides", "expected"), SHARED_SO_FAR, ids=str)
def test_shares_of_the_finished_tasks_by_hand(options, besides, expected):
    held = equal_shares(config(**options), MNIST, besides)
    assert [held(tasks) for tasks in (1, 2, 4)] == expected


def test_a_task_free_stream_is_given_a_total_or_bytes():
    for options in ({"memory_total": 7}, {"memory_bytes": 7000}):
        check_budget(config(**options), UNTOLD)
        with pytest.raises(InputError, match="memory_total or memory_bytes"):
            check_budget(config(**options), UNTOLD, shared=True)
    with pytest.raises(InputError, match="task-free"):
        check_budget(config(memory_per_task=7), UNTOLD)
    assert capacity(config(memory_bytes=7850), UNTOLD) == 10


def test_what_is_kept_besides_samples_comes_off_the_bytes_only():
    for options, held in (
        ({"memory_bytes": 785_000}, 996),  # 3,140 bytes less
        ({"memory_bytes": 3_000}, 0),
        ({"memory_total": 7}, 7),
    ):
        assert capacity(config(**options), MNIST, reserved_bytes=3140) == held
    check_budget(config(memory_bytes=3925), MNIST, reserved_bytes=3140)
    with pytest.raises(InputError, match=r"= 3924 .*; give at least 3925, 3140 of them for data"):
        check_budget(config(memory_bytes=3924), MNIST, reserved_bytes=3140)


# options, extra bytes, whether it is shared out -> what is said, or nothing
LEAST = [
    ({"memory_bytes": 785}, 0, False, None),
    ({"memory_bytes": 784}, 0, False, r"memory_bytes = 784 is less than one sample \(785 bytes"),
    ({"memory_bytes": 824}, 40, False, r"memory_bytes = 824 is less than one sample \(825 bytes"),
    ({"memory_bytes": 825}, 40, False, None),
    ({"memory_bytes": 3925}, 0, True, None),
    ({"memory_bytes": 3924}, 0, True, "memory_bytes = 3924 is less than one sample per task"),
    ({"memory_total": 4}, 0, False, None),
    ({"memory_total": 4}, 0, True, "memory_total = 4 is less than one sample per task"),
    ({"memory_total": 5}, 0, True, None),
    ({"memory_total": 1, "memory_per_task": 1}, 0, True, None),
]


@pytest.mark.parametrize(("options", "extra", "shared", "said"), LEAST, ids=str)
def test_a_memory_of_less_than_a_sample_is_refused(options, extra, shared, said):
    if said is None:
        check_budget(config(**options), MNIST, extra, shared)
        return
    with pytest.raises(InputError, match=said):
        check_budget(config(**options), MNIST, extra, shared)


REMEMBERING = [name for name, kind in LEARNERS.items() if issubclass(kind.Config, Remembering)]


def test_the_learners_with_a_memory_share_these_options():
    rehearsing = {"replay", "der", "gem", "agem", "icarl", "gdumb", "fssg"}
    assert set(REMEMBERING) == rehearsing | {"sleep_replay", "icarl_sleep", "spiking_replay"}


QUICK = {
    "hidden": [4],
    "slow_hidden": [4],
    "epochs": 1,
    "batch_size": 8,
    "passes": 1,
    "pretrain_epochs": 1,
    "consolidation_epochs": 1,
    "sleep_steps": 2,
}
SPIKES = {"network": "mlp", "steps": 2}
MEAN, ASLEEP = {"sleep_data": "mean"}, ("sleep_replay", "icarl_sleep")


def known(kind, options):
    return {key: value for key, value in options.items() if key in kind.Config.fields()}


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, SPIKES if name == "spiking_replay" else {}) for name in REMEMBERING]
    + [(name, MEAN) for name in ASLEEP],
)
def test_every_memory_keeps_to_its_bytes_and_uses_them(name, options):
    """One more sample a task, or a class where these are what shares, would be too much."""
    stream, allowed = make_stream("class", (1, 2)), 10_000
    kind = LEARNERS[name]
    quick = known(kind, QUICK | {"hidden": [8], "slow_hidden": [8], "batch_size": 32})
    learner = build(kind, {**quick, **options, "memory_bytes": allowed}, stream)
    sizes = []
    for index in range(stream.tasks):
        learn(learner, stream, index, index + 1)
        sizes.append(learner.footprint()["memory"])
    each = 64 + 1 + (40 if name == "der" else 0)
    assert max(sizes) <= allowed
    assert sizes[-1] > allowed - each * 10


# -- whatever the learner, its options, the scenario and the budget

MOST = 100_000
# what a learner keeps differs with these
WAYS = {
    "replay": ({}, {"memory_policy": "reservoir"}),
    "sleep_replay": ({}, MEAN, MEAN | {"probe": 2}, MEAN | {"sleep_steps": 0}),
    "icarl_sleep": ({}, MEAN, MEAN | {"probe": 2}, MEAN | {"sleep_steps": 0}),
    "spiking_rehearsal": ({}, {"ratio": 4}),
    "spiking_replay": (
        SPIKES,
        SPIKES | {"memory_policy": "reservoir"},
        SPIKES | {"encoding": "rate", "stored": "encoded"},
    ),
    "latent_replay": ({"depth": 0}, {"depth": 1}, {"depth": 1, "codec": "sums", "ratio": 8}),
}
CASES = [
    (name, way, scenario)
    for name, kind in LEARNERS.items()
    if "memory_bytes" in kind.Config.fields()
    for way in WAYS.get(name, ({},))
    for scenario in kind.scenarios
]


@functools.cache
def tiny_stream(scenario, spiking, order):
    """Five tasks of two digits, of 24 samples each."""
    kind = SpikingDigits if spiking else STREAMS["split_digits"]
    options = kind.Options.parse({"samples_per_task": 24, "class_order": order})
    return kind(load("digits", Path()), scenario, (3, 8), "confirm", options)


def least_accepted(kind, options, key, info):
    """The smallest budget that is not refused; None where none is allowed at all."""

    def accepted(value):
        try:
            kind.check(kind.Config.parse(options | {key: value}), info)
        except InputError:
            return False
        return True

    found = 1 + bisect.bisect_left(range(1, MOST), True, key=accepted)
    return found if found < MOST else None


def held_bytes(learner):
    """Bytes of the tensors of past data in a learner's state, those of one seed."""
    state, memory = learner.state(), learner.memory
    # of a memory with slots those that are filled; what it can compute again has one axis
    end = len(memory) if isinstance(memory, SlotMemory) else None
    tensors = [t for _, t in leaves(state["memory"]) if isinstance(t, Tensor)]
    kept = [t[0, :end] for t in tensors if t.dim() > 1]
    if "asleep" in state:
        kept += [t[0] for t in state["asleep"]["dreams"].values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in kept)


def watched(case, order, key, more, look):
    """Learn a tiny stream with a budget so much above the least; look after steps and tasks."""
    name, way, scenario = case
    kind = LEARNERS[name]
    stream = tiny_stream(scenario, issubclass(kind, RecurrentLearner), order)
    options = known(kind, QUICK) | way
    least = least_accepted(kind, options, key, stream.info)
    if least is None:
        return
    budget = least + more
    learner = build(kind, options | {key: budget}, stream)
    for index in range(stream.tasks):
        task = task_of(learner, stream, index)
        task.after_step = lambda task, done=index: look(learner, budget, done)
        learner.learn(task)
        look(learner, budget, index + 1)


@given(st.sampled_from(CASES), st.sampled_from(["fixed", "shuffled"]), st.integers(0, 6000))
@settings(max_examples=60, deadline=None)
@example(("sleep_replay", MEAN, "class"), "fixed", 0)
@example(("icarl_sleep", MEAN, "class"), "fixed", 0)
def test_a_budget_of_bytes_is_kept_to_at_all_times(case, order, more):
    def look(learner, budget, tasks):
        found = learner.footprint()["memory"]
        assert found <= budget
        assert found == held_bytes(learner)

    watched(case, order, "memory_bytes", more, look)


SHARED_BY_TASK = ("replay", "fssg", "gem", "agem", "sleep_replay", "spiking_replay")


@given(st.sampled_from(CASES), st.sampled_from(["fixed", "shuffled"]), st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_a_budget_of_samples_is_kept_to_at_all_times(case, order, more):
    """Over the stream, of each task or of each class; what is shared out by task holds no more
    than the shares of those done.
    """
    by_task = case[0] in SHARED_BY_TASK and "memory_policy" not in case[1]

    def look(key):
        shares = {"memory_total": 1, "memory_per_task": 5, "memory_per_class": 10}[key]

        def at(learner, budget, tasks):
            parts = tasks if key == "memory_per_task" and by_task else shares
            assert len(learner.memory) <= budget * parts

        return at

    kind = LEARNERS[case[0]]
    for key in ("memory_total", "memory_per_task", "memory_per_class"):
        if key in kind.Config.fields():
            watched(case, order, key, more, look(key))


@pytest.mark.parametrize("name", ["replay", "icarl", "gem", "gdumb", "sleep_replay"])
def test_more_samples_than_any_data_set_has_are_refused_however_they_are_given(name):
    kind, info = LEARNERS[name], make_stream("class", (1,)).info
    for key, many, told in (("memory_per_task", 300_000, 1_500_000), ("memory_bytes", 10**9, "")):
        with pytest.raises(InputError, match=f"{key} = {many} is .*{told}.*: at most 1000000"):
            kind.check(kind.Config.parse({key: many}), info)
        kind.check(kind.Config.parse({key: many // 20}), info)


@pytest.mark.parametrize(("name", "samples"), [("sleep_replay", 5), ("icarl_sleep", 10)])
def test_the_mean_image_comes_off_the_bytes(name, samples):
    """64 floats, and the number of images they are of: 260 bytes."""
    kind, info = LEARNERS[name], make_stream("class", (1,)).info
    for options, besides in (({}, 0), (MEAN, 260)):
        options, least = known(kind, QUICK) | options, samples * 65 + besides
        assert least_accepted(kind, options, "memory_bytes", info) == least
        with pytest.raises(InputError, match=f"= {least - 1}.* give at least {least}") as caught:
            kind.check(kind.Config.parse(options | {"memory_bytes": least - 1}), info)
        assert ("260 of them for data besides" in str(caught.value)) == bool(besides)


@pytest.mark.parametrize("name", ASLEEP)
def test_all_samples_so_far_do_not_go_with_a_budget_of_bytes(name):
    kind, stream = LEARNERS[name], tiny_stream("class", False, "fixed")
    options = known(kind, QUICK) | {"sleep_data": "seen"}
    with pytest.raises(InputError, match=r'memory_bytes = 90000: .*"seen".*"mean".*memory_total'):
        build(kind, options | {"memory_bytes": 90_000}, stream)
    build(kind, options | {"memory_bytes": 90_000, "sleep_steps": 0}, stream)
    # a number of samples is of those kept with labels: what sleep keeps counts in bytes
    learner = build(kind, options | {"memory_total": 10}, stream)
    learn(learner, stream)
    assert learner.footprint()["memory"] == held_bytes(learner) == 10 * 65 + 5 * 24 * 64
