"""Dark experience replay against one seed, one sample and one slot at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables import STREAMS, InputError
from trainables.methods.der import DER
from trainables.nn import Linear
from trainables.rng import Draws
from trainables.streams.datasets import load
from trainables.testing import TASKS, build

CPU = torch.device("cpu")
SEEDS = (11, 12)
OPTIONS = {"hidden": [12], "batch_size": 24, "memory_total": 60, "lr": 0.1, "alpha": 0.7}


def make(scenario="class", seeds=SEEDS, augmentation="none", **options):
    """Return a learner and its stream."""
    kind = STREAMS["split_digits"]
    data, streamed = load("digits", Path()), kind.Options(augmentation=augmentation)
    stream = kind(data, scenario, seeds, "confirm", streamed)
    return build(DER, OPTIONS | options, stream), stream


def in_double(learner, monkeypatch):
    """Let a learner compute with twice the digits, so that rounding hides nothing."""
    learner.network.double()
    learner.memory.logits = learner.memory.logits.double()
    encode = learner.encode
    monkeypatch.setattr(learner, "encode", lambda inputs: encode(inputs).double())
    return learner


def plain_network(network, seed):
    """Copy one seed of a network of torch's own layers."""
    layers = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            plain = nn.Linear(*layer.weight.shape[1:]).double()
            plain.weight.data.copy_(layer.weight[seed].mT)
            plain.bias.data.copy_(layer.bias[seed, 0])
            layers.append(plain)
        else:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Plain:
    """DER++ of one seed as its paper has it, with torch's own layers and a list for a memory."""

    def __init__(self, learner, place):
        self.config, seed = learner.config, learner.seeds[place]
        self.network = plain_network(learner.network, place)
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=self.config.lr)
        self.memory, self.seen = [], 0
        self.arrivals, self.draws = (Draws([seed], n, CPU) for n in ("reservoir", "memory"))

    def draw(self, count):
        numbers = self.draws.uniform(count)[0]
        return [self.memory[int(number * len(self.memory))] for number in numbers]

    def cross_entropy(self, logits, labels, rivals):
        """Mean over samples; where ``rivals`` is given, among the outputs of a label's own task."""
        losses = []
        for row, label in zip(logits, labels, strict=True):
            allowed = rivals(label) if rivals else list(range(len(row)))
            losses.append(F.cross_entropy(row[allowed][None], torch.tensor([allowed.index(label)])))
        return sum(losses) / len(losses)

    def observe(self, inputs, labels, rivals):
        config = self.config
        logits = self.network(inputs)
        loss = self.cross_entropy(logits, labels, rivals)
        if self.memory:
            replayed = max(1, round(config.replay_ratio * config.batch_size))
            first = self.draw(replayed)
            again = self.network(torch.stack([x for x, _, _ in first]))
            stored = torch.stack([z for _, _, z in first])
            loss = loss + config.alpha * F.mse_loss(again, stored)
            if config.beta:
                second = self.draw(replayed)
                again = self.network(torch.stack([x for x, _, _ in second]))
                told = self.cross_entropy(again, [y for _, y, _ in second], rivals)
                loss = loss + config.beta * told
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        for sample in zip(inputs, labels, logits.detach(), strict=True):
            self.keep(sample)
        return loss.item()

    def keep(self, sample):
        number, self.seen = self.arrivals.uniform(1).item(), self.seen + 1
        if len(self.memory) < self.config.memory_total:
            self.memory.append(sample)
        elif (slot := int(number * self.seen)) < self.config.memory_total:
            self.memory[slot] = sample


@pytest.mark.parametrize("scenario", ["task", "domain", "class", "task_free"])
@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("replay_ratio", [1.0, 0.3])
def test_two_tasks_equal_those_of_one_seed_in_plain_torch(
    replay_ratio, beta, scenario, monkeypatch
):
    learner, stream = make(scenario, beta=beta, replay_ratio=replay_ratio)
    in_double(learner, monkeypatch)
    plain = [Plain(learner, place) for place in range(len(SEEDS))]
    rivals = (
        (lambda label: [label - label % 2, label - label % 2 + 1]) if scenario == "task" else None
    )
    steps = 0
    for index in range(2):
        for batch in stream.task(index).batches(1, OPTIONS["batch_size"]):
            found = learner.observe(batch)
            for place, one in enumerate(plain):
                inputs, labels = batch.inputs[place].double() / 16, batch.labels[place].tolist()
                loss = one.observe(inputs, labels, rivals)
                assert found[place].item() == pytest.approx(loss, rel=1e-6), steps
            steps += 1
    assert steps == 20
    assert len(learner.memory) == 60
    for place, one in enumerate(plain):
        assert [y for _, y, _ in one.memory] == learner.memory.labels[place, :60].tolist()
        stored = torch.stack([z for _, _, z in one.memory])
        torch.testing.assert_close(learner.memory.logits[place, :60], stored)
        linear = [layer for layer in learner.network.layers if isinstance(layer, Linear)]
        for mine, theirs in zip(linear, one.network[::2], strict=True):
            torch.testing.assert_close(mine.weight[place].mT, theirs.weight)


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
def test_stored_logits_are_those_the_network_gave_when_the_sample_arrived(augmentation):
    learner, stream = make(augmentation=augmentation)
    given = [{} for _ in SEEDS]  # of each seed: the image without augmentation -> logits
    for index in range(3):
        for batch in stream.task(index).batches(1, OPTIONS["batch_size"]):
            with torch.no_grad():
                logits = learner.network(learner.encode(batch.inputs))
            for place, seen in enumerate(given):
                kept = batch.unaugmented[place].numpy()
                # some come twice, as the last batch is filled up: one of both may be held
                for image, row in zip(kept, logits[place], strict=True):
                    seen.setdefault(image.tobytes(), []).append(row)
            learner.observe(batch)
    memory, moved = learner.memory, 0.0
    for place, seen in enumerate(given):
        assert len(set(memory.labels[place, :60].tolist())) > 4
        for slot in range(60):
            image, stored = memory.inputs[place, slot], memory.logits[place, slot]
            then = seen[image.numpy().tobytes()]
            assert any(torch.allclose(stored, row, atol=1e-5) for row in then)
        with torch.no_grad():
            now = learner.network(learner.encode(memory.inputs))[place, :60]
        moved = max(moved, (now - memory.logits[place, :60]).abs().max().item())
    assert moved > 0.5, "the network has not changed since: the check says nothing"


