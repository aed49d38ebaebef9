"""Sleep replay: training awake against the rules of its sources, and what its learners make of
sleep.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from trainables import STREAMS, InputError
from trainables.engine.evaluation import evaluate
from trainables.learner import training
from trainables.memory.herded import herd
from trainables.methods.finetune import Finetune
from trainables.methods.icarl import ICaRL
from trainables.methods.joint import Joint
from trainables.methods.sleep.icarl_sleep import ICaRLSleep
from trainables.methods.sleep.sleep_replay import SleepReplay
from trainables.methods.sleep.wake import Wake
from trainables.methods.sleep.wake_joint import WakeJoint
from trainables.rng import generator
from trainables.streams import Batch, StreamInfo
from trainables.testing import accuracies, assert_same_state, build, learn, make_stream

SEEDS = (11, 12)
INPUTS, OUTPUTS = 6, 4
INFO = StreamInfo("toy", "class", inputs=INPUTS, outputs=OUTPUTS, scale=1 / 255, tasks=3)
# a small network whose units reach their thresholds, and a sleep that changes its answers
SLEEPS = {
    "hidden": [32],
    "epochs": 2,
    "batch_size": 16,
    "lr": 0.1,
    "sleep_steps": 60,
    "inc": 0.05,
    "beta_first": 4.0,
    "beta_last": 2.0,
}


class PlainWake(Wake):
    """Training awake and nothing else."""

    name = "plain_wake"


def toy(kind=SleepReplay, info=INFO, **options):
    return kind(kind.Config.parse({"hidden": [5], "dropout": 0.0} | options), info, SEEDS)


def toy_batch(count=9, name="inputs", mask=None):
    draw = generator(0, name)
    inputs = torch.randint(256, (len(SEEDS), count, INPUTS), generator=draw).to(torch.uint8)
    task = SimpleNamespace(id=0, size=count, loss_mask=lambda labels: mask)
    return Batch(inputs, torch.randint(OUTPUTS, (len(SEEDS), count), generator=draw), task)


def weights_of(learner):
    return [weight.detach().clone() for weight in learner.network.parameters()]


def same(one, other):
    return all(map(torch.equal, one, other))


def learnt(tasks=2, kind=SleepReplay, scenario="class", **options):
    stream = make_stream(scenario, SEEDS)
    learner = build(kind, SLEEPS | options, stream)
    learn(learner, stream, 0, tasks)
    return learner, stream


# -- awake


def delta_rule(weights, batches, lr, momentum, fresh):
    """The authors' loop for one seed, without dropout: rectified outputs, the derivative left out
    there, half the squared error over the size of the batch; weights [out, in].
    """
    velocity, losses = [np.zeros_like(w) for w in weights], []
    for inputs, labels in batches:
        a = [inputs]
        for w in weights:
            a.append(np.maximum(a[-1] @ w.T, 0))
        target = np.eye(len(weights[-1]))[labels]
        losses.append(((target - a[-1]) ** 2).sum() / 2 / len(labels))
        d = -(target - a[-1])
        for n in reversed(range(len(weights))):
            gradient = d.T @ a[n] / len(labels)
            d = (d @ weights[n]) * (a[n] > 0)
            old = 0 if fresh else velocity[n]
            velocity[n] = momentum * old + lr * gradient
            weights[n] -= velocity[n]
    return losses


@pytest.mark.parametrize("keep_velocity", [True, False])
def test_squared_relu_is_the_delta_rule_of_the_authors_code(keep_velocity):
    """Three tasks of a batch each: velocity is that of the task before, or starts anew."""
    rates = {"lr": 0.3, "momentum": 0.5, "keep_velocity": keep_velocity}
    learner = toy(PlainWake, hidden=[5, 7], bound=0.9, loss="squared_relu", **rates)
    start = weights_of(learner)
    batches = [toy_batch(name=f"batch{n}") for n in range(3)]
    found = []
    for batch in batches:
        learner.begin_task(batch.task)
        found.append(learner.observe(batch))
    for seed in range(len(SEEDS)):
        weights = [w[seed].mT.double().numpy().copy() for w in start]
        given = [(b.inputs[seed].double().numpy() / 255, b.labels[seed].numpy()) for b in batches]
        losses = delta_rule(weights, given, 0.3, 0.5, not keep_velocity)
        assert [loss[seed].item() for loss in found] == pytest.approx(losses, rel=1e-5)
        for mine, theirs, old in zip(weights_of(learner), weights, start, strict=True):
            moved = torch.tensor(theirs).mT.float()
            torch.testing.assert_close(mine[seed], moved, rtol=1e-4, atol=1e-6)
            assert (moved - old[seed]).abs().max() > 1e-4


def test_an_output_below_zero_learns_although_it_is_rectified():
    """An exact derivative would leave the label's output where it is for ever."""
    learner = toy(PlainWake, hidden=[], loss="squared_relu", lr=0.1, momentum=0.0)
    with torch.no_grad():
        learner.network.layers[0].weight.fill_(-1.0)
    batch = toy_batch()
    learner.observe(batch)
    inputs = batch.inputs.double() / 255
    for seed in range(2):
        labels = F.one_hot(batch.labels[seed], OUTPUTS).double()
        expected = -1 + 0.1 * inputs[seed].mT @ labels / 9
        torch.testing.assert_close(weights_of(learner)[0][seed], expected.float())


