"""Seeds that are added until every comparison is decided: which run, and what the report says."""

from __future__ import annotations

import numpy as np
import pytest
from factory import Run, add, admit, build_study, make_design, make_outcome, make_study, waiting
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import entries, run_here, sets, sums

from analysis.one_study.analyse import analyse
from analysis.one_study.pairing import Pairs
from analysis.one_study.verdicts import compare_family
from analysis.statistics.sequential import anytime_interval, anytime_p
from study.folder import Folder
from study.record import analyse_folder, study_record
from study.stopping import rounds, seeds_to_run
from trainables.errors import InputError

DECIDED = {"confirm.seeds": {"first": 100, "up_to": 20}, "confirm.stop": "decided"}
THREE = {**DECIDED, "methods": {"finetune": {}, "replay": {}, "ewc": {}}, "tune.trials": 0}
ORDER = range(100, 120)


def rules(changes=THREE):
    return make_design(changes).rules()


def series(mean, spread, seed, count=20):
    """Scores by seed."""
    values = np.random.default_rng(seed).normal(mean, spread, count)
    return dict(zip(ORDER, values.tolist(), strict=False))


def to_run(scores, comparisons=(("finetune", "replay"), ("ewc", "replay")), changes=THREE):
    return seeds_to_run(comparisons, scores, ORDER, rules(changes))


# -- which seeds


@pytest.mark.parametrize(("first", "most"), [(1, 1), (6, 6), (8, 7), (6, 30), (9, 100), (1, 1000)])
def test_rounds_end_at_the_most_and_grow(first, most):
    counts = list(rounds(first, most))
    assert counts[0] == min(first, most)
    assert counts[-1] == most
    assert counts == sorted(set(counts))


def test_nothing_has_run_yet():
    nothing = {"finetune": {}, "replay": {}, "ewc": {}}
    assert to_run(nothing) == dict.fromkeys(nothing, 8)  # two comparisons need eight seeds


def test_only_the_methods_of_undecided_comparisons_are_carried_on():
    scores = {
        "replay": series(0.8, 0.01, 0),
        "finetune": series(0.2, 0.01, 1),  # clear
        "ewc": series(0.8, 0.01, 2),  # not clear
    }
    assert to_run(scores) == {"replay": 20, "finetune": 8, "ewc": 20}


def test_an_open_comparison_of_differences_carries_on_all_its_methods():
    scores = {name: series(0.8, 0.01, i) for i, name in enumerate((*THREE["methods"], "si"))}
    sides = ("finetune - replay", "ewc - si")
    assert to_run(scores, (sides,)) == dict.fromkeys(scores, 20)
    clear = scores | {"finetune": series(0.2, 0.01, 1)}
    assert to_run(clear, (sides,)) == dict.fromkeys(scores, 8)


def test_seeds_that_have_run_too_early_change_nothing():
    """The answer is that of a study in which only the asked seeds have run, round by round."""
    scores = {name: series(0.8 + 0.006 * i, 0.01, i) for i, name in enumerate(THREE["methods"])}
    known = {name: {} for name in scores}
    while (asked := to_run(known)) != {name: len(column) for name, column in known.items()}:
        for name, count in asked.items():
            known[name] = dict(list(scores[name].items())[:count])
    assert asked == to_run(scores)


def test_a_failed_seed_ends_its_comparisons_and_no_other():
    scores = {"replay": series(0.8, 0.01, 0), "ewc": series(0.8, 0.01, 2)}
    scores["finetune"] = series(0.8, 0.01, 5) | {103: float("nan")}
    assert to_run(scores) == {"replay": 20, "finetune": 8, "ewc": 20}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.03))
def test_every_comparison_ends_decided_or_with_all_seeds(seed, effect):
    scores = {
        name: series(0.5 + i * effect, 0.01, seed + i) for i, name in enumerate(THREE["methods"])
    }
    asked, level = to_run(scores), 1 - 0.05 / 2
    for method in ("finetune", "ewc"):
        n = min(asked[method], asked["replay"])
        d = np.array([scores[method][s] - scores["replay"][s] for s in ORDER[:n]])
        low, high = anytime_interval(d, level)
        decided = not low <= 0 <= high or max(-low, high) < 0.01
        assert decided or n == len(ORDER)
        assert n in rounds(8, 20)


# -- a study


def outcome(seeds, mean, spread, seed=0):
    values = np.random.default_rng(seed).normal(mean, spread, 1000)
    return make_outcome(seeds, values[list(seeds)][:, None, None], samples=1_000_000)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "small"


