"""Cautions: each rule on both sides of its limit, with numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.formats.data import to_json
from analysis.formats.paper import paper_files
from analysis.one_study.analyse import analyse
from analysis.records import OptionRecord, TuningRecord
from analysis.report.headline import headline
from analysis.report.sections import sections

GOOD = np.array([[0.9, 0.1], [0.5, 0.8]])  # [task learnt, task scored]


@pytest.fixture
def texts(make_method, make_study):
    """The texts and settings of the cautions on one method beside a good reference."""

    def of(tuning=None, matrices=None, study=None, bound=None, **fields):
        scores = [0.8] * 3
        matrices = matrices or [GOOD] * 3
        seeded = {100 + i: matrix for i, matrix in enumerate(matrices)}
        methods = [
            make_method("replay", scores, tuning=TuningRecord()),
            make_method("ewc", scores, tuning=tuning or TuningRecord(), matrices=seeded, **fields),
        ]
        if bound is not None:
            kinds = {"bound": "upper", "offline": True, "tuning": TuningRecord()}
            reached = {100: np.array([[bound, bound]])}
            methods.append(make_method("joint", scores, matrices=reached, **kinds))
        return [(c.text, c.setting) for c in analyse(make_study(methods, **(study or {}))).cautions]

    return of


def test_a_study_without_weak_points_has_no_cautions(texts):
    assert texts(fewest_steps=50, bound=1.0) == []


def test_a_task_at_chance_on_one_seed_was_not_learnt(texts):
    idle = np.array([[0.9, 0.0], [0.5, 0.1]])
    ((text, remedy),) = texts(matrices=[GOOD, idle, GOOD])
    assert "at or below chance (10.0 %) right after training: ewc task 2 (1 of 3 seeds)." in text
    assert "--set 'tune.require={ learning_accuracy = 0.8 }'" in remedy
    barely = np.array([[0.9, 0.0], [0.5, 0.101]])
    assert texts(matrices=[GOOD, barely, GOOD]) == []
    ((text, _),) = texts(matrices=[idle, np.array([[0.05, 0.0], [0.5, 0.9]]), GOOD])
    assert "ewc all 2 tasks (2 of 3 seeds)" in text


def test_learning_is_compared_with_the_upper_bound(texts):
    # GOOD learns its tasks to 0.9 and 0.8: 0.85 on average, 80 % of 1.0625
    assert texts(bound=1.06) == []
    ((text, _),) = texts(bound=1.065)
    assert "far below the 106.5 % of joint: ewc 85.0 %" in text


@pytest.mark.parametrize(("steps", "is_few"), [(49, True), (50, False), (None, False)])
def test_few_steps(texts, steps, is_few):
    found = texts(fewest_steps=steps)
    assert bool(found) == is_few
    assert not is_few or "Fewer than 50 steps in a task: ewc 49." in found[0][0]


def ranged(option, value):
    """A sweep that chose a value of an option, with trials enough."""
    tuning = TuningRecord(trials=10, space=(option,))
    return {"tuning": tuning, "configuration": {option.option: value}}


LR = OptionRecord("lr", "float", 1e-4, 1e-2, log=True, limits=(0.0, 10.0))
RATIO = OptionRecord("ratio", "float", 0.0, 0.5, limits=(0.0, 1.0))
SLOTS = OptionRecord("slots", "int", 2, 20, log=True, limits=(0, None))
EPOCHS = OptionRecord("epochs", "int", 1, 41, limits=(1, 1000))
LAM = OptionRecord("lam", "float", 1.0, 1e10, log=True)


@pytest.mark.parametrize(
    ("option", "value", "wider"),
    [
        (LR, 1.2e-4, "lr={ low = 1e-05, high = 0.01, log = true }"),
        (LR, 0.0095, "lr={ low = 0.0001, high = 0.1, log = true }"),
        (LR, 1.3e-4, ""),  # 0.057 of the way, on the scale that was searched
        (LR, 0.0051, ""),  # the middle of a linear scale
        (RATIO, 0.01, ""),  # less than 0 is no ratio
        (RATIO, 0.48, "ratio={ low = 0, high = 0.75 }"),
        (EPOCHS, 39, "epochs={ low = 1, high = 61 }"),
        (EPOCHS, 1, ""),
        (SLOTS, 2, "slots={ low = 1, high = 20, log = true }"),
        (LAM, 1e10, "lam={ low = 1, high = 1e+11, log = true }"),
    ],
)
def test_a_value_at_an_end_of_its_range_comes_with_a_wider_range(texts, option, value, wider):
    found = texts(**ranged(option, value))
    assert [remedy for _, remedy in found] == (
        [f"--set 'methods.ewc.space.{wider}'"] if wider else []
    )


def test_a_wider_range_is_kept_within_the_limits_of_the_option(texts):
    near = OptionRecord("rate", "float", 0.1, 0.9, limits=(0.0, 1.0))
    ((_, remedy),) = texts(**ranged(near, 0.9))
    assert "rate={ low = 0.1, high = 1 }" in remedy


def test_few_trials_for_the_searched_options(texts):
    fixed = OptionRecord("hidden", "fixed", choices=[[8]])
    tuning = TuningRecord(trials=19, space=(LAM, RATIO, fixed))
    settled = {"configuration": {"lam": 1e5, "ratio": 0.2}}
    ((text, remedy),) = texts(tuning=tuning, **settled)
    assert text == "Fewer than 10 trials for each searched option: 19 for 2 (ewc)."
    assert "--set tune.trials=20" in remedy
    assert texts(tuning=replace(tuning, trials=20), **settled) == []


@pytest.mark.parametrize(
    ("favourites", "clause"),
    [
        ({0: 4, 1: 4, 2: 7}, ""),
        ({0: 4, 1: 5, 2: 7}, "ewc on 1 of 3"),
        ({0: 5, 1: 5}, "ewc on 0 of 2"),
        ({0: 4, 1: 5}, "ewc on 1 of 2"),
        ({0: 5}, ""),
    ],
)
def test_seeds_that_would_have_chosen_another_configuration(texts, favourites, clause):
    found = texts(tuning=TuningRecord(best_number=4, favourites=favourites))
    assert bool(found) == bool(clause)
    assert not clause or f"which is the best for {clause} seeds." in found[0][0]


def test_validation_of_few_samples(texts):
    ((text, _),) = texts(tuning=TuningRecord(validation_samples=40))
    assert "on 40 validation samples of a task: one of them is 2.5 points" in text
    assert texts(tuning=TuningRecord(validation_samples=100)) == []


def test_a_requirement_that_no_trial_met(texts):
    study = {"required": {"learning_accuracy": 0.8}}
    ((text, _),) = texts(tuning=TuningRecord(unmet=True), study=study)
    assert text.startswith("No trial met tune.require (learning_accuracy: 0.8): ewc.")


def test_cautions_stand_at_the_top_of_every_report(make_method, make_study):
    methods = [make_method("replay", [0.8] * 3), make_method("ewc", [0.8] * 3, fewest_steps=3)]
    analysis = analyse(make_study(methods))
    titles = [section.title for section in sections(analysis)]
    assert titles[:3] == ["Answer", "Before you believe this", "Results"]
    assert '"cautions": [' in to_json(analysis)


def test_more_tuning_seeds_are_none_that_confirm(texts):
    study = {"tune_seeds": [0, 1], "planned_seeds": [2, 3], "asked_seeds": (5,)}
    tuning = TuningRecord(best_number=4, favourites={0: 5, 1: 5})
    ((_, setting),) = texts(tuning=tuning, study=study)
    assert setting == "--set 'tune.seeds=[0, 1, 4, 6]'"


def test_values_at_an_end_of_their_ranges_share_one_caution(make_method, make_study):
    sweeps = [make_method(name, [0.8] * 3, **ranged(LR, 0.0095)) for name in ("replay", "ewc")]
    (caution,) = analyse(make_study(sweeps)).cautions
    assert "replay lr = 0.0095 (0.0001 to 0.01), ewc lr = 0.0095 (" in caution.text
    assert caution.setting.count("--set 'methods.") == 2


def test_a_method_with_a_dot_in_its_name_is_quoted(make_method, make_study):
    method = make_method("er.v2", [0.8] * 3, **ranged(LR, 0.0095))
    (caution,) = analyse(make_study([method])).cautions
    assert caution.setting.startswith('--set \'methods."er.v2".space.lr={')


@pytest.mark.parametrize(("margin", "is_told"), [(0.01, True), (0.5, False), (0.0, False)])
def test_too_few_seeds_for_the_margin_are_told(margin, is_told, make_method, make_study):
    rng = np.random.default_rng(0)
    scores = rng.normal(0.8, 0.05, (2, 10))
    methods = [make_method(name, row) for name, row in zip(("replay", "ewc"), scores, strict=True)]
    analysis = analyse(make_study(methods, margin=margin))
    (compared,) = analysis.comparisons
    assert (compared.verdict == "inconclusive") == (margin < 0.5)
    assert compared.mde > 0.01
    told = [c for c in analysis.cautions if c.doubt == "too few seeds to see the margin"]
    assert bool(told) == is_told
    assert all(
        f"5 are: {100 * compared.mde:.3g} points for ewc against replay." in c.text for c in told
    )


def test_a_changed_question_comes_first_and_is_in_the_paper(make_method, make_study):
    methods = [make_method(name, [0.8, 0.9, 0.7], fewest_steps=3) for name in ("replay", "ewc")]
    analysis = analyse(make_study(methods, changes=("methods added: ewc",)))
    first, *_ = analysis.cautions
    assert first.doubt == "a question that was changed after the first confirmation"
    assert "(methods added: ewc), so that the verdicts were not fixed beforehand." in first.text
    assert "methods added: ewc" in paper_files(analysis)["main.tex"]
    assert first.doubt in headline(analysis)[-1]
