"""When a trial that loses its workers is given up, and when it is tried once more."""

from __future__ import annotations

import pytest

from study.losses import deserves_another_try, final_reason, is_given_up, losses_in_a_row


def losses(*found):
    return [{"kind": kind, "reason": "x", "tasks": tasks} for kind, tasks in found]


@pytest.mark.parametrize(
    ("found", "row"),
    [
        ([], 0),
        ([("worker", 0)], 1),
        ([("worker", 0), ("node", 0)], 2),
        ([("worker", 0), ("worker", 1)], 1),
        ([("worker", 0), ("worker", 0), ("worker", 3), ("worker", 3)], 2),
    ],
)
def test_losses_are_counted_since_the_last_task_that_ended(found, row):
    assert losses_in_a_row(losses(*found)) == row


@pytest.mark.parametrize(
    ("found", "alone", "several"),
    [
        ([("worker", 0)], False, False),
        ([("worker", 0)] * 2, False, True),
        ([("worker", 0)] * 3, True, True),
        ([("worker", task) for task in range(9)], False, False),
        ([("memory", 1)], False, True),
        ([("memory", 1)] * 3, True, True),
        ([("silence", 1)], True, True),
        ([("node", 1), ("disk", 1), ("worker", 1)], True, True),
    ],
)
def test_a_trial_is_given_up_when_it_does_not_get_on(found, alone, several):
    assert is_given_up(losses(*found), replaceable=False) is alone
    assert is_given_up(losses(*found), replaceable=True) is several


def test_why_a_trial_was_given_up_names_the_last_reason_and_how_often():
    assert final_reason(losses(("worker", 1))) == "lost: x"
    assert final_reason(losses(("worker", 0), ("worker", 1), ("worker", 1))) == (
        "lost 2 times without finishing a task: x"
    )


THREE = [("worker", 0)] * 3


@pytest.mark.parametrize(
    ("found", "again"),
    [
        ([], False),
        ([("worker", 0)] * 2, False),
        (THREE, True),
        ([("node", 2)] * 3, True),
        ([("worker", 0), ("worker", 1), ("worker", 2), *[("worker", 3)] * 3], True),
        ([("memory", 0)] * 3, False),
        ([("silence", 0)], False),
        ([*THREE, ("worker", 0)], False),
        ([*THREE, *[("worker", 1)] * 2], True),  # on its second try, it has learnt a task
        ([*THREE, *[("worker", 1)] * 3], False),
    ],
)
def test_a_trial_that_was_given_up_by_chance_is_tried_once_more(found, again):
    assert deserves_another_try(losses(*found)) is again
