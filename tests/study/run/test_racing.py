"""Races over tuning seeds: which configurations get their next seeds, and what is kept of them."""

from __future__ import annotations

import numpy as np
import pytest
from factory import Run, Tune, admit, make_design, make_run, make_spec, make_study, no_pretraining
from optuna.trial import TrialState

from study.ledger import HEATS, Ledger
from study.run.driver import Driver
from study.run.racing import RacingTrials, heats
from study.run.whole import sources
from study.search import SweepSearch
from trainables.errors import InputError

RACE = {
    "tune.racing": True,
    "tune.seeds": [0, 1, 2, 3, 4],
    "tune.sampler": "random",
    "tune.trials": 5,
    "methods": {"replay": {}},
}
NOISE = {0: 0.0, 1: 0.02, 2: -0.02, 3: 0.01, 4: -0.01}


def race(place, learn, changes=None, slots=1, count=None):
    """Race the configurations of a sweep; return the source and what ran."""
    spec, ledger = make_spec({**RACE, **(changes or {})}), Ledger(place)
    run = make_run(spec, ledger, slots, stack=9)
    source = RacingTrials(run, "replay", no_pretraining(run))
    tune = Tune(source, learn)
    tune.run(count)
    return source, tune


def by_order(*means):
    """Return what gives the configurations, in the order of their numbers, these mean scores."""
    known: dict[float, float] = {}

    def learn(work):
        mean = known.setdefault(work["configuration"]["lr"], means[min(len(known), len(means) - 1)])
        scores = np.array([mean + NOISE[seed] for seed in work["seeds"]])
        return Run(scores[:, None, None])

    return learn


def seeds_of(tune):
    """Return the seeds of each trial that ran, by learning rate in the order of first use."""
    found: dict[float, list[tuple[int, ...]]] = {}
    for asked in tune.asked.values():
        work = asked["work"]
        found.setdefault(work["configuration"]["lr"], []).append(tuple(work["seeds"]))
    return list(found.values())


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [(0,)]),
        (2, [(0,), (1,)]),
        (3, [(0,), (1,), (2,)]),
        (8, [(0,), (1,), (2, 3), (4, 5, 6, 7)]),
        (10, [(0,), (1,), (2, 3), (4, 5, 6, 7), (8, 9)]),
    ],
)
def test_the_seeds_so_far_double(count, expected):
    assert list(heats(range(count))) == expected


def test_only_what_may_be_the_best_gets_more_seeds(tmp_path):
    source, tune = race(tmp_path, by_order(0.5, 0.4, 0.6, 0.55, 0.7))
    whole, worse, better = [(0, 1, 2, 3, 4)], [(0,)], [(0,), (1,), (2, 3), (4,)]
    assert seeds_of(tune) == [whole, worse, better, worse, better]
    states = [(e.number, e.state, round(e.values[0], 6)) for e in source.ledger.entries("tune")]
    assert states == [
        (0, "complete", 0.5),
        (1, "pruned", 0.4),
        (2, "complete", 0.6),
        (3, "pruned", 0.55),
        (4, "complete", 0.7),
    ]
    assert source.study.sweep("replay").best.number == 4
    assert source.has_ended


def test_a_race_is_lost_on_the_mean_over_the_same_seeds(tmp_path):
    """0.5 on every seed, against 0.55, 0.5, 0.3, 0.3: ahead after one and two seeds, not four."""

    def learn(work):
        if work["configuration"]["lr"] == 0.001:
            return Run(0.5)
        scores = [(0.55, 0.5, 0.3, 0.3, 0.9)[seed] for seed in work["seeds"]]
        return Run(np.array(scores)[:, None, None])

    source, tune = race(tmp_path, learn, {"tune.trials": 2})
    assert seeds_of(tune)[1] == [(0,), (1,), (2, 3)]
    [_, lost] = source.ledger.entries("tune")
    assert (lost.state, lost.values) == ("pruned", pytest.approx([(0.55 + 0.5 + 0.3 + 0.3) / 4]))
    assert source.ledger.outcome(lost).seeds.tolist() == [0, 1, 2, 3]


def test_a_minimised_metric_is_raced_the_other_way(tmp_path):
    def learn(work):
        kept = 0.9 if work["configuration"]["lr"] == 0.001 else 0.5
        matrix = np.full((5, 5), 0.9)
        matrix[-1] = kept
        return Run(matrix[None])

    _, tune = race(tmp_path, learn, {"study.metric": "forgetting", "tune.trials": 2})
    assert seeds_of(tune)[1] == [(0,)]


def test_optuna_hears_of_a_lost_race_as_a_pruned_trial_with_its_partial_mean(tmp_path):
    source, _ = race(tmp_path, by_order(0.5, 0.4, 0.6, 0.55, 0.7))
    trials = source.search.study.trials
    assert [t.state for t in trials[:2]] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert trials[1].value == pytest.approx(0.4)
    design = make_design(RACE)
    again = SweepSearch.of(design, design.methods["replay"], source.ledger.entries("tune"))
    partial = [trial.intermediate_values[5] for trial in trials]
    assert [t.intermediate_values[5] for t in again.study.trials] == pytest.approx(partial)


