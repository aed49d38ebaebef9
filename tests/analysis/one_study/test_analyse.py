"""The analysis of whole studies, the odd ones included."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from analysis.metrics import PRIMARY, ReadoutMetric
from analysis.one_study.analyse import TuningRecord, analyse
from analysis.report.tables import method_table
from analysis.statistics import paired

pytestmark = pytest.mark.filterwarnings("error")


def by_method(rows):
    return {row.method: row for row in rows}


REFERENCE = (0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.81)


def noted(analysis, words):
    return any(words in note for note in analysis.notes)


def test_a_study_in_order(make_study):
    found = analyse(make_study())
    rows, compared = by_method(found.methods), by_method(found.comparisons)
    assert rows["replay"].is_reference
    assert rows["replay"].n == 10
    assert rows["replay"].mean == pytest.approx(0.803)
    assert set(compared) == {"ewc", "finetune"}
    assert compared["finetune"].verdict == "worse by more than the margin"
    assert compared["ewc"].verdict == "equivalent within the margin"
    assert compared["finetune"].p_adjusted == 2 * compared["finetune"].p_exact == 2 / 512
    assert noted(found, "Power: with 10 seeds")
    assert not noted(found, "cannot go below")
    assert not noted(found, "added")


def test_differences_are_those_of_the_scores_but_for_round_off(make_method, make_study):
    # means over tasks of 121 and 118 samples lie on no common grid
    replay, ewc = (90 / 121 + 80 / 118) / 2, (91 / 121 + 80 / 118) / 2
    methods = [make_method("replay", [replay] * 10), make_method("ewc", [ewc] * 10)]
    (found,) = analyse(make_study(methods)).comparisons
    assert found.difference == pytest.approx(1 / 242, abs=1e-9)


def test_a_method_left_out_after_planning_keeps_its_place_in_the_family(make_study):
    record = make_study()
    shorter = replace(record, methods=record.methods[:2], planned_comparisons=record.family)
    assert analyse(shorter).rules.family_size == analyse(record).rules.family_size == 2
    changed = replace(shorter, changes=("methods left out: finetune",))
    assert "methods left out: finetune" in analyse(changed).cautions[0].text


PAIRS = (("ewc", "finetune"), ("replay", "ewc"))


def test_a_study_may_name_its_comparisons(make_study):
    study = make_study(comparisons=PAIRS)
    found = analyse(study)
    assert [(c.method, c.reference) for c in found.comparisons] == list(PAIRS)
    assert found.rules.family_size == 2
    assert found.common_reference is None
    better, equal = found.comparisons
    ewc, finetune = ([*study.methods[i].scores.values()] for i in (1, 2))
    assert better.difference == pytest.approx(np.mean(ewc) - np.mean(finetune))
    assert better.verdict == "better by more than the margin"
    assert equal.verdict == "equivalent within the margin"
    assert [found.label(c) for c in found.comparisons] == [
        "ewc against finetune",
        "replay against ewc",
    ]


FOUR = {
    "spiking": [0.60, 0.62, 0.59, 0.61, 0.63, 0.60, 0.58, 0.61],
    "naive": [0.20, 0.20, 0.21, 0.20, 0.19, 0.20, 0.20, 0.20],
    "twin": [0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.81, 0.83],
    "twin_naive": [0.30, 0.32, 0.28, 0.31, 0.30, 0.29, 0.30, 0.33],
}
GAINS = ("spiking - naive", "twin - twin_naive")


def of_gains(make_method, make_study, changes=(), **fields):
    """Analyse a study that compares two differences of two methods."""
    methods = [make_method(name, scores) for name, scores in FOUR.items()]
    changed = [replace(m, **dict(changes)) if m.method == "twin" else m for m in methods]
    return analyse(make_study(changed, reference="twin", comparisons=(GAINS,), **fields))


def test_differences_of_two_methods_are_compared_seed_by_seed(make_method, make_study):
    found = of_gains(make_method, make_study)
    (comparison,) = found.comparisons
    one, two, three, four = map(np.array, FOUR.values())
    assert comparison.differences == pytest.approx((one - two) - (three - four))
    assert comparison.p_exact == paired.sign_flip_p((one - two) - (three - four)) == 2 / 2**8
    assert comparison.verdict == "worse by more than the margin"
    assert found.label(comparison) == "spiking - naive against twin - twin_naive"
    assert found.common_reference is None
    assert {row.method for row in found.methods} == set(FOUR)


@pytest.mark.parametrize("rule", ["error", "worst"])
def test_a_difference_has_no_worst_value_for_a_failed_seed(make_method, make_study, rule):
    seven = {100 + i: x for i, x in enumerate(FOUR["twin"][:7])}
    changes = {"scores": seven, "failures": {107: "boom"}}
    (comparison,) = of_gains(make_method, make_study, changes, failed_rule=rule).comparisons
    assert comparison.verdict == "no verdict"
    assert "failed seeds of twin - twin_naive: 107 (boom)" in comparison.reason
    assert "to count them" not in comparison.reason


def test_a_seed_that_has_not_run_for_one_of_the_methods_blocks_the_verdict(make_method, make_study):
    changes = {"scores": {100 + i: x for i, x in enumerate(FOUR["twin"][:7])}}
    (comparison,) = of_gains(make_method, make_study, changes).comparisons
    assert comparison.reason == "planned seeds that have not run for twin - twin_naive: 107"


def test_a_difference_with_a_method_without_results_counts_in_the_family(make_study):
    found = analyse(make_study(comparisons=(*PAIRS, ("si - ewc", "replay - finetune"))))
    assert len(found.comparisons) == 2
    assert found.rules.family_size == 3


def test_a_comparison_with_a_method_without_results_counts_in_the_family(make_study):
    found = analyse(make_study(comparisons=(*PAIRS, ("si", "ewc"))))
    assert len(found.comparisons) == 2
    assert found.rules.family_size == 3


def test_seeds_that_failed_leave_no_secondary_mean_of_the_survivors(make_method, make_study):
    seeds = range(100, 106)
    others = {"forgetting": dict.fromkeys(seeds, 0.1)}
    methods = [
        make_method(
            "replay", [0.8] * 8, other_metrics={"forgetting": dict.fromkeys(range(100, 108), 0.2)}
        ),
        make_method("ewc", [0.7] * 6, other_metrics=others, failures={106: "boom", 107: "boom"}),
    ]
    for rule in ("error", "worst"):
        rows = analyse(make_study(methods, failed_rule=rule)).secondary
        (row,) = (r for r in rows if r.method == "ewc")
        assert (row.mean, row.difference, row.q) == (None, None, None)


def test_equal_scores_are_identical_whatever_their_round_off(make_method, make_study):
    jitter = 1e-13 * np.arange(10)
    methods = [make_method("replay", [0.8] * 10), make_method("ewc", 0.8 + jitter)]
    (found,) = analyse(make_study(methods)).comparisons
    assert found.verdict == "identical differences"
    assert found.difference == 0


def test_a_secondary_metric_of_the_same_difference_on_every_seed_is_tested(make_method, make_study):
    seeds = range(100, 107)

    def of(forgetting, learning):
        known = {"forgetting": forgetting, "learning_accuracy": learning}
        return {name: dict.fromkeys(seeds, value) for name, value in known.items()}

    methods = [
        make_method("replay", REFERENCE, other_metrics=of(0.3, 0.9)),
        make_method("ewc", REFERENCE[::-1], other_metrics=of(0.1, 0.9 + 1e-13)),
    ]
    forgetting, learning = (r for r in analyse(make_study(methods)).secondary if r.method == "ewc")
    assert forgetting.p_exact == forgetting.q == 2 / 2**7
    assert forgetting.difference == pytest.approx(-0.2)
    assert (learning.difference, learning.p_exact) == (0, None)


def test_a_method_whose_seeds_all_agree_is_compared_all_the_same(make_method, make_study):
    methods = [make_method("replay", REFERENCE), make_method("ewc", [0.1] * 7)]
    found = analyse(make_study(methods))
    (comparison,) = found.comparisons
    assert comparison.verdict == "worse by more than the margin"
    assert (comparison.rho, comparison.identical) == (None, False)
    row = by_method(found.methods)["ewc"]
    assert (row.mean, row.sd, row.ci_low, row.ci_high) == (0.1, 0.0, None, None)
    assert (
        "No interval for fewer than 3 seeds or for identical values." in method_table(found).caption
    )
    assert "No interval" not in method_table(analyse(make_study())).caption


def test_a_metric_where_lower_is_better(make_study):
    found = analyse(make_study(metric="forgetting"))
    compared = by_method(found.comparisons)
    assert compared["finetune"].verdict == "better by more than the margin"
    assert compared["finetune"].difference < 0


def test_no_confirmation_yet(make_method, make_study):
    methods = [make_method("replay", []), make_method("ewc", [])]
    found = analyse(make_study(methods, planned_seeds=[100, 101]))
    assert [(row.n, row.mean) for row in found.methods] == [(0, None), (0, None)]
    assert found.comparisons[0].verdict == "no verdict"
    assert found.comparisons[0].reason == "no confirmation scores yet"
    assert noted(found, "no confirmation scores yet")
    assert not noted(found, "cannot go below")


def test_one_method_only(make_method, make_study):
    found = analyse(make_study([make_method("replay", [0.8] * 6)]))
    assert found.comparisons == ()
    assert noted(found, "one method only")
    assert analyse(make_study([])).methods == ()


def test_the_reference_is_absent(make_study):
    found = analyse(make_study(reference="reply"))
    assert found.comparisons == ()
    assert noted(found, "Did you mean replay?")


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_few_seeds(make_study, n):
    whole = make_study()
    few = [replace(m, scores=dict(list(m.scores.items())[:n])) for m in whole.methods]
    found = analyse(replace(whole, methods=few, planned_seeds=list(range(100, 100 + n))))
    verdict = by_method(found.comparisons)["finetune"].verdict
    suggested = "suggestive: worse by more than the margin"
    assert verdict == ("no verdict" if n < 3 else suggested)
    assert (found.methods[0].ci_low is None) == (n < 3)
    assert noted(found, "Run 7 or more seeds for 2 comparisons")
    assert noted(found, "cannot go below p = 0.0625 with 5 seeds") == (n == 5)


@pytest.mark.parametrize(("n", "enough"), [(5, ""), (6, "1 comparison"), (8, "6 comparisons")])
def test_what_the_seeds_of_a_study_were_enough_for(make_method, make_study, n, enough):
    scores = np.linspace(0.7, 0.8, n)
    methods = [make_method("replay", scores), *(make_method(f"m{i}", scores) for i in range(7))]
    found = analyse(make_study(methods, planned_seeds=list(range(100, 100 + n))))
    assert noted(found, "for 7 comparisons.")
    assert noted(found, f"{n} are enough for {enough} fixed beforehand.") == bool(enough)
    assert noted(found, "are enough") == bool(enough)


def test_a_failed_seed_is_not_averaged_away(make_method, make_study):
    broken = make_method("ewc", [math.nan, *[0.9] * 9], failures={109: "killed"})
    whole = make_study()
    methods = [whole.methods[0], broken, whole.methods[2]]
    found = analyse(replace(whole, methods=methods))
    row, compared = by_method(found.methods)["ewc"], by_method(found.comparisons)
    assert (row.n, row.failed, row.mean, row.sd, row.ci_low) == (8, 2, None, None, None)
    assert compared["ewc"].verdict == "no verdict"
    assert compared["ewc"].difference is None
    assert compared["finetune"].verdict == "worse by more than the margin"
    assert compared["finetune"].p_adjusted == 2 * compared["finetune"].p_exact
    assert [(f.seed, f.reason) for f in found.failures] == [(100, "diverged"), (109, "killed")]
    assert noted(found, "failed in the confirmation: ewc 2 of 10; these methods have no mean")
    assert noted(found, "`run --retry-failed` runs again what crashed; a diverged seed would")

    counted = analyse(replace(whole, methods=methods, failed_rule="worst"))
    row = by_method(counted.methods)["ewc"]
    assert (row.n, row.failed) == (10, 2)
    assert row.mean == pytest.approx((8 * 0.9 + 2 * 0.1) / 10)
    assert (row.counted_as, row.sd, row.ci_low, row.ci_high) == (0.1, None, None, None)
    compared = by_method(counted.comparisons)
    assert compared["ewc"].verdict == "inconclusive"
    assert (compared["ewc"].ci_low, compared["ewc"].hedges_g) == (None, None)
    assert compared["finetune"].hedges_g is not None
    assert counted.failures[0].counted_as == 0.1
    assert counted.failures[0].configuration == {"lr": 0.01}
    told = "failed in the confirmation: ewc 2 of 10; each counts as 10.0 %"
    assert noted(counted, told)
    table = method_table(counted)
    shown = dict(zip(table.headings, table.texts[1], strict=True))
    assert shown["failed"] == "2 of 10, as 10.0 % each"
    assert shown["average accuracy (%)"] == "74.0"
    assert shown["95 % CI of the mean"] == "-"
    assert "nor sd or interval where failed seeds count as a score" in table.caption


def test_the_distance_to_a_bound_with_failed_seeds_has_no_interval(make_method, make_study):
    broken = make_method("ewc", [math.nan, *[0.7, 0.71, 0.72, 0.7, 0.73]])
    methods = [make_method("replay", REFERENCE[:6]), broken]
    methods.append(make_method("joint", [0.9, 0.91, 0.92, 0.9, 0.93, 0.9], offline=True))
    replay, ewc = analyse(make_study(methods, failed_rule="worst")).gaps
    assert ewc.difference > replay.difference
    assert (ewc.ci_low, ewc.ci_high) == (None, None)
    assert replay.ci_low is not None


def test_seeds_added_after_looking(make_study):
    assert not noted(analyse(make_study()), "added after looking")
    planned = list(range(100, 107))
    assert noted(analyse(make_study(planned_seeds=planned)), "107, 108, 109; planned 7, run 10")


def test_planned_seeds_that_are_asked_for_no_longer_are_told(make_study):
    kept = {"asked_seeds": (100, 101, 102), "kept_seeds": tuple(range(103, 110))}
    found = analyse(make_study(**kept))
    assert noted(found, "asks for 3 confirmation seeds, and this report covers 10. Seeds planned")
    assert noted(found, "stay (103, 104, 105, 106, 107, 108, 109): leaving seeds out after")
    assert not found.cautions  # the verdicts are on what was planned
    assert not noted(analyse(make_study(asked_seeds=tuple(range(100, 110)))), "now asks for")


def test_tuning_seeds_in_the_confirmation(make_study):
    found = analyse(make_study(tune_seeds=[0, 105]))
    assert {c.verdict for c in found.comparisons} == {"no verdict"}
    assert noted(found, "Seeds 105 served tuning and confirmation")


def test_tuning_block(make_study):
    row = analyse(make_study()).tuning[0]
    assert (row.trials, row.failed, row.pruned, row.seconds) == (12, 1, 2, 60.0)
    assert (row.default_value, row.best_value) == (0.7, 0.85)
    assert row.selection == pytest.approx(0.85 - 0.82)
    assert row.shift == pytest.approx(0.82 - 0.80)  # of the first three seeds: 0.80, 0.81, 0.79
    lower = analyse(make_study(metric="forgetting")).tuning[0]
    assert lower.selection == pytest.approx(0.82 - 0.85)
    assert lower.shift == pytest.approx(0.80 - 0.82)


def test_no_tuning(make_method, make_study):
    untuned = [make_method(m, [0.8] * 6, tuning=TuningRecord()) for m in ("replay", "ewc")]
    found = analyse(make_study(untuned))
    assert found.tuning[0].best_value is None
    assert found.tuning[0].selection is None
    assert found.tuning[0].shift is None
    assert not noted(found, "budgets")


@pytest.mark.parametrize(("trials", "warned"), [(12, False), (11, False), (10, True), (0, True)])
def test_unequal_budgets(make_method, make_study, trials, warned):
    tuning = TuningRecord(trials, samples=5000, seeds_per_trial=3)
    methods = [
        make_method("replay", [0.8] * 6),
        make_method("ewc", [0.8] * 6, tuning=tuning),
    ]
    found = analyse(make_study(methods))
    assert noted(found, f"in trials: ewc {trials}, replay 12") == warned
    assert not noted(found, "in samples")


def test_secondary_metrics_are_exploratory(make_method, make_study):
    rng = np.random.default_rng(0)
    seeds = range(100, 110)

    def other(shift):
        return {"forgetting": {s: float(rng.normal(shift, 0.01)) for s in seeds}}

    methods = [
        make_method("replay", rng.normal(0.8, 0.01, 10), other_metrics=other(0.1)),
        make_method("ewc", rng.normal(0.8, 0.01, 10), other_metrics=other(0.3)),
        make_method("lwf", rng.normal(0.8, 0.01, 10), other_metrics=other(0.1)),
    ]
    found = by_method(analyse(make_study(methods)).secondary)
    forgetting = ReadoutMetric("forgetting")
    d = [methods[1].other_metrics[forgetting][s] for s in seeds]
    d = np.array(d) - [methods[0].other_metrics[forgetting][s] for s in seeds]
    assert found["ewc"].difference == pytest.approx(d.mean())
    assert found["ewc"].p_exact == paired.sign_flip_p(d) == 2 / 1024
    assert found["ewc"].q == pytest.approx(2 * 2 / 1024)
    assert found["replay"].q is None
    lost = {forgetting: {100: math.nan, 101: 0.2}}
    methods[2] = replace(methods[2], other_metrics=lost)
    row = by_method(analyse(make_study(methods)).secondary)["lwf"]
    assert (row.n, row.mean, row.difference, row.q) == (1, None, None, None)


def test_at_most_four_metrics_are_tested_whatever_the_data(make_method, make_study):
    rng, seeds = np.random.default_rng(0), range(100, 110)

    def named(name, level):
        others = {
            metric: {seed: float(rng.normal(level, 0.01)) for seed in seeds}
            for metric in PRIMARY
            if metric != "average_accuracy"
        }
        slow = {ReadoutMetric("forgetting", "slow"): {s: float(rng.normal(level)) for s in seeds}}
        return make_method(name, rng.normal(level, 0.01, 10), other_metrics={**others, **slow})

    methods = [named("replay", 0.8), named("ewc", 0.5), named("si", 0.8)]
    rows = analyse(make_study(methods)).secondary
    tested = {(row.method, str(row.metric)) for row in rows if row.q is not None}
    four = ("learning_accuracy", "forgetting", "average_incremental_accuracy", "retention_old")
    assert tested == {(method, metric) for method in ("ewc", "si") for metric in four}
    listed = [row for row in rows if row.method != "replay"]  # the reference
    assert len(listed) == 2 * len(PRIMARY)
    assert all(row.mean is not None and row.difference is not None for row in listed)
    known = [row for row in rows if row.q is not None]
    q_values = multipletests([row.p_exact for row in known], method="fdr_bh")[1]
    assert [row.q for row in known] == pytest.approx(q_values.tolist())


def test_the_primary_metric_under_another_name_is_not_tested_again(make_method, make_study):
    def tested(step):
        methods = []
        for name, scores in (("replay", REFERENCE), ("ewc", REFERENCE[::-1])):
            average = {100 + i: score + step * i for i, score in enumerate(scores)}
            methods.append(make_method(name, scores, other_metrics={"average_accuracy": average}))
        rows = analyse(make_study(methods, metric="pooled_accuracy")).secondary
        (row,) = (row for row in rows if row.method == "ewc")
        assert row.difference is not None
        return row.p_exact is not None

    assert not tested(0.0)  # all tasks have the same size
    assert tested(1e-5)


def test_unknown_metric(make_study):
    with pytest.raises(ValueError, match="did you mean `average_accuracy`"):
        analyse(make_study(metric="average_acuracy"))