def confirm(place, means, changes=THREE):
    """Run rounds of the confirmation by hand; return the number of seeds of each method."""
    _, spec, ledger = admit(place, changes)
    study = make_study(spec, ledger)
    while queue := waiting(spec, ledger, slots=1):
        for entry in queue:
            mean, spread, seed = means[entry.method]
            made = outcome(entry.seeds, mean, spread, seed)
            add(ledger, spec, entry.method, seeds=entry.seeds, outcome=made)
    return study, {name: len(study.confirmation(name).places().found) for name in means}


MEANS = {"replay": (0.8, 0.01, 1), "finetune": (0.2, 0.01, 2), "ewc": (0.8, 0.01, 3)}


def test_rounds_of_a_study(place):
    study, ran = confirm(place, MEANS)
    assert ran == {"replay": 20, "finetune": 8, "ewc": 20}
    assert study.complete
    assert not any(entry.seeds for entry in study.ledger.unfinished())
    analysis = analyse(study_record(study))
    assert [c.n for c in analysis.comparisons] == [8, 20]
    assert [c.verdict for c in analysis.comparisons] == [
        "worse by more than the margin",
        "inconclusive",
    ]
    assert any("Not decided: ewc against replay (20 seeds)" in note for note in analysis.notes)
    assert not any("added after looking" in note for note in analysis.notes)


def test_numbers_of_the_verdicts_are_those_of_the_anytime_valid_test(place):
    study, _ = confirm(place, MEANS)
    for c in analyse(study_record(study)).comparisons:
        d = np.array(c.differences)
        assert c.p_adjusted == pytest.approx(min(1, 2 * anytime_p(d)))
        assert (c.ci_low, c.ci_high) == pytest.approx(anytime_interval(d, 1 - 0.05 / 2))
        assert c.p_t is c.t_low is c.mde is c.seeds_needed is None


def test_an_offline_bound_runs_the_first_seeds_alone(place):
    methods = {"replay": {}, "ewc": {}, "joint": {}}
    means = {"replay": (0.8, 0.01, 1), "ewc": (0.8, 0.01, 3), "joint": (0.9, 0.01, 2)}
    _, ran = confirm(place, means, {**THREE, "methods": methods})
    assert ran == {"replay": 20, "ewc": 20, "joint": 6}


def test_half_a_study_is_looked_at_without_harm(place):
    """Seeds with a gap count up to the gap; a verdict needs the fewest seeds that can decide."""
    _, spec, ledger = admit(place, THREE)
    for method, (mean, spread, seed) in MEANS.items():
        for seeds in ((100, 101, 102, 103, 104), (106, 107)):
            made = outcome(seeds, mean, spread, seed)
            add(ledger, spec, method, seeds=seeds, outcome=made)
    analysis = analyse(study_record(make_study(spec, ledger)))
    assert [c.seeds for c in analysis.comparisons] == [(100, 101, 102, 103, 104)] * 2
    assert {c.verdict for c in analysis.comparisons} == {"inconclusive"}
    assert {c.reason for c in analysis.comparisons} == {
        "the anytime-valid test needs 8 seeds for 2 comparisons"
    }


def test_more_seeds_may_be_asked_for_and_fewer(place):
    confirm(place, MEANS)
    more = {**THREE, "confirm.seeds": {"first": 100, "up_to": 26}}
    study, ran = confirm(place, MEANS, more)
    assert ran == {"replay": 26, "finetune": 8, "ewc": 26}
    analysis = analyse(study_record(study))
    assert not analysis.record.changes
    fewer = {**THREE, "confirm.seeds": {"first": 100, "up_to": 12}}
    analysis = analyse(study_record(confirm(place, MEANS, fewer)[0]))
    assert [c.n for c in analysis.comparisons] == [8, 20]  # planned seeds are not withdrawn
    assert not any("The study file now asks" in note for note in analysis.notes)


def test_another_rule_for_the_end_after_looking_is_told(place):
    fixed = {**THREE, "confirm.seeds": {"first": 100, "count": 8}, "confirm.stop": "planned"}
    confirm(place, MEANS, fixed)
    study, _ = confirm(place, MEANS)
    [change] = study_record(study).changes
    assert change.startswith("confirm.stop was planned, now decided")


def test_a_whole_study_goes_on_where_it_stopped(tmp_path):
    """Two methods that hardly differ, run in this process; a second run adds nothing."""
    asked = sets(
        "tune.trials=1",
        "tune.seeds=[0]",
        "confirm.seeds={ first = 100, up_to = 9 }",
        'confirm.stop="decided"',
        'methods.finetune={ learner = "replay", fixed = { hidden = [16], epochs = 8, batch_size = '
        "16, memory_total = 45 } }",
    )
    found = run_here(tmp_path, *asked)
    assert found.returncode == 0, found.stderr
    assert "simultaneous" not in found.stderr
    counts = {
        name: sum(len(e.seeds) for e in entries(tmp_path, "confirm") if e.method == name)
        for name in ("finetune", "replay")
    }
    analysis = analyse_folder(tmp_path / "small")
    [comparison] = analysis.comparisons
    assert comparison.verdict != "inconclusive" or counts == {"finetune": 9, "replay": 9}
    before = sums(tmp_path)
    assert run_here(tmp_path, *asked).returncode == 0
    assert sums(tmp_path) == before


