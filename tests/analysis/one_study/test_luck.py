"""Other choices of a sweep and independent sweeps, on records made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.one_study.analyse import analyse
from analysis.one_study.units import by_unit
from analysis.records import AlternativeRecord, TuningRecord

GOOD, SAME, BAD = 0.8, 0.8, 0.6
NOISE = np.array([0.01, -0.02, 0.00, 0.03, -0.01, 0.02, 0.01, -0.03, 0.00, -0.01])
OTHER = np.roll(NOISE, 3)  # noise of the reference


def alternative(scores, trial=3, value=0.75, first=100, **fields):
    seeded = {first + i: float(score) for i, score in enumerate(scores)}
    return AlternativeRecord(trial, value, {"lr": 0.1}, seeded, **fields)


@pytest.fixture
def two(make_method, make_study):
    """A reference, and a method with the scores and alternatives given."""

    def make(scores, *alternatives, reference=(), **fields):
        methods = [
            make_method("replay", GOOD + OTHER, alternatives=tuple(reference)),
            make_method("ewc", scores, alternatives=alternatives),
        ]
        return make_study(methods, **fields)

    return make


@pytest.fixture
def repeated(make_method, make_study):
    """A study whose further sweeps have the scores given: of the reference, and of the method."""

    def make(*sweeps, **fields):
        def record(number, pair):
            first = 100 + 1000 * number
            methods = [
                replace(make_method(name, scores), scores=seeded(scores, first))
                for name, scores in zip(("replay", "ewc"), pair, strict=True)
            ]
            seeds = list(range(first, first + len(pair[0])))
            return make_study(methods, planned_seeds=seeds, **fields)

        first, *others = [record(number, pair) for number, pair in enumerate(sweeps)]
        return replace(first, repeats=tuple(others))

    return make


def seeded(scores, first):
    return {first + i: float(score) for i, score in enumerate(scores)}


# -- other choices


def test_nothing_is_said_of_other_choices_unless_they_were_confirmed(two):
    luck = analyse(two(BAD + NOISE)).luck
    assert (luck.choices, luck.splits, luck.comparisons) == ((), (), ())


def test_each_alternative_has_the_verdict_that_a_study_with_it_would_have(two):
    others = [alternative(SAME + NOISE), alternative(0.5 + NOISE, trial=7)]
    found = analyse(two(BAD + NOISE, *others)).luck.choices
    alone = [analyse(two(scores)) for scores in (BAD + NOISE, SAME + NOISE, 0.5 + NOISE)]
    assert [row.comparison for row in found] == [a.comparisons[0] for a in alone]
    assert [(row.method, row.trial) for row in found] == [(None, None), ("ewc", 3), ("ewc", 7)]
    assert [row.changed for row in found] == [False, True, False]


def test_the_references_alternatives_count_too(two):
    found = analyse(two(BAD + NOISE, reference=[alternative(BAD + OTHER)])).luck.choices
    assert [row.method for row in found] == [None, "replay"]
    assert found[1].changed
    assert found[1].comparison.difference == pytest.approx(float(np.mean(NOISE - OTHER)))


def test_verdicts_of_the_study_are_untouched_by_alternatives(two):
    with_others, without = (
        analyse(two(BAD + NOISE, *others)) for others in ((alternative(SAME + NOISE),), ())
    )
    assert with_others.comparisons == without.comparisons
    assert with_others.notes == without.notes
    assert with_others.rules.family_size == 1


def test_an_alternative_that_has_not_run_has_no_row_and_one_that_failed_no_verdict(two):
    failed = alternative(SAME + NOISE[:9], trial=5, failures={109: "boom"})
    found = analyse(two(BAD + NOISE, alternative([]), failed)).luck.choices
    assert [(row.trial, row.comparison.verdict) for row in found[1:]] == [(5, "no verdict")]
    assert not found[1].changed


def test_a_failed_seed_of_an_alternative_may_count_as_the_worst_score(two):
    scores = [*(SAME + NOISE[:9]), math.nan]
    found = analyse(two(BAD + NOISE, alternative(scores), failed_rule="worst")).luck.choices
    assert found[1].comparison.imputed == (109,)
    assert found[1].comparison.counted_as == 0.1


# -- independent sweeps


def test_the_split_is_that_of_the_definition(repeated):
    shifts = (0.0, 0.05, -0.02)
    pairs = [(GOOD + OTHER, BAD + shift + NOISE) for shift in shifts]
    found = {row.method: row for row in analyse(repeated(*pairs)).luck.splits}
    means = [BAD + shift + NOISE.mean() for shift in shifts]
    within = float(np.var(NOISE, ddof=1))
    half = stats.t.ppf(0.975, 2) * np.std(means, ddof=1) / math.sqrt(3)
    row = found["ewc"]
    assert row.means == pytest.approx(means)
    assert (row.mean, row.ci_low, row.ci_high) == pytest.approx(
        (np.mean(means), np.mean(means) - half, np.mean(means) + half)
    )
    between = float(np.var(means, ddof=1)) - within / 10
    assert (row.sd_sweeps, row.sd_seeds) == pytest.approx((between**0.5, within**0.5))
    assert row.share == pytest.approx(between / (between + within))
    assert (found["replay"].sd_sweeps, found["replay"].share) == (0.0, 0.0)


def test_two_sweeps_have_an_interval_of_one_degree_of_freedom(repeated):
    pairs = [(GOOD + OTHER, BAD + shift + NOISE) for shift in (0.0, 0.05)]
    row = analyse(repeated(*pairs)).luck.splits[1]
    assert (row.ci_high - row.ci_low) / 2 == pytest.approx(stats.t.ppf(0.975, 1) * 0.05 / 2)


def test_comparisons_are_paired_by_sweep_with_the_sweep_as_the_unit(repeated):
    levels = [(0.8, 0.6), (0.9, 0.72), (0.7, 0.7)]
    pairs = [(a + OTHER, b + NOISE) for a, b in levels]
    (row,) = analyse(repeated(*pairs)).luck.comparisons
    offset = float(np.mean(NOISE - OTHER))
    differences = np.array([b - a + offset for a, b in levels])
    low, high = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    assert row.difference == pytest.approx(np.mean(differences))
    assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
    alone = [analyse(repeated(pair)).comparisons[0].verdict for pair in pairs]
    assert list(row.verdicts) == alone
    assert row.counts == "worse by more than the margin in 2 of 3, inconclusive in 1 of 3"


def test_the_verdicts_of_the_study_are_those_of_the_first_sweep(repeated):
    pairs = [(GOOD + OTHER, BAD + NOISE), (GOOD + OTHER, 0.9 + NOISE)]
    assert analyse(repeated(*pairs)).comparisons == analyse(repeated(pairs[0])).comparisons


def test_a_failed_seed_of_any_sweep_leaves_no_numbers(repeated):
    broken = np.append(BAD + NOISE[:9], math.nan)
    luck = analyse(repeated((GOOD + OTHER, BAD + NOISE), (GOOD + OTHER, broken))).luck
    row = {row.method: row for row in luck.splits}["ewc"]
    assert (row.failed, row.mean, row.sd_sweeps) == (1, None, None)
    assert luck.comparisons[0].difference is None
    assert luck.comparisons[0].verdicts[1] == "no verdict"


def test_a_sweep_that_gave_no_configuration_is_a_failure(repeated, make_study):
    record = repeated((GOOD + OTHER, BAD + NOISE), (GOOD + OTHER, BAD + NOISE))
    (other,) = record.repeats
    replay, ewc = other.methods
    empty = replace(ewc, scores={}, unconfirmed="nothing", tuning=TuningRecord(4, asked_trials=4))
    luck = analyse(replace(record, repeats=(replace(other, methods=[replay, empty]),))).luck
    assert [(row.failed, row.mean is None) for row in luck.splits] == [(0, False), (1, True)]
    assert luck.comparisons[0].difference is None


def test_a_sweep_that_is_not_confirmed_yet_does_not_count(repeated):
    pairs = [(GOOD + OTHER, BAD + NOISE), (GOOD + OTHER, 0.7 + NOISE), ([], [])]
    luck = analyse(repeated(*pairs)).luck
    assert [row.sweeps for row in luck.splits] == [2, 2]
    assert luck.comparisons[0].sweeps == 2


def test_units_are_means_over_their_seeds_in_alternatives_and_in_every_sweep(repeated):
    record = repeated((GOOD + OTHER, BAD + NOISE), (GOOD + OTHER, BAD + NOISE))
    replay, ewc = record.methods
    other = alternative(SAME + NOISE, failures={100: "boom"})
    record = replace(record, methods=[replay, replace(ewc, alternatives=(other,))])
    units = by_unit(record, "speaker", lambda seed: seed % 5)
    (by_speaker,) = units.methods[1].alternatives
    assert by_speaker.scores[1] == pytest.approx(SAME + (NOISE[1] + NOISE[6]) / 2)
    assert by_speaker.failures == {0: "seed 100: boom"}
    (further,) = units.repeats
    assert further.methods[1].scores[1] == pytest.approx(BAD + (NOISE[1] + NOISE[6]) / 2)
    assert further.planned_seeds == [0, 1, 2, 3, 4]
