"""The answer in words: the leader, its difference, every verdict, and when there is no answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.one_study.analyse import analyse
from analysis.report.headline import headline

SPREAD = [0.00, 0.02, -0.02, 0.01, -0.01, 0.00, 0.015, -0.015]


def scores(mean, spread=1.0):
    return [mean + spread * x for x in SPREAD]


@pytest.fixture
def study(make_method, make_study):
    def build(means, offline=(), **fields):
        methods = [
            make_method(name, scores(mean, 1 + 0.1 * i), offline=name in offline)
            for i, (name, mean) in enumerate(means.items())
        ]
        return make_study(methods, **fields)

    return build


MEANS = {"replay": 0.80, "der": 0.90, "ewc": 0.60, "lwf": 0.801, "joint": 0.95}


def test_the_leader_with_its_difference_then_every_verdict_then_bounds(study):
    analysis = analyse(study(MEANS, offline=("joint",)))
    best, ewc, lwf = (
        next(c for c in analysis.comparisons if c.method == name) for name in ("der", "ewc", "lwf")
    )
    first, *others = headline(analysis)
    assert first == (
        "der scores best: average accuracy 90.0 %, better than replay by more than the margin "
        f"(+10.0 points, interval {100 * best.ci_low:.1f} to {100 * best.ci_high:.1f})."
    )
    assert others == [
        "lwf is equivalent to replay within the margin "
        f"(+0.1 points, interval {100 * lwf.ci_low:.1f} to {100 * lwf.ci_high:.1f}).",
        "ewc is worse than replay by more than the margin "
        f"(-20.0 points, interval {100 * ewc.ci_low:.1f} to {100 * ewc.ci_high:.1f}).",
        "Trained on all tasks at once, an upper bound and no competitor: joint 95.0 %.",
        "Over 8 seeds; 95 % intervals of all 3 comparisons hold at once; margin: 1 point.",
    ]


def test_methods_of_one_verdict_are_listed_with_their_differences(study):
    analysis = analyse(study({"replay": 0.8, "ewc": 0.6, "si": 0.5, "lwf": 0.4}))
    first, group, *_ = headline(analysis)
    assert first == "The reference replay scores best: average accuracy 80.0 %."
    assert group == (
        "Worse than replay by more than the margin: ewc -20.0, si -30.0, lwf -40.0 points."
    )


def test_reasons_for_doubt_are_named(study):
    record = study({"replay": 0.8, "ewc": 0.6})
    first = record.methods[0]
    few = replace(record, methods=[replace(first, fewest_steps=3), record.methods[1]])
    assert headline(analyse(few))[-1] == (
        "Reasons for doubt (see Before you believe this): few training steps in a task."
    )


def test_the_reference_may_be_the_best(study):
    first, *_ = headline(analyse(study({"replay": 0.8, "ewc": 0.6})))
    assert first == "The reference replay scores best: average accuracy 80.0 %."


def test_what_is_not_told_apart_from_the_best_stands_beside_it(study):
    record = study({"replay": 0.8, "ewc": 0.799, "si": 0.3}, margin=0.0)
    ewc = replace(
        record.methods[1],
        scores={s: x + 0.02 * (-1) ** s for s, x in record.methods[1].scores.items()},
    )
    analysis = analyse(replace(record, methods=[record.methods[0], ewc, record.methods[2]]))
    assert next(c.verdict for c in analysis.comparisons if c.method == "ewc") == "inconclusive"
    first = headline(analysis)[0]
    assert first.endswith("average accuracy 80.0 %; not told apart from it: ewc.")


def test_where_less_is_better_the_lowest_leads(study):
    analysis = analyse(study({"replay": 0.3, "ewc": 0.1}, metric="forgetting"))
    assert headline(analysis)[0].startswith(
        "ewc scores best: forgetting 10.0 %, better than replay"
    )


def test_few_pairs_have_a_sentence_each(study):
    pairs = (("der", "ewc"), ("lwf", "replay"))
    found = headline(analyse(study(MEANS, comparisons=pairs)))
    assert [sentence.split(" (")[0] for sentence in found] == [
        "der is better than ewc by more than the margin",
        "lwf is equivalent to replay within the margin",
        "Over 8 seeds; 95 % intervals of all 2 comparisons hold at once; margin: 1 point.",
    ]


def test_differences_of_two_methods_are_called_so(study):
    pairs = (("der - ewc", "lwf - replay"),)
    sentence, certainty = headline(analyse(study(MEANS, comparisons=pairs)))
    assert sentence.startswith("der - ewc is better than lwf - replay by more than the margin (+")
    assert certainty == "Over 8 seeds; 95 % interval of the difference; margin: 1 point."


def test_too_few_seeds_only_suggest(make_method, make_study):
    methods = [make_method(name, scores(mean)[:4]) for name, mean in list(MEANS.items())[:2]]
    methods[1] = replace(methods[1], scores={100: 0.9, 101: 0.93, 102: 0.87, 103: 0.9})
    first, *_ = headline(analyse(make_study(methods)))
    assert "better than replay by more than the margin, a suggestion only (+" in first


def test_nothing_to_say(make_method, make_study, study):
    assert headline(analyse(study({"replay": 0.8}))) == (
        "replay scores best: average accuracy 80.0 %.",
        "Nothing was compared.",
    )
    waiting = make_study([make_method("replay", []), make_method("ewc", [])])
    assert headline(analyse(waiting)) == ("There are no confirmation scores yet.",)
    only = analyse(study({"joint": 0.9, "more": 0.91}, offline=("joint", "more")))
    assert headline(only)[0] == "Only offline bounds have scores."


def test_a_blocked_verdict_is_said(study):
    record = study({"replay": 0.8, "ewc": 0.9})
    lost = replace(record.methods[0], failures={107: "boom"})
    first, *_ = headline(analyse(replace(record, methods=[lost, record.methods[1]])))
    assert first.startswith("ewc scores best: average accuracy 90.0 %, without a verdict against")
