"""The best configuration on fresh seeds: which one, and which seeds still lack it."""

from __future__ import annotations

import pytest
from factory import (
    Run,
    Tune,
    add,
    make_confirmation,
    make_entry,
    make_outcome,
    make_spec,
    make_study,
    waiting,
)
from hypothesis import given
from hypothesis import strategies as st

from study.ledger import Ledger
from study.run.source import Room, split_evenly
from trainables import find_learner

NOT_TUNED = {"tune.trials": 0}
ALONE = {**NOT_TUNED, "methods": {"replay": {}}}


def best_of(spec, ledger, name="replay"):
    return make_study(spec, ledger).confirmation(name).configuration


def places_of(spec, ledger, name="replay"):
    return make_study(spec, ledger).confirmation(name).places()


def groups(entries, method="replay"):
    return [e.seeds for e in entries if e.method == method]


# -- the best configuration


def tuned(folder, values, changes=None, states=None):
    """A ledger of one sweep whose trials ended with these values."""
    spec, ledger = make_spec({"tune.trials": len(values), **(changes or {})}), Ledger(folder)
    for number, value in enumerate(values):
        add(
            ledger,
            spec,
            "replay",
            "tune",
            number=number,
            values=value if isinstance(value, list) else [value],
            state=states[number] if states else "complete",
            params={"lr": 0.001 * (number + 1)},
        )
    return spec, ledger


def best_lr(*args, **kwargs):
    found = best_of(*tuned(*args, **kwargs))
    return None if found is None else round(found["lr"], 6)


def test_the_highest_score_wins(tmp_path):
    assert best_lr(tmp_path, [0.5, 0.7, 0.6]) == 0.002


def test_the_earliest_of_equals_wins(tmp_path):
    assert best_lr(tmp_path, [0.5, 0.7, 0.7, 0.7]) == 0.002


def test_a_minimised_metric_is_minimised(tmp_path):
    assert best_lr(tmp_path, [0.5, 0.2, 0.7, 0.2], {"study.metric": "forgetting"}) == 0.002


def test_the_first_objective_chooses(tmp_path):
    two = {"tune.objectives": ["average_accuracy", "memory_bytes"]}
    assert best_lr(tmp_path, [[0.5, 1.0], [0.7, 9.0], [0.6, 0.0]], two) == 0.002


def test_only_complete_trials_may_win(tmp_path):
    states = ["complete", "pruned", "diverged", "failed"]
    assert best_lr(tmp_path, [0.1, 0.9, 0.8, 0.7], states=states) == 0.001


def test_a_score_that_is_no_number_never_wins(tmp_path):
    nan = float("nan")
    assert best_lr(tmp_path / "a", [nan, 0.1, 0.2]) == 0.003
    assert best_lr(tmp_path / "b", [0.2, nan, 0.1]) == 0.001


@pytest.mark.parametrize("states", [["failed"], ["diverged"], ["pruned"], []])
def test_nothing_is_confirmed_when_no_trial_finished(tmp_path, states):
    spec, ledger = tuned(tmp_path, [0.5] * len(states), {"tune.trials": 3}, states)
    assert best_of(spec, ledger) is None
    assert places_of(spec, ledger).found == {}
    assert groups(waiting(spec, ledger)) == []


def test_without_a_sweep_the_defaults_are_confirmed(tmp_path):
    spec = make_spec({**NOT_TUNED, "methods.replay": {"fixed": {"lr": 0.5}}})
    found = best_of(spec, Ledger(tmp_path))
    assert found == make_study(spec, Ledger(tmp_path)).methods["replay"].configuration({})
    assert found["lr"] == 0.5


def test_trials_tuned_on_other_seeds_do_not_choose(tmp_path):
    _, ledger = tuned(tmp_path, [0.5, 0.7])
    assert best_of(make_spec({"tune.seeds": [5, 6]}), ledger) is None


# -- what still lacks


