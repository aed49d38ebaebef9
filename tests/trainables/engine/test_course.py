"""A learner's way through a stream: what is recorded, and going on from where it was."""

from __future__ import annotations

import io
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from trainables import LEARNERS, InputError, Map
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.engine.evaluation import evaluate
from trainables.engine.outcome import Outcome
from trainables.methods.finetune import Finetune
from trainables.methods.gdumb import GDumb
from trainables.methods.spiking.recurrent import RecurrentLearner
from trainables.testing import assert_same_state

SEEDS = (11, 12)
QUICK = {"hidden": [16], "epochs": 2, "batch_size": 16}
WORK = Assignment(
    learner="replay",
    configuration={**QUICK, "memory_total": 60, "memory_policy": "reservoir"},
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
    assert (outcome.footprint["memory"] == 60 * 65).all()
    assert outcome.footprint["memory"].shape == (len(outcome.seeds), 5)
    assert (outcome.seconds > 0).all()
    assert outcome.finite.all()
    assert outcome.seeds.tolist() == list(SEEDS)


@pytest.mark.parametrize(("order", "tasks"), [("fixed", None), ("shuffled", 2)])
def test_every_method_takes_the_steps_of_the_others(order, tasks, digits):
    changes = {"tasks": tasks, "options": {"class_order": order}}
    # gdumb passes over the stream once, and spiking networks need other streams
    kinds = [
        name for name, kind in LEARNERS.items() if not issubclass(kind, GDumb | RecurrentLearner)
    ]
    own = {"synaptic": {"held_out": 0.0}}  # by default it holds samples out
    samples = [
        finished(digits, learner=kind, configuration=QUICK | own.get(kind, {}), **changes)
        .outcome()
        .samples
        for kind in kinds
    ]
    assert all(len(other) == (tasks or 5) for other in samples)
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


# -- joint

JOINT = {"learner": "joint", "configuration": QUICK}


def handed_over(found, monkeypatch):
    """Let a course learn its tasks; return the batches its learner was given."""
    batches, original = [], found.learner.observe
    monkeypatch.setattr(
        found.learner, "observe", lambda batch: batches.append(batch) or original(batch)
    )
    while not found.done:
        found.advance()
    return batches


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_joint_learns_the_first_tasks_only_while_tuning(tasks, order, digits, monkeypatch):
    found = course(digits, **JOINT, tasks=tasks, options={"class_order": order})
    batches = handed_over(found, monkeypatch)
    pools = [found.stream.pool(index)[0] for index in range(tasks)]
    for seed in range(len(SEEDS)):
        first = torch.cat([pool[seed] for pool in pools])
        images, _ = found.stream.gather(first.expand(len(SEEDS), -1))
        allowed = {tuple(image) for image in images[seed].tolist()}
        seen = {tuple(image) for batch in batches for image in batch.inputs[seed].tolist()}
        assert seen == allowed
        labels = {label for batch in batches for label in batch.labels[seed].tolist()}
        assert labels == set(found.stream.task_classes[seed, :tasks].flatten().tolist())


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_joint_is_tested_on_the_classes_it_learns_from_the_start(tasks, digits):
    found = finished(digits, **JOINT, tasks=tasks)
    outcome = found.outcome()
    tested = outcome.counts["main"].sum((3, 4)) > 0
    assert tested[:, :, :tasks].all()
    assert not tested[:, :, tasks:].any()
    assert ((outcome.initial["main"].sum((2, 3)) > 0) == tested[:, 0]).all()
    answered = set(np.flatnonzero(outcome.counts["main"].sum((0, 1, 2, 3))))
    assert answered <= set(range(2 * tasks))


def test_joint_is_tested_on_the_same_classes_within_tasks(digits):
    outcome = finished(digits, **JOINT, tasks=2, evaluate_every=10).outcome()
    tested = outcome.between["counts"].sum((3, 4)) > 0
    assert tested.shape[1] > 2
    assert tested[:, :, :2].all()
    assert not tested[:, :, 2:].any()


@pytest.mark.parametrize("tasks", [2, 5])
def test_the_memory_of_joint_is_all_the_data_it_draws_from(tasks, digits):
    found = finished(digits, **JOINT, tasks=tasks)
    sizes = [len(found.stream.pool(index)[0][0]) for index in range(tasks)]
    assert (found.outcome().footprint["memory"] == sum(sizes) * (64 + 1)).all()
    assert found.learner.footprint()["memory"] == sum(sizes) * 65


@pytest.mark.parametrize("active", ["seen", "current"])
def test_which_classes_compete_in_the_loss_makes_no_difference_to_joint(active, digits):
    plain = finished(digits, **JOINT).outcome()
    assert_same_outcome(
        finished(digits, **JOINT, options={"active_classes": active}).outcome(), plain
    )


# -- classes that compete in the loss


def loss_by_hand(logits, labels, rivals):
    """Mean over the samples of -log p(label), where the label competes with its rivals only."""
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(row[rival]) for rival in rivals[label])
        losses.append(math.log(total) - row[label])
    return sum(losses) / len(losses)


