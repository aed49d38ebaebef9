"""A learner's way through a stream: what is recorded, and going on from where it was."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from conformance import assert_same_state

from trainables import InputError
from trainables.course import Assignment, Course
from trainables.evaluation import evaluate
from trainables.outcome import Outcome

SEEDS = (11, 12)
QUICK = {"hidden": [16], "epochs": 2, "batch_size": 16}
WORK = Assignment(
    learner="replay",
    configuration={**QUICK, "memory_total": 60},
    stream="split_digits",
    scenario="class",
    options={},
    phase="tune",
    seeds=SEEDS,
)


def course(digits, **changes):
    return Course(replace(WORK, **changes), SEEDS, digits)


def finished(digits, **changes):
    whole = course(digits, **changes)
    while not whole.done:
        whole.advance()
    return whole


def assert_same_outcome(one, other):
    """Compare all that was measured but the time."""
    for field in fields(Outcome):
        if field.name == "seconds":
            continue
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if not isinstance(mine, dict):
            mine, theirs = {"": mine}, {"": theirs}
        assert list(mine) == list(theirs), field.name
        for name, array in mine.items():
            assert array.dtype == theirs[name].dtype, (field.name, name)
            np.testing.assert_array_equal(array, theirs[name], err_msg=f"{field.name}/{name}")


@pytest.mark.parametrize("learner", ["finetune", "joint", "replay", "ewc"])
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_restored_course_continues_bit_for_bit(learner, cut, digits):
    changes = {"learner": learner, "configuration": QUICK, "evaluate_every": 10}
    whole, first = finished(digits, **changes), course(digits, **changes)
    for _ in range(cut):
        first.advance()
    buffer = io.BytesIO()
    torch.save(first.learner.state(), buffer)
    buffer.seek(0)
    saved = Outcome.from_bytes(first.outcome().to_bytes())
    second = course(digits, **changes)
    second.restore(saved, torch.load(buffer, weights_only=True))
    np.testing.assert_array_equal(second.outcome().seconds, saved.seconds)
    assert_same_outcome(second.outcome(), saved)
    while not second.done:
        second.advance()
    assert_same_outcome(second.outcome(), whole.outcome())
    assert_same_state(second.learner.state(), whole.learner.state())


def test_evaluating_within_tasks_records_the_right_steps_and_changes_nothing(digits):
    every = 10
    plain, watched = finished(digits), finished(digits, evaluate_every=every)
    assert_same_state(watched.learner.state(), plain.learner.state())
    found = watched.outcome()
    assert_same_outcome(replace(found, between=plain.outcome().between), plain.outcome())
    steps = [plain.stream.task(t).size for t in range(5)]
    steps = [QUICK["epochs"] * -(-size // QUICK["batch_size"]) for size in steps]
    expected = [task for task, count in enumerate(steps) for _ in range(count // every)]
    assert found.between["task"].tolist() == expected
    assert found.between["counts"].shape == (2, len(expected), 5, 10, 10)


def test_evaluating_within_tasks_equals_testing_by_hand(digits):
    configuration = {**QUICK, "lr": 0.01}
    changes = {"learner": "finetune", "configuration": configuration, "tasks": 2}
    watched = finished(digits, evaluate_every=7, **changes).outcome().between["counts"]
    hand, expected = course(digits, **changes), []
    for index in range(2):
        task = hand.stream.task(index)
        for step, batch in enumerate(task.batches(QUICK["epochs"], QUICK["batch_size"]), start=1):
            hand.learner.observe(batch)
            if step % 7 == 0:
                expected.append(evaluate(hand.learner, hand.stream, index + 1).counts["main"])
    np.testing.assert_array_equal(watched, torch.stack(expected, dim=1).numpy())


def test_evaluating_after_the_last_step_sees_what_the_end_of_the_task_sees(digits):
    steps = QUICK["epochs"] * -(-course(digits).stream.task(0).size // QUICK["batch_size"])
    found = course(digits, tasks=1, evaluate_every=steps)
    found.advance()
    outcome = found.outcome()
    assert outcome.between["task"].tolist() == [0]
    np.testing.assert_array_equal(outcome.between["counts"][:, 0], outcome.counts["main"][:, 0])


def test_evaluating_after_every_step_follows_the_learning(digits):
    configuration = {**WORK.configuration, "lr": 0.01}
    found = course(digits, configuration=configuration, tasks=1, evaluate_every=1)
    found.advance()
    counts = found.outcome().between["counts"][:, :, 0].astype(float)
    accuracy = counts.trace(axis1=2, axis2=3) / counts.sum((2, 3))
    assert (accuracy[:, -1] > accuracy[:, 0] + 0.2).all()
    assert len(np.unique(accuracy[0])) > 2


def test_samples_and_footprint_are_recorded_for_each_task(digits):
    found = finished(digits)
    outcome = found.outcome()
    steps = [-(-found.stream.task(t).size // 16) * 2 for t in range(5)]
    assert outcome.samples.tolist() == [16 * count for count in steps]
    # replay joins as many remembered samples to each batch, but for the very first
    assert outcome.trained.tolist() == [32 * n - 16 * (t == 0) for t, n in enumerate(steps)]
    assert outcome.footprint["memory"].tolist() == [60 * 65] * 5
    assert (outcome.seconds > 0).all()
    assert outcome.finite.all()
    assert outcome.seeds.tolist() == list(SEEDS)


def test_every_method_takes_the_steps_of_the_others(digits):
    kinds = ("finetune", "joint", "replay", "ewc")
    samples = [
        finished(digits, learner=kind, configuration=QUICK).outcome().samples for kind in kinds
    ]
    assert all((other == samples[0]).all() for other in samples)


def test_the_untrained_network_is_tested_first(digits):
    found = finished(digits, tasks=1, scenario="task").outcome()
    other = finished(
        digits, tasks=1, scenario="task", learner="finetune", configuration=QUICK
    ).outcome()
    # equal initial weights, whatever the method
    np.testing.assert_array_equal(found.initial["main"], other.initial["main"])
    assert found.initial["main"].sum() == found.counts["main"][:, 0].sum()


def test_only_so_many_tasks_are_learnt_but_all_are_tested(digits):
    found = finished(digits, tasks=2, scenario="task").outcome()
    assert found.rows == 2
    whole = finished(digits, scenario="task").outcome()
    np.testing.assert_array_equal(found.counts["main"], whole.counts["main"][:, :2])
    assert (found.counts["main"].sum((3, 4)) > 0).all()


def test_a_diverged_seed_is_reported_as_such(digits):
    found = course(digits)
    found.advance()
    with torch.no_grad():
        next(found.learner.network.parameters())[1] = float("nan")
    found.advance()
    assert found.outcome().finite.tolist() == [[True, True], [True, False]]


def test_versions_are_those_of_learner_and_stream():
    assert WORK.versions() == {"learner": 1, "stream": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"learner": "reply"},
        {"stream": "split_digit"},
        {"phase": "test"},
        {"options": {"class_orders": "fixed"}},
        {"options": {"class_order": "random"}},
        {"configuration": {"learning_rate": 1.0}},
    ],
    ids=str,
)
def test_an_assignment_that_makes_no_sense_is_refused(changes, digits):
    with pytest.raises(InputError):
        course(digits, **changes)
