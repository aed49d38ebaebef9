"""A front as a study of its own: which trials, and exactly their configurations."""

from __future__ import annotations

import re

import pytest
from factory import add, admit

from study import plan
from study.front import front_study
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
    ([0.70, 500.0], {"memory_total": 301}),  # as good as the first
]


@pytest.fixture
def swept(tmp_path):
    """The folder of a study whose sweep of `er` has five trials, and what is in it."""
    place = tmp_path / "small"
    _, spec, ledger = admit(place, TWO)
    for number, (values, params) in enumerate(TRIALS):
        add(ledger, spec, "er", "tune", number=number, values=values, params=params)
    return place, spec, ledger


def confirmed(place, tmp_path):
    """The study that a front makes, read and resolved."""
    file = tmp_path / "front.toml"
    file.write_text(front_study(place))
    spec, source = read(str(file))
    return spec, plan.resolve(spec, source)


def test_each_configuration_on_the_front_is_a_method(swept, tmp_path):
    place, before, ledger = swept
    spec, methods = confirmed(place, tmp_path)
    assert list(methods) == ["er_1", "er_0", "er_4", "er_3"]
    trials = {e.number: e.work["configuration"] for e in ledger.entries("tune", "er")}
    for name, method in methods.items():
        assert plan.configuration(method, {}) == trials[int(name.removeprefix("er_"))]
    assert spec.study.reference == "er_1"
    assert (spec.study.name, spec.tune.trials) == ("small_front", 0)
    assert (spec.confirm, spec.stream, spec.study.margin) == (
        before.confirm,
        before.stream,
        before.study.margin,
    )


@pytest.mark.parametrize(("params", "kept"), [(LARGE, False), ({"memory_total": 899}, True)])
def test_equal_configurations_are_one_method(params, kept, swept):
    place, spec, ledger = swept
    add(ledger, spec, "er", "tune", number=5, values=[0.90, 900.0], params=params)
    assert ("er_5" in front_study(place)) == kept


def test_a_method_without_trials_is_left_out_and_another_is_the_reference(tmp_path):
    place = tmp_path / "small"
    _, spec, ledger = admit(place, {**TWO, "study.reference": "finetune"})
    add(ledger, spec, "er", "tune", number=0, values=[0.9, 10.0], params=LARGE)
    spec, methods = confirmed(place, tmp_path)
    assert (list(methods), spec.study.reference) == (["er_0"], "er_0")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tune.objectives": []}, "needs two objectives or more, and this study has average_acc"),
        ({}, "no trial is complete yet"),
    ],
)
def test_where_there_is_no_front_it_is_said(changes, told, tmp_path):
    place = tmp_path / "small"
    admit(place, {**TWO, **changes})
    with pytest.raises(InputError, match=re.escape(told)):
        front_study(place)