def steps_of_replay(found, monkeypatch):
    """Let replay learn three tasks; yield the task, loss, logits and labels of each step."""
    learner, seen = found.learner, {}

    def spy(place, name, keep):
        original = getattr(place, name)

        def called(given):
            result = original(given)
            seen[name] = keep(result)
            return result

        monkeypatch.setattr(place, name, called)

    spy(learner, "logits", lambda logits: logits.detach())
    spy(learner.memory, "sample", lambda samples: samples[1])
    for index in range(3):
        for batch in found.task(index).batches(1, 16):
            seen.pop("sample", None)
            loss = learner.observe(batch)
            replayed = [seen["sample"]] if "sample" in seen else []
            yield index, loss, seen["logits"], torch.cat([batch.labels, *replayed], 1)


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_a_replayed_sample_competes_with_the_classes_of_its_own_task(order, digits, monkeypatch):
    found = course(digits, options={"active_classes": "current", "class_order": order})
    rivals = [
        {label: set(task) for task in tasks for label in task}
        for tasks in found.stream.task_classes.tolist()
    ]
    of_other_tasks = 0
    for index, loss, logits, labels in steps_of_replay(found, monkeypatch):
        assert loss.isfinite().all()
        for seed in range(len(SEEDS)):
            expected = loss_by_hand(logits[seed], labels[seed], rivals[seed])
            assert loss[seed].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
            current = set(found.stream.task_classes[seed, index].tolist())
            of_other_tasks += len(set(labels[seed].tolist()) - current)
    assert of_other_tasks > 10


@pytest.mark.parametrize("learner", ["finetune", "replay", "ewc", "joint"])
@pytest.mark.parametrize("active", ["all", "seen", "current"])
def test_no_seed_diverges_whichever_classes_compete(active, learner, digits):
    found = finished(
        digits, learner=learner, configuration=QUICK, options={"active_classes": active}
    )
    assert found.outcome().finite.all()


# -- seeds that diverge


class Hot(Finetune):
    """The loss of the second seed is not finite in its second task; its weights always are."""

    name = "hot"
    value = math.inf

    def begin_task(self, task):
        self.warmth = self.value if task.id == 1 else 0.0

    def descend(self, loss):
        return super().descend(loss + torch.tensor([0.0, self.warmth]))


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_is_a_divergence_of_its_seed_only(value, digits, monkeypatch):
    monkeypatch.setattr(Hot, "value", value)
    monkeypatch.setitem(LEARNERS, "hot", Hot)
    found = finished(digits, learner="hot", configuration=QUICK)
    outcome = found.outcome()
    assert outcome.finite.tolist() == [[True] * 5, [True, False, True, True, True]]
    assert all(weight.isfinite().all() for weight in found.learner.network.parameters())
    assert evaluate(found.learner, found.stream, 5).finite.all()
    plain = finished(digits, learner="finetune", configuration=QUICK).outcome()
    np.testing.assert_array_equal(outcome.counts["main"], plain.counts["main"])


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