def test_squared_relu_leaves_outputs_that_do_not_compete_alone():
    mask = torch.tensor([[[True, True, False, True]], [[True, False, True, True]]])
    batch = toy_batch(mask=mask)
    labels = torch.where(batch.labels == 2, 0, batch.labels)
    batch = Batch(batch.inputs, torch.where(labels == 1, 3, labels), batch.task)
    learner = toy(PlainWake, hidden=[], loss="squared_relu")
    start = weights_of(learner)[0]
    loss = learner.observe(batch)
    moved = (weights_of(learner)[0] != start).any(1)
    assert moved.tolist() == mask.squeeze(1).tolist()
    outputs = (batch.inputs / 255 @ start).relu() - F.one_hot(batch.labels, OUTPUTS)
    expected = (outputs.square() * mask).sum(2).mean(1) / 2
    torch.testing.assert_close(loss, expected)


def test_outputs_are_rectified_in_testing_where_they_are_in_training():
    for loss, rectified in (("squared_relu", True), ("cross_entropy", False)):
        learner, inputs = toy(loss=loss, bound=0.9), toy_batch(200).inputs
        plain = learner.network(inputs / 255).detach()
        assert (plain < 0).any()
        for found in learner.readout_logits(inputs, None).values():
            torch.testing.assert_close(found.detach(), plain.relu() if rectified else plain)


def test_velocity_starts_anew_with_a_task_unless_it_is_kept():
    """A batch without a gradient: all that moves is what velocity is left."""
    for keep, moves in ((True, True), (False, False)):
        learner = toy(PlainWake, keep_velocity=keep, bias=True)
        learner.begin_task(None)
        learner.observe(toy_batch())
        before = weights_of(learner)
        learner.begin_task(None)
        learner.optimiser.zero_grad(set_to_none=False)
        learner.optimiser.step()
        assert same(weights_of(learner), before) == (not moves)


def test_velocity_outlasts_sleep_only_where_it_is_kept():
    for keep in (True, False):
        learner, stream = learnt(1, keep_velocity=keep)
        velocity = [s["momentum_buffer"].clone() for s in learner.optimiser.state.values()]
        assert velocity
        assert any(v.any() for v in velocity)
        learner.begin_task(stream.task(1))
        left = [s["momentum_buffer"] for s in learner.optimiser.state.values()]
        assert same(left, velocity) if keep else not left


