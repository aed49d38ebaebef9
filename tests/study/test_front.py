"""A front as a study of its own: which trials, and exactly their configurations."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from factory import add, admit, build_study, make_entry, make_outcome

from analysis.report.tables import method_table
from study import check
from study.front import front_study
from study.record import analyse_folder
from study.spec import read
from trainables.errors import InputError

TWO = {
    "tune.objectives": ["average_accuracy", "memory_bytes"],
    "tune.trials": 6,
    "methods": {
        "finetune": {},
        "er": {
            "learner": "replay",
            "fixed": {"epochs": 2},
            "space": {"memory_total": {"low": 10, "high": 900}},
        },
    },
    "study.reference": "er",
}
LARGE, SMALL, MIDDLE = {"memory_total": 900}, {"memory_total": 20}, {"memory_total": 300}
# more accurate is better, less memory is better
TRIALS = [
    ([0.70, 500.0], MIDDLE),
    ([0.90, 900.0], LARGE),  # on the front: most accurate
    ([0.60, 500.0], MIDDLE),  # worse than the first
    ([0.50, 20.0], SMALL),  # on the front: smallest
    ([0.70, 500.0], {"memory_total": 301}),  # as good as the first: the same point
]


@pytest.fixture
def swept(tmp_path):
    """The folder of a study whose sweep of `er` has five trials, and what is in it."""
    place = tmp_path / "small"
    _, spec, ledger = admit(place, TWO)
    for number, (values, params) in enumerate(TRIALS):
        add(ledger, spec, "er", "tune", number=number, values=values, params=params)
    return place, spec, ledger


def sweep(ledger, spec, method, trials):
    """Add trials to the sweep of a method: (values, size of the memory)."""
    for number, (values, total) in enumerate(trials):
        params = {"memory_total": total}
        add(ledger, spec, method, "tune", number=number, values=values, params=params)


def confirmed(place, tmp_path):
    """The study that a front makes, and its file."""
    file = tmp_path / "front.toml"
    file.write_text(front_study(place))
    return read(str(file))


def test_each_configuration_on_the_front_is_a_method(swept, tmp_path):
    place, before, ledger = swept
    spec, source = confirmed(place, tmp_path)
    methods = check.resolve(spec, source).methods
    assert list(methods) == ["er_1", "er_0", "er_3"]
    trials = {e.number: e.work["configuration"] for e in ledger.entries("tune", "er")}
    for name, method in methods.items():
        assert method.configuration({}) == trials[int(name.removeprefix("er_"))]
    assert spec.study.reference == "er_1"
    assert (spec.study.name, spec.tune.trials) == ("small_front", 0)
    assert (spec.stream, spec.study.margin) == (before.stream, before.study.margin)


def test_comparisons_of_methods_that_are_gone_are_left_out(swept, tmp_path):
    place, _, _ = swept
    admit(place, TWO | {"study.comparisons": [["finetune", "er"]]})
    spec, source = confirmed(place, tmp_path)
    assert check.resolve(spec, source).comparisons == tuple(
        (name, "er_1") for name in ("er_0", "er_3")
    )


def test_a_configuration_is_compared_with_one_of_the_reference_at_least_as_large(swept, tmp_path):
    place, spec, ledger = swept
    other = [([0.8, 950.0], 950), ([0.75, 600.0], 600), ([0.65, 500.0], 500), ([0.4, 5.0], 20)]
    two = TWO | {"methods": TWO["methods"] | {"more": TWO["methods"]["er"]}}
    _, spec, ledger = admit(place, two)
    sweep(ledger, spec, "more", other)
    spec, source = confirmed(place, tmp_path)
    assert check.resolve(spec, source).comparisons == (
        ("more_0", "er_1"),  # none of the reference is as large: the largest
        ("more_1", "er_1"),  # 900 is the next after 600
        ("more_2", "er_0"),  # 500, as large
        ("more_3", "er_3"),  # 20, the next after 5
    )


def test_methods_are_compared_as_in_the_study(swept, tmp_path):
    place, _, _ = swept
    er = TWO["methods"]["er"]
    names = ("er", "more", "base", "alone")
    pairs = {"study.comparisons": [["more", "base"], ["more", "er"], ["more - er", "base - alone"]]}
    _, spec, ledger = admit(place, TWO | pairs | {"methods": dict.fromkeys(names, er)})
    sweep(ledger, spec, "more", [([0.8, 600.0], 600), ([0.3, 10.0], 10)])
    sweep(ledger, spec, "base", [([0.7, 650.0], 650), ([0.6, 300.0], 300)])
    sweep(ledger, spec, "alone", [([0.5, 500.0], 500)])
    spec, source = confirmed(place, tmp_path)
    assert check.resolve(spec, source).comparisons == (
        ("more_0", "base_0"),
        ("more_1", "base_1"),
        ("more_0", "er_1"),
        ("more_1", "er_3"),
    )
    said = front_study(place).splitlines()
    assert "# Each configuration of more is compared with one of base." in said
    assert "# Each configuration of more is compared with one of er." in said


def test_a_trial_that_misses_a_requirement_is_on_no_front(tmp_path):
    place = tmp_path / "small"
    _, spec, ledger = admit(place, TWO | {"tune.require": {"learning_accuracy": 0.8}})
    for number, (values, params) in enumerate(TRIALS):
        entry = make_entry(spec, "er", "tune", number=number, params=params)
        notes = {"constraints:learning_accuracy": 0.3 if number == 1 else -0.1}
        done = replace(entry, state="complete", values=values, attributes=notes)
        ledger.finish(done, make_outcome(entry.seeds).to_bytes())
    spec, _ = confirmed(place, tmp_path)
    assert "er_1" not in spec.methods
    assert spec.study.reference == "er_0"


def test_nothing_has_been_seen_of_its_seeds(swept, tmp_path):
    place, before, ledger = swept
    add(ledger, before, "er", seeds=[107])
    spec, source = confirmed(place, tmp_path)
    assert before.confirm_seeds == (100, 101, 102, 103)
    assert spec.confirm_seeds == (108, 109, 110, 111)
    assert spec.confirm.chosen_on == [0, 1]
    with pytest.raises(InputError, match=r"confirm.seeds: 1 is also in confirm.chosen_on"):
        check.resolve(read(source, ["confirm.seeds=[1]"])[0], source)


def test_its_report_says_what_chose_its_configurations(swept, tmp_path):
    spec, _ = confirmed(swept[0], tmp_path)
    build_study(tmp_path / "small_front", spec)
    analysis = analyse_folder(tmp_path / "small_front")
    said = "Nothing was tuned here: an earlier study chose the configurations, on the seeds 0, 1."
    assert said in method_table(analysis).caption


def test_what_is_not_there_is_said(swept):
    said = front_study(swept[0]).splitlines()
    assert said[1:4] == [
        "# The sweep of finetune has 0 of its 6 trials.",
        "# The sweep of er has 5 of its 6 trials.",
        "# No trial of finetune is complete.",
    ]


@pytest.mark.parametrize(("params", "kept"), [(LARGE, False), ({"memory_total": 899}, True)])
def test_equal_configurations_are_one_method(params, kept, swept):
    place, spec, ledger = swept
    add(ledger, spec, "er", "tune", number=5, values=[0.89, 899.0], params=params)
    assert ("er_5" in front_study(place)) == kept


def test_a_method_without_trials_is_left_out_and_another_is_the_reference(tmp_path):
    place = tmp_path / "small"
    _, spec, ledger = admit(place, {**TWO, "study.reference": "finetune"})
    add(ledger, spec, "er", "tune", number=0, values=[0.9, 10.0], params=LARGE)
    spec, _ = confirmed(place, tmp_path)
    assert (list(spec.methods), spec.study.reference) == (["er_0"], "er_0")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tune.objectives": []}, "needs at least two objectives, and this study has only avera"),
        ({}, "no trial is complete yet"),
    ],
)
def test_where_there_is_no_front_it_is_said(changes, told, tmp_path):
    place = tmp_path / "small"
    admit(place, {**TWO, **changes})
    with pytest.raises(InputError, match=re.escape(told)):
        front_study(place)