class Growing(Finetune):
    """A learner that has one more layer after each task, and forgets the first."""

    name = "growing"

    def diagnose(self):
        self.layers = getattr(self, "layers", 0) + 1
        ones = torch.ones(len(self.seeds))
        return {"width": {f"layer {k}": k * ones for k in range(self.layers > 1, self.layers)}}


def test_labels_may_come_and_go_from_task_to_task(digits, monkeypatch):
    monkeypatch.setitem(LEARNERS, "growing", Growing)
    quick = {"hidden": [8], "epochs": 1, "batch_size": 128}
    extras = finished(digits, learner="growing", configuration=quick).outcome().extras
    assert list(extras) == [f"width: layer {k}" for k in range(5)]
    assert np.isnan(extras["width: layer 0"]).tolist() == [[False] + [True] * 4] * len(SEEDS)
    assert np.isnan(extras["width: layer 3"]).tolist() == [[True] * 3 + [False] * 2] * len(SEEDS)


def test_a_diagnostic_whose_name_looks_like_name_and_label_is_refused(digits, monkeypatch):
    monkeypatch.setitem(LEARNERS, "growing", Growing)
    given = {"growth: steps": {"all": torch.ones(len(SEEDS))}}
    monkeypatch.setattr(Growing, "diagnose", lambda self: given)
    quick = {"hidden": [8], "epochs": 1, "batch_size": 128}
    with pytest.raises(InputError, match="'growth: steps': a name must not contain ': '"):
        finished(digits, learner="growing", configuration=quick)


class Mapped(Finetune):
    """A learner that tells of a matrix, layers by classes, from its second task on."""

    name = "mapped"
    maps = {"activity": Map("Activity", "spikes", "layer", "class")}  # noqa: RUF012

    def diagnose(self):
        if self.trained < 400:  # the first task has fewer samples, two have more
            return {"loss": {"last": self.losses}}
        grown = self.losses[:, None, None] + torch.arange(6.0).view(2, 3)
        grown[1, 0, 2] = math.nan
        return {"activity": {"asleep": grown}, "loss": {"last": self.losses}}


@pytest.fixture
def mapped(monkeypatch):
    """What a course of a learner with maps is, one epoch a task."""
    monkeypatch.setitem(LEARNERS, "mapped", Mapped)
    return {"learner": "mapped", "configuration": {"hidden": [8], "epochs": 1, "batch_size": 16}}


def test_a_map_is_kept_by_seed_and_task(digits, mapped):
    extras = finished(digits, **mapped).outcome().extras
    activity, losses = extras["activity: asleep"], extras["loss: last"]
    assert activity.shape == (2, 5, 2, 3)
    first = int(np.isfinite(activity[0, :, 0, 0]).argmax())
    assert first == 1
    assert np.isnan(activity[:, :first]).all()
    for task in range(first, 5):
        for seed in range(2):
            expected = losses[seed, task] + np.arange(6, dtype=np.float32).reshape(2, 3)
            if seed == 1:
                expected[0, 2] = np.nan
            np.testing.assert_array_equal(activity[seed, task], expected)


@pytest.mark.parametrize("cut", range(1, 6))
def test_maps_continue_bit_for_bit(cut, digits, mapped):
    whole, first = finished(digits, **mapped), course(digits, **mapped)
    for _ in range(cut):
        first.advance()
    second = course(digits, **mapped)
    second.restore(Outcome.from_bytes(first.outcome().to_bytes()), first.learner.state())
    while not second.done:
        second.advance()
    assert_same_outcome(second.outcome(), whole.outcome())


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"activity": {"x": torch.ones(2)}}, r"'activity: x' of mapped: of shape \[2\].*a map"),
        (
            {"activity": {"x": torch.ones(3, 2, 2)}},
            r"'activity: x'.*required is \[2, rows, columns\]",
        ),
        ({"loss": {"x": torch.ones(2, 3, 4)}}, r"'loss: x'.*required is \[2\]\. .*`maps`"),
        ({"loss": {"x": torch.tensor(1.0)}}, r"'loss: x'.*of shape \[\]; required is \[2\]"),
    ],
)
def test_a_diagnostic_of_a_wrong_shape_is_refused(found, told, digits, mapped, monkeypatch):
    monkeypatch.setattr(Mapped, "diagnose", lambda self: found)
    with pytest.raises(InputError, match=told):
        course(digits, **mapped).advance()


