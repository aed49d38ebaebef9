"""How many seeds to train at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factory import make_spec

from study import pilot, plan
from study.run import pilot_work
from trainables.course import Course
from trainables.learner import Learner
from trainables.streams.datasets import load


@pytest.fixture(scope="module")
def data():
    return load("digits", Path(), ("train",))


def work_of(name="finetune", changes=None, **fixed):
    section = {"fixed": {"hidden": [8], **fixed}}
    spec = make_spec({f"methods.{name}": section, **(changes or {})})
    return spec, plan.resolve(spec, "x")[name]


def assignment(**kwargs):
    return pilot_work(*work_of(**kwargs))[0]


@pytest.mark.parametrize(
    ("seeds", "limit", "sizes"),
    [
        (1, None, [1]),
        (2, None, [1, 2]),
        (3, None, [1, 2, 3]),
        (10, None, [1, 2, 5, 10]),
        (12, None, [1, 2, 5, 10, 12]),
        (10, 1, [1]),
        (10, 4, [1, 2, 4]),
        (4, 100, [1, 2, 4]),
        (1000, None, [1, 2, 5, 10, 20, 30, 50, 100, 1000]),
    ],
)
def test_sizes_worth_timing(seeds, limit, sizes):
    assert pilot.candidates(seeds, limit) == sizes


def test_the_fastest_is_that_with_the_most_seed_steps_a_second():
    assert pilot.fastest({1: 10.0, 2: 30.0, 5: 20.0}) == 2
    assert pilot.fastest({1: 10.0}) == 1


def test_rates_are_seeds_over_time(monkeypatch):
    times = {1: 0.1, 2: 0.1, 5: 1.0}
    monkeypatch.setattr(pilot, "Course", lambda work, seeds, data, device: len(seeds))
    monkeypatch.setattr(pilot, "_seconds_per_step", lambda size: times[size])
    assert pilot.measure(None, [1, 2, 5], {}) == pytest.approx({1: 10.0, 2: 20.0, 5: 5.0})


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_sizes_that_do_not_fit_in_memory_end_the_pilot(monkeypatch, error):
    tried = []

    def time(size):
        tried.append(size)
        if size >= 5:
            raise error
        return 0.1

    monkeypatch.setattr(pilot, "Course", lambda work, seeds, data, device: len(seeds))
    monkeypatch.setattr(pilot, "_seconds_per_step", time)
    assert list(pilot.measure(None, [1, 2, 5, 10], {})) == [1, 2]
    assert tried == [1, 2, 5]


@pytest.mark.parametrize("name", ["finetune", "joint", "replay", "ewc"])
def test_every_learner_can_be_timed(name, data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    rates = pilot.measure(assignment(name=name), [1, 2], data)
    assert list(rates) == [1, 2]
    assert all(rate > 0 for rate in rates.values())


def test_a_task_free_stream_can_be_timed(data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    monkeypatch.setattr(Learner, "begin_task", None)
    work = assignment(name="replay", changes={"study.scenario": "task_free"})
    assert pilot.measure(work, [2], data)[2] > 0


def test_a_batch_larger_than_the_task_can_be_timed(data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    assert pilot.measure(assignment(batch_size=100_000), [1], data)[1] > 0


@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 16), (3, 50), (2, 100_000)])
@pytest.mark.parametrize("name", ["finetune", "joint"])
def test_steps_of_a_trial_are_those_it_takes(name, epochs, batch_size, data, monkeypatch):
    work = assignment(name=name, epochs=epochs, batch_size=batch_size)
    course = Course(work, (0,), data)
    taken = []
    kind = type(course.learner)
    real = kind.observe
    monkeypatch.setattr(kind, "observe", lambda self, batch: taken.append(1) or real(self, batch))
    while not course.done:
        course.advance()
    assert pilot.steps_per_trial(Course(work, (0,), data)) == len(taken)


def test_a_pilot_times_the_defaults_on_as_many_seeds_as_a_phase_has():
    spec, method = work_of(changes={"confirm.seeds": {"first": 100, "count": 7}})
    work, sizes = pilot_work(spec, method)
    assert (work.phase, work.tasks) == ("tune", None)
    assert work.configuration == plan.configuration(method, {})
    assert max(sizes) == 7
    spec, method = work_of(changes={"tune.seeds": list(range(12))})
    assert max(pilot_work(spec, method)[1]) == 12


def test_a_learner_that_cannot_be_stacked_is_timed_alone(monkeypatch):
    spec, method = work_of()
    monkeypatch.setattr(plan.find_learner("finetune"), "max_stack", 1)
    assert pilot_work(spec, method)[1] == [1]