def test_dropout_that_is_not_inverted_scales_in_testing_instead_of_training():
    inputs, hidden = toy_batch(2000).inputs, {}
    for inverted in (True, False):
        learner = toy(dropout=0.4, inverted_dropout=inverted, hidden=[5])
        first, _, dropout, last = learner.network.layers
        whole = (inputs / 255 @ first.weight).relu().detach()
        with training(learner.network):
            found = dropout(whole)
        scale = 1 / 0.6 if inverted else 1.0
        dropped = (found == 0) & (whole > 0)
        torch.testing.assert_close(found[~dropped], whole[~dropped] * scale)
        share = dropped.sum() / (whole > 0).sum()
        assert abs(share - 0.4) < 0.02
        tested = whole * (1.0 if inverted else 0.6)
        torch.testing.assert_close(learner.predict(inputs, None), tested @ last.weight)
        hidden[inverted] = found.mean() / tested.mean()
    assert hidden[True].item() == pytest.approx(1, abs=0.03)
    assert hidden[False].item() == pytest.approx(1, abs=0.03)


def test_weights_are_drawn_up_to_the_bound():
    for options, bounds in (({"bound": 0.01}, [0.01] * 3), ({}, [6**-0.5, 50**-0.5, 50**-0.5])):
        learner = toy(hidden=[50, 50], **options)
        assert len(weights_of(learner)) == 3
        for weight, bound in zip(weights_of(learner), bounds, strict=True):
            assert 0.9 * bound < weight.abs().max() <= bound
            assert weight.mean().abs() < 0.2 * bound


# -- without sleep


PLAIN = {"hidden": [16], "epochs": 1, "batch_size": 16, "lr": 0.05}


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_without_sleep_it_is_plain_training(scenario):
    stream = make_stream(scenario, SEEDS)
    awake, plain = (
        build(PlainWake, PLAIN, stream),
        build(SleepReplay, PLAIN | {"sleep_steps": 0}, stream),
    )
    for learner in (awake, plain):
        learn(learner, stream, 0, 3)
    assert same(weights_of(awake), weights_of(plain))
    counts = evaluate(plain, stream, 3).counts
    assert torch.equal(counts["after"], counts["before"])
    assert plain.asleep.spikes == []


@pytest.mark.parametrize(("kind", "other"), [(PlainWake, Finetune), (WakeJoint, Joint)])
def test_training_awake_with_biases_and_no_dropout_is_that_of_other_learners(kind, other):
    options = PLAIN | {"optimiser": "sgd", "momentum": 0.0}
    found = []
    for name, own in ((kind, {"bias": True, "dropout": 0.0}), (other, {})):
        stream = make_stream("class", SEEDS)
        learner = build(name, options | own, stream)
        learn(learner, stream, 0, 3)
        found.append(weights_of(learner))
        assert learner.trained == sum(stream.task(t).steps(16) * 16 for t in range(3))
    assert same(*found)


def test_the_upper_bound_learns_all_tasks_at_once():
    stream, options = make_stream("class", SEEDS), PLAIN | {"epochs": 6}
    joint, plain = (build(kind, options, stream) for kind in (WakeJoint, PlainWake))
    learn(joint, stream)
    learn(plain, stream)
    assert (accuracies(joint, stream, 5).mean(1) > accuracies(plain, stream, 5).mean(1) + 0.3).all()
    samples = sum(len(stream.pool(t)[0][0]) for t in range(5))
    assert joint.footprint()["memory"] == samples * 65


# -- readouts


@pytest.mark.parametrize("options", [{}, {"loss": "squared_relu", "inverted_dropout": False}])
def test_the_readout_before_is_the_network_that_fell_asleep(options, monkeypatch):
    stream = make_stream("class", SEEDS)
    learner = build(SleepReplay, SLEEPS | options, stream)
    noted, changed, original = {}, [], learner.asleep.after

    def after(task, network):
        noted["matrix"] = evaluate(learner, stream, index + 1).counts["after"]
        noted["weights"] = weights_of(learner)
        original(task, network)

    monkeypatch.setattr(learner.asleep, "after", after)
    for index in range(3):
        learn(learner, stream, index, index + 1)
        found = evaluate(learner, stream, index + 1).counts
        assert torch.equal(found["before"], noted["matrix"])
        changed.append(not torch.equal(found["after"], noted["matrix"]))
        assert not same(weights_of(learner), noted["weights"])
        assert all((count > 0).all() for count in learner.asleep.spikes)
    assert any(changed), "sleep changed no answer"