@given(st.lists(st.integers(), min_size=1, max_size=40, unique=True), st.data())
def test_seeds_are_spread_over_parts_that_differ_by_at_most_one(seeds, data):
    parts = data.draw(st.integers(1, len(seeds)))
    found = split_evenly(seeds, parts)
    sizes = [len(part) for part in found]
    assert [seed for part in found for seed in part] == seeds
    assert len(found) == parts
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8, 64])
@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_trials_fill_the_slots_and_hold_each_seed_once(tmp_path, slots, count, number):
    names = ["replay", "finetune", "joint"][:number]
    spec = make_spec(
        {
            **NOT_TUNED,
            "methods": {name: {} for name in names},
            "confirm.seeds": {"first": 100, "count": count},
        }
    )
    tune, entries = Tune(make_confirmation(spec, Ledger(tmp_path), slots)), []
    while (trial := tune.ask()) is not None:
        entries.append(tune.driver.trials[trial].entry)
    assert len(entries) == min(slots, count * number)
    for trial in tune.asked:
        tune.end(trial, Run())
    tune.run()
    for name in names:
        of_method = [e for e in tune.driver.ledger.entries() if e.method == name]
        found = sorted(seed for entry in of_method for seed in entry.seeds)
        assert found == list(spec.confirm_seeds)
        sizes = [len(entry.seeds) for entry in of_method]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("room", "parts"),
    [
        (Room(slots=4, free=4), 4),  # the only trial has all slots
        (Room(slots=4, free=4, ready=1, later=1), 2),
        (Room(slots=8, free=8, ready=2, later=2), 2),
        (Room(slots=64, free=30, ready=1, later=90), 15),  # the others are not ready
        (Room(slots=4, free=1, ready=3, later=3), 1),  # as many trials as slots
        (Room(slots=4, free=1, ready=1, later=1), 2),  # the end of the study: slots become free
        (Room(slots=2, free=1, ready=9, later=30), 1),
        (Room(slots=64, free=5), 5),  # not 64: all seeds can start now
    ],
)
def test_a_trial_is_divided_where_slots_would_stay_empty(room, parts):
    assert room.parts == parts


def test_pending_trials_are_of_the_confirmation(tmp_path):
    spec = make_spec({**NOT_TUNED, "confirm.evaluate_every": 9})
    for entry in waiting(spec, Ledger(tmp_path)):
        assert (entry.phase, entry.number, entry.state) == ("confirm", None, "running")
        assert entry.work["evaluate_every"] == 9


