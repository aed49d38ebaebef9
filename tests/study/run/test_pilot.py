"""How many seeds to train at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from factory import HELD_OUT, Silent, admit, make_method

from study.check import resolve
from study.folder import Folder, StackSize
from study.run import phases as runner
from study.run import pilot
from study.run.pilot import Pilot, pilot_work, run_pilot, stack_sizes
from study.state import Study
from trainables import find_learner
from trainables.engine.course import Course
from trainables.learner import Learner
from trainables.streams.datasets import load


@pytest.fixture(scope="module")
def data():
    return load("digits", Path(), ("train",))


def quick(name="finetune", changes=None, **fixed):
    section = {"fixed": {"hidden": [8], **fixed}}
    return make_method({f"methods.{name}": section, **(changes or {})}, name)


def assignment(**kwargs):
    return pilot_work(*quick(**kwargs))


@pytest.mark.parametrize(
    ("seeds", "limit", "worth"),
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
@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_sizes_worth_timing(seeds, limit, worth, phase, monkeypatch):
    monkeypatch.setattr(find_learner("finetune"), "max_stack", limit)
    first = {"tune": 0, "confirm": 5000}
    counts = dict.fromkeys(first, 1) | {phase: seeds}
    changes = {f"{p}.seeds": {"first": first[p], "count": counts[p]} for p in first}
    assert stack_sizes(*quick(changes=changes)) == worth


def test_a_given_size_is_the_only_one_worth_timing():
    assert stack_sizes(*quick(changes={"resources.seeds_per_stack": 7})) == [7]


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
    assert found.problem == f"{type(error).__name__}: full"
    assert found.fastest == 2


def test_a_learner_that_raises_at_once_is_a_problem_and_no_error(data, monkeypatch):
    def broken(self, batch):
        raise ValueError("too hot")

    monkeypatch.setattr(find_learner("finetune"), "observe", broken)
    assert run_pilot(assignment(), [1, 2], data) == Pilot({}, "ValueError: too hot")


@pytest.mark.parametrize("name", ["finetune", "joint", "replay", "ewc"])
def test_every_learner_can_be_timed(name, data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    rates = run_pilot(assignment(name=name), [1, 2], data).rates
    assert list(rates) == [1, 2]
    assert all(rate > 0 for rate in rates.values())


def test_a_task_free_stream_can_be_timed(data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    monkeypatch.setattr(Learner, "begin_task", None)
    work = assignment(name="replay", changes={"study.scenario": "task_free"})
    assert run_pilot(work, [2], data).rates[2] > 0


def test_a_batch_larger_than_the_task_can_be_timed(data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    assert run_pilot(assignment(batch_size=100_000), [1], data).rates[1] > 0


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


def test_a_pilot_times_the_published_defaults():
    design, method = quick(changes={"confirm.seeds": {"first": 100, "count": 7}})
    work = pilot_work(design, method)
    assert (work.phase, work.tasks, work.stream) == ("tune", None, "split_digits")
    assert work.configuration == method.configuration({})


FIRST = {"tune.protocol": "first_tasks", "tune.tasks": 1}


@pytest.mark.parametrize(
    ("changes", "tuned_on"), [({}, "split_digits"), (HELD_OUT, "halves"), (FIRST, "split_digits")]
)
def test_the_stream_of_the_study_is_timed_and_that_of_the_sweep_when_asked_for(
    changes, tuned_on, halves
):
    design, method = quick(changes=changes)
    timed = {phase: pilot_work(design, method, phase) for phase in ("tune", "confirm")}
    assert timed["confirm"] == pilot_work(design, method)
    assert timed["confirm"].stream == "split_digits"
    assert timed["tune"].stream == tuned_on
    assert {(work.phase, work.tasks) for work in timed.values()} == {("tune", None)}


# -- the pilot of a run


def chosen_sizes(folder, spec, found):
    """Decide on stack sizes as a run does, with pilots that find this; return what was timed."""
    timed, console = [], Silent()

    def pilots(study, methods, data, device, console):
        timed.append((device, [method.name for method in methods]))
        return {method.name: found[method.name] for method in methods}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_run_pilots", pilots)
        sizes = runner._stack_sizes(Study(resolve(spec, "x"), folder, folder.ledger()), {}, console)
    return sizes, timed, [*console.steps, *console.said]


BOTH = {"finetune": Pilot({1: 1.0, 2: 3.0, 5: 2.0}), "replay": Pilot({1: 1.0, 2: 0.5})}
ON_GPU = {"resources.gpus_per_trial": 1}


def test_what_a_pilot_finds_is_kept_and_not_timed_again(tmp_path):
    folder, spec, _ = admit(tmp_path)
    sizes, timed, said = chosen_sizes(folder, spec, BOTH)
    assert (sizes, timed) == ({"finetune": 2, "replay": 1}, [("cpu", ["finetune", "replay"])])
    assert said == ["pilot: timing stack sizes of finetune, replay"]
    stack = StackSize(size=2, device="cpu", seed_steps_per_second=BOTH["finetune"].rates)
    assert Folder.open(tmp_path)[0].facts.stacks["finetune"] == stack
    again, timed, said = chosen_sizes(Folder.open(tmp_path)[0], spec, {})
    assert (again, timed, said) == (sizes, [("cpu", [])], [])


def test_a_given_size_is_taken_without_a_pilot(tmp_path):
    folder, spec, _ = admit(tmp_path, {"resources.seeds_per_stack": 3})
    sizes, timed, said = chosen_sizes(folder, spec, {})
    assert (sizes, timed, said) == ({"finetune": 3, "replay": 3}, [], [])
    assert folder.facts.stacks == {}


def test_a_method_whose_pilot_failed_runs_one_seed_at_a_time_and_nothing_is_kept(tmp_path):
    folder, spec, _ = admit(tmp_path)
    found = {**BOTH, "replay": Pilot({}, "ValueError: too hot")}
    sizes, _, said = chosen_sizes(folder, spec, found)
    assert sizes == {"finetune": 2, "replay": 1}
    assert said[1:] == ["methods.replay: its pilot failed (ValueError: too hot)"]
    assert list(folder.facts.stacks) == ["finetune"]
    _, timed, _ = chosen_sizes(folder, spec, BOTH)
    assert timed == [("cpu", ["replay"])]


def test_a_pilot_that_ended_early_keeps_what_it_timed(tmp_path):
    folder, spec, _ = admit(tmp_path)
    found = {**BOTH, "replay": Pilot({1: 1.0, 2: 2.0}, "OutOfMemoryError: full")}
    sizes, _, said = chosen_sizes(folder, spec, found)
    assert sizes["replay"] == folder.facts.stacks["replay"].size == 2
    assert len(said) == 1


def test_a_size_timed_on_another_kind_of_device_is_not_used(tmp_path):
    folder, spec, _ = admit(tmp_path)
    chosen_sizes(folder, spec, BOTH)
    folder, spec, _ = admit(tmp_path, ON_GPU)
    sizes, timed, _ = chosen_sizes(folder, spec, {**BOTH, "replay": Pilot({1: 1.0, 5: 9.0})})
    assert timed == [("cuda", ["finetune", "replay"])]
    assert sizes["replay"] == 5
    assert folder.facts.stacks["replay"].device == "cuda"


@pytest.mark.parametrize("scenario", ["class", "task_free"])
def test_steps_are_timed_when_there_is_something_to_remember(scenario, data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    seen, kind = [], find_learner("replay")
    real = kind.observe

    def observe(self, batch):
        seen.append((batch.task._index, len(self.memory)))
        return real(self, batch)

    monkeypatch.setattr(kind, "observe", observe)
    run_pilot(assignment(name="replay", changes={"study.scenario": scenario}), [1], data)
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


def test_a_stream_of_one_task_can_be_timed(data, monkeypatch):
    monkeypatch.setattr(pilot, "SECONDS", 0.002)
    work = dataclasses.replace(assignment(), tasks=1)
    assert run_pilot(work, [1], data).rates[1] > 0


def test_a_learner_with_a_loop_of_its_own_is_known(monkeypatch):
    assert not pilot.has_own_loop("replay")
    assert not pilot.has_own_loop("joint")
    monkeypatch.setattr(find_learner("replay"), "learn", lambda self, task: None)
    assert pilot.has_own_loop("replay")


# -- pilots that do not end


class Waiting:
    """Ray as far as pilots are waited for: some end, some never do."""

    def __init__(self, ended):
        self.ended, self.waits, self.cancelled = ended, [], []

    def wait(self, references, num_returns, timeout=None):
        self.waits.append(timeout)
        late = [] if timeout is None else [r for r in references if r not in self.ended]
        return [r for r in references if r not in late], late

    def cancel(self, reference, force):
        self.cancelled.append((reference, force))


@pytest.mark.parametrize(
    ("minutes", "waits", "late", "said"),
    [
        (None, [600.0, None], [], ["pilot: no result of slow for 10 min."]),
        (2.0, [240.0], ["b"], []),
    ],
)
def test_a_pilot_that_does_not_end_is_spoken_of_or_stopped(minutes, waits, late, said, monkeypatch):
    console, stand_in = Silent(), Waiting({"a"})
    monkeypatch.setattr(runner, "ray", stand_in)
    assert runner._late_pilots({"a": "quick", "b": "slow"}, minutes, console) == late
    assert stand_in.waits == waits
    assert stand_in.cancelled == [(reference, True) for reference in late]
    assert console.said == said