def test_recheck_needs_no_decision(place):
    changes = {**THREE, "tune.trials": 2}
    spec = make_design(changes).spec
    build_study(place, spec, lambda work: Run(accuracy=0.7))
    study = make_study(spec, Folder.open(place)[0].ledger())
    assert study.recheck("replay").seeds == tuple(range(100, 110))


def test_a_failure_leaves_verdicts_that_stood_before_it(place):
    """The reference fails on its fifteenth seed, where one comparison is decided and one is not."""
    _, spec, ledger = admit(place, THREE)
    for method, count in {"replay": 14, "finetune": 8, "ewc": 15}.items():
        seeds = range(100, 100 + count)
        add(ledger, spec, method, seeds=seeds, outcome=outcome(seeds, *MEANS[method]))
    add(ledger, spec, "replay", seeds=[114], state="failed", failure="Traceback\nError: too hot\n")
    study = make_study(spec, ledger)
    assert study.complete
    decided, ended = analyse(study_record(study)).comparisons
    assert (decided.n, decided.verdict) == (8, "worse by more than the margin")
    assert (ended.n, ended.verdict) == (14, "no verdict")
    assert "failed seeds of replay: 114" in ended.reason
    assert "worst" not in ended.reason


def test_a_mean_outside_the_interval_is_told():
    d = np.array([0.3, 0.31, 0.29, 0.3, 0.32, 0.28, 0.3, 0.31, *[-3.0] * 4])
    order = tuple(ORDER[: len(d)])
    pairs = Pairs("ewc", "replay", order, tuple(d.tolist()), (0.0,) * len(d))
    [found] = compare_family([pairs], rules())
    assert found.verdict.startswith("better")
    assert found.difference < 0 < found.ci_low
    assert "the mean lies outside the interval" in found.reason


def test_a_new_best_trial_begins_with_the_first_seeds(place):
    """Two comparisons are carried on; then a better trial of ewc appears, whose seeds are new."""
    tuned = {**THREE, "tune.trials": 1}
    _, spec, ledger = admit(place, tuned)
    for method in MEANS:
        add(ledger, spec, method, "tune", number=0, values=[0.5])
    study, ran = confirm(place, MEANS, tuned)
    assert ran == {"replay": 20, "finetune": 8, "ewc": 20}
    _, spec, ledger = admit(place, {**THREE, "tune.trials": 2})
    study = make_study(spec, ledger)
    assert study.confirmation("ewc").missing == []
    add(ledger, spec, "ewc", "tune", number=1, values=[0.9], params={"lr": 0.005})
    assert study.confirmation("ewc").missing == list(range(100, 108))


def test_the_order_of_the_seeds_stays(place):
    confirm(place, MEANS)
    earlier = {**THREE, "confirm.seeds": {"first": 95, "up_to": 25}}
    with pytest.raises(InputError, match=r"confirm\.seeds\.first = 95: .* was 100"):
        admit(place, earlier)


# -- the study file


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"confirm.seeds": {"first": 100, "count": 20}}, "need each other"),
        ({"confirm.stop": "planned"}, "need each other"),
        ({"confirm.seeds": {"first": 100, "count": 20, "up_to": 30}}, "give count, or up_to"),
        ({"confirm.seeds": {"first": 100}}, "give count, or up_to"),
        ({"confirm.seeds": {"first": 100, "up_to": 7}}, "2 comparisons need 8 seeds or more"),
        ({"tune.seeds": {"first": 0, "up_to": 3}, "tune.trials": 1}, "tune.seeds.up_to"),
        ({"study.failed": "worst"}, "study.failed = 'worst'"),
        ({"confirm.stop": "decide"}, "Did you mean 'decided'"),
    ],
)
def test_errors_of_the_study_file(changes, text):
    with pytest.raises(InputError, match=text):
        make_design({**THREE, **changes})


def test_units_other_than_seeds_are_refused():
    changes = {
        **THREE,
        "study.stream": "speaker_incremental_spoken_digits",
        "study.scenario": "domain",
        "methods": {"spiking_naive": {}, "latent_replay": {}},
        "study.reference": "latent_replay",
    }
    make_design({**changes, "confirm.stop": "planned", "confirm.seeds": [100]})
    with pytest.raises(InputError, match="pairs speakers"):
        make_design(changes)