def test_a_map_that_changes_its_size_is_refused(digits, mapped, monkeypatch):
    rows = iter((2, 3))
    grow = lambda self: {"activity": {"x": torch.ones(2, next(rows), 4)}}  # noqa: E731
    monkeypatch.setattr(Mapped, "diagnose", grow)
    growing = course(digits, **mapped)
    growing.advance()
    with pytest.raises(InputError, match=r"'activity: x': shape \(2, 3, 4\) .* must not change"):
        growing.advance()


def test_a_diagnostic_may_be_of_weights_that_learn(digits, mapped, monkeypatch):
    weights = lambda self: {"size": {"first": next(self.network.parameters()).sum((1, 2))}}  # noqa: E731
    monkeypatch.setattr(Mapped, "diagnose", weights)
    found = course(digits, **mapped)
    found.advance()
    assert np.isfinite(found.outcome().extras["size: first"]).all()


# -- a first task that another trial has learnt


class Started(Finetune):
    """Its first task may have been learnt before."""

    name = "started"

    def learn(self, task):
        if task.id > 0 or self.pretrained is None:
            super().learn(task)
            return
        self.network.load_state_dict(self.pretrained)
        task.samples = self.config.epochs * task.steps(16) * 16
        self.trained += task.samples

    def foundation(self):
        return self.network.state_dict()


@pytest.fixture
def started(monkeypatch):
    monkeypatch.setitem(LEARNERS, "started", Started)
    return {"learner": "started", "configuration": {**QUICK, "optimiser": "sgd"}}


def test_a_course_goes_on_from_what_another_has_left_behind(started, digits):
    first = course(digits, **started, tasks=1)
    first.advance()
    left = first.foundation()
    assert left.seeds.tolist() == list(SEEDS)
    work = replace(WORK, **started)
    given = Course(work, SEEDS, digits, pretrained=left.of(SEEDS))
    alone = finished(digits, **started)
    while not given.done:
        given.advance()
    assert_same_outcome(replace(given.outcome(), seconds=alone.outcome().seconds), alone.outcome())
    assert_same_state(given.learner.state()["network"], alone.learner.state()["network"])


def test_what_is_left_behind_is_not_what_either_course_goes_on_with(started, digits):
    first = course(digits, **started)
    first.advance()
    left = first.foundation()
    kept = {name: array.copy() for name, array in left.arrays.items()}
    given = Course(replace(WORK, **started), SEEDS, digits, pretrained=left.arrays)
    for tensor in given.learner.pretrained.values():
        tensor.zero_()
    first.advance()
    for name, array in left.arrays.items():
        np.testing.assert_array_equal(array, kept[name])


def test_without_it_a_learner_has_none(started, digits):
    assert course(digits, **started).learner.pretrained is None


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, "foundation of started: empty; return"),
        ({"weight": torch.zeros(3, 2)}, r"'weight' of started: of shape \[3, 2\].* the 2 seeds"),
        ({"weight": torch.tensor(1.0)}, r"'weight' of started: of shape \[\]"),
    ],
)
def test_what_cannot_be_left_behind_is_refused(found, told, started, digits, monkeypatch):
    monkeypatch.setattr(Started, "foundation", lambda self: found)
    first = course(digits, **started, tasks=1)
    first.advance()
    with pytest.raises(InputError, match=told):
        first.foundation()