def test_interrupted_groups_come_back_as_they_were(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    tune = Tune(make_confirmation(spec, ledger, slots=2))
    first, second = tune.ask(), tune.ask()
    before = [tune.asked[trial]["work"] for trial in (first, second)]
    assert [work["seeds"] for work in before] == [[100, 101], [102, 103]]
    again = waiting(spec, Ledger(tmp_path), slots=4)
    assert [entry.work for entry in again] == before
    tune.end(second)
    assert groups(waiting(spec, Ledger(tmp_path), slots=4)) == [(100, 101)]


def test_seeds_that_never_started_are_spread_anew(tmp_path):
    spec = make_spec(ALONE)
    Tune(make_confirmation(spec, Ledger(tmp_path), slots=3)).ask()
    assert groups(waiting(spec, Ledger(tmp_path), slots=1)) == [(100, 101), (102, 103)]


def test_an_interrupted_group_with_a_seed_that_is_no_longer_wanted_is_cut_anew(tmp_path):
    ledger = Ledger(tmp_path)
    tune = Tune(make_confirmation(make_spec(ALONE), ledger, slots=2))
    tune.ask(), tune.ask()
    fewer = make_spec({**ALONE, "confirm.seeds": [100, 101, 102]})
    assert sorted(groups(waiting(fewer, ledger, slots=1))) == [(100, 101), (102,)]


def test_an_interrupted_group_of_another_configuration_is_not_resumed(tmp_path):
    spec, ledger = tuned(tmp_path, [0.5, 0.7], {"methods": {"replay": {}}})
    Tune(make_confirmation(spec, ledger, slots=1)).ask()
    more = make_spec({"methods": {"replay": {}}, "tune.trials": 3})
    add(ledger, more, "replay", "tune", number=2, values=[0.9], params={"lr": 0.009})
    [entry] = waiting(more, ledger, slots=1)
    assert entry.work["configuration"]["lr"] == 0.009


def test_only_missing_seeds_run(tmp_path):
    spec, ledger = make_spec(NOT_TUNED), Ledger(tmp_path)
    add(ledger, spec, "replay", seeds=(100, 102))
    entries = waiting(spec, ledger, slots=1)
    assert groups(entries) == [(101, 103)]
    assert groups(entries, "finetune") == [(100, 101, 102, 103)]
    add(ledger, spec, "replay", seeds=(101, 103))
    assert groups(waiting(spec, ledger, slots=1)) == []


def test_seeds_added_later_run_alone(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    Tune(make_confirmation(spec, ledger)).run()
    more = make_spec({**ALONE, "confirm.seeds": {"first": 98, "count": 8}})
    assert groups(waiting(more, ledger, slots=1)) == [(98, 99, 104, 105)]


def test_seeds_no_longer_asked_for_are_not_counted(tmp_path):
    ledger = Ledger(tmp_path)
    add(ledger, make_spec(ALONE), "replay")
    fewer = make_spec({**ALONE, "confirm.seeds": [101]})
    assert list(places_of(fewer, ledger).found) == [101]


def test_a_place_is_the_entry_and_the_position_of_a_seed_in_it(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    late = add(ledger, spec, "replay", seeds=(103, 101))
    early = add(ledger, spec, "replay", seeds=(100,))
    found = places_of(spec, ledger).found
    assert found == {103: (late, 0), 101: (late, 1), 100: (early, 0)}


def test_a_failed_seed_runs_again_if_that_is_asked_for_and_is_reported_until_it_succeeds(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    trace = "Traceback\n  deep\nValueError: too hot\n"
    for seed in (100, 101):
        add(ledger, spec, "replay", seeds=(seed,), state="failed", failure=trace)
    add(ledger, spec, "replay", seeds=(102, 103))
    places = places_of(spec, ledger)
    assert places.failures == {100: "ValueError: too hot", 101: "ValueError: too hot"}
    assert sorted(places.found) == [102, 103]
    assert waiting(spec, ledger) == []
    assert groups(waiting(spec, ledger, slots=1, retry_failed=True)) == [(100,), (101,)]
    add(ledger, spec, "replay", seeds=(100,))
    add(ledger, spec, "replay", seeds=(101,))
    places = places_of(spec, ledger)
    assert places.failures == {}
    assert sorted(places.found) == [100, 101, 102, 103]
    assert waiting(spec, ledger, retry_failed=True) == []


def hot(work):
    """Seed 101 raises, and takes the seeds of its trial with it."""
    return Run(failure=TRACE) if 101 in work["seeds"] else Run()


def confirm_all(spec, ledger, slots, learn, retry_failed=False):
    """Run a confirmation to its end; return the seeds of each trial."""
    tune = Tune(make_confirmation(spec, ledger, slots, retry_failed=retry_failed), learn)
    tune.run()
    return [tuple(asked["work"]["seeds"]) for asked in tune.asked.values()]


@pytest.mark.parametrize("slots", [1, 2, 3, 4])
def test_a_seed_that_raises_fails_alone_however_seeds_share_trials(tmp_path, slots):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    confirm_all(spec, ledger, slots, hot)
    places = places_of(spec, ledger)
    assert places.failures == {101: "ValueError: too hot"}
    assert sorted(places.found) == [100, 102, 103]
    assert failed(spec, ledger) == ["confirm/replay seed 101"]


def test_a_failed_trial_of_several_seeds_is_taken_apart_at_once_and_only_once(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    apart = [(100,), (101,), (102,), (103,)]
    assert confirm_all(spec, ledger, 1, hot) == [(100, 101, 102, 103), *apart]
    assert confirm_all(spec, ledger, 1, hot) == []
    assert make_study(spec, ledger).complete
    assert confirm_all(spec, ledger, 1, hot, retry_failed=True) == [(101,)]  # once


def test_a_failed_trial_of_several_seeds_is_no_seeds_failure(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    add(ledger, spec, "replay", seeds=(100, 101), **BROKEN)
    assert places_of(spec, ledger).failures == {}
    assert failed(spec, ledger) == []
    assert groups(waiting(spec, ledger, slots=1)) == [(100,), (101,), (102, 103)]


def test_a_diverged_seed_is_a_result_and_does_not_run_again(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    add(ledger, spec, "replay", state="diverged", values=[float("nan")])
    assert sorted(places_of(spec, ledger).found) == list(spec.confirm_seeds)
    assert waiting(spec, ledger) == waiting(spec, ledger, retry_failed=True) == []


def test_entries_of_another_method_configuration_or_phase_do_not_count(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    add(ledger, make_spec(NOT_TUNED), "finetune")
    add(ledger, spec, "replay", params={"lr": 0.5})
    add(ledger, spec, "replay", "tune", number=0, seeds=spec.confirm_seeds)
    add(ledger, make_spec({**ALONE, "confirm.evaluate_every": 3}), "replay")
    assert places_of(spec, ledger).found == {}


# -- what failed


def failed(spec, ledger, name="replay"):
    return list(make_study(spec, ledger).failures_of(name))


TRACE = "Traceback\n  deep\nValueError: too hot\n"
BROKEN = {"state": "failed", "failure": TRACE}
OTHER_VALUE = {"methods.replay": {"fixed": {"epochs": 2}}}


def test_a_failed_trial_of_the_sweep_is_a_failure(tmp_path):
    spec, ledger = make_spec(), Ledger(tmp_path)
    entry = add(ledger, spec, "replay", "tune", number=3, **BROKEN)
    assert failed(spec, ledger) == [entry.folder]
    assert failed(spec, ledger, "finetune") == []


def test_a_sweep_whose_trials_all_failed_has_ended_and_gives_nothing_to_confirm(tmp_path):
    spec, ledger = make_spec({"tune.trials": 1}), Ledger(tmp_path)
    entry = add(ledger, spec, "replay", "tune", number=0, **BROKEN)
    assert failed(spec, ledger) == [entry.folder, "confirm/replay"]
    assert make_study(spec, ledger).crashed == 1  # what to run again
    study = make_study(spec, ledger, retry_failed=True)
    assert list(study.failures_of("replay")) == [entry.folder, "confirm/replay"]
    assert study.sweep("replay").missing == [0]


@pytest.mark.parametrize("changes", [{"tune.trials": 3}, {"tune.seeds": [8, 9]}, OTHER_VALUE])
def test_a_failed_trial_that_the_study_no_longer_asks_for_is_none(tmp_path, changes):
    ledger = Ledger(tmp_path)
    add(ledger, make_spec(), "replay", "tune", number=3, **BROKEN)
    assert failed(make_spec(changes), ledger) == []


@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_a_failure_of_another_version_is_none(tmp_path, phase, monkeypatch):
    spec, ledger = make_spec({} if phase == "tune" else NOT_TUNED), Ledger(tmp_path)
    number = 0 if phase == "tune" else None
    seeds = (100,) if phase == "confirm" else None
    add(ledger, spec, "replay", phase, number=number, seeds=seeds, **BROKEN)
    assert failed(spec, ledger)
    monkeypatch.setattr(find_learner("replay"), "version", 99)
    assert failed(spec, ledger) == []


@pytest.mark.parametrize("state", ["complete", "pruned", "diverged"])
def test_a_trial_of_the_sweep_that_ended_is_no_failure_however_it_ended(tmp_path, state):
    spec, ledger = make_spec(), Ledger(tmp_path)
    add(ledger, spec, "replay", "tune", number=0, state=state, values=[float("nan")])
    assert failed(spec, ledger) == []


def test_a_failed_trial_that_later_finished_is_none(tmp_path):
    spec, ledger = make_spec(), Ledger(tmp_path)
    add(ledger, spec, "replay", "tune", number=0, **BROKEN)
    add(ledger, spec, "replay", "tune", number=0, values=[0.5])
    assert failed(spec, ledger) == []


def test_failed_and_diverged_seeds_of_the_confirmation_are_failures(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    add(ledger, spec, "replay", seeds=(103,), **BROKEN)
    add(ledger, spec, "replay", seeds=(100,))
    add(ledger, spec, "replay", seeds=(101,), state="diverged", values=[float("nan")])
    assert failed(spec, ledger) == ["confirm/replay seed 101", "confirm/replay seed 103"]
    assert make_study(spec, ledger).crashed == 1
    add(ledger, spec, "replay", seeds=(103,))
    assert failed(spec, ledger) == ["confirm/replay seed 101"]


def test_only_the_diverged_seeds_of_a_group_are_failures(tmp_path):
    spec, ledger = make_spec(ALONE), Ledger(tmp_path)
    outcome = make_outcome(spec.confirm_seeds, diverged=(102,))
    add(ledger, spec, "replay", state="diverged", values=[float("nan")], outcome=outcome)
    told = {"confirm/replay seed 102": "diverged on task 5: a loss or an output was not finite"}
    study = make_study(spec, ledger)
    assert (study.failures_of("replay"), study.crashed) == (told, 0)


@pytest.mark.parametrize("changes", [{"confirm.seeds": [200]}, OTHER_VALUE])
def test_a_failed_seed_that_the_study_no_longer_asks_for_is_none(tmp_path, changes):
    ledger = Ledger(tmp_path)
    for seed in (100, 101):
        add(ledger, make_spec(NOT_TUNED), "replay", seeds=(seed,), **BROKEN)
    spec = make_spec(NOT_TUNED)
    add(ledger, spec, "replay", seeds=(102, 103), state="diverged", values=[float("nan")])
    assert len(failed(spec, ledger)) == 4
    assert failed(make_spec({**NOT_TUNED, **changes}), ledger) == []


# -- the confirmation as a source of trials


def test_a_confirmation_runs_every_seed_of_every_method_once(tmp_path):
    spec, ledger = make_spec(NOT_TUNED), Ledger(tmp_path)
    tune = Tune(make_confirmation(spec, ledger, slots=3), lambda work: Run())
    assert len(tune.run()) == 4  # the second method shares the slots that become free
    for name in ("finetune", "replay"):
        assert sorted(places_of(spec, ledger, name).found) == list(spec.confirm_seeds)
    assert ledger.unfinished() == []
    assert Tune(make_confirmation(spec, Ledger(tmp_path))).run() == []


def test_each_trial_is_told_the_stack_of_its_method(tmp_path):
    spec = make_spec(NOT_TUNED)
    sources = make_confirmation(spec, Ledger(tmp_path))
    stacks = sources[0].run.stacks
    stacks.settings = {"finetune": {"stack": 3}, "replay": {"stack": 1, "stacks": {"x": 9}}}.get
    tune = Tune(sources)
    tune.run()
    told = {asked["work"]["learner"]: asked["stack"] for asked in tune.asked.values()}
    assert told == {"finetune": 3, "replay": 1}
    assert [a["stacks"] for a in tune.asked.values() if "stacks" in a] == [{"x": 9}] * 2


def test_the_confirmation_follows_the_sweep(tmp_path):
    spec, ledger = tuned(tmp_path, [0.5, 0.7], {"methods": {"replay": {}}})
    Tune(make_confirmation(spec, ledger)).run()
    entries = ledger.entries("confirm")
    assert {e.work["configuration"]["lr"] for e in entries} == {0.002}
    assert make_entry(spec, "replay", params={"lr": 0.002}, seeds=(100, 101)).key in {
        e.key for e in entries
    }


TWINS = {**NOT_TUNED, "methods": {"replay": {}, "again": {"learner": "replay"}}}


def test_methods_that_compute_the_same_are_both_confirmed_whenever_the_driver_dies(tmp_path):
    spec = make_spec(TWINS)
    asked = 4
    for done in range(asked + 1):
        ledger = Ledger(tmp_path / str(done))
        tune = Tune(make_confirmation(spec, ledger, slots=asked))
        trials = [tune.ask() for _ in range(asked)]
        names = {tune.asked[trial]["name"] for trial in trials}
        assert len(names) == len(list((ledger.folder / "running").iterdir())) == asked
        for trial in trials[:done]:
            tune.end(trial, Run())
        again = Ledger(ledger.folder)
        left = {(e.method, e.seeds) for e in again.unfinished()}
        assert len(left) == asked - done
        rest = Tune(make_confirmation(spec, again))
        rest.run()
        assert {asked["name"] for asked in rest.asked.values()} <= names
        for name in spec.methods:
            assert sorted(places_of(spec, again, name).found) == list(spec.confirm_seeds)
            assert {e.method for e, _ in places_of(spec, again, name).found.values()} == {name}
        assert again.unfinished() == []
