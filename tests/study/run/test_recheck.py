"""The best configuration once more, as in the sweep but on fresh seeds: what luck was worth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from factory import (
    HELD_OUT,
    Run,
    Tune,
    add,
    admit,
    build_study,
    make_confirmation,
    make_entry,
    make_spec,
    make_study,
    make_sweep,
)
from factory import waiting as waiting_in

from analysis.one_study.analyse import analyse
from study.check import resolve
from study.data import StudyData
from study.ledger import Ledger
from study.record import analyse_folder, study_record
from study.status import status

ONE = {"methods": {"replay": {}}, "tune.trials": 2}
TRACE = "Traceback\n  deep\nValueError: too hot\n"


def swept(folder, changes=None):
    """A ledger with a sweep of two trials, the second one better."""
    spec, ledger = make_spec({**ONE, **(changes or {})}), Ledger(folder)
    for number, value in enumerate((0.5, 0.7)):
        params = {"lr": 0.001 * (number + 1)}
        add(ledger, spec, "replay", "tune", number=number, values=[value], params=params)
    return spec, ledger


def waiting(spec, ledger, slots=1, retry_failed=False):
    return waiting_in(spec, ledger, slots, "recheck", retry_failed)


def recheck_all(spec, ledger, learn, retry_failed=False):
    Tune(make_confirmation(spec, ledger, 1, "recheck", retry_failed), learn).run()


# -- what runs


@pytest.mark.parametrize(("confirmed", "rechecked"), [(4, 4), (10, 10), (12, 10)])
def test_a_recheck_is_the_best_trial_of_the_sweep_on_the_first_seeds_of_the_confirmation(
    tmp_path, confirmed, rechecked
):
    spec, ledger = swept(tmp_path, {"confirm.seeds": {"first": 100, "count": confirmed}})
    best = make_study(spec, ledger).sweep("replay").best
    [entry] = waiting(spec, ledger)
    assert entry.seeds == tuple(range(100, 100 + rechecked))
    assert entry.work | {"seeds": best.work["seeds"]} == best.work
    assert (entry.phase, entry.number) == ("recheck", None)
    assert entry.folder.startswith("recheck/replay/seeds100-")


@pytest.mark.parametrize(
    ("changes", "stream", "tasks"),
    [
        ({"tune.protocol": "first_tasks", "tune.tasks": 2}, "split_digits", 2),
        (HELD_OUT, "halves", None),
        ({"confirm.evaluate_every": 5}, "split_digits", None),
    ],
)
def test_a_recheck_learns_the_stream_of_the_sweep(tmp_path, halves, changes, stream, tasks):
    [entry] = waiting(*swept(tmp_path, changes))
    work = entry.work
    assert (work["phase"], work["stream"], work["tasks"]) == ("tune", stream, tasks)
    assert work["evaluate_every"] == 0
    [source] = make_confirmation(*swept(tmp_path, changes), phase="recheck")
    assert source.tasks == {"halves": 2}.get(stream, tasks or 5)


def test_no_test_data_reach_a_recheck():
    data = StudyData.load(resolve(make_spec(), "x"), Path())
    assert sorted(data.of("recheck")) == sorted(data.of("tune")) == ["train"]
    assert sorted(data.of("confirm")) == ["test", "train"]


def test_nothing_is_rechecked_where_nothing_was_tuned_or_found(tmp_path):
    untuned = make_spec({**ONE, "tune.trials": 0})
    assert waiting(untuned, Ledger(tmp_path)) == []
    assert waiting(make_spec(ONE), Ledger(tmp_path)) == []
    add(Ledger(tmp_path), untuned, "replay")
    assert make_study(untuned, Ledger(tmp_path)).complete


def test_a_study_is_complete_only_with_its_recheck(tmp_path):
    spec, ledger = swept(tmp_path)
    Tune(make_confirmation(spec, ledger)).run()
    assert not make_study(spec, ledger).complete
    Tune(make_confirmation(spec, ledger, phase="recheck")).run()
    assert make_study(spec, ledger).complete
    assert waiting(spec, Ledger(tmp_path)) == []


def test_a_better_trial_that_comes_later_is_rechecked_anew(tmp_path):
    spec, ledger = swept(tmp_path)
    Tune(make_confirmation(spec, ledger, phase="recheck")).run()
    more = make_spec({**ONE, "tune.trials": 3})
    add(ledger, more, "replay", "tune", number=2, values=[0.9], params={"lr": 0.009})
    [entry] = waiting(more, ledger)
    assert entry.work["configuration"]["lr"] == 0.009


def test_an_interrupted_recheck_continues_as_itself(tmp_path):
    spec, ledger = swept(tmp_path)
    tune = Tune(make_confirmation(spec, ledger, slots=2, phase="recheck"))
    asked = [tune.asked[trial]["work"] for trial in (tune.ask(), tune.ask())]
    again = Ledger(tmp_path)
    assert [entry.phase for entry in again.unfinished()] == ["recheck", "recheck"]
    assert [entry.work for entry in waiting(spec, again)] == asked
    confirming = waiting_in(spec, again, slots=1)
    assert [entry.seeds for entry in confirming] == [(100, 101, 102, 103)]
    assert list(make_sweep(spec, "replay", again).earlier) == [0, 1]


def test_a_recheck_is_no_trial_of_the_sweep_and_no_confirmation(tmp_path):
    spec, ledger = swept(tmp_path)
    before = make_study(spec, ledger).sweep("replay")
    add(ledger, spec, "replay", "recheck", params={"lr": 0.002}, values=[0.99])
    study = make_study(spec, Ledger(tmp_path))
    after = study.sweep("replay")
    assert (after.entries, after.best) == (before.entries, before.best)
    assert study.confirmation("replay").places().found == {}
    assert sorted(study.recheck("replay").places().found) == list(spec.confirm_seeds)
    other = make_entry(spec, "replay", "recheck", params={"lr": 0.5})
    assert not study.recheck("replay").includes(other)


def test_a_seed_that_fails_is_told_and_tried_again_if_that_is_asked_for(tmp_path):
    def hot(work):
        return Run(failure=TRACE) if 101 in work["seeds"] else Run()

    admit(tmp_path, ONE)
    spec, ledger = swept(tmp_path / "ledger")
    recheck_all(spec, ledger, hot)
    study = make_study(spec, ledger)
    assert study.failures_of("replay") == {"recheck/replay seed 101": "ValueError: too hot"}
    assert study.crashed == 1
    assert waiting(spec, ledger) == []
    assert [entry.seeds for entry in waiting(spec, ledger, retry_failed=True)] == [(101,)]
    scores = study_record(study).methods[0].tuning.recheck
    assert {seed: score for seed, score in scores.items() if seed != 101} == pytest.approx(
        {100: 0.8, 102: 0.8, 103: 0.8}
    )
    assert np.isnan(scores[101])
    recheck_all(spec, ledger, lambda work: Run(), retry_failed=True)
    assert make_study(spec, ledger).failures_of("replay") == {}


def test_seeds_of_a_recheck_run_one_by_one_where_memory_ran_out(tmp_path):
    spec, ledger = swept(tmp_path)
    tune = Tune(make_confirmation(spec, ledger, slots=1, phase="recheck"))
    loss = {"kind": "memory", "reason": "out of memory", "tasks": 0}
    tune.driver.handle_lost_worker(tune.ask(), loss)
    assert [entry.seeds for entry in waiting(spec, ledger)] == [(100,), (101,), (102,), (103,)]


# -- what it says


def outcome_of(selection, shift):
    """Trials whose seeds differ by hand: validation 0.7 + ``selection`` in the sweep."""
    noise = {0: 0.02, 1: -0.02, 100: 0.03, 101: -0.01, 102: 0.01, 103: -0.03}

    def learn(work):
        base = 0.7 if work["phase"] == "tune" else 0.7 - shift
        lucky = selection if work["seeds"][0] < 100 else 0.0
        scores = np.array([base + lucky + noise[seed] for seed in work["seeds"]])
        return Run(scores[:, None, None])

    return learn


@pytest.mark.parametrize(("selection", "shift"), [(0.0, 0.1), (0.05, 0.1), (0.05, 0.0)])
@pytest.mark.parametrize("trials", [1, 4])
def test_luck_and_the_change_of_data_are_told_apart(tmp_path, trials, selection, shift):
    spec = make_spec({"tune.trials": trials})
    build_study(tmp_path, spec, outcome_of(selection, shift))
    for row in analyse_folder(tmp_path).tuning:
        assert (row.selection, row.shift) == pytest.approx((selection, shift), abs=1e-9)
        sd = np.std([0.03, -0.01, 0.01, -0.03], ddof=1)
        assert row.selection_error == pytest.approx(sd * np.sqrt(1 / 2 + 1 / 4))
        assert row.shift_error == pytest.approx(0.0, abs=1e-9)


def test_a_study_of_before_has_neither_until_it_runs_again(tmp_path):
    spec = make_spec()
    ledger = build_study(tmp_path, spec, outcome_of(0.0, 0.1))
    known = [entry.key for entry in ledger.entries()]
    shutil.rmtree(tmp_path / "ledger" / "recheck")
    analysis = analyse_folder(tmp_path)
    assert {(row.selection, row.shift) for row in analysis.tuning} == {(None, None)}
    assert [row.mean for row in analysis.methods] == pytest.approx([0.6, 0.6])
    assert {row["rechecked"] for row in status(tmp_path)} == {"0/4"}
    again = build_study(tmp_path, spec, outcome_of(0.0, 0.1))
    assert [entry.key for entry in again.entries()] == known
    assert analyse(study_record(make_study(spec, again))).tuning[0].selection is not None
