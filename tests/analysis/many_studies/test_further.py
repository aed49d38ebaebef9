"""Methods of one study against the reference of another: which seeds are pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.many_studies.compare import compare_streams, streams_of
from analysis.many_studies.further import compare_further
from analysis.one_study.analyse import analyse
from analysis.report.blocks import Bullets, Table
from analysis.report.many_sections import across_sections
from analysis.statistics import paired

REFERENCE = [0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.81, 0.83]
BETTER = [0.90, 0.92, 0.88, 0.91, 0.90, 0.87, 0.90, 0.93]
SAME = {"stream's version": "1", "data": "digits abc"}


@pytest.fixture
def studies(make_method, make_study):
    """Last month's study and a new one, which share a stream."""

    def build(old=None, new=None):
        methods = [make_method("replay", REFERENCE), make_method("ewc", REFERENCE[::-1])]
        further = [make_method("mine", BETTER), make_method("joint", BETTER, offline=True)]
        first = make_study(methods, study="last", conditions=SAME)
        second = make_study(further, study="new", reference="mine", conditions=SAME)
        return [analyse(replace(first, **(old or {}))), analyse(replace(second, **(new or {})))]

    return build


def test_methods_are_paired_seed_by_seed_with_the_first_reference(studies):
    found = compare_further(studies())
    (comparison,) = found.comparisons
    assert (comparison.method, comparison.reference) == ("mine (new)", "replay")
    d = np.array(BETTER) - np.array(REFERENCE)
    assert comparison.differences == pytest.approx(d)
    assert comparison.p_adjusted == paired.sign_flip_p(d)
    assert comparison.verdict == "better by more than the margin"


def test_all_of_them_are_one_family(studies, make_method):
    more = [make_method(name, BETTER) for name in ("a", "b", "c")]
    found = compare_further(studies(new={"methods": more}))
    assert len(found.comparisons) == 3
    assert found.comparisons[0].p_adjusted == pytest.approx(3 * found.comparisons[0].p_exact)


def test_only_seeds_that_both_have_learnt_are_pairs(studies, make_method):
    short = [replace(make_method("mine", BETTER), scores=dict.fromkeys(range(102, 112), 0.9))]
    (comparison,) = compare_further(studies(new={"methods": short})).comparisons
    assert comparison.seeds == tuple(range(102, 108))


def test_seeds_used_for_tuning_in_either_study_block_the_verdict(studies):
    (comparison,) = compare_further(studies(new={"tune_seeds": [103]})).comparisons
    assert comparison.verdict == "no verdict"
    assert "used for tuning and for confirmation: 103" in comparison.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"conditions": SAME | {"stream.samples_per_task": "2000"}},
            "stream.samples_per_task none in last, 2000 here",
        ),
        ({"conditions": SAME | {"data": "digits xyz"}}, "data digits abc in last, digits xyz here"),
        ({"stream": "split_mnist"}, "stream split_digits in last, split_mnist here"),
        ({"metric": "forgetting"}, "metric average_accuracy in last, forgetting here"),
    ],
)
def test_other_conditions_make_no_pairs_and_are_named(studies, change, said):
    found = compare_further(studies(new=change))
    assert not found.comparisons
    assert found.differing == (f"new: seeds are no pairs ({said})",)


def test_the_report_marks_them_as_not_planned(studies):
    analyses = studies()
    across = compare_streams(streams_of(analyses), resamples=50)
    parts = {part.title: part.blocks for part in across_sections(across, analyses)}
    (table,) = parts["From study to study"]
    assert isinstance(table, Table)
    assert table.caption.startswith("Not planned")
    assert [row[0] for row in table.texts] == ["mine (new)"]
    verdicts = next(b for b in parts["Each stream"] if getattr(b, "name", "") == "verdicts")
    assert "study" in verdicts.headings


def test_the_report_says_why_there_are_none(studies):
    analyses = studies(new={"conditions": SAME | {"data": "digits xyz"}})
    across = compare_streams(streams_of(analyses), resamples=50)
    parts = {part.title: part.blocks for part in across_sections(across, analyses)}
    (listed,) = parts["From study to study"]
    assert isinstance(listed, Bullets)
    assert "data digits abc in last" in listed.lines[0]
