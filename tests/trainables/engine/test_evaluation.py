"""Confusion counts against a loop over samples."""

from __future__ import annotations

import pytest
import torch

from trainables import STREAMS
from trainables.engine import evaluation
from trainables.engine.evaluation import evaluate
from trainables.methods.finetune import Finetune
from trainables.streams import SCENARIOS
from trainables.testing import build, learn, make_stream

SEEDS = (11, 12, 13)
QUICK = {"hidden": [8], "epochs": 1, "batch_size": 32, "lr": 0.01}


class Fixed:
    """Stands in for a learner: two readouts, computed from the inputs alone."""

    readouts, masks_outputs = ("slow", "fast"), False
    network = torch.nn.Identity()

    def __init__(self, stream, broken=None):
        self.seeds, self.stream = stream.seeds, stream.info
        self.broken = broken  # (seed, task, value): outputs of this seed are not finite
        self.calls = 0
        draw = torch.Generator().manual_seed(1)
        self.weight = torch.randn(stream.info.inputs, stream.info.outputs, generator=draw)

    def readout_logits(self, inputs, task_id):
        self.calls += 1
        logits = inputs.float() @ self.weight
        if self.broken and task_id == self.broken[1]:
            logits[self.broken[0], -1, 0] = self.broken[2]
        return {"slow": logits, "fast": -logits}


def shuffled_stream(digits, scenario, phase="confirm", seeds=SEEDS):
    """Return a stream whose tasks differ in size from seed to seed."""
    options = STREAMS["split_digits"].Options(class_order="shuffled")
    return STREAMS["split_digits"](digits, scenario, seeds, phase, options)


def allowed(stream, scenario, seed, learnt, task):
    classes = stream.task_classes[seed].tolist()
    if scenario == "task":
        return set(classes[task])
    if scenario == "class":
        return {c for done in classes[: max(learnt, 1)] for c in done}
    return set(range(stream.info.outputs))


def loop(stream, learner, data, scenario, learnt, sign):
    size = stream.info.outputs
    counts = torch.zeros(len(stream.seeds), stream.tasks, size, size, dtype=torch.long)
    labels = data["labels"].tolist()
    images = torch.from_numpy(data["images"]).flatten(1)
    logits = (images.float() @ learner.weight * sign).tolist()
    for seed in range(len(stream.seeds)):
        for task in range(stream.tasks):
            classes = stream.task_classes[seed, task].tolist()
            rivals = allowed(stream, scenario, seed, learnt, task)
            for label, values in zip(labels, logits, strict=True):
                if label in classes:
                    truth = classes.index(label) if scenario == "domain" else label
                    guess = max(rivals, key=lambda c: values[c])
                    counts[seed, task, truth, guess] += 1
    return counts


@pytest.mark.parametrize("learnt", [0, 2, 5])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_counts_equal_a_loop_over_the_test_set(scenario, learnt, digits, monkeypatch):
    monkeypatch.setattr(evaluation, "ROWS", 3 * 64)  # two chunks a task, the second a small one
    stream = shuffled_stream(digits, scenario)
    learner = Fixed(stream)
    found = evaluate(learner, stream, learnt)
    tested = learnt if scenario == "class" else stream.tasks
    assert learner.calls == 2 * tested
    assert list(found.counts) == ["slow", "fast"]
    for name, sign in (("slow", 1), ("fast", -1)):
        expected = loop(stream, learner, digits["test"], scenario, learnt, sign)
        assert torch.equal(found.counts[name][:, :tested], expected[:, :tested])
        assert not found.counts[name][:, tested:].any()
    assert found.finite.tolist() == [True, True, True]


def test_padded_samples_are_not_counted(digits):
    stream = shuffled_stream(digits, "class", seeds=tuple(range(8)))
    sizes = torch.stack([stream.scored(task)[1].sum(1) for task in range(stream.tasks)], dim=1)
    longest = [stream.scored(task)[0].shape[1] for task in range(stream.tasks)]
    assert (sizes < torch.tensor(longest)).any(), "this seed choice pads nothing"
    counts = evaluate(Fixed(stream), stream, 5).counts["slow"]
    assert torch.equal(counts.sum((2, 3)), sizes)
    assert (counts.sum((1, 2, 3)) == len(digits["test"]["labels"])).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_output_that_is_not_finite_marks_its_seed_only(value, digits):
    stream = shuffled_stream(digits, "task")
    sane = evaluate(Fixed(stream), stream, 5)
    hurt = evaluate(Fixed(stream, broken=(1, 3, value)), stream, 5)
    assert hurt.finite.tolist() == [True, False, True]
    for name, counts in hurt.counts.items():
        assert torch.equal(counts[[0, 2]], sane.counts[name][[0, 2]])
        assert torch.equal(counts.sum((2, 3)), sane.counts[name].sum((2, 3)))


def test_outputs_that_do_not_compete_still_have_to_be_finite(digits):
    stream = shuffled_stream(digits, "task")
    unused = [c for c in range(10) if c not in stream.task_classes[0, 3].tolist()]
    learner = Fixed(stream, broken=(0, 3, float("nan")))
    assert 0 in unused, "output 0 competes: choose another seed"
    assert evaluate(learner, stream, 5).finite.tolist() == [False, True, True]


def test_evaluation_changes_nothing_and_leaves_no_graph():
    stream = make_stream("class")
    learner = build(Finetune, QUICK, stream)
    learn(learner, stream, 0, 1)
    before = [w.detach().clone() for w in learner.network.parameters()]
    trained = learner.trained
    first, second = evaluate(learner, stream, 1), evaluate(learner, stream, 1)
    assert torch.equal(first.counts["main"], second.counts["main"])
    assert all(map(torch.equal, before, learner.network.parameters()))
    assert learner.trained == trained
    assert torch.is_grad_enabled()


def test_validation_samples_are_scored_in_phase_tune(digits):
    stream = shuffled_stream(digits, "class", phase="tune")
    counts = evaluate(Fixed(stream), stream, 5).counts["slow"]
    per_class = torch.bincount(torch.from_numpy(digits["train"]["labels"]).long()) // 10
    assert torch.equal(counts.sum((1, 3)), per_class.expand(3, -1))