@pytest.mark.parametrize("stop", range(1, 13))
def test_a_race_that_is_interrupted_ends_as_if_it_had_not_been(stop, tmp_path):
    means = (0.5, 0.4, 0.6, 0.55, 0.7)
    rates = {
        e.number: e.params["lr"]
        for e in race(tmp_path / "rates", by_order(*means))[0].ledger.entries("tune")
    }

    def learn(work):
        number = next(n for n, lr in rates.items() if lr == work["configuration"]["lr"])
        return Run(np.array([means[number] + NOISE[s] for s in work["seeds"]])[:, None, None])

    whole, all_ = race(tmp_path / "whole", learn)
    _, first = race(tmp_path / "part", learn, count=stop)
    first.ask()  # in flight when the driver dies
    part, second = race(tmp_path / "part", learn)

    def ended(source):
        return [(e.number, e.state, e.values, e.seconds) for e in source.ledger.entries("tune")]

    assert ended(part) == ended(whole)
    assert min(stop, len(all_.asked)) + len(second.asked) == len(all_.asked)
    assert part.ledger.unfinished() == []


def test_a_heat_that_fails_or_diverges_ends_its_trial(tmp_path):
    ends = iter([Run(0.5), Run(failure="Traceback\nboom"), Run(diverged=(0,)), Run(0.1), Run(0.1)])
    source, _ = race(tmp_path, lambda work: next(ends))
    states = [(e.number, e.state) for e in source.ledger.entries("tune")]
    assert states == [(0, "complete"), (1, "failed"), (2, "diverged"), (3, "pruned"), (4, "pruned")]
    assert [e.reason for e in source.ledger.entries("tune")][1] == "boom"
    study = make_study(make_spec(RACE), source.ledger)
    assert study.crashed == 1
    assert "boom" in str(study.failures_of("replay"))
    [said] = source.run.console.said
    assert said.startswith("tune/replay/0001-")


def test_a_heat_that_is_lost_by_chance_runs_once_more_with_its_trial(tmp_path):
    source, tune = race(tmp_path, by_order(0.5, 0.6), count=1)
    for _ in range(3):
        lost = tune.ask()
        tune.driver.handle_lost_worker(lost, {"kind": "worker", "reason": "x", "tasks": 0})
    tune.run()
    states = {e.number: e.state for e in source.ledger.entries("tune")}
    assert states == dict.fromkeys(range(5), "complete")
    assert sum("failed" in text for text in source.run.console.said) == 1


def test_heats_are_no_trials_of_the_study(tmp_path):
    _, tune = race(tmp_path, by_order(0.5, 0.4, 0.6, 0.55, 0.7))
    found = Ledger(tmp_path)
    assert {e.method for e in found.entries()} == {"replay"}
    assert len(found.entries("tune", f"{HEATS}replay")) == len(tune.asked) - 1
    [trial] = [e for e in found.entries("tune") if e.number == 1]
    [heat] = [e for e in found.entries("tune", f"{HEATS}replay") if e.number == 1]
    assert (trial.seconds, trial.samples) == (heat.seconds, heat.samples)


def test_a_race_on_several_slots_spreads_configurations_and_runs_each_seed_once(tmp_path):
    _, tune = race(tmp_path, by_order(0.5, 0.4, 0.6, 0.55, 0.7), {"tune.trials": 9}, slots=4)
    works = [asked["work"] for asked in tune.asked.values()]
    pairs = [(work["configuration"]["lr"], seed) for work in works for seed in work["seeds"]]
    assert len(pairs) == len(set(pairs))


def test_a_whole_study_races(tmp_path):
    changes = {"confirm.seeds": {"first": 100, "count": 4}, "resources.seeds_per_stack": 9}
    _, spec, ledger = admit(tmp_path, {**RACE, **changes})
    run = make_run(spec, ledger, slots=2, stack=9)
    Tune(Driver(run, sources(run)), lambda work: Run(0.5)).run()
    assert make_study(spec, ledger).complete


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tune.trials": 0}, "nothing is tuned"),
        ({"tune.seeds": [3]}, "at least two tuning seeds"),
        ({"tune.objectives": ["average_accuracy", "memory_bytes"]}, "a single objective"),
        ({"tune.pruner": "asha"}, "between seeds, or between tasks"),
        ({"tune.require": {"learning_accuracy": 0.8}}, "whatever tune.require says"),
    ],
)
def test_what_cannot_race_is_refused(changes, reason):
    with pytest.raises(InputError, match=f"tune.racing: .*{reason}.*Set tune.racing = false"):
        make_design({**RACE, **changes})
