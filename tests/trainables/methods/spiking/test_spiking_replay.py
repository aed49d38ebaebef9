"""Spiking replay: encoding, losses, heads, memory, the switches of its source, and the cost."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from snntorch import functional

from trainables import InputError
from trainables.engine.evaluation import evaluate
from trainables.memory.encoded import pack_bits, unpack_bits
from trainables.methods.spiking.leaky import ADDITION, MULTIPLY_ACCUMULATE
from trainables.methods.spiking.spiking_finetune import SpikingFinetune
from trainables.methods.spiking.spiking_joint import SpikingJoint
from trainables.methods.spiking.spiking_replay import SpikingReplay
from trainables.rng import Draws, generator
from trainables.testing import accuracies, build, learn, make_stream

QUICK = {
    "channels": [8],
    "kernel": 3,
    "steps": 6,
    "epochs": 2,
    "batch_size": 16,
    "lr": 5e-3,
    "memory_per_task": 20,
}
SEEDS = (11, 12)


def made(scenario="class", kind=SpikingReplay, **options):
    stream = make_stream(scenario, SEEDS)
    allowed = {name: v for name, v in (QUICK | options).items() if name in kind.Config.fields()}
    return build(kind, allowed, stream), stream


def learnt(scenario="class", tasks=2, kind=SpikingReplay, **options):
    learner, stream = made(scenario, kind, **options)
    learn(learner, stream, last=tasks)
    return learner, stream


def inputs_of(stream, task=0, count=9):
    return stream.task(task).sample(count, "asked")


# -- encoding


def test_a_rate_is_the_probability_of_a_spike_and_static_spikes_are_drawn_once():
    learner, stream = made(encoding="rate", steps=400)
    batch = inputs_of(stream)
    frames = learner.frames(batch.inputs, learner.draws)
    values = batch.inputs * stream.info.scale
    assert frames.shape == (2, 400, 9, 64)
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    assert (frames.mean(1) - values).abs().max() < 5 * 0.5 / math.sqrt(400)
    assert frames[:, 0].ne(frames[:, 1]).any()
    static, _ = made(encoding="static", steps=400)
    frames = static.frames(batch.inputs, static.draws)
    assert frames.shape == (2, 1, 9, 64)
    assert frames.mean() == pytest.approx(values.mean().item(), abs=0.05)
    direct, _ = made(encoding="direct")
    assert direct.frames(batch.inputs, direct.draws)[:, 0].equal(values)


@pytest.mark.parametrize("encoding", ["rate", "static"])
def test_each_step_of_training_draws_other_spikes_and_a_test_always_the_same(encoding):
    learner, stream = made(encoding=encoding)
    inputs = inputs_of(stream, count=100).inputs
    first, second = (learner.frames(inputs, learner.draws) for _ in range(2))
    assert not first.equal(second)
    frames = learner.test_frames(inputs)
    assert frames[:, :, 30:40].equal(learner.test_frames(inputs[:, 30:40]))
    # other samples have other random numbers, and so have the seeds
    same = torch.full((2, 500, 64), 8, dtype=torch.uint8)
    same[:, :, 0] = torch.arange(500) % 16
    drawn = learner.test_frames(same)[:, :, :, 1:]
    assert drawn.mean() == pytest.approx(8 / 16, abs=0.05)
    assert drawn[:, :, 0].equal(drawn[:, :, 16])
    assert not drawn[:, :, 0].equal(drawn[:, :, 1])
    assert not drawn[0].equal(drawn[1])


@pytest.mark.parametrize("frames", [1, 3])
def test_spikes_in_bits_are_read_as_they_were(frames):
    spikes = (torch.rand(2, frames, 5, 11, generator=generator(0, "x")) < 0.3).float()
    octets = pack_bits(spikes)
    assert octets.shape == (2, 5, math.ceil(frames * 11 / 8))
    assert unpack_bits(octets, frames, 11).equal(spikes)


# -- losses


@pytest.mark.parametrize("loss", ["ce_count", "ce_rate", "mse_count"])
def test_losses_are_those_of_snntorch_for_each_seed(loss):
    learner, _ = made(loss=loss)
    draws = generator(0, "record")
    record = (torch.rand(2, 6, 7, 10, generator=draws) < 0.4).float()
    labels = torch.randint(10, (2, 7), generator=draws)
    found = learner.losses_of(record, labels, None)
    for seed in range(2):
        expected = getattr(functional, f"{loss}_loss")()(record[seed], labels[seed])
        assert found[seed].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["ce_count", "ce_rate", "mse_count"])
def test_outputs_that_do_not_compete_are_as_if_they_were_not_there(loss):
    learner, _ = made(loss=loss)
    record = (torch.rand(2, 6, 7, 10, generator=generator(0, "record")) < 0.4).float()
    record.requires_grad_()
    labels = torch.randint(2, (2, 7), generator=generator(0, "labels"))
    mask = (torch.arange(10) < 2).expand(2, 1, 10)
    found = learner.losses_of(record, labels, mask)
    found.sum().backward()
    assert not record.grad[..., 2:].any()
    for seed in range(2):
        two = record[seed][..., :2].detach()
        expected = getattr(functional, f"{loss}_loss")()(two, labels[seed])
        assert found[seed].item() == pytest.approx(expected.item(), rel=1e-5)


# -- answers


def test_ties_are_broken_by_the_membrane_the_first_class_or_a_draw():
    for ties in ("membrane", "lowest", "random"):
        learner, stream = made(ties=ties, steps=1, threshold=1000.0)  # no output spikes
        inputs = inputs_of(stream, count=200).inputs
        answers = learner.predict(inputs, None).argmax(2)
        membrane = learner.network(learner.frames(inputs, learner.draws)).membrane
        if ties == "membrane":
            assert answers.equal(membrane.argmax(2))
            assert len(answers.unique()) > 1
        elif ties == "lowest":
            assert not answers.any()
        else:
            assert len(answers.unique()) == 10


def test_more_spikes_win_against_any_membrane():
    learner, _ = made()
    record = torch.zeros(2, 6, 1, 10)
    record[:, 0, :, 3] = 1.0
    membrane = torch.full((2, 1, 10), 1e9)
    membrane[..., 3] = -1e9
    activity = learner.network(torch.rand(2, 1, 1, 64))._replace(record=record, membrane=membrane)
    assert learner.scores(torch.zeros(2, 1, 64), activity).argmax(2).eq(3).all()


@pytest.mark.parametrize("units", ["leaky", "relu"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_seed_with_a_weight_that_is_not_finite_has_diverged(units, bad):
    learner, stream = learnt(tasks=1, units=units, state="reset")
    with torch.no_grad():
        next(learner.network.parameters())[0, 0] = bad
    assert evaluate(learner, stream, 1).finite.tolist() == [False, True]


def test_membranes_far_from_the_threshold_still_decide():
    learner, _ = made()
    membrane = torch.zeros(2, 1, 10)
    membrane[..., 3], membrane[..., 7] = 5000.0, 5001.0
    record = torch.zeros(2, 6, 1, 10)
    activity = learner.network(torch.rand(2, 1, 1, 64))._replace(record=record, membrane=membrane)
    assert learner.scores(torch.zeros(2, 1, 64), activity).argmax(2).eq(7).all()


# -- heads


def test_own_outputs_are_those_of_the_samples_task():
    learner, stream = learnt(tasks=3)
    for task in range(3):
        batch = inputs_of(stream, task)
        mask = learner.mask(stream.task(2), batch.labels, 0)
        own = stream.task(task).outputs
        assert mask.equal(own.expand_as(mask))
    assert learner.mask(stream.task(2), batch.labels, 0).shape == (2, 9, 10)


def test_seen_outputs_are_those_of_the_tasks_so_far_and_all_are_all():
    learner, stream = learnt(tasks=2, head_loss="seen")
    labels = inputs_of(stream).labels
    assert learner.mask(stream.task(1), labels, 0).sum(2).eq(4).all()
    learner, stream = learnt(tasks=2, head_loss="all")
    assert learner.mask(stream.task(1), labels, 0) is None


def test_replayed_samples_of_the_first_task_may_compete_with_all_outputs_seen():
    learner, stream = learnt(tasks=3, first_outputs="seen")
    parts = [inputs_of(stream, task, 4).labels for task in (0, 1, 0)]
    mask = learner.mask(stream.task(2), torch.cat(parts, 1), new=4)
    assert mask.sum(2).tolist() == [[2] * 4 + [2] * 4 + [6] * 4] * 2


def test_labels_of_replayed_samples_are_those_of_their_head():
    learner, stream = learnt(tasks=5)
    for task in range(5):
        labels = inputs_of(stream, task).labels
        assert learner.relabelled(labels).equal(labels)
    wrong, _ = learnt(tasks=5, replay_labels="last")
    for task in range(5):  # digits 2k and 2k + 1: within its head every label is 1
        labels = inputs_of(stream, task).labels
        found = wrong.relabelled(labels)
        assert (found - 2 * task).eq(1).all()


def test_replay_trains_the_head_of_an_old_task():
    learner, stream = learnt(tasks=2)
    before = learner.network.readout.weight.detach().clone()
    task = stream.task(1)
    learner.begin_task(task)
    batch = next(iter(task.batches(1, 16)))
    learner.observe(batch)
    moved = learner.network.readout.weight.detach().ne(before).any(1)  # [S, C]
    assert moved[:, :4].all()
    assert not moved[:, 4:].any()


def norms(learner):
    return learner.network.readout.weight.detach().norm(dim=1)


def test_a_head_is_aligned_after_its_task_or_late():
    after, _ = learnt(tasks=3)
    of = norms(after)
    assert torch.allclose(of[:, 4:6].mean(1), of[:, :4].mean(1), rtol=1e-5)
    off, _ = learnt(tasks=3, alignment="off")
    of = norms(off)
    assert not torch.allclose(of[:, 4:6].mean(1), of[:, :4].mean(1), rtol=1e-3)
    # before the second task there is nothing to align: both are equal until its end
    second_off, _ = learnt(tasks=2, alignment="off")
    late, stream = learnt(tasks=2, alignment="late")
    assert norms(late).equal(norms(second_off))
    late.begin_task(stream.task(2))
    of = norms(late)
    assert torch.allclose(of[:, 2:4].mean(1), of[:, :2].mean(1), rtol=1e-5)
    assert of[:, 4:].equal(norms(second_off)[:, 4:])


def test_nothing_is_aligned_where_the_task_is_known():
    weights = [
        learnt("task", tasks=3, alignment=a)[0].network.readout.weight for a in ("after", "off")
    ]
    assert weights[0].equal(weights[1])


def test_directions_and_biases_are_left_as_they_are_by_alignment():
    late, _ = learnt(tasks=2, alignment="late")
    weight, bias = (x.detach().clone() for x in late.network.readout.parameters())
    late.align(1)
    aligned, same = late.network.readout.parameters()
    assert bias.equal(same)
    assert torch.allclose(F.normalize(aligned, dim=1), F.normalize(weight, dim=1), atol=1e-6)


# -- the memory


def test_a_budget_in_batches_is_one_in_samples():
    batches, _ = learnt(memory_batches=2)
    samples, _ = learnt(memory_per_task=32)
    assert batches.memory.inputs.equal(samples.memory.inputs)
    assert len(batches.memory) == 64
    for schedule in ("interleaved", "epoch_start"):
        for policy in ("balanced", "reservoir"):
            none, _ = learnt(
                memory_batches=0,
                encoding="static",
                stored="encoded",
                memory_policy=policy,
                replay_schedule=schedule,
            )
            assert len(none.memory) == 0
            assert none.footprint()["memory"] == 0


def test_without_a_memory_nothing_is_replayed():
    none, _ = learnt(memory_batches=0, alignment="off", head_loss="all")
    plain, _ = learnt(kind=SpikingFinetune)
    for mine, theirs in zip(none.network.parameters(), plain.network.parameters(), strict=True):
        assert mine.equal(theirs)


@pytest.mark.parametrize(
    ("encoding", "stored", "held"),
    [("static", "raw", 65), ("static", "encoded", 9), ("rate", "encoded", 49)],
)
@pytest.mark.parametrize("policy", ["balanced", "reservoir"])
def test_bytes_of_samples_and_of_their_spikes(encoding, stored, held, policy):
    learner, _ = learnt(
        tasks=5, encoding=encoding, stored=stored, memory_bytes=1000, memory_policy=policy
    )
    allowed = 1000 // held // 5 * 5 if policy == "balanced" else 1000 // held
    assert len(learner.memory) == allowed
    assert learner.footprint()["memory"] == allowed * held


def test_stored_spikes_are_replayed_as_they_were():
    learner, _ = learnt(encoding="static", stored="encoded", tasks=1)
    slots = torch.arange(4).expand(2, -1)
    first, second = (learner.unpacked(learner.memory.gather(slots)[0]) for _ in range(2))
    assert first.equal(second)
    raw, _ = learnt(encoding="static", tasks=1)
    first, second = (raw.unpacked(raw.memory.gather(slots)[0]) for _ in range(2))
    assert not first.equal(second)


@pytest.mark.parametrize("encoding", ["static", "rate"])
def test_replay_leaves_the_spikes_of_new_samples_as_they_are(encoding):
    seen = []
    for options in ({"memory_batches": 0}, {}, {"replay_ratio": 2.0}):
        learner, stream = made(encoding=encoding, **options)
        frames, found = learner.frames, []

        def kept(inputs, draws, frames=frames, found=found, learner=learner):
            spikes = frames(inputs, draws)
            if draws is learner.draws:
                found.append(spikes)
            return spikes

        learner.frames = kept
        learn(learner, stream, last=2)
        seen.append(found)
    for first, *others in zip(*seen, strict=True):
        assert all(first.equal(other) for other in others)


def watched(learner):
    """What the learner trains on: the labels of each step."""
    steps, original = [], learner.losses_of

    def losses_of(record, labels, mask):
        steps.append(labels[0].tolist())
        return original(record, labels, mask)

    learner.losses_of = losses_of
    return steps


def test_the_whole_memory_is_replayed_at_the_start_of_each_epoch_task_by_task():
    learner, stream = learnt(
        tasks=2, replay_schedule="epoch_start", memory_per_task=20, replay_lr=1e-3
    )
    steps, task = watched(learner), stream.task(2)
    learner.learn(task)
    in_epoch = task.steps(16)
    assert len(steps) == 2 * (4 + in_epoch)
    for start in (0, 4 + in_epoch):
        assert [len(step) for step in steps[start : start + 4]] == [16, 4, 16, 4]
        assert {y for step in steps[start : start + 2] for y in step} == {0, 1}
        assert {y for step in steps[start + 2 : start + 4] for y in step} == {2, 3}
        assert {y for step in steps[start + 4 : start + 4 + in_epoch] for y in step} == {4, 5}


def test_interleaved_steps_have_new_and_old_samples():
    learner, stream = learnt(tasks=1, replay_ratio=0.5)
    steps, task = watched(learner), stream.task(1)
    before = learner.trained
    learner.learn(task)
    assert all(len(step) == 24 for step in steps)
    assert all({*step[:16]} <= {2, 3} and {*step[16:]} <= {0, 1} for step in steps)
    assert learner.trained - before == 24 * len(steps)


def test_replay_may_train_only_the_layers_below_the_outputs():
    learner, stream = learnt(
        tasks=1, replay_schedule="epoch_start", replay_updates="features", replay_lr=1e-2
    )
    before = [w.detach().clone() for w in learner.network.parameters()]
    learner.replay(stream.task(1))
    changed = [
        not w.equal(old) for w, old in zip(learner.network.parameters(), before, strict=True)
    ]
    assert changed == [True, True, False, False]


def test_a_task_free_stream_has_a_reservoir_that_sees_no_boundaries():
    memory = {"memory_total": 50, "memory_per_task": None, "memory_policy": "reservoir"}
    learner, stream = made("task_free", **memory)
    learn(learner, stream)
    assert len(learner.memory) == 50
    assert {*learner.memory.labels[:, :50].flatten().tolist()} == {*range(10)}
    assert learner.head.eq(-1).all()


# -- what the source has otherwise


def test_when_the_state_is_reset_the_number_of_steps_does_not_matter():
    inputs = None
    answers = []
    for steps in (1, 30):
        learner, stream = made(state="reset", encoding="static", steps=steps, threshold=0.1)
        inputs = inputs_of(stream).inputs
        record = learner.network(learner.frames(inputs, Draws(SEEDS, "x", learner.device))).record
        assert record.shape[1] == 1
        answers.append(learner.predict(inputs, None).round() / steps)
    assert answers[0].equal(answers[1])
    assert set(answers[0].unique().tolist()) <= {0.0, 1.0}


# -- the cost


@pytest.mark.parametrize("encoding", ["direct", "static", "rate"])
def test_the_cost_of_a_tested_sample_is_that_of_its_spikes(encoding):
    learner, stream = learnt(tasks=1, encoding=encoding, hidden=[12])
    evaluate(learner, stream, 1)
    found = learner.diagnose()
    inputs, _ = stream.gather(stream.scored(0)[0], scored=True)
    frames = learner.test_frames(inputs)
    spikes = learner.network(frames, counts=True).spikes.mean(1)
    passed = [f"layer {n}" for n in (1, 2)]
    for number, label in enumerate(passed, start=1):
        assert torch.allclose(found["spikes"][label], spikes[:, number])
    first = 8 * 9 * 36  # channels, kernel, places of the only convolution
    additions = spikes[:, 1] * 12 + spikes[:, 2] * 10
    if encoding == "direct":
        assert "inputs" not in found["spikes"]
        multiplied = torch.full_like(additions, first)
    else:
        reached = F.conv_transpose2d(torch.ones(1, 1, 6, 6), torch.ones(1, 1, 3, 3)).flatten() * 8
        scale = 6 / frames.shape[1]
        additions = additions + scale * (frames.sum((1, 2)) @ reached) / inputs.shape[1]
        multiplied = torch.zeros_like(additions)
    operations = found["synaptic_operations"]["all layers"]
    assert torch.allclose(operations, additions + multiplied)
    energy = (ADDITION * additions + MULTIPLY_ACCUMULATE * multiplied) / 1000
    assert torch.allclose(found["energy"]["all layers"], energy)
    twin = first + 8 * 9 * 12 + 12 * 10
    assert found["multiply_accumulates"]["non-spiking twin"].eq(twin).all()


def test_the_share_of_ties_is_that_of_the_counts():
    learner, stream = learnt(tasks=1, encoding="direct")
    evaluate(learner, stream, 1)
    inputs, _ = stream.gather(stream.scored(0)[0], scored=True)
    counts = learner.network(learner.test_frames(inputs)).record.sum(1)
    top = counts.topk(2, dim=2).values
    expected = (top[..., 0] == top[..., 1]).double().mean(1)
    assert torch.allclose(learner.diagnose()["ties"]["outputs"], expected)
    assert 0 < expected.min() < expected.max() < 1


def test_the_cost_of_a_seed_is_the_same_in_every_stack():
    found = {}
    for seeds in ((11, 12, 13), (12,)):
        stream = make_stream("class", seeds, class_order="shuffled")
        learner = build(
            SpikingFinetune, {"channels": [4], "kernel": 3, "steps": 4, "epochs": 1}, stream
        )
        learn(learner, stream, last=1)
        evaluate(learner, stream, 1)
        found[len(seeds)] = learner.diagnose()
        valid = stream.scored(0)[1]
        assert valid.all() == (len(seeds) == 1)  # the test sets of the stack differ in size
    for name, values in found[1].items():
        for label, value in values.items():
            assert found[3][name][label][1].item() == pytest.approx(value.item(), rel=1e-12), name


def test_the_twin_costs_a_multiply_accumulate_at_each_synapse():
    learner, stream = learnt(tasks=1, units="relu")
    evaluate(learner, stream, 1)
    found = learner.diagnose()
    assert not found["spikes"]
    assert found["synaptic_operations"]["all layers"].eq(8 * 9 * 36 + 8 * 9 * 10).all()
    assert found["energy"]["all layers"].equal(found["energy"]["non-spiking twin"])


# -- what is refused


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"stored": "encoded"}, "stored = 'encoded' needs spikes"),
        (
            {"network": "resnet18", "channels": [4], "kernel": None},
            "spiking_replay needs 'conv' or 'mlp'",
        ),
        ({"encoding": "rate", "standardise": True}, "needs inputs from 0 to 1"),
        ({"channels": [4, 4, 4]}, "too small for 3 convolutions"),
        ({"memory_per_task": None, "memory_total": 3}, "less than one sample per task"),
        ({"norm": "batch"}, "norm = 'batch': spiking_replay needs 'none'"),
    ],
)
def test_impossible_configurations_are_refused(options, problem):
    with pytest.raises(InputError, match=problem):
        made(**options)


@pytest.mark.parametrize("options", [{"replay_labels": "last"}, {"first_outputs": "seen"}])
@pytest.mark.parametrize("scenario", ["task", "domain", "task_free"])
def test_switches_of_heads_need_heads(options, scenario):
    with pytest.raises(InputError, match="need a head for each task"):
        made(scenario, **options)


def test_replay_at_the_start_of_an_epoch_needs_epochs():
    with pytest.raises(InputError, match="a task-free stream has no epochs"):
        made("task_free", replay_schedule="epoch_start", memory_total=50, memory_per_task=None)


# -- what is learnt


@pytest.mark.parametrize("units", ["leaky", "relu"])
def test_replay_keeps_what_finetuning_forgets(units):
    found = {}
    for kind in (SpikingFinetune, SpikingReplay, SpikingJoint):
        learner, stream = learnt(
            tasks=5,
            kind=kind,
            units=units,
            epochs=6,
            lr=2e-3,
            head_loss="seen",
            memory_per_task=30,
            hidden=[64],
        )
        found[kind.name] = accuracies(learner, stream, 5).mean().item()
    assert found["spiking_finetune"] < 0.4
    assert found["spiking_replay"] > found["spiking_finetune"] + 0.2
    assert found["spiking_joint"] > found["spiking_replay"] - 0.05
