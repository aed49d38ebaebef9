"""How much a memory may hold: by hand, and as every learner with a memory keeps to it."""

from __future__ import annotations

import dataclasses

import pytest
from conformance import build, learn, make_stream
from hypothesis import given
from hypothesis import strategies as st

from trainables import LEARNERS, InputError
from trainables.memory import Remembering, capacity, check_budget, share
from trainables.streams import StreamInfo

MNIST = StreamInfo("toy", "class", inputs=784, outputs=10, scale=1 / 255, tasks=5)
UNTOLD = dataclasses.replace(MNIST, scenario="task_free", tasks=None)


def config(**values):
    return Remembering.parse(values)


@given(st.integers(1, 10**6), st.integers(1, 3072), st.integers(0, 400), st.integers(1, 20))
def test_a_budget_of_bytes_is_filled_as_far_as_whole_samples_go(allowed, inputs, extra, tasks):
    stream = dataclasses.replace(MNIST, inputs=inputs, tasks=tasks)
    held, each = capacity(config(memory_bytes=allowed), stream, extra), inputs + 1 + extra
    assert held * each <= allowed < (held + 1) * each
    of_a_task = share(config(memory_bytes=allowed), stream, extra)
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
    assert share(config(**options), MNIST, extra) == each
    check_budget(config(**options), MNIST, extra, shared=True)


def test_a_task_free_stream_is_given_a_total_or_bytes():
    for options in ({"memory_total": 7}, {"memory_bytes": 7000}):
        check_budget(config(**options), UNTOLD)
        with pytest.raises(InputError, match="memory_total or memory_bytes"):
            check_budget(config(**options), UNTOLD, shared=True)
    with pytest.raises(InputError, match="task-free"):
        check_budget(config(memory_per_task=7), UNTOLD)
    assert capacity(config(memory_bytes=7850), UNTOLD) == 10


# options, extra bytes, whether it is shared out -> what is said, or nothing
LEAST = [
    ({"memory_bytes": 785}, 0, False, None),
    ({"memory_bytes": 784}, 0, False, r"memory_bytes = 784 is less than a sample \(785 bytes"),
    ({"memory_bytes": 824}, 40, False, r"memory_bytes = 824 is less than a sample \(825 bytes"),
    ({"memory_bytes": 825}, 40, False, None),
    ({"memory_bytes": 3925}, 0, True, None),
    ({"memory_bytes": 3924}, 0, True, "memory_bytes = 3924 is less than a sample a task"),
    ({"memory_total": 4}, 0, False, None),
    ({"memory_total": 4}, 0, True, "memory_total = 4 is less than a sample a task"),
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
    assert set(REMEMBERING) == rehearsing | {"sleep_replay", "icarl_sleep"}


@pytest.mark.parametrize("name", REMEMBERING)
def test_every_memory_keeps_to_its_bytes_and_uses_them(name):
    """One more sample a task, or a class where these are what shares, would be too much."""
    stream, allowed = make_stream("class", (1, 2)), 10_000
    kind = LEARNERS[name]
    quick = {"hidden": [8], "slow_hidden": [8], "epochs": 1, "batch_size": 32, "passes": 1}
    known = {key: value for key, value in quick.items() if key in kind.Config.fields()}
    learner = build(kind, {**known, "memory_bytes": allowed}, stream)
    sizes = []
    for index in range(stream.tasks):
        learn(learner, stream, index, index + 1)
        sizes.append(learner.footprint()["memory"])
    each = 64 + 1 + (40 if name == "der" else 0)
    assert max(sizes) <= allowed
    assert sizes[-1] > allowed - each * 10
