"""The integrity gate."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from analysis.one_study import pairing

NAN = math.nan


def refusal(study):
    reference, other = study.methods
    return pairing.pair(study, other, reference).refusal


def test_shared_seeds_are_paired_by_seed_not_by_order(make_method, make_study):
    replay = replace(make_method("replay", []), scores={3: 0.3, 1: 0.1, 2: 0.2})
    ewc = replace(make_method("ewc", []), scores={2: 0.7, 3: 0.8, 1: 0.6})
    found = pairing.pair(
        make_study([replay, ewc], planned_seeds=[1, 2, 3], tune_seeds=[0]), ewc, replay
    )
    assert found.seeds == (1, 2, 3)
    assert found.method_scores == (0.6, 0.7, 0.8)
    assert found.reference_scores == (0.1, 0.2, 0.3)
    assert found.refusal is None


@pytest.mark.parametrize("broken", ["ewc", "replay"])
def test_a_diverged_or_failed_seed_blocks_the_verdict(make_method, make_study, broken):
    scores = {"replay": [0.8] * 7, "ewc": [0.7] * 7}
    scores[broken] = [0.8, NAN, *scores[broken][2:]]
    failures = {broken: {103: "out of memory"}}
    methods = [make_method(m, s, failures=failures.get(m, {})) for m, s in scores.items()]
    text = refusal(make_study(methods))
    assert f"failed seeds of {broken}: 101, 103 (diverged, out of memory)" in text
    assert text.endswith('; to count them: study.failed = "worst"')


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"failures": {103: "killed"}}, "`run --retry-failed` runs again what crashed"),
        (
            {"diverged": {103: "diverged on task 2"}},
            "a diverged seed would diverge again in this configuration",
        ),
    ],
)
def test_only_what_crashed_is_to_run_again(make_method, make_study, fields, advice):
    broken = make_method("ewc", [0.7] * 7, **fields)
    study = make_study([make_method("replay", [0.8] * 7), broken])
    (cause,) = fields.values()
    assert refusal(study) == (
        f'failed seeds of ewc: 103 ({cause[103]}); {advice}; to count them: study.failed = "worst"'
    )
    both = replace(broken, diverged={101: "diverged on task 1"}, failures={102: "killed"})
    assert "crashed; a diverged" in pairing.remedy([both], "seed")


def test_a_seed_that_never_ran_blocks_under_either_rule(make_method, make_study):
    methods = [make_method("replay", [0.8] * 7), make_method("ewc", [0.7] * 6)]
    for rule in pairing.FAILED_RULES:
        assert refusal(make_study(methods, failed_rule=rule)) == (
            "planned seeds that have not run for ewc: 106"
        )


def test_later_seeds_of_one_method_alone_do_not_block(make_method, make_study):
    methods = [make_method("replay", [0.8] * 9), make_method("ewc", [0.7] * 6)]
    study = make_study(methods, planned_seeds=list(range(100, 106)))
    assert refusal(study) is None
    assert len(pairing.pair(study, *reversed(methods)).seeds) == 6


def test_tuning_seeds_may_not_confirm(make_method, make_study):
    methods = [make_method("replay", [0.8] * 7), make_method("ewc", [0.7] * 7)]
    text = refusal(make_study(methods, tune_seeds=[0, 102]))
    assert text == "seeds used for tuning and for confirmation: 102"


def test_only_confirmation_is_judged(make_method, make_study):
    methods = [make_method("replay", [0.8] * 7), make_method("ewc", [0.7] * 7)]
    assert "phase `tune`" in refusal(make_study(methods, phase="tune"))


def test_worst_gives_failed_seeds_the_chance_level(make_method, make_study):
    ewc = make_method("ewc", [0.7, NAN, 0.7], failures={104: "killed"})
    study = make_study([make_method("replay", [0.8] * 5), ewc], failed_rule="worst")
    assert pairing.usable_scores(study, ewc) == {100: 0.7, 101: 0.1, 102: 0.7, 104: 0.1}
    found = pairing.pair(study, ewc, study.methods[0])
    assert (found.imputed, found.counted_as) == ((101, 104), 0.1)
    assert pairing.pair(study, study.methods[0], ewc).imputed == (101, 104)
    sound = pairing.pair(study, study.methods[0], study.methods[0])
    assert (sound.imputed, sound.counted_as) == ((), None)


def test_failing_never_pays(make_method, make_study):
    ewc = make_method("ewc", [0.05, NAN, 0.7])
    study = make_study([make_method("replay", [0.8] * 3), ewc], failed_rule="worst")
    assert pairing.usable_scores(study, ewc)[101] == 0.05


@pytest.mark.parametrize(
    ("metric", "worst"),
    [("forgetting", 1.0), ("backward_transfer", -1.0), ("retention_ratio", 0.0)],
)
def test_worst_of_a_metric_that_is_no_accuracy(make_method, make_study, metric, worst):
    methods = [make_method("replay", [0.2] * 3), make_method("ewc", [0.3, NAN, 0.1])]
    study = make_study(methods, failed_rule="worst", metric=metric)
    assert pairing.usable_scores(study, methods[1])[101] == worst


def test_unknown_rule(make_study):
    study = make_study(failed_rule="wrost")
    with pytest.raises(ValueError, match="did you mean `worst`"):
        pairing.usable_scores(study, study.methods[0])
