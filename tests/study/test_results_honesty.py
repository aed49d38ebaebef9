"""What a study cannot quietly change once it has seen results."""

from __future__ import annotations

import math

import pytest
from factory import Run, Tune, build_study, make_methods, make_spec, make_sweep

from study.confirm import failures
from study.folder import Folder
from study.ledger import Ledger
from study.results import analyse_folder, write_report
from study.run import complete
from trainables.errors import InputError


def test_a_smaller_family_and_another_margin_are_told_and_do_not_ease_the_test(tmp_path):
    three = {"methods": {"replay": {}, "finetune": {}, "ewc": {}}}
    build_study(tmp_path, make_spec({**three, "tune.trials": 0}))
    build_study(tmp_path, make_spec({"tune.trials": 0, "study.margin": 0.05}))
    found = analyse_folder(tmp_path)
    assert found.rules.comparisons == 2
    assert "margin was 0.01, now 0.05" in found.notes[0]
    assert "methods left out: ewc" in found.notes[0]


def test_a_method_added_later_is_told(tmp_path):
    build_study(tmp_path, make_spec({"tune.trials": 0}))
    build_study(tmp_path, make_spec({"tune.trials": 0, "methods": {"replay": {}, "ewc": {}}}))
    assert "methods added: ewc" in analyse_folder(tmp_path).notes[0]


def test_planned_seeds_that_have_run_cannot_be_taken_back(tmp_path):
    build_study(tmp_path, make_spec({"tune.trials": 0}))
    build_study(tmp_path, make_spec({"tune.trials": 0, "confirm.seeds.count": 2}))
    assert [row.n for row in analyse_folder(tmp_path).methods] == [4, 4]


def test_a_sweep_without_a_configuration_is_a_failure_and_ends_the_study(tmp_path):
    spec = make_spec({"tune.trials": 2})

    def learn(work):
        bad = work["phase"] == "tune" and work["learner"] == "finetune"
        return Run(diverged=tuple(work["seeds"]) if bad else ())

    build_study(tmp_path, spec, learn)
    methods, ledger = make_methods(spec), Folder.open(tmp_path)[0].ledger()
    assert complete(spec, methods, ledger)
    (told,) = failures(spec, methods["finetune"], ledger)
    assert "no trial of its sweep gave a configuration" in told
    (comparison,) = analyse_folder(tmp_path).comparisons
    assert "no trial of its sweep gave a configuration" in comparison.reason


def test_an_unfinished_study_is_not_complete(tmp_path):
    spec, ledger = make_spec(), Ledger(tmp_path)
    methods = make_methods(spec)
    assert not complete(spec, methods, ledger)
    for name in methods:
        Tune(make_sweep(spec, name, ledger)).run()
    assert not complete(spec, methods, ledger)


def test_the_first_trial_is_the_default_only_where_the_space_allows_it(tmp_path):
    elsewhere = {"replay": {"space": {"lr": {"low": 1e-2, "high": 1e-1}}}, "finetune": {}}
    build_study(tmp_path, make_spec({"methods": elsewhere}))
    rows = {row.method: row.default_value for row in analyse_folder(tmp_path).tuning}
    assert rows["replay"] is None
    assert math.isfinite(rows["finetune"])


def test_a_report_never_goes_where_other_files_are(tmp_path):
    place = tmp_path / "paper"
    (place / "figures").mkdir(parents=True)
    (place / "figures" / "mine.pdf").write_text("mine")
    build_study(tmp_path / "small", make_spec({"tune.trials": 0}))
    analysis = analyse_folder(tmp_path / "small")
    with pytest.raises(InputError, match="holds other files than a report"):
        write_report(analysis, place)
    assert (place / "figures" / "mine.pdf").read_text() == "mine"
