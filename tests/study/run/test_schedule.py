"""What a free slot does next, on simulated clusters: time passes as the test says, without Ray."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from factory import Run, Tune, admit, make_run, make_spec, make_study, tried
from hypothesis import given
from hypothesis import strategies as st

from study.ledger import Entry, Ledger
from study.run.driver import Driver
from study.run.schedule import Node, free_slots, slots
from study.run.whole import sources
from study.spec import Request

NAMES = [f"m{i:02d}" for i in range(12)]
TWELVE = {
    "methods": {name: {"learner": "replay"} for name in NAMES},
    "study.reference": "m00",
    "tune.trials": 8,
    "confirm.seeds": {"first": 100, "count": 10},
}


@dataclass
class Ended:
    """A trial that has run in a simulation."""

    entry: Entry
    start: float
    end: float
    known: int  # number of trials of its sweep that had ended when it was proposed


@dataclass
class Simulation:
    """A study that runs on a simulated cluster to its end, or until some time.

    Args:
        seconds: returns how long a trial takes.
    """

    tune: Tune
    seconds: Callable[[Entry], float]
    until: float = math.inf
    ended: list[Ended] = field(default_factory=list)
    busiest: int = 0

    def __post_init__(self) -> None:
        waiting: list[Any] = []
        order, now = itertools.count(), 0.0
        while True:
            while (trial := self.tune.ask()) is not None:
                entry = self.tune.driver.trials[trial].entry
                known = sum(e.entry.method == entry.method for e in self.ended)
                begun = Ended(entry, now, now + self.seconds(entry), known)
                heapq.heappush(waiting, (begun.end, next(order), trial, begun))
            self.busiest = max(self.busiest, len(waiting))
            if not waiting or waiting[0][0] > self.until:
                return
            now, _, trial, begun = heapq.heappop(waiting)
            self.tune.end(trial)
            self.ended.append(begun)

    def of(self, phase: str) -> list[Ended]:
        """Return the trials of a phase, in the order in which they ended."""
        return [each for each in self.ended if each.entry.phase == phase]

    @property
    def seconds_in_all(self) -> float:
        return max(each.end for each in self.ended)

    def busy_share(self, slots: int, until: float | None = None) -> float:
        """Return the share of slot time that trials take, up to some time."""
        last = self.seconds_in_all if until is None else until
        return sum(min(e.end, last) - min(e.start, last) for e in self.ended) / (slots * last)


def simulated(place, changes=None, slots=2, seconds=lambda entry: 1.0, learn=None, **more):
    """Run a study on a simulated cluster."""
    _, spec, ledger = admit(place, changes)
    run = make_run(spec.model_copy(update={"resources": FIXED}), ledger, slots)
    learn = learn or (lambda work: Run(0.8))
    return Simulation(Tune(Driver(run, sources(run)), learn), seconds, **more)


FIXED = make_spec({"resources.seeds_per_stack": 2}).resources


# -- no slot idles


@pytest.mark.parametrize("slots", [1, 2, 8, 64])
def test_no_slot_idles_while_as_many_trials_are_left(slots, tmp_path):
    """96 trials of sweeps, 12 configurations to confirm and 12 to recheck."""
    ran = simulated(tmp_path, TWELVE, slots, seconds=lambda entry: 1.0 + (entry.number or 0) % 3)
    assert ran.busiest == slots
    begun: dict[Any, float] = {}
    for each in ran.ended:
        job = (each.entry.phase, each.entry.method, each.entry.number)
        begun[job] = min(begun.get(job, math.inf), each.start)
    assert len(begun) == 120
    # then fewer are left, or only those that wait for the sweeps that run
    until = sorted(begun.values())[-min(slots, 25)]
    assert ran.busy_share(slots, until) >= 0.9


def test_a_study_takes_two_rounds_where_methods_one_by_one_would_take_twelve(tmp_path):
    ran = simulated(tmp_path, TWELVE, slots=64)
    last = max(each.end for each in ran.of("tune"))
    assert last == 2.0  # 96 trials of a second on 64 slots


def test_slots_fill_at_once(tmp_path):
    ran = simulated(tmp_path, TWELVE, slots=16, until=0.5)
    assert len(ran.tune.driver.trials) == 16


# -- the order


def test_sweeps_go_on_side_by_side_and_know_almost_all_of_their_trials(tmp_path):
    ran = simulated(tmp_path, TWELVE, slots=4)
    numbers = [each.entry.number for each in ran.of("tune")]
    assert numbers == sorted(numbers)
    assert all(each.known == each.entry.number for each in ran.of("tune"))


def test_a_method_is_confirmed_while_others_are_tuned(tmp_path):
    ran = simulated(tmp_path, slots=3, seconds=lambda e: 9.0 if e.method == "finetune" else 1.0)
    first = min(e.start for e in ran.of("confirm") if e.entry.method == "replay")
    last = max(e.end for e in ran.of("tune") if e.entry.method == "finetune")
    assert first < last


def test_a_confirmation_waits_for_its_sweep_and_a_recheck_for_all_other_work(tmp_path):
    ran = simulated(tmp_path, TWELVE, slots=4, seconds=lambda entry: len(entry.seeds))
    for name in NAMES:
        sweep = [e.end for e in ran.of("tune") if e.entry.method == name]
        assert min(e.start for e in ran.of("confirm") if e.entry.method == name) >= max(sweep)
    assert min(e.start for e in ran.of("recheck")) >= max(e.start for e in ran.of("confirm"))


def test_interrupted_trials_come_first(tmp_path):
    before = simulated(tmp_path, TWELVE, slots=4, until=5.5)
    running = {r.entry.folder for r in before.tune.driver.trials.values()}
    assert len(running) == 4
    after = simulated(tmp_path, TWELVE, slots=4, until=0.5)
    assert {r.entry.folder for r in after.tune.driver.trials.values()} == running


# -- what the order does not change


@pytest.mark.parametrize("slots", [1, 3, 64])
def test_results_are_those_of_one_slot_whatever_the_slots(slots, tmp_path):
    changes = {**TWELVE, "tune.sampler": "random"}
    one = simulated(tmp_path / "one", changes, 1, learn=tried)
    many = simulated(tmp_path / "many", changes, slots, learn=tried)

    def found(ran):
        study = make_study(make_spec(changes), Ledger(ran.tune.driver.ledger.folder))
        return [(study.sweep(n).best.params, study.confirmation(n).scores()) for n in NAMES]

    assert found(one) == found(many)


@pytest.mark.parametrize("stop", [0.5, 3.5, 9.5, 14.5, 17.5])
def test_a_driver_that_is_killed_at_any_time_repeats_no_trial(stop, tmp_path):
    changes = {"tune.sampler": "random", "confirm.top": 2, "tune.repeats": 2}
    whole = simulated(tmp_path / "whole", changes, learn=tried)
    first = simulated(tmp_path / "part", changes, learn=tried, until=stop)
    second = simulated(tmp_path / "part", changes, learn=tried)
    folders = [e.entry.folder for e in (*first.ended, *second.ended)]
    assert len(folders) == len(set(folders))

    def seeds(ended):
        found = [e.entry for e in ended]
        return sorted((e.phase, e.method, e.number or 0, s) for e in found for s in e.seeds)

    assert seeds([*first.ended, *second.ended]) == seeds(whole.ended)


# -- resources


@pytest.mark.parametrize(
    ("nodes", "request_", "expected"),
    [
        ([Node(8)], Request(1), 8),
        ([Node(1)], Request(0.1), 10),  # 1 // 0.1 is 9
        ([Node(2), Node(2)], Request(3), 0),  # no machine is large enough
        ([Node(5), Node(2)], Request(2), 3),
        ([Node(16, 2)], Request(1, 0.35), 4),  # two on each GPU, not five on both
        ([Node(16, 1), Node(16, 1)], Request(1, 0.5), 4),
        ([Node(3, 4)], Request(1, 1), 3),
        ([Node(16, 4), Node(16, 3)], Request(1, 2), 3),
        ([Node(16)], Request(1, 1), 0),
    ],
)
def test_slots_are_what_fits(nodes, request_, expected):
    assert slots(nodes, request_) == expected


def test_trials_of_several_sizes_share_a_machine():
    node = [Node(8, 2)]
    assert free_slots(node, [Request(2), Request(2)], Request(1)) == 4
    assert free_slots(node, [Request(1, 0.5)] * 3, Request(1, 1)) == 0
    assert free_slots(node, [Request(1, 0.5)] * 2, Request(1, 1)) == 1
    assert free_slots(node, [Request(1, 1)], Request(1, 0.35)) == 2
    assert free_slots([Node(4)], [Request(3)] * 2, Request(1)) == 1  # one waits for a machine


REQUESTS = st.sampled_from([Request(1), Request(2), Request(1, 0.5), Request(2, 1), Request(1, 2)])


@given(st.lists(st.sampled_from([Node(2), Node(4, 1), Node(8, 2)]), min_size=1), st.lists(REQUESTS))
def test_no_more_trials_start_than_a_cluster_has_room_for(nodes, wanted):
    running: list[Request] = []
    for request in wanted:
        if free_slots(nodes, running, request):
            running.append(request)
    assert sum(r.cpus for r in running) <= sum(n.cpus for n in nodes)
    assert sum(r.gpus for r in running) <= sum(n.gpus for n in nodes)


MIXED = {
    "methods": {
        "finetune": {},
        "replay": {"resources": {"cpus": 2}},
    }
}


def test_a_method_may_ask_for_more_than_the_others(tmp_path):
    ran = simulated(tmp_path, MIXED, slots=3)
    for each in ran.ended:
        beside = [e for e in ran.ended if e.start < each.end and each.start < e.end]
        assert sum(2 if e.entry.method == "replay" else 1 for e in beside) <= 3
    assert {e.entry.method for e in ran.of("confirm")} == {"finetune", "replay"}
    asked = {a["work"]["learner"]: a["cpus"] for a in ran.tune.asked.values()}
    assert asked == {"finetune": 1, "replay": 2}


def test_resources_of_a_method_may_change_between_runs(tmp_path):
    simulated(tmp_path, MIXED, slots=4, until=2.5)
    ran = simulated(tmp_path, slots=4)
    assert make_study(make_spec(), Ledger(ran.tune.driver.ledger.folder)).complete


def test_a_study_waits_for_a_machine_where_none_has_room_for_what_is_left(tmp_path):
    ran = simulated(tmp_path, slots=2, until=1.5)
    tune, driver = ran.tune, ran.tune.driver
    nodes = list(driver.run.nodes())
    object.__setattr__(driver.run, "nodes", list)
    for trial in list(driver.trials):
        tune.end(trial)
    assert tune.ask() is None
    assert not driver.exhausted
    object.__setattr__(driver.run, "nodes", lambda: nodes)
    tune.run()
    assert make_study(make_spec(), Ledger(driver.ledger.folder)).complete
