"""How far a study is, in numbers and in a line."""

from __future__ import annotations

import pytest
from factory import (
    Run,
    Tune,
    add,
    admit,
    build_study,
    make_confirmation,
    make_spec,
    make_study,
    make_sweep,
)

from study.progress import progress


def found(place, changes=None, **running):
    """The progress of a study whose folder has been made."""
    _, spec, ledger = admit(place, changes)
    return progress(make_study(spec, ledger), **running)


def test_a_study_that_begins(tmp_path):
    now = found(tmp_path, running=1, slots=2)
    assert now.line == "tuned 0/8, confirmed 0/2, rechecked 0/2, 1/2 slots busy"


def test_a_study_that_has_ended(tmp_path):
    build_study(tmp_path / "small", make_spec())
    line = found(tmp_path / "small").line
    assert line.startswith(
        "tuned 8/8, confirmed 2/2, rechecked 2/2; best in validation: finetune 0.8"
    )


def test_what_was_not_tuned_is_not_counted(tmp_path):
    assert found(tmp_path, {"tune.trials": 0}).line == "confirmed 0/2"


def test_failed_trials_and_the_best_values_are_told(tmp_path):
    _, spec, ledger = admit(tmp_path)
    for number, value in enumerate((0.5, 0.7)):
        add(ledger, spec, "replay", "tune", number=number, values=[value])
    add(ledger, spec, "finetune", "tune", number=0, state="failed", failure="boom")
    now = progress(make_study(spec, ledger), running=2, slots=4)
    assert (now.done["tune"], now.failed, now.best) == ((3, 8), 1, {"replay": 0.7})
    assert "1 failed, 2/4 slots busy" in now.line


def test_the_time_left_is_that_of_the_missing_seeds(tmp_path):
    """Two tuning seeds and four others each of confirmation and recheck; a seed of replay takes 3
    seconds and one of finetune 1, where it is known.
    """
    _, spec, ledger = admit(tmp_path)
    assert progress(make_study(spec, ledger), slots=2).seconds_left is None
    add(ledger, spec, "replay", "tune", number=0, values=[0.5], seconds=6.0)
    left = 3.0 * (3 * 2 + 4 + 4) + 3.0 * (4 * 2 + 4 + 4)  # finetune is taken to be as slow
    assert progress(make_study(spec, ledger), slots=2).seconds_left == pytest.approx(left / 2)
    add(ledger, spec, "finetune", "tune", number=0, values=[0.5], seconds=2.0)
    left = (3.0 + 1.0) * (3 * 2 + 4 + 4)
    assert progress(make_study(spec, ledger), slots=4).seconds_left == pytest.approx(left / 4)


def test_trials_that_were_stopped_say_how_long_a_trial_takes_and_not_how_long_a_seed(tmp_path):
    """A complete trial of two seeds takes 8 seconds; two others were stopped after 2."""
    _, spec, ledger = admit(tmp_path, {"methods": {"replay": {}}})
    add(ledger, spec, "replay", "tune", number=1, state="pruned", values=[0.1], seconds=2.0)
    left = 2.0 * 3 + 1.0 * (4 + 4)
    assert progress(make_study(spec, ledger), slots=1).seconds_left == pytest.approx(left)
    add(ledger, spec, "replay", "tune", number=0, values=[0.5], seconds=8.0)
    add(ledger, spec, "replay", "tune", number=2, state="pruned", values=[0.1], seconds=2.0)
    left = 4.0 * 1 + 4.0 * (4 + 4)
    assert progress(make_study(spec, ledger), slots=1).seconds_left == pytest.approx(left)


def test_seeds_that_have_run_are_not_left(tmp_path):
    _, spec, ledger = admit(tmp_path, {"methods": {"replay": {}}})
    Tune(make_sweep(spec, "replay", ledger), lambda work: Run(0.5)).run()
    Tune(make_confirmation(spec, ledger, slots=1), lambda work: Run(0.5)).run()
    now = progress(make_study(spec, ledger), slots=1)
    assert now.done == {"tune": (4, 4), "confirm": (1, 1), "recheck": (0, 1)}
    # the outcomes by hand take half a second a task
    assert now.seconds_left == pytest.approx(4 * 5 * 2.5 / (4 * 2 + 4))
