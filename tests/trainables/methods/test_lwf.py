"""Learning without forgetting against plain numbers, one seed and one sample at a time."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from trainables import STREAMS
from trainables.methods.finetune import Finetune
from trainables.methods.lwf import LwF, distil, rivals
from trainables.rng import generator
from trainables.testing import accuracies, build, learn, make_stream

SEEDS = (11, 12, 13)
QUICK = {"hidden": [16], "epochs": 1, "batch_size": 8, "lr": 5e-3}


def shuffled_stream(digits, scenario, active="all"):
    """Return a stream whose classes come in an order of each seed's own."""
    kind = STREAMS["split_digits"]
    options = kind.Options.parse({"class_order": "shuffled", "active_classes": active})
    return kind(digits, scenario, SEEDS, "confirm", options)


def probabilities(logits, outputs, tau=1.0):
    """Softmax over some outputs of one sample, by output."""
    weights = {k: math.exp(logits[k] / tau) for k in outputs}
    return {k: weight / sum(weights.values()) for k, weight in weights.items()}


def groups_by_hand(scenario, active, classes, task):
    """Outputs that compete in the loss; old outputs of each group; those the student's run over.

    ``classes`` are those of each task of one seed.
    """
    if scenario == "domain":
        return {0, 1}, [({0, 1}, {0, 1})][:task]
    mine, each = set(classes[task]), [set(names) for names in classes[:task]]
    if scenario == "task":
        return mine, [(old, old) for old in each]
    old = set().union(*each)
    rivals = {"all": set(range(10)), "seen": old | mine, "current": mine}[active]
    return rivals, [(old, old if active == "current" else rivals)][:task]


def loss_by_hand(logits, taught, labels, groups, task, config):
    """Loss of one seed: (1/t) CE + alpha (1 - 1/t) KD, over lists of numbers."""
    rivals, old = groups
    crossed = distilled = 0.0
    for student, teacher, label in zip(logits, taught, labels, strict=True):
        crossed -= math.log(probabilities(student, rivals)[label]) / len(labels)
        for known, shown in old:
            q, p = (
                probabilities(teacher, known, config.tau),
                probabilities(student, shown, config.tau),
            )
            kept = -sum(q[k] * math.log(p[k]) for k in known)
            distilled += kept / len(old) / len(labels)
    t = task + 1
    return crossed / t + config.alpha * (1 - 1 / t) * distilled


@pytest.mark.parametrize("options", [{}, {"tau": 1.0}, {"tau": 3.0, "alpha": 0.5}], ids=str)
@pytest.mark.parametrize(
    ("scenario", "active"),
    [("task", "all"), ("domain", "all"), ("class", "all"), ("class", "seen"), ("class", "current")],
)
def test_the_loss_equals_one_written_sample_by_sample(scenario, active, options, digits):
    stream = shuffled_stream(digits, scenario, active)
    learner = build(LwF, QUICK | options, stream)
    for index in range(4):
        teacher, task = copy.deepcopy(learner.network), stream.task(index)
        for step, batch in enumerate(task.batches(1, 8)):
            if step in (0, 5):
                with torch.no_grad():
                    inputs = learner.encode(batch.inputs)
                    logits, taught = learner.network(inputs).tolist(), teacher(inputs).tolist()
                expected = [
                    loss_by_hand(
                        logits[s],
                        taught[s],
                        batch.labels[s].tolist(),
                        groups_by_hand(scenario, active, stream.task_classes[s].tolist(), index),
                        index,
                        learner.config,
                    )
                    for s in range(len(SEEDS))
                ]
                found = learner.observe(batch).tolist()
                assert found == pytest.approx(expected, rel=2e-5)
            else:
                learner.observe(batch)
        learner.end_task(task)


@pytest.mark.parametrize("scenario", LwF.scenarios)
def test_the_first_task_is_learnt_like_finetune(scenario):
    stream = make_stream(scenario)
    learner, plain = build(LwF, QUICK, stream), build(Finetune, QUICK, stream)
    for one in (learner, plain):
        learn(one, stream, 0, 1)
    assert all(map(torch.equal, learner.network.parameters(), plain.network.parameters()))


def random_logits(name, outputs=6):
    draw = generator(0, name)
    return 3 * torch.randn(3, 5, outputs, dtype=torch.double, generator=draw)


OLD = torch.tensor([[[1, 1, 0, 0, 0, 0]], [[0, 1, 0, 1, 0, 1]], [[1, 1, 1, 1, 1, 0]]]).bool()
NEW = torch.tensor([[[0, 0, 1, 1, 0, 0]], [[1, 0, 1, 0, 0, 0]], [[0, 0, 0, 0, 0, 1]]]).bool()
SHOWN = {"old": OLD, "old and new": OLD | NEW, "all": None}


