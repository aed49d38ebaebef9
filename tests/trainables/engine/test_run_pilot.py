"""How fast stacks of several sizes train, and how much memory they hold."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from trainables import find_learner
from trainables.engine import pilot
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.engine.pilot import Pilot, device_model, has_own_loop, run_pilot
from trainables.learner import Learner


@pytest.fixture(scope="module")
def data(digits):
    return {"train": digits["train"]}


@pytest.fixture
def hasty(monkeypatch):
    """Time each size for an instant only."""
    monkeypatch.setattr(pilot, "SECONDS", 0.002)


# options with which replay learns a stream without tasks
STREAMING = {"epochs": 1, "batch_size": 16, "memory_policy": "reservoir"}


def assignment(name="finetune", scenario="class", tasks=None, **options):
    values = find_learner(name).Config.parse({"hidden": [8], **options}).plain()
    return Assignment(name, values, "split_digits", scenario, {}, "tune", (0, 1), tasks)


# -- the fastest size


def test_the_fastest_is_that_with_the_most_seed_steps_a_second():
    assert Pilot({1: 10.0, 2: 30.0, 5: 20.0}).fastest == 2
    assert Pilot({1: 10.0}).fastest == 1


def test_the_end_of_a_task_counts_among_its_steps():
    """A hundred steps: 10 s and 4 s alone, 5 s and 12 s in pairs, which is 14 s against 17 s."""
    ends = {1: 4.0, 2: 12.0}
    assert Pilot({1: 10.0, 2: 20.0}, end_seconds=ends, steps=100.0).fastest == 1
    assert Pilot({1: 10.0, 2: 20.0}, end_seconds=ends, steps=300.0).fastest == 2


def test_one_seed_at_a_time_where_nothing_could_be_timed():
    assert Pilot({}, "ValueError: too hot").fastest == 1


@pytest.mark.parametrize(
    "found",
    [
        Pilot({}, "ValueError: too hot\u2026"),
        Pilot(
            {1: 0.1, 20: 1 / 3}, "", {1: 1e-9, 20: 0.0}, 7.5, {1: 2**40}, "NVIDIA H100 80GB HBM3"
        ),
    ],
)
def test_a_worker_reports_a_pilot_as_text_without_loss(found):
    assert Pilot.decoded(found.encoded()) == found


# -- which sizes are timed


def timed(monkeypatch, seconds):
    """Let each stack size take so long a step, or raise; return the sizes that were tried."""
    tried = []

    def time(size):
        tried.append(size)
        if isinstance(seconds[size], Exception):
            raise seconds[size]
        return seconds[size], 10 * seconds[size], 3.0

    monkeypatch.setattr(pilot, "Course", lambda work, seeds, data, device: len(seeds))
    monkeypatch.setattr(pilot, "_time_training", time)
    return tried


def test_rates_are_seeds_over_time(monkeypatch):
    timed(monkeypatch, {1: 0.1, 2: 0.1, 5: 1.0})
    found = run_pilot(None, [1, 2, 5], {})
    assert found.rates == pytest.approx({1: 10.0, 2: 20.0, 5: 5.0})
    assert found.end_seconds == pytest.approx({1: 1.0, 2: 0.5, 5: 2.0})
    assert found.steps == 3.0
    assert (found.device, found.peak_bytes) == ("cpu", {})


def test_a_size_that_takes_long_is_the_last(monkeypatch):
    tried = timed(monkeypatch, {1: 0.1, 2: 0.1, 5: 1.0})
    clock = iter([0.0, 1.0, 1.0, 1.0 + 2 * pilot.LONG])
    monkeypatch.setattr(pilot.time, "perf_counter", lambda: next(clock))
    assert run_pilot(None, [1, 2, 5], {}).problem == ""
    assert tried == [1, 2]


ERRORS = [MemoryError("full"), torch.OutOfMemoryError("full"), ValueError("full")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_size_that_cannot_be_trained_ends_the_pilot_with_what_was_timed(monkeypatch, error):
    tried = timed(monkeypatch, {1: 0.1, 2: 0.1, 5: error})
    found = run_pilot(None, [1, 2, 5, 10], {})
    assert tried == [1, 2, 5]
    assert list(found.rates) == [1, 2]
    assert found.problem == ""  # the size is too large, which is an answer
    assert found.fastest == 2


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_learner_of_which_not_one_seed_can_be_trained_is_a_problem(monkeypatch, error):
    tried = timed(monkeypatch, {1: error, 2: 0.1})
    assert run_pilot(None, [1, 2], {}) == Pilot({}, f"{type(error).__name__}: full")
    assert tried == [1]


def test_a_learner_that_raises_at_once_is_a_problem_and_no_error(data, monkeypatch):
    def broken(self, batch):
        raise ValueError("too hot")

    monkeypatch.setattr(find_learner("finetune"), "observe", broken)
    assert run_pilot(assignment(), [1, 2], data) == Pilot({}, "ValueError: too hot")


# -- memory of a GPU

BYTES = 1000  # of the GPU


@pytest.fixture
def gpu(monkeypatch):
    """A GPU whose memory is what a test says: the bytes that each stack size takes."""
    made = SimpleNamespace(takes={}, resets=0, emptied=0, size=0)

    def reset():
        made.resets += 1

    def empty():
        made.emptied += 1

    def train(size):
        made.size = size
        return 0.1, 0.0, 3.0

    properties = SimpleNamespace(total_memory=BYTES)
    for name, found in {
        "empty_cache": empty,
        "reset_peak_memory_stats": reset,
        "max_memory_reserved": lambda: made.takes[made.size],
        "get_device_properties": lambda device: properties,
        "get_device_name": lambda device: "NVIDIA H100",
    }.items():
        monkeypatch.setattr(torch.cuda, name, found)
    monkeypatch.setattr(pilot, "Course", lambda work, seeds, data, device: len(seeds))
    monkeypatch.setattr(pilot, "_time_training", train)
    return made


def test_the_memory_of_each_size_and_the_model_of_the_gpu_are_kept(gpu):
    gpu.takes = {1: 300, 2: 400, 5: 700}
    found = run_pilot(None, [1, 2, 5], {}, "cuda")
    assert (found.peak_bytes, found.device) == (gpu.takes, "NVIDIA H100")
    assert list(found.rates) == [1, 2, 5]
    assert (gpu.resets, gpu.emptied) == (3, 3)  # no size is charged with the memory of another


@pytest.mark.parametrize(
    ("share", "fits"), [(1.0, [1, 2, 5]), (0.7, [1, 2, 5]), (0.5, [1, 2]), (0.3, [1])]
)
def test_a_size_beyond_the_share_of_a_trial_does_not_fit_though_the_gpu_has_room(gpu, share, fits):
    gpu.takes = {1: 300, 2: 400, 5: 700, 10: 1001}
    found = run_pilot(None, [1, 2, 5, 10], {}, "cuda", share)
    assert (list(found.rates), list(found.peak_bytes), found.problem) == (fits, fits, "")


def test_a_seed_that_needs_more_than_its_share_is_a_problem_with_both_numbers(gpu):
    gpu.takes = {1: 300}
    found = run_pilot(None, [1, 2], {}, "cuda", 0.25)
    told = "MemoryError: 300 bytes of a GPU, of which a trial may use 250"
    assert (found.rates, found.peak_bytes, found.problem) == ({}, {}, told)


def test_the_model_of_a_device_is_its_name():
    assert device_model("cpu") == device_model(torch.device("cpu")) == "cpu"


# -- what is timed


@pytest.mark.parametrize("name", ["finetune", "joint", "replay", "ewc"])
def test_every_learner_can_be_timed(name, data, hasty):
    rates = run_pilot(assignment(name), [1, 2], data).rates
    assert list(rates) == [1, 2]
    assert all(rate > 0 for rate in rates.values())


def test_a_task_free_stream_can_be_timed(data, hasty, monkeypatch):
    monkeypatch.setattr(Learner, "begin_task", None)
    assert run_pilot(assignment("replay", "task_free", **STREAMING), [2], data).rates[2] > 0


def test_a_batch_larger_than_the_task_can_be_timed(data, hasty):
    assert run_pilot(assignment(batch_size=100_000), [1], data).rates[1] > 0


def test_a_stream_of_one_task_can_be_timed(data, hasty):
    assert run_pilot(assignment(tasks=1), [1], data).rates[1] > 0


@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 16), (3, 50), (2, 100_000)])
@pytest.mark.parametrize("name", ["finetune", "joint"])
def test_steps_of_a_trial_are_those_it_takes(name, epochs, batch_size, data, monkeypatch):
    work = assignment(name, epochs=epochs, batch_size=batch_size)
    course = Course(work, (0,), data)
    taken = []
    kind = type(course.learner)
    real = kind.observe
    monkeypatch.setattr(kind, "observe", lambda self, batch: taken.append(1) or real(self, batch))
    while not course.done:
        course.advance()
    assert pilot.steps_per_trial(Course(work, (0,), data)) == len(taken)


@pytest.mark.parametrize("scenario", ["class", "task_free"])
def test_steps_are_timed_when_there_is_something_to_remember(scenario, data, hasty, monkeypatch):
    seen, kind = [], find_learner("replay")
    real = kind.observe

    def observe(self, batch):
        seen.append((batch.task._index, len(self.memory)))
        return real(self, batch)

    monkeypatch.setattr(kind, "observe", observe)
    options = STREAMING if scenario == "task_free" else {}
    run_pilot(assignment("replay", scenario, **options), [1], data)
    tasks = [task for task, _ in seen]
    assert tasks[: pilot.WARM_UP] == [0] * pilot.WARM_UP
    assert set(tasks[pilot.WARM_UP :]) == {1}
    assert all(held > 0 for _, held in seen[pilot.WARM_UP :])


def test_the_time_to_end_a_task_is_not_that_of_its_steps(data, monkeypatch):
    """A step takes a hundredth of a second, and the end of a task half a second."""
    clock = SimpleNamespace(now=0.0)
    kind = find_learner("finetune")
    observe = kind.observe

    def wait(seconds):
        clock.now += seconds

    def timed_observe(self, batch):
        wait(0.01)
        return observe(self, batch)

    monkeypatch.setattr(pilot.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(pilot, "SECONDS", 0.01)
    monkeypatch.setattr(kind, "observe", timed_observe)
    monkeypatch.setattr(kind, "end_task", lambda self, task: wait(0.5))
    found = run_pilot(assignment(), [2], data)
    assert found.end_seconds[2] == pytest.approx(0.25)
    assert found.rates[2] == pytest.approx(200.0)


def test_a_learner_with_a_loop_of_its_own_is_known(monkeypatch):
    assert not has_own_loop("replay")
    assert not has_own_loop("joint")
    monkeypatch.setattr(find_learner("replay"), "learn", lambda self, task: None)
    assert has_own_loop("replay")