def test_the_next_task_is_learnt_by_the_network_that_has_slept(monkeypatch):
    learner, stream = learnt(1)
    slept = weights_of(learner)
    seen = []
    original = learner.observe
    monkeypatch.setattr(
        learner, "observe", lambda batch: (seen.append(weights_of(learner)), original(batch))[1]
    )
    learn(learner, stream, 1, 2)
    assert same(seen[0], slept)


def test_biases_are_left_as_they_are_asleep(monkeypatch):
    stream = make_stream("class", SEEDS)
    learner = build(SleepReplay, SLEEPS | {"bias": True}, stream)
    learn(learner, stream, 0, 1)
    for name, before in learner.unslept.items():
        now = dict(learner.network.named_parameters())[name]
        assert torch.equal(before, now) == name.endswith("bias")


# -- rehearsal


@pytest.mark.parametrize(("total", "joined"), [(41, 3), (35, 2), (5, 1)])
def test_rehearsal_joins_a_batch_with_its_share_of_the_memory(total, joined, monkeypatch):
    stream = make_stream("class", SEEDS)
    learner = build(SleepReplay, SLEEPS | {"memory_total": total, "sleep_steps": 10}, stream)
    given, original = [], learner.logits
    monkeypatch.setattr(
        learner, "logits", lambda inputs: (given.append(inputs), original(inputs))[1]
    )
    for index in range(4):
        given.clear()
        kept = [{row.numpy().tobytes() for row in seed} for seed in learner.memory.inputs]
        held = len(learner.memory)
        assert held == (index and total // index * index)
        learn(learner, stream, index, index + 1)
        wanted = joined if index else 0  # of 16 new ones in about 240, of so many held
        assert {inputs.shape[1] for inputs in given} == {16 + wanted}
        assert len(given) == 2 * stream.task(index).steps(16)
        for inputs in given:
            for seed in range(2):
                rows = {row.numpy().tobytes() for row in inputs[seed, 16:]}
                assert rows <= kept[seed]
    assert learner.rehearses


def test_how_much_is_rehearsed_of_no_memory_is_refused():
    with pytest.raises(InputError, match=r"replay_ratio = 0.5: there is no memory"):
        toy(replay_ratio=0.5)


@pytest.mark.parametrize(("ratio", "joined"), [(2.0, 32), (0.5, 8), (0.0, 1)])
def test_how_much_is_rehearsed_can_be_told(ratio, joined, monkeypatch):
    options = SLEEPS | {"memory_total": 5, "sleep_steps": 0, "replay_ratio": ratio}
    stream = make_stream("class", SEEDS)
    learner = build(SleepReplay, options, stream)
    learn(learner, stream, 0, 1)
    given, original = set(), learner.logits
    monkeypatch.setattr(
        learner, "logits", lambda inputs: (given.add(inputs.shape[1]), original(inputs))[1]
    )
    learn(learner, stream, 1, 2)
    assert given == {16 + joined}  # of five samples, with replacement


def test_rehearsal_remembers_and_none_does_not():
    kept = {}
    for total in (0, 200):
        learner, stream = learnt(5, memory_total=total, sleep_steps=0, epochs=4)
        kept[total] = accuracies(learner, stream, 5).mean(1)
        assert ("memory_classes" in learner.diagnose()) == (total > 0)
    assert (kept[200] > kept[0] + 0.3).all()


def test_a_memory_too_small_for_the_tasks_is_refused():
    with pytest.raises(InputError, match="memory_total = 2"):
        toy(memory_total=2)
    assert not toy(memory_total=0).rehearses
    assert toy(memory_total=3).rehearses


# -- bytes

MEMORIES = [
    ({}, [0, 0]),
    ({"sleep_data": "mean"}, [64 * 4 + 4] * 2),  # floats, and how many images it is the mean of
    ({"sleep_data": "seen"}, [239 * 64, (239 + 240) * 64]),
    ({"sleep_data": "mean", "memory_total": 40}, [260 + 40 * 65] * 2),
    ({"sleep_data": "seen", "memory_total": 40}, [239 * 64 + 40 * 65, 479 * 64 + 40 * 65]),
    ({"memory_bytes": 6700}, [6695, 2 * 51 * 65]),
    ({"memory_bytes": 6700, "sleep_data": "mean"}, [260 + 99 * 65, 260 + 2 * 49 * 65]),
    ({"memory_bytes": 6700, "sleep_data": "mean", "sleep_steps": 0}, [6695, 2 * 51 * 65]),
]


@pytest.mark.parametrize(("options", "expected"), MEMORIES, ids=str)
def test_bytes_of_what_is_kept_of_past_data(options, expected):
    stream = make_stream("class", SEEDS)
    learner = build(SleepReplay, SLEEPS | {"sleep_steps": 5} | options, stream)
    for index, held in enumerate(expected):
        learn(learner, stream, index, index + 1)
        assert learner.footprint()["memory"] == held


def test_auxiliary_bytes_are_the_network_before_sleep_and_the_probe():
    parameters = 4 * (64 * 32 + 32 * 10)
    for probe, held in ((0, 0), (3, 10 * (3 * 64 + 1))):
        learner, _ = learnt(1, probe=probe)
        expected = {"parameters": parameters, "memory": 0, "auxiliary": parameters + held}
        assert learner.footprint() == expected


# -- what it tells of itself


def test_diagnostics_tell_spikes_ranks_and_change_only_where_asked():
    learner, _ = learnt(1)
    found = learner.diagnose()
    assert set(found) == {"spikes"}
    assert set(found["spikes"]) == {"layer 1", "layer 2"}
    learner, _ = learnt(1, probe=3)
    found = learner.diagnose()
    assert set(found) == {"spikes", "stable_rank", "silent", "moved", "outputs", "components"}
    assert set(found) <= set(learner.diagnostics) | set(learner.maps)
    assert list(found["stable_rank"]) == [
        f"layer {n} {when}" for when in ("before", "after") for n in (1, 2)
    ]
    assert found["moved"]["change"].shape == (2, 2, 10)


def test_before_and_after_are_the_network_before_and_after_its_sleep():
    learner, _ = learnt(2, probe=3)
    found, probe = learner.diagnose(), learner.asleep.probe
    now = {name: weight.detach() for name, weight in learner.network.named_parameters()}
    samples = learner.encode(probe.samples.flatten(1, 2))
    for when, weights in (("before", learner.unslept), ("after", now)):
        logits = functional_call(learner.network.eval(), weights, (samples,))
        expected = logits.unflatten(1, probe.samples.shape[1:3])[:, :4].mean(2).mT
        torch.testing.assert_close(found["outputs"][when][..., :4], expected)
        assert found["outputs"][when][..., 4:].isnan().all()
        values = torch.linalg.svdvals(weights["layers.0.weight"])
        rank = values.square().sum(1) / values[:, 0].square()
        torch.testing.assert_close(found["stable_rank"][f"layer 1 {when}"], rank, rtol=0.02, atol=0)
        silent = (logits <= 0).all(2).unflatten(1, probe.samples.shape[1:3])[:, :4]
        torch.testing.assert_close(found["silent"][when], silent.double().mean((1, 2)))
    change = found["stable_rank"]["layer 1 after"] / found["stable_rank"]["layer 1 before"] - 1
    assert (change.abs() > 0.05).all(), "ranks that cannot be told apart"


def test_memory_per_task_is_held_of_each_task_from_the_first_on():
    sizes = [len(learnt(tasks, memory_per_task=7)[0].memory) for tasks in (1, 2)]
    assert sizes == [7, 14]


def test_looking_at_a_network_does_not_change_it():
    looked, plain = learnt(2, probe=3)[0], learnt(2)[0]
    assert same(weights_of(looked), weights_of(plain))


# -- iCaRL that sleeps

TOGETHER = {"hidden": [16], "epochs": 1, "batch_size": 16, "lr": 5e-3, "memory_total": 100}
ASLEEP = {"sleep_steps": 60, "inc": 0.01, "beta_first": 4.0, "beta_last": 2.0}


def test_exemplars_are_chosen_by_the_network_that_has_slept():
    stream = make_stream("class", SEEDS)
    whole = build(ICaRLSleep, TOGETHER | ASLEEP, stream)
    parts = build(ICaRLSleep, TOGETHER | ASLEEP, stream)
    plain = build(ICaRL, TOGETHER, stream)
    for index in range(2):
        learn(whole, stream, index, index + 1)
        learn(plain, stream, index, index + 1)
        task = stream.task(index)
        parts.begin_task(task)
        for batch in task.batches(1, 16):
            parts.observe(batch)
        awake = weights_of(parts)
        parts.asleep.sleep(task, parts.network, [60, 80][index])
        assert not same(weights_of(parts), awake)
        ICaRL.end_task(parts, task)
    assert_same_state(whole.state(), parts.state())
    label, samples, counts = next(task.by_class())
    assert label.tolist() == [2, 2]
    chosen = herd(whole.features(samples), counts, 25)
    for seed in range(2):
        kept = whole.memory.inputs[seed, 50:75]
        assert torch.equal(kept, samples[seed, chosen[seed]])
    assert not torch.equal(whole.memory.inputs, plain.memory.inputs), "sleep changed no choice"
    assert same(whole.teacher.values(), weights_of(whole))


def test_icarl_without_sleep_is_icarl():
    stream = make_stream("class", SEEDS)
    found = []
    for kind, own in ((ICaRL, {}), (ICaRLSleep, {"sleep_steps": 0})):
        learner = build(kind, TOGETHER | own, stream)
        learn(learner, stream, 0, 2)
        found.append(learner)
    assert same(*map(weights_of, found))
    assert torch.equal(found[0].memory.inputs, found[1].memory.inputs)
    assert found[0].footprint() == found[1].footprint()


@pytest.mark.parametrize(
    "options", [{"sleep_data": "mean"}, {"sleep_data": "seen"}, {"probe": 2}], ids=str
)
def test_icarl_counts_what_sleep_keeps(options):
    stream = make_stream("class", SEEDS)
    learner, plain = (
        build(ICaRLSleep, TOGETHER | ASLEEP | options, stream),
        build(ICaRL, TOGETHER, stream),
    )
    for each in (learner, plain):
        learn(each, stream, 0, 1)
    expected = plain.footprint()
    kept = {"mean": 260, "seen": 239 * 64}.get(options.get("sleep_data"), 0)
    expected["memory"] += kept
    expected["auxiliary"] += 10 * (2 * 64 + 1) if "probe" in options else 0
    assert learner.footprint() == expected


# -- real data


def test_sleep_brings_back_a_task_of_mnist_that_was_forgotten(mnist):
    """The port's factors, thresholds and mask; a narrow network, so fewer samples and larger steps.

    Of the first task nothing was left: all its digits were taken for those of the second.
    """
    kind = STREAMS["split_mnist"]
    options = kind.Options(samples_per_task=1000)
    stream = kind(mnist, "class", (1, 2, 3), "confirm", options)
    asleep = {"sleep_steps": 400, "inc": 5e-3}
    learner = build(SleepReplay, {"hidden": [400, 400], "lr": 0.05, "epochs": 4} | asleep, stream)
    learn(learner, stream, 0, 2)
    right = {
        name: (counts.diagonal(dim1=2, dim2=3).sum(-1) / counts.sum((2, 3)))[:, :2]
        for name, counts in evaluate(learner, stream, 2).counts.items()
    }
    assert (right["before"][:, 0] < 0.02).all()
    assert (right["before"][:, 1] > 0.9).all()
    assert (right["after"][:, 0] > 0.5).all()
    assert (right["after"][:, 1] > 0.85).all()