@pytest.mark.parametrize("tau", [0.5, 2.0])
@pytest.mark.parametrize("shown", SHOWN)
def test_the_gradient_is_the_difference_of_the_probabilities(shown, tau):
    """d KD / d logit_k = (p_k - q_k) / (tau B): it adds up to nothing over those that compete."""
    logits, taught = random_logits("logits").requires_grad_(), random_logits("taught")
    over = torch.ones_like(OLD) if SHOWN[shown] is None else SHOWN[shown]
    loss = distil(logits, taught, OLD, SHOWN[shown], tau)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(3, 5, dtype=torch.double))
    assert not gradient[~over.expand_as(gradient)].any()
    p, q = torch.zeros_like(gradient), torch.zeros_like(gradient)
    for s in range(3):
        p[s][:, over[s, 0]] = (logits.detach()[s][:, over[s, 0]] / tau).softmax(-1)
        q[s][:, OLD[s, 0]] = (taught[s][:, OLD[s, 0]] / tau).softmax(-1)
    torch.testing.assert_close(gradient, (p - q) / (tau * 5))
    # new outputs are only ever pushed down
    assert (gradient[(over & ~OLD).expand_as(gradient)] > 0).all()


def test_a_student_that_answers_like_its_teacher_is_left_alone():
    logits = random_logits("logits").requires_grad_()
    (gradient,) = torch.autograd.grad(
        distil(logits, logits.detach() + 7.0, OLD, OLD, 2.0).sum(), logits
    )
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("place", ["student", "teacher"])
def test_logits_that_are_certain_give_finite_losses_and_gradients(place):
    certain = torch.tensor([1e4, -1e4, 0.0, 1e4, -1e4, 0.0], dtype=torch.double).expand(3, 5, 6)
    logits, taught = (certain, random_logits("taught"))[:: 1 if place == "student" else -1]
    logits = logits.clone().requires_grad_()
    for shown in SHOWN.values():
        loss = distil(logits, taught, OLD, shown, 2.0)
        assert loss.isfinite().all()
        assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_the_student_runs_over_the_new_outputs_only_where_they_compete():
    assert rivals(OLD, None) is None
    assert torch.equal(rivals(OLD, NEW).expand_as(OLD), OLD)  # heads apart
    assert torch.equal(rivals(OLD, OLD | NEW), OLD | NEW)
    each = torch.stack([OLD[:, 0], NEW[:, 0], (OLD | NEW)[:, 0]], dim=1)  # a mask of each sample
    expected = torch.stack([OLD[:, 0], OLD[:, 0], (OLD | NEW)[:, 0]], dim=1)
    assert torch.equal(rivals(OLD, each), expected)


def test_the_teacher_is_the_network_when_the_last_task_ended():
    stream = make_stream("class")
    learner = build(LwF, QUICK, stream)
    assert learner.footprint()["auxiliary"] == 0
    for index in range(3):
        before = [w.detach().clone() for w in learner.network.parameters()]
        for batch in stream.task(index).batches(1, 8):
            learner.observe(batch)
            if index:
                assert all(map(torch.equal, learner.teacher.values(), before))
                assert not any(w.requires_grad for w in learner.teacher.values())
        assert not any(map(torch.equal, learner.network.parameters(), before))
        learner.end_task(batch.task)
        assert learner.footprint()["auxiliary"] == learner.footprint()["parameters"]


def test_the_teacher_is_not_counted_as_training():
    stream = make_stream("class")
    learner, plain = build(LwF, QUICK, stream), build(Finetune, QUICK, stream)
    for one in (learner, plain):
        learn(one, stream, 0, 2)
    assert learner.trained == plain.trained


@pytest.mark.parametrize("scenario", LwF.scenarios)
def test_more_distillation_keeps_more_of_what_was_learnt(scenario):
    """Answers on the first task's own test samples, compared with those when it was learnt."""
    quick = {"hidden": [32], "epochs": 4, "batch_size": 8, "lr": 5e-3}
    changed = []
    for alpha in (0.0, 1.0, 10.0):
        stream = make_stream(scenario)
        learner = build(LwF, quick | {"alpha": alpha}, stream)
        learn(learner, stream, 0, 1)
        inputs, _ = stream.gather(stream.scored(0)[0], scored=True)
        first = learner.predict(inputs, 0)[..., :2].softmax(-1).detach()
        learn(learner, stream, 1, 3)
        last = learner.predict(inputs, 0)[..., :2].softmax(-1).detach()
        changed.append((last - first).abs().mean((1, 2)))
    assert (changed[0] > changed[1]).all()
    assert (changed[0] > changed[2]).all()


def test_remembers_more_than_finetune_where_the_task_is_named():
    quick = {"hidden": [32], "epochs": 10, "batch_size": 8, "lr": 5e-3}
    kept = []
    for kind in (LwF, Finetune):
        stream = make_stream("task")
        learner = build(kind, quick, stream)
        learn(learner, stream)
        kept.append(accuracies(learner, stream, 5).mean(1))
    assert (kept[0] > kept[1] + 0.02).all()