def watch_draws(learner, monkeypatch):
    counts, draw = [], learner.memory.draw

    def watched(count):
        counts.append(count)
        return draw(count)

    monkeypatch.setattr(learner.memory, "draw", watched)
    return counts


@pytest.mark.parametrize(("beta", "draws"), [(0.0, 1), (0.5, 2)])
def test_without_stored_labels_there_is_one_draw(beta, draws, monkeypatch):
    learner, stream = make(beta=beta, replay_ratio=0.5)
    counts = watch_draws(learner, monkeypatch)
    for batch in list(stream.task(0).batches(1, 24))[:4]:
        learner.observe(batch)
    assert counts == [0, 12 * draws, 12 * draws, 12 * draws]
    assert learner.memory.draws.position == sum(counts)
    assert learner.trained == 4 * 24 + sum(counts)


def test_the_two_draws_are_independent_and_the_first_looks_at_logits():
    """What is drawn first has no part in the loss of labels, nor the other way round."""
    learner, stream = make(alpha=1.0, beta=1.0)
    batches = list(stream.task(0).batches(1, 24))
    for batch in batches[:5]:
        learner.observe(batch)
    slots = torch.arange(48).expand(2, -1)
    logits = torch.randn(2, 48, 10, generator=torch.Generator().manual_seed(0))
    labels = learner.memory.gather(slots)[1]
    task = batches[0].task
    whole = learner.replay_loss(logits, slots, labels, task)
    stored = learner.memory.logits[:, :24]
    for seed in range(2):
        parts = (
            F.mse_loss(logits[seed, :24], stored[seed]),
            F.cross_entropy(logits[seed, 24:], labels[seed, 24:]),
        )
        torch.testing.assert_close(whole[seed], sum(parts))


def test_replay_looks_at_new_views_of_the_stored_images(monkeypatch):
    learner, stream = make(augmentation="crop_flip")
    seen, forward = [], learner.logits

    def logits(inputs):
        seen.append(inputs)
        return forward(inputs)

    monkeypatch.setattr(learner, "logits", logits)
    held = None
    for batch in list(stream.task(0).batches(1, 24))[:3]:
        learner.observe(batch)
        assert torch.equal(seen[-1][:, :24], batch.inputs)
        if held is not None:
            replayed = seen[-1][:, 24:]
            assert replayed.shape[1] == 48
            plain = {image.numpy().tobytes() for seed in held for image in seed}
            views = [image.numpy().tobytes() for seed in replayed for image in seed]
            assert sum(view in plain for view in views) < 48  # 2 in 162 are as they were
        held = learner.memory.inputs.clone()
    assert learner.memory.views.draws.position == 2 * 3 * 48


@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize(("name", "value"), [("alpha", 0.0), ("alpha", 3.0), ("beta", 2.0)])
def test_the_first_batch_has_nothing_to_replay(name, value, beta):
    options = {"beta": beta} | {name: value}
    (learner, stream), (other, _) = make(**options), make()
    batch = next(iter(stream.task(0).batches(1, 24)))
    assert torch.equal(learner.observe(batch), other.observe(batch))


# -- what is held
# ------------------------------------------------------------------------------------------

# scenario, bytes allowed -> samples of 64 pixels, a label and four bytes an output
BYTES = [("class", 10_000, 95), ("class", 105, 1), ("domain", 10_000, 136), ("task", 1049, 9)]


@pytest.mark.parametrize(("scenario", "allowed", "samples"), BYTES)
def test_stored_logits_count_in_a_budget_of_bytes(scenario, allowed, samples):
    learner, stream = make(scenario, memory_bytes=allowed)
    each = 64 + 1 + 4 * stream.info.outputs
    assert learner.memory.capacity == samples == allowed // each
    for index in range(TASKS):
        learner.learn(stream.task(index))
        memory = learner.memory
        assert learner.footprint()["memory"] == len(memory) * each <= allowed
        slots = (memory.inputs, memory.labels, memory.logits)
        held = sum(t[0, : len(memory)].numel() * t.element_size() for t in slots)
        assert learner.footprint()["memory"] == held
    assert len(memory) == samples


def test_less_than_a_sample_with_its_logits_is_refused():
    make(memory_bytes=105)
    with pytest.raises(InputError, match=r"memory_bytes = 104 .*\(105 bytes"):
        make(memory_bytes=104)


def test_a_number_of_samples_does_not_depend_on_their_bytes():
    assert make(memory_total=60)[0].memory.capacity == 60
    assert make("domain", memory_per_task=7)[0].memory.capacity == 35
