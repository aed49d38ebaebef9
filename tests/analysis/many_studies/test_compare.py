"""Comparison over streams against rliable, scipy, scikit-posthocs, autorank and enumeration."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import autorank
import numpy as np
import pandas as pd
import pytest
import rliable.metrics
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.many_studies import bootstrap, compare
from analysis.many_studies import ranks as ranking
from analysis.many_studies.compare import StreamScores, compare_streams, streams_of
from analysis.one_study.analyse import analyse

pytestmark = pytest.mark.filterwarnings("error")


def stream(name, scores, **fields):
    """A stream whose methods have their scores on seeds 0, 1, ..."""
    seeded = {m: of if isinstance(of, dict) else dict(enumerate(of)) for m, of in scores.items()}
    whole = {
        "metric": "average_accuracy",
        "chance": 0.1,
        "higher_is_better": True,
        "reference": "replay",
    }
    return StreamScores(**{"stream": name, "scores": seeded, **whole, **fields})


def random_streams(streams=3, seeds=6, methods=("replay", "ewc", "si"), seed=0, **fields):
    rng = np.random.default_rng(seed)
    return [
        stream(
            f"stream_{b}",
            {
                m: np.round(0.5 + 0.04 * b + 0.02 * i + rng.normal(0, 0.05, seeds), 2).tolist()
                for i, m in enumerate(methods)
            },
            **fields,
        )
        for b in range(streams)
    ]


def test_offline_bounds_have_a_standing_and_are_neither_compared_nor_ranked():
    names = ("replay", "ewc", "si", "joint")
    streams = random_streams(6, methods=names, bounds=frozenset({"joint"}))
    found = compare_streams(streams)
    without = compare_streams(
        [
            replace(s, scores={m: s.scores[m] for m in names[:3]}, bounds=frozenset())
            for s in streams
        ]
    )
    assert [s.method for s in found.standings] == list(names)
    assert [c.method for c in found.contrasts] == ["ewc", "si"]
    assert found.ranking == without.ranking


def ranked(means):
    """The ranking of methods m0, m1, ... with these means [M, B]."""
    return ranking.rank_methods([f"m{i}" for i in range(len(means))], np.array(means))


def normalised(streams, method, of=0.1):
    return np.array([list(s.scores[method].values()) for s in streams]).T / (1 - of) - of / (1 - of)


# --- estimates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("streams", "seeds"), [(2, 3), (3, 5), (4, 10), (5, 7)])
def test_interquartile_mean_agrees_with_rliable(streams, seeds):
    data = random_streams(streams, seeds)
    found = compare_streams(data, resamples=10)
    assert [s.method for s in found.standings] == ["replay", "ewc", "si"]
    for standing in found.standings:
        expected = rliable.metrics.aggregate_iqm(normalised(data, standing.method))
        assert standing.iqm.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("score", "fields", "expected"),
    [
        (0.1, {}, 0),
        (1.0, {}, 1),
        (0.55, {}, 0.5),
        (0.0, {}, -1 / 9),  # worse than guessing is not cut off
        (0.3, {"chance": 0.5, "higher_is_better": False}, 0.4),
        (0.0, {"chance": 1.0, "higher_is_better": False}, 1),
        (-0.5, {"chance": -1.0}, 0.25),
    ],
)
def test_normalisation_between_chance_and_best(score, fields, expected):
    data = [stream(name, {"replay": [score] * 3}, **fields) for name in "ab"]
    assert compare_streams(data).standings[0].iqm.value == pytest.approx(expected)


def test_a_further_method_changes_nothing_about_the_others():
    few = compare_streams(random_streams(3, 6, ("replay", "ewc")), resamples=200)
    more = [
        replace(s, scores={**s.scores, "bad": dict.fromkeys(range(6), 0.11)})
        for s in random_streams(3, 6, ("replay", "ewc"))
    ]
    assert compare_streams(more, resamples=200).standings[:2] == few.standings
    assert compare_streams(more, resamples=200).contrasts[:1] == few.contrasts


@pytest.mark.parametrize("higher", [True, False])
def test_probability_of_outperforming_agrees_with_rliable_seed_by_seed(higher):
    data = random_streams(4, 8, seed=3, higher_is_better=higher, chance=0.1 if higher else 0.9)
    found = compare_streams(data, resamples=10)
    for contrast in found.contrasts:
        x, y = (
            np.array([list(s.scores[m].values()) for s in data]).T
            for m in (contrast.method, "replay")
        )
        x, y = (x, y) if higher else (y, x)
        pairs = zip(x, y, strict=True)  # one run each: rliable's unpaired comparison is paired
        shares = [rliable.metrics.probability_of_improvement(a[None], b[None]) for a, b in pairs]
        assert contrast.p_win.value == pytest.approx(np.mean(shares))
        assert np.mean([row.wins.share for row in contrast.streams]) == pytest.approx(
            contrast.p_win.value
        )


def test_ties_are_found_whatever_the_round_off():
    scores = {"replay": [0.3, 0.5, 0.5, 0.5], "ewc": [0.1 + 0.2, 0.5, 0.5 + 1e-12, 0.6]}
    data = [stream(name, scores) for name in "ab"]
    (contrast,) = compare_streams(data).contrasts
    assert contrast.p_win.value == (0.5 + 0.5 + 0.5 + 1) / 4
    assert contrast.difference.value == pytest.approx(0.025)
    assert [(row.stream, row.n, row.wins.ties) for row in contrast.streams] == [
        ("a", 4, 3),
        ("b", 4, 3),
    ]


def test_copies_of_a_study_are_no_further_streams():
    data = random_streams(5)
    copies = [replace(data[0], scores=dict(data[0].scores)) for _ in range(4)]
    found = compare_streams([*data, *copies], resamples=50)
    assert found.streams == tuple(s.stream for s in data)
    assert [out.name for out in found.left_out] == ["stream_0"] * 4


def test_another_metric_is_not_averaged_with_the_first():
    one, two, other = random_streams(3)
    found = compare_streams([one, two, replace(other, metric="retention_old")], resamples=50)
    assert found.streams == (one.stream, two.stream)
    assert "retention_old, that of the first average_accuracy" in found.left_out[0].reason


def test_streams_weigh_alike_in_differences_whatever_their_seeds():
    a = stream("a", {"replay": [0.5] * 4, "ewc": [0.6, 0.6, 0.6, 0.4]})
    b = stream("b", {"replay": [0.5] * 8, "ewc": [0.4] * 7 + [0.6]})
    found = compare_streams([a, b])
    (contrast,) = found.contrasts
    assert contrast.p_win.value == pytest.approx((3 / 4 + 1 / 8) / 2)
    assert contrast.difference.value == pytest.approx((0.05 - 0.075) / 2)
    assert any("differ in their number of seeds (4 to 8)" in note for note in found.notes)


# --- bootstrap ------------------------------------------------------------------------------------


def every_draw(sizes):
    """All equally likely resamples of two tiny streams, as positions of each [R, S_b]."""
    combinations = [list(itertools.product(range(n), repeat=n)) for n in sizes]
    pairs = list(itertools.product(*combinations))
    return [np.array([pair[b] for pair in pairs]) for b in range(len(sizes))]


def test_bootstrap_statistics_agree_with_enumeration():
    x = [np.array([0.1, 0.5, 0.9]), np.array([0.3, 0.35, 0.8, 0.2])[:3]]
    draws = every_draw([3, 3])
    iqm, mean = bootstrap.resampled_iqm(x, draws), bootstrap.resampled_mean(x, draws)
    assert len(iqm) == 27 * 27
    for r in range(len(iqm)):
        first, second = ([float(v[i]) for i in d[r]] for v, d in zip(x, draws, strict=True))
        pooled = sorted(first + second)
        assert iqm[r] == pytest.approx(sum(pooled[1:5]) / 4)
        assert mean[r] == pytest.approx((sum(first) / 3 + sum(second) / 3) / 2)


def test_limits_are_quantiles_of_the_enumerated_distribution():
    data = random_streams(2, 4, ("replay", "ewc"), seed=5)
    found = compare_streams([replace(s, alpha=0.2) for s in data], resamples=40_000)
    draws = every_draw([4, 4])
    contrast, d = found.contrasts[0], []
    for s in data:
        scores = np.array([list(of.values()) for of in s.scores.values()])
        d.append(np.rint(100 * (scores[1] - scores[0])) / 100)
    for estimate, exact in (
        (contrast.difference, bootstrap.resampled_mean(d, draws)),
        (contrast.p_win, bootstrap.resampled_mean([(np.sign(v) + 1) / 2 for v in d], draws)),
        (found.standings[1].iqm, bootstrap.resampled_iqm(list(normalised(data, "ewc").T), draws)),
    ):
        round_off = 1e-9
        for limit, level in ((estimate.low, 0.1), (estimate.high, 0.9)):
            assert np.mean(exact < limit - round_off) <= level + 0.01
            assert np.mean(exact <= limit + round_off) >= level - 0.01


def test_methods_share_the_resampled_seeds():
    rng = np.random.default_rng(0)
    data = []
    for name in "abc":
        hard = rng.normal(0.5, 0.1, 12)  # seeds differ far more than the methods do
        data.append(stream(name, {"replay": hard.tolist(), "ewc": (hard + 0.01).tolist()}))
        data[-1].scores["ewc"][0] += 0.001
    found = compare_streams(data, resamples=2000)
    contrast, standing = found.contrasts[0], found.standings[0].iqm
    assert standing.high - standing.low > 0.05
    assert contrast.difference.high - contrast.difference.low < 0.001
    assert contrast.iqm_difference.high - contrast.iqm_difference.low < 0.002


def test_streams_are_resampled_independently():
    first, second = bootstrap.resampled_seeds([8, 8], 5000, 0)
    assert first.shape == second.shape == (5000, 8)
    assert abs(np.corrcoef(first.mean(axis=1), second.mean(axis=1))[0, 1]) < 0.05
    assert set(first.ravel()) == set(range(8))


def test_equal_generators_give_equal_intervals_and_others_do_not():
    data = random_streams()
    first, again = compare_streams(data, resamples=300), compare_streams(data, resamples=300)
    assert first == again
    assert compare_streams(data, resamples=300, seed=1).standings != first.standings
    assert any("300 resamples" in note and "20180608" in note for note in first.notes)
    assert any("PCG64 with seed 1)" in n for n in compare_streams(data, seed=1).notes)
    assert isinstance(np.random.default_rng(1).bit_generator, np.random.PCG64)


def test_coverage_of_the_intervals():
    rng = np.random.default_rng(1)
    share = stats.norm.cdf(0.03 / (0.03 * math.sqrt(2)))
    covered = []
    for repetition in range(250):
        data = [
            stream(
                f"s{b}",
                {m: rng.normal(0.5 + 0.05 * b + 0.03 * i, 0.03, 10).tolist() for i, m in names},
            )
            for b in range(3)
            for names in [list(enumerate(("replay", "ewc")))]
        ]
        (c,) = compare_streams(data, resamples=400, seed=repetition).contrasts
        estimates = ((c.difference, 0.03), (c.iqm_difference, 0.03 / 0.9), (c.p_win, share))
        covered.append([e.low - 1e-9 <= true <= e.high + 1e-9 for e, true in estimates])
    assert np.mean(covered, axis=0) == pytest.approx(0.92, abs=0.045)


def test_an_interval_without_width_is_not_shown_as_certainty():
    data = [stream(n, {"replay": [0.5, 0.6, 0.7], "ewc": [0.6, 0.8, 0.9]}) for n in "ab"]
    found = compare_streams(data)
    (contrast,) = found.contrasts
    assert (contrast.p_win.value, contrast.p_win_by) == (1, "Wilson")
    z = stats.norm.ppf(0.975)
    assert contrast.p_win.low == pytest.approx(6 / (6 + z**2))
    assert contrast.p_win.high == 1
    assert any("not certainty" in note for note in found.notes)
    assert contrast.difference.low is not None


# --- what takes part ------------------------------------------------------------------------------


def reasons(found):
    return {(left.kind, left.name): left.reason for left in found.left_out}


def test_no_stream_and_one_stream_give_a_sentence():
    nothing = compare_streams([])
    assert nothing.notes == (
        "No method has complete scores on every stream, so nothing is compared.",
    )
    one = compare_streams(random_streams(1))
    assert one.streams == ("stream_0",)
    assert one.standings == one.contrasts == ()
    assert one.notes == (
        "stream_0 is the only stream: nothing is averaged over streams; see its own report.",
    )
    assert one.no_ranking == "Ranks need 5 streams or more, not 1."


def test_a_method_missing_on_a_stream_is_left_out_everywhere():
    first, second, third = random_streams()
    del second.scores["si"]
    third.scores["si"].clear()
    found = compare_streams([first, second, third], resamples=50)
    assert found.methods == ("replay", "ewc")
    assert reasons(found) == {("method", "si"): "si has no complete scores on stream_1, stream_2."}


def test_a_failed_seed_leaves_its_method_out():
    data = random_streams()
    data[1].scores["ewc"][3] = math.nan
    data[1].scores["ewc"][4] = math.inf
    found = compare_streams(data, resamples=50)
    assert found.methods == ("replay", "si")
    assert "ewc failed on stream_1 (seeds 3, 4)" in reasons(found)["method", "ewc"]
    assert 'failed = "worst"' in reasons(found)["method", "ewc"]
    assert found.seeds == (tuple(range(6)),) * 3


def test_failed_seeds_that_count_as_a_score_are_told(make_method, make_study):
    broken = make_method("ewc", [math.nan, 0.8, 0.7, math.nan, 0.75])
    methods = [make_method("replay", [0.8, 0.7, 0.9, 0.85, 0.8]), broken]
    studies = [make_study(methods, stream=name, failed_rule="worst") for name in ("one", "two")]
    found = compare_streams(streams_of([analyse(study) for study in studies]), resamples=50)
    told = "Failed seeds that count as the worst score: ewc 2 on one, ewc 2 on two. All averages"
    assert any(note.startswith(told) for note in found.notes)
    assert not any("Failed" in note for note in compare_streams(random_streams(), 50).notes)


def test_seeds_are_cut_to_those_that_all_methods_share():
    data = random_streams()
    data[0].scores["ewc"][99] = 0.0
    del data[0].scores["si"][2]
    found = compare_streams(data, resamples=50)
    assert found.seeds == ((0, 1, 3, 4, 5), tuple(range(6)), tuple(range(6)))
    assert any("Seeds 2, 99 of stream_0 are not shared" in note for note in found.notes)
    without = {m: {s: of[s] for s in (0, 1, 3, 4, 5)} for m, of in data[0].scores.items()}
    same = compare_streams([replace(data[0], scores=without), *data[1:]], resamples=50)
    assert same.standings == found.standings


def test_seeds_are_listed_in_order():
    scores = {m: {8: 0.4, 1: 0.5, 16: 0.6} for m in ("replay", "ewc")}
    found = compare_streams([stream(name, scores) for name in "ab"], resamples=50)
    assert found.seeds == ((1, 8, 16), (1, 8, 16))


def test_scores_are_paired_by_seed_not_by_order():
    data = random_streams()
    turned = [
        replace(s, scores={m: dict(reversed(of.items())) for m, of in s.scores.items()})
        for s in data
    ]
    turned[0].scores["replay"].update(data[0].scores["replay"])
    assert compare_streams(turned).contrasts == compare_streams(data).contrasts


def test_a_stream_without_shared_seeds_is_left_out():
    data = random_streams()
    data[2].scores["si"] = {s + 50: x for s, x in data[2].scores["si"].items()}
    found = compare_streams(data, resamples=50)
    assert found.streams == ("stream_0", "stream_1")
    assert "No seed of stream_2" in reasons(found)["stream", "stream_2"]
    for s in data[:2]:
        s.scores["si"] = {seed + 50: x for seed, x in s.scores["si"].items()}
    none = compare_streams(data)
    assert none.notes == ("No stream has seeds that all methods share, so nothing is compared.",)


@pytest.mark.parametrize("chance", [1.0, 1.5, math.nan, -math.inf])
def test_a_stream_that_cannot_be_normalised_is_left_out(chance):
    data = random_streams(4)
    found = compare_streams([*data[:3], replace(data[3], chance=chance)], resamples=50)
    assert found.streams == ("stream_0", "stream_1", "stream_2")
    assert "cannot be normalised" in reasons(found)["stream", "stream_3"]


def test_empty_and_repeated_streams_are_left_out():
    data = random_streams()
    found = compare_streams([*data, data[0], stream("void", {"replay": {}})], resamples=50)
    assert found.streams == ("stream_0", "stream_1", "stream_2")
    assert "given twice" in reasons(found)["stream", "stream_0"]
    assert reasons(found)["stream", "void"] == "void has no complete scores."


def test_few_seeds_have_estimates_and_no_intervals():
    data = random_streams(2, 2)
    found = compare_streams(data)
    assert found.standings[0].iqm.low is found.contrasts[0].p_win.high is None
    assert found.contrasts[0].p_win_by == ""
    assert "No intervals: fewer than 3 shared seeds on stream_0, stream_1." in found.notes


def test_identical_scores_everywhere():
    data = [stream(str(b), {m: [0.4] * 5 for m in ("replay", "ewc", "si")}) for b in range(6)]
    found = compare_streams(data)
    (contrast, _) = found.contrasts
    assert contrast.identical
    assert contrast.p_win.value == 0.5
    assert (contrast.difference.value, contrast.difference.low) == (0, None)
    assert found.ranking is None
    assert found.no_ranking == "All methods tie on every stream, so there is nothing to rank."
    assert any("no interval for ewc, si" in note for note in found.notes)
    assert found.standings[0].iqm == compare.Interval(pytest.approx(0.3 / 0.9), None, None)
    assert any(note.startswith("replay, ewc, si: the scores") for note in found.notes)
    assert (contrast.iqm_difference.low, contrast.p_win_by) == (None, "Wilson")


def test_references_that_differ_lack_or_stand_alone():
    data = random_streams()
    mixed = compare_streams([replace(data[0], reference="si"), *data[1:]], resamples=50)
    assert (mixed.reference, mixed.contrasts) == (None, ())
    assert mixed.notes[0].startswith("The streams name different references (si, replay)")
    absent = compare_streams([replace(s, reference="gdumb") for s in data], resamples=50)
    assert absent.notes[0] == "The reference gdumb is not among the methods in common."
    assert len(absent.standings) == 3
    alone = compare_streams(random_streams(3, 4, ("replay",)), resamples=50)
    assert alone.notes[0] == "replay is the only method in common, so nothing is compared."


def test_directions_that_differ_leave_the_difference_in_metric_units_out():
    up, down = random_streams(2)
    turned = {m: {s: 1 - x for s, x in of.items()} for m, of in down.scores.items()}
    down_too = replace(down, scores=turned, chance=0.9, higher_is_better=False)
    found, plain = compare_streams([up, down_too]), compare_streams([up, down])
    assert found.contrasts[0].difference is None
    assert any("no mean difference in metric units" in note for note in found.notes)
    assert found.contrasts[0].p_win == plain.contrasts[0].p_win
    for mine, theirs in zip(found.standings, plain.standings, strict=True):
        assert mine.iqm.value == pytest.approx(theirs.iqm.value)


def test_input_is_untouched():
    data = random_streams(6)
    before = [{m: dict(of) for m, of in s.scores.items()} for s in data]
    compare_streams(data, resamples=50)
    assert [s.scores for s in data] == before


# --- ranks ----------------------------------------------------------------------------------------

DEMSAR_RANKS = [  # Demsar 2006, table 6: ranks of the areas under the curve on 14 data sets
    [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
    [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
    [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
    [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
]


def test_the_example_of_demsar():
    found, why = ranked(-np.array(DEMSAR_RANKS))
    assert why == ""
    assert dict(zip(found.methods, found.ranks, strict=True)) == pytest.approx(
        {"m0": 3.143, "m1": 2.0, "m2": 2.893, "m3": 1.964}, abs=5e-4
    )
    assert found.methods[0] == "m3"
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    f, p = ranking.iman_davenport(9.28, 4, 14)
    assert f == pytest.approx(3.69, abs=0.005)
    assert stats.f.ppf(0.95, 3, 39) == pytest.approx(2.85, abs=0.01)
    assert p < 0.05
    ties = 78 / (14 * 4 * 15)  # sum of t^3 - t: ours allows for them, the paper does not
    assert found.chi_square * (1 - ties) == pytest.approx(9.28, abs=0.01)
    # With 14 streams 1.18 is not enough: everything overlaps.
    assert found.groups == (("m3", "m1", "m2", "m0"),)
    assert "1.25 or more" in found.summary


@pytest.mark.parametrize(
    ("streams", "methods", "distance"),
    [
        (5, 3, 1.48),
        (5, 4, 2.10),
        (5, 5, 2.73),
        (5, 6, 3.37),
        (5, 8, 4.70),
        (10, 3, 1.05),
        (10, 4, 1.48),
        (10, 8, 3.32),
        (30, 3, 0.61),
        (30, 5, 1.11),
        (30, 8, 1.92),
    ],
)
def test_critical_differences_of_the_table(streams, methods, distance):
    assert ranking.critical_difference(methods, streams) == pytest.approx(distance, abs=0.006)


@pytest.mark.parametrize("seed", range(1, 7))
def test_ranks_agree_with_scipy_and_scikit_posthocs(seed):
    rng = np.random.default_rng(seed)
    k, streams = 3 + seed, 6 + 2 * seed
    means = np.round(rng.normal(0.5, 0.1, (k, streams)) + 0.1 * np.arange(k)[:, None], 2)
    found, _ = ranked(means)
    assert found.chi_square == pytest.approx(stats.friedmanchisquare(*means).statistic)
    p = scikit_posthocs.posthoc_nemenyi_friedman(means.T)
    p.columns = p.index = pd.Index([f"m{i}" for i in range(k)])
    average = dict(zip(found.methods, found.ranks, strict=True))
    assert average == pytest.approx(
        {f"m{i}": r for i, r in enumerate(stats.rankdata(-means, axis=0).mean(axis=1))}
    )
    for a, b in itertools.combinations(found.methods, 2):
        apart = abs(average[a] - average[b]) >= found.critical_difference
        assert apart == (p.loc[a, b] <= 0.05)
    assert found.p <= 0.05
    assert set(found.groups) == maximal_cliques(found.methods, p)


def maximal_cliques(names, p):
    """Largest sets of two or more methods without a Nemenyi p at or below 0.05, by brute force."""
    sets = [c for size in range(2, len(names) + 1) for c in itertools.combinations(names, size)]
    free = [c for c in sets if all(p.loc[a, b] > 0.05 for a, b in itertools.combinations(c, 2))]
    return {c for c in free if not any(set(c) < set(other) for other in free)}


def test_ranks_and_critical_difference_agree_with_autorank():
    rng = np.random.default_rng(0)
    means = rng.exponential(0.1, (4, 12)) + 0.1 * np.arange(4)[:, None]
    table = pd.DataFrame(means.T, columns=[f"m{i}" for i in range(4)])
    with np.errstate(all="ignore"):
        theirs = autorank.autorank(table, alpha=0.05, verbose=False, force_mode="nonparametric")
    found, _ = ranked(means)
    assert found.critical_difference == pytest.approx(theirs.cd, rel=1e-3)
    mine = dict(zip(found.methods, found.ranks, strict=True))
    assert mine == pytest.approx(theirs.rankdf["meanrank"].to_dict())
    assert stats.chi2.sf(found.chi_square, 3) == pytest.approx(theirs.pvalue)


def test_the_blocks_are_means_over_seeds_and_the_direction_counts():
    data = random_streams(6, 9)
    found = compare_streams(data, resamples=50)
    means = np.array([[np.mean(list(s.scores[m].values())) for s in data] for m in found.methods])
    ranks = stats.rankdata(-np.round(means, 9), axis=0).mean(axis=1)
    order = np.argsort(ranks, kind="stable")
    assert found.ranking.methods == tuple(found.methods[i] for i in order)
    assert found.ranking.ranks == pytest.approx(ranks[order])
    lower = [replace(s, higher_is_better=False, chance=1.0) for s in data]
    turned = compare_streams(lower, resamples=50).ranking
    assert dict(zip(turned.methods, turned.ranks, strict=True)) == pytest.approx(
        {m: 4 - r for m, r in zip(found.ranking.methods, found.ranking.ranks, strict=True)}
    )


def test_means_that_are_equal_on_paper_share_a_rank():
    data = [
        stream(str(b), {"replay": [0.1, 0.2, 0.3], "ewc": [0.3, 0.2, 0.1], "si": [0.4, 0.4, 0.5]})
        for b in range(5)
    ]
    first, second = (list(data[0].scores[m].values()) for m in ("replay", "ewc"))
    assert np.mean(first) != np.mean(second)
    ranking = compare_streams(data, resamples=50).ranking
    assert ranking.ranks == (1, 2.5, 2.5)


@pytest.mark.parametrize(("methods", "streams"), [(3, 5), (4, 5), (3, 6)])
def test_full_agreement_has_the_least_p_of_the_permutation_test(methods, streams):
    means = np.tile(np.arange(methods)[:, None] / 10, (1, streams))
    found, _ = ranked(means)
    assert math.isinf(found.f)
    assert found.p == pytest.approx(math.factorial(methods) ** (1 - streams))
    assert found.chi_square == pytest.approx(streams * (methods - 1))


def test_almost_full_agreement_has_no_smaller_p_than_full_agreement():
    _, p = ranking.iman_davenport(44.6, 10, 5)
    assert stats.f.sf(4 * 44.6 / 0.4, 9, 36) < p == pytest.approx(math.factorial(10) ** -4.0)


def test_iman_davenport_holds_its_level():
    rng = np.random.default_rng(0)
    k, streams, reps = 4, 6, 4000
    ranks = rng.permuted(np.tile(np.arange(1.0, k + 1), (reps, streams, 1)), axis=2)
    sums = ranks.sum(axis=1)
    chi = 12 / (streams * k * (k + 1)) * (sums**2).sum(axis=1) - 3 * streams * (k + 1)
    p = np.array([ranking.iman_davenport(x, k, streams)[1] for x in chi])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(stats.chi2.sf(chi, k - 1) <= 0.05) < np.mean(p <= 0.05)


def test_without_a_rejection_nothing_is_told_apart():
    means = [[0.1, 0.2, 0.3, 0.1, 0.2, 0.3], [0.2, 0.3, 0.1] * 2, [0.3, 0.1, 0.2] * 2]
    found, _ = ranked(means)
    assert found.p > 0.05
    assert found.groups == (found.methods,)
    assert "finds no difference" in found.summary


def test_nemenyi_says_nothing_where_friedman_does_not_reject():
    others = np.array([1, 3, 4, 5, 6, 7, 9, 10])
    columns = [[2, 8, *(others if b % 2 else others[::-1])] for b in range(6)]
    found, _ = ranked(-np.array(columns).T)
    assert found.ranks[-1] - found.ranks[0] == 6 > found.critical_difference
    assert found.p > 0.05
    assert found.groups == (found.methods,)


def test_ranks_need_five_streams_and_three_methods():
    assert compare_streams(random_streams(5), resamples=50).ranking is not None
    four = compare_streams(random_streams(4), resamples=50)
    assert (four.ranking, four.no_ranking) == (None, "Ranks need 5 streams or more, not 4.")
    two = compare_streams(random_streams(5, 4, ("replay", "ewc")), resamples=50)
    assert (two.ranking, two.no_ranking) == (None, "Ranks need 3 methods or more, not 2.")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1, 9), min_size=1, max_size=9), st.floats(0.1, 4))
def test_groups_are_the_maximal_runs(ranks, distance):
    ranks = sorted(ranks)
    n = len(ranks)
    runs = [
        (i, j) for i in range(n) for j in range(i + 2, n + 1) if ranks[j - 1] - ranks[i] < distance
    ]
    largest = [
        (i, j) for i, j in runs if not any((a, b) != (i, j) and a <= i and j <= b for a, b in runs)
    ]
    assert ranking.indistinguishable(ranks, distance) == largest


# --- odd input ------------------------------------------------------------------------------------

SCORES = st.dictionaries(
    st.sampled_from(["replay", "ewc", "si"]),
    st.dictionaries(st.integers(0, 4), st.sampled_from([0.1, 0.3, 0.5, 0.9, math.nan]), max_size=5),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(SCORES, st.sampled_from([0.1, 0.5, 1.0]), st.booleans()), min_size=0, max_size=6
    )
)
def test_no_input_is_an_error_or_a_warning(given_streams):
    data = [
        stream(str(i), scores, chance=chance, higher_is_better=higher)
        for i, (scores, chance, higher) in enumerate(given_streams)
    ]
    found = compare_streams(data, resamples=20)
    assert found.notes
    assert bool(found.ranking) != bool(found.no_ranking)
    for standing in found.standings:
        assert math.isfinite(standing.iqm.value)
    named = {left.name for left in found.left_out if left.kind == "method"}
    assert not named & set(found.methods)


# --- what the studies were ------------------------------------------------------------------------


def test_streams_tested_at_different_levels_are_refused_by_name():
    first, second = random_streams(2)
    with pytest.raises(ValueError, match=r"stream_0 0\.05, stream_1 0\.01"):
        compare_streams([first, replace(second, alpha=0.01)])


def test_streams_of_one_data_set_are_told_not_to_be_independent():
    data = [
        replace(s, dataset="mnist" if i < 2 else s.stream) for i, s in enumerate(random_streams(5))
    ]
    (note,) = [n for n in compare_streams(data, resamples=50).notes if "independent" in n]
    assert note.startswith("stream_0, stream_1 share the data of mnist")
    assert "2 times" in note
    apart = [replace(s, dataset=s.stream) for s in data]
    assert not [n for n in compare_streams(apart, resamples=50).notes if "independent" in n]


def test_a_stream_of_several_data_sets_shares_each_of_them():
    names = ["mnist + cifar10", "mnist", "cifar10 + cifar100", "digits", "fashion_mnist"]
    data = [replace(s, dataset=n) for s, n in zip(random_streams(5), names, strict=True)]
    notes = [n for n in compare_streams(data, resamples=50).notes if "independent" in n]
    assert [note.split(" and are no")[0] for note in notes] == [
        "stream_0, stream_1 share the data of mnist",
        "stream_0, stream_2 share the data of cifar10",
    ]
