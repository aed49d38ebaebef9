"""Spiking units that learn asleep, against loops written from the specification, and what drives
them, against brute force.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trainables import InputError
from trainables.methods.sleep import dreams
from trainables.methods.sleep import sleep as phase
from trainables.methods.sleep.options import sleep_steps
from trainables.methods.sleep.sleep_replay import SleepReplay
from trainables.nn import spiking_sleep as spiking
from trainables.nn.spiking_sleep import (
    GATES,
    Plasticity,
    SpikingLayer,
    dense_incoming,
    dense_learn,
    run_sleep,
    sparse_incoming,
    sparse_learn,
)
from trainables.rng import Draws, generator
from trainables.streams import Batch, StreamInfo
from trainables.testing import build, make_stream

SEEDS = (3, 5, 8)
PATHS = {"sparse": (sparse_incoming, sparse_learn), "dense": (dense_incoming, dense_learn)}


def gate_by_hand(name, w):
    """The factor of a weight's change, as each source writes it."""
    if name == "matlab":
        return 2 / (1 + math.exp(min(w / 0.001, 700)))
    return {"logistic": 1 / (1 + math.exp(-w)), "multiplicative": w, "none": 1.0}[name]


def sleep_by_hand(weights, alphas, betas, inputs, rule):
    """Loops over steps, layers and units for one seed; changes weights, [out, in] each, and
    returns which units fired, a list of layers for each step.
    """
    membranes, history = [np.zeros(len(w)) for w in weights], []
    for spikes in inputs:
        history.append([])
        for w, m, alpha, beta in zip(weights, membranes, alphas, betas, strict=True):
            fired = np.zeros(len(w), dtype=bool)
            for i in range(len(w)):
                m[i] = rule.decay * m[i] + alpha * w[i, spikes].sum()
                fired[i] = m[i] >= beta
            for i in np.flatnonzero(fired):
                for j in range(w.shape[1]):
                    change = rule.inc if spikes[j] else -rule.dec
                    w[i, j] += change * gate_by_hand(rule.gate, w[i, j])
                m[i] = 0.0 if rule.reset == "zero" else m[i] - beta
            history[-1].append(fired)
            spikes = fired
    return history


@pytest.fixture
def fired(monkeypatch):
    """Every layer's spikes [S, out], in the order they fire."""
    found, original = [], spiking._fire

    def watched(*given):
        found.append(original(*given))
        return found[-1]

    monkeypatch.setattr(spiking, "_fire", watched)
    return found


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Let sleep take one of its two ways to sum and to learn."""
    monkeypatch.setattr(spiking, "incoming", PATHS[request.param][0])
    monkeypatch.setattr(spiking, "learn", PATHS[request.param][1])
    return PATHS[request.param]


def random_weights(*shape, name="weights", spread=0.5):
    return torch.randn(*shape, generator=generator(0, name)) * spread


def random_spikes(*shape, density=0.3, name="spikes"):
    return torch.rand(*shape, generator=generator(0, name)) < density


def random_network(widths=(20, 16, 12, 6), stack=2, dtype=torch.float32):
    """Layers that keep spiking: scales and thresholds differ from layer to layer and by seed."""
    scales, thresholds = ([1.3, 0.7], [2.0, 1.5], [0.9, 1.7]), (1.1, 2.0, 0.8)
    layers = []
    for n, (inputs, outputs) in enumerate(pairwise(widths)):
        weight = random_weights(stack, inputs, outputs, name=f"layer{n}").to(dtype)
        scale = torch.tensor(scales[n][:stack], dtype=dtype).unsqueeze(1)
        layers.append(SpikingLayer(weight, scale, thresholds[n]))
    return layers


def weights_of(layers):
    return [layer.weight.clone() for layer in layers]


# -- nothing happens


@pytest.mark.parametrize("gate", GATES)
def test_without_increments_units_spike_and_weights_stay_bit_identical(gate, path):
    layers = random_network()
    before = weights_of(layers)
    counts = run_sleep(layers, random_spikes(200, 2, 20), Plasticity(0.0, 0.0, gate))
    assert all((count > 0).all() for count in counts)
    assert all(map(torch.equal, weights_of(layers), before))


def test_without_input_nothing_spikes_and_weights_stay(path):
    layers = random_network()
    before = weights_of(layers)
    counts = run_sleep(layers, torch.zeros(50, 2, 20, dtype=torch.bool), Plasticity(0.1, 0.1))
    assert [count.tolist() for count in counts] == [[0, 0]] * 3
    assert all(map(torch.equal, weights_of(layers), before))


def test_a_sleep_of_no_steps_changes_nothing():
    layers = random_network()
    before = weights_of(layers)
    counts = run_sleep(layers, [], Plasticity(0.1, 0.1))
    assert [count.tolist() for count in counts] == [[0, 0]] * 3
    assert all(map(torch.equal, weights_of(layers), before))


# -- a step by hand: 2 -> 2, input 0 and unit 0 fire; rows are inputs

START = torch.tensor([[[0.5, -0.2], [0.3, 0.1]]])


def after_one_step(gate, inc=0.25, dec=0.125):
    changed = START.clone()
    changed[0, 0, 0] += inc * gate_by_hand(gate, 0.5)
    changed[0, 1, 0] -= dec * gate_by_hand(gate, 0.3)
    return changed


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("way", PATHS)
def test_one_step_of_learning_by_hand(way, gate):
    incoming, learn = PATHS[way]
    weight, given = START.clone(), torch.tensor([[True, False]])
    assert incoming(weight, given).tolist() == START[:, 0].tolist()
    learn(weight, given, torch.tensor([[True, False]]), Plasticity(0.25, 0.125, gate))
    torch.testing.assert_close(weight, after_one_step(gate), rtol=0, atol=1e-7)
    assert torch.equal(weight[..., 1], START[..., 1])


@pytest.mark.parametrize("gate", GATES)
def test_one_step_of_sleep_by_hand(gate, path):
    weight = START.clone()
    layer = SpikingLayer(weight, torch.ones(1, 1), 0.5)  # at the threshold: it fires
    counts = run_sleep([layer], [torch.tensor([[True, False]])], Plasticity(0.25, 0.125, gate))
    assert counts[0].tolist() == [1]
    torch.testing.assert_close(weight, after_one_step(gate), rtol=0, atol=1e-7)


def test_a_unit_just_below_its_threshold_does_not_fire(path):
    weight = START.clone()
    layer = SpikingLayer(weight, torch.ones(1, 1), math.nextafter(0.5, 1.0) + 1e-6)
    counts = run_sleep([layer], [torch.tensor([[True, False]])], Plasticity(0.25, 0.125))
    assert counts[0].tolist() == [0]
    assert torch.equal(weight, START)


@pytest.mark.parametrize("density", [0.0, 0.02, 0.4, 1.0])
@pytest.mark.parametrize("shape", [(1, 2, 1), (1, 7, 5), (3, 40, 23)], ids=str)
def test_the_sparse_and_the_dense_way_agree(shape, density):
    stack, inputs, outputs = shape
    for draw in range(5):
        weight = random_weights(*shape, name=f"weights{draw}", spread=0.01)
        given = random_spikes(stack, inputs, density=density, name=f"given{draw}")
        fired = random_spikes(stack, outputs, density=density, name=f"fired{draw}")
        expected = torch.stack([weight[s][given[s]].sum(0) for s in range(stack)])
        for incoming, _ in PATHS.values():
            torch.testing.assert_close(incoming(weight, given), expected, rtol=1e-5, atol=1e-6)
        for gate in GATES:
            found = {name: weight.clone() for name in PATHS}
            for name, (_, learn) in PATHS.items():
                learn(found[name], given, fired, Plasticity(0.03, 0.004, gate))
            torch.testing.assert_close(found["sparse"], found["dense"], rtol=0, atol=1e-7)
            assert torch.equal(found["sparse"], weight) == (not fired.any())
            still = ~fired.unsqueeze(1).expand_as(weight)
            for changed in found.values():
                assert torch.equal(changed[still], weight[still])


def test_a_seed_without_spikes_hears_nothing_of_its_neighbours(path):
    weight, given = random_weights(3, 6, 4), torch.zeros(3, 6, dtype=torch.bool)
    given[1, [0, 5]] = True
    found = path[0](weight, given)
    assert (found[[0, 2]] == 0).all()
    torch.testing.assert_close(found[1], weight[1, 0] + weight[1, 5])


# -- whole sleeps against loops


@pytest.mark.parametrize("decay", [0.9, 0.999])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("gate", GATES)
def test_sleep_equals_the_loops_of_the_specification(gate, reset, decay, path, fired):
    layers = random_network(dtype=torch.double)
    # multiplicative weights grow without limit, and everything fires
    inc = 0.004 if gate == "multiplicative" else 0.02
    rule = Plasticity(inc, 0.3 * inc, gate, decay, reset)
    inputs = random_spikes(300, 2, 20)
    start = weights_of(layers)
    counts = run_sleep(layers, inputs, rule)
    spikes = [torch.stack(fired[n::3]) for n in range(3)]
    for seed in range(2):
        weights = [w[seed].mT.numpy().copy() for w in start]
        alphas = [layer.scale[seed].item() for layer in layers]
        betas = [layer.threshold for layer in layers]
        history = sleep_by_hand(weights, alphas, betas, inputs[:, seed].numpy(), rule)
        for n, layer in enumerate(layers):
            expected = torch.tensor(np.array([step[n] for step in history]))
            assert torch.equal(spikes[n][:, seed], expected)
            assert 30 < expected.sum() < 0.9 * expected.numel()
            assert counts[n][seed] == expected.sum()
            moved = torch.tensor(weights[n]).mT
            torch.testing.assert_close(layer.weight[seed], moved, rtol=0, atol=1e-5)
            assert not torch.equal(moved, start[n][seed])


def test_single_precision_follows_the_loops_too(path, fired):
    layers = random_network()
    rule, inputs = Plasticity(0.02, 0.006), random_spikes(300, 2, 20)
    weights = [w[0].mT.double().numpy().copy() for w in weights_of(layers)]
    run_sleep(layers, inputs, rule)
    alphas, betas = [layer.scale[0].item() for layer in layers], (1.1, 2.0, 0.8)
    history = sleep_by_hand(weights, alphas, betas, inputs[:, 0].numpy(), rule)
    for n, layer in enumerate(layers):
        assert torch.equal(
            torch.stack(fired[n::3])[:, 0], torch.tensor(np.array([step[n] for step in history]))
        )
        moved = torch.tensor(weights[n]).mT.float()
        torch.testing.assert_close(layer.weight[0], moved, rtol=0, atol=1e-5)


def test_constant_drive_fires_every_third_step_where_decay_takes_a_little():
    """Half the threshold, twice: 0.9995 of it with decay 0.999, all of it with none."""
    for decay, expected in ((0.999, 100), (1.0, 150)):
        layer = SpikingLayer(torch.full((1, 1, 1), 0.5), torch.ones(1, 1), 1.0)
        inputs = torch.ones(300, 1, 1, dtype=torch.bool)
        assert run_sleep([layer], inputs, Plasticity(0.0, 0.0, decay=decay))[0].tolist() == [
            expected
        ]


def test_subtract_keeps_what_is_above_the_threshold():
    """Drive 0.75 of the threshold: every second step from zero, three of four with the rest."""
    for reset, expected in (("zero", 150), ("subtract", 225)):
        layer = SpikingLayer(torch.full((1, 1, 1), 0.75), torch.ones(1, 1), 1.0)
        inputs = torch.ones(300, 1, 1, dtype=torch.bool)
        rule = Plasticity(0.0, 0.0, decay=1.0, reset=reset)
        assert run_sleep([layer], inputs, rule)[0].tolist() == [expected]


def test_a_current_drives_a_unit_without_any_input():
    current = torch.tensor([[0.5, 0.25, -1.0], [1.0, 0.0, 0.1]])
    layer = SpikingLayer(torch.zeros(2, 4, 3), torch.full((2, 1), 7.0), 1.0, current)
    inputs = torch.zeros(8, 2, 4, dtype=torch.bool)
    rule = Plasticity(0.0, 0.0, decay=1.0)
    assert run_sleep([layer], inputs, rule)[0].tolist() == [4 + 2, 8]


# -- gates


@pytest.mark.parametrize(
    ("gate", "weight", "expected"),
    [
        ("matlab", 0.0, 1.0),
        ("matlab", 0.001, 0.537883),
        ("matlab", -0.001, 1.462117),
        ("matlab", 0.005, 0.013386),
        ("matlab", -0.005, 1.986614),
        ("logistic", 0.0, 0.5),
        ("logistic", 2.0, 0.880797),
        ("multiplicative", -0.3, -0.3),
        ("none", -7.0, 1.0),
    ],
)
def test_gates_have_the_values_of_their_sources(gate, weight, expected):
    found = GATES[gate](torch.tensor([weight], dtype=torch.double))
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gate", GATES)
def test_gates_stay_finite_for_large_weights(gate):
    large = torch.tensor([-1e6, -300.0, 300.0, 1e6])
    found = GATES[gate](large)
    assert found.isfinite().all()
    if gate in ("matlab", "logistic"):
        assert found.min() >= 0
        assert found.max() <= 2


# -- what sleep is driven by

FLAT = StreamInfo("toy", "class", inputs=40, outputs=4, scale=1 / 254, tasks=3)
QUIET = {"hidden": [7, 5], "mask_keep": 1.0, "images_per_step": 0}
FIRST = SimpleNamespace(id=0)


def toy(info=FLAT, seeds=SEEDS, **options):
    return SleepReplay(SleepReplay.Config.parse(QUIET | options), info, seeds)


def toy_task(count, inputs=40, seeds=SEEDS, name="images", index=0):
    """A task of so many random samples, which differ from seed to seed."""
    draw = generator(0, name)
    images = torch.randint(255, (len(seeds), count, inputs), generator=draw).to(torch.uint8)
    labels = torch.zeros(len(seeds), count, dtype=torch.long)
    return SimpleNamespace(
        id=index, size=count, sample=lambda n, _: Batch(images[:, :n], labels, None)
    )


def dreamt(learner, task, samples, steps):
    """All inputs of a sleep, bool [S, steps, D]."""
    return torch.stack(list(learner.asleep.dreams.inputs(task, samples, steps)), 1)


def test_half_a_brightness_spikes_at_the_published_rate():
    samples = torch.full((3, 1, 40), 127, dtype=torch.uint8)
    found = dreamt(toy(), FIRST, samples, 5000).double().mean((1, 2))
    error = math.sqrt(0.2395 * (1 - 0.2395) / (5000 * 40))
    assert (found - 0.239515363).abs().max() < 4 * error
    assert len(set(found.tolist())) == 3, "seeds do not draw numbers of their own"


def test_a_rate_above_one_spike_a_step_is_clipped():
    samples = torch.full((3, 1, 40), 254, dtype=torch.uint8)
    samples[..., :20] = 0
    found = dreamt(toy(max_rate=700.0), FIRST, samples, 200)
    assert found[..., 20:].all()
    assert not found[..., :20].any()


@pytest.mark.parametrize("mask", [{"mask_keep": 0.3}, {"mask": "window", "mask_window": 3}])
def test_inputs_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch, mask):
    info, options = window_info(5, 8), {"images_per_step": 3} | mask
    task = toy_task(11)
    whole = dreamt(toy(info, **options), task, task.sample(11, "").inputs, 150)
    monkeypatch.setattr(dreams, "CHUNK", 7)
    parts = dreamt(toy(info, **options), task, task.sample(11, "").inputs, 150)
    assert torch.equal(whole, parts)


def test_inputs_do_not_depend_on_how_many_images_are_averaged_at_once(monkeypatch):
    learner, task = toy(images_per_step=6), toy_task(11)
    samples = task.sample(11, "").inputs
    whole = dreamt(learner, task, samples, 70)
    monkeypatch.setattr(dreams, "IMAGES", 20)  # of three steps, and two are left over
    assert torch.equal(dreamt(learner, task, samples, 70), whole)


@pytest.mark.parametrize(("each", "most"), [(100, 8100), (10_000, 10_000)])
def test_images_at_once_do_not_grow_with_steps_times_images(each, most, monkeypatch):
    learner, task, seen = toy(images_per_step=each), toy_task(11), []

    def encode(given):
        seen.append(given.shape[:-1].numel())
        return learner.encode(given)

    monkeypatch.setattr(learner.asleep.dreams, "encode", encode)
    dreamt(learner, task, task.sample(11, "").inputs, 100)
    assert sum(seen) == len(SEEDS) * 100 * each
    assert max(seen) == len(SEEDS) * min(most, 64 * each)


def test_more_samples_than_can_be_looked_at_are_refused_with_how_many_can():
    info = dataclasses.replace(FLAT, outputs=50)
    assert toy(info, probe=40).asleep.probe
    with pytest.raises(InputError, match=r"probe = 41: .* 50 classes; allowed: 0 to 40"):
        toy(info, probe=41)


@pytest.mark.parametrize("keep", [0.25, 0.8])
def test_the_mask_keeps_pixels_by_chance_step_by_step(keep):
    samples = torch.full((3, 1, 40), 254, dtype=torch.uint8)
    found = dreamt(toy(max_rate=1000.0, mask_keep=keep), FIRST, samples, 4000).double()
    error = math.sqrt(keep * (1 - keep) / 4000)
    assert (found.mean(1) - keep).abs().max() < 4.5 * error  # of 120 inputs
    together = (found[:, 1:] * found[:, :-1]).mean((1, 2))
    assert (together - keep**2).abs().max() < 0.01, "a mask lasts longer than a step"
    together = (found[..., 1:] * found[..., :-1]).mean((1, 2))
    assert (together - keep**2).abs().max() < 0.01, "neighbours share their fate"


def window_info(*shape):
    size = math.prod(shape)
    return StreamInfo("toy", "class", inputs=size, outputs=4, scale=1 / 254, tasks=3, shape=shape)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 32, 3), (16, 28)], ids=str)
def test_the_window_shows_a_square_of_all_colours_that_may_lie_anywhere(shape):
    info = window_info(*shape)
    learner = toy(info, (3, 5), mask="window", max_rate=1000.0)
    samples = torch.full((2, 1, info.inputs), 254, dtype=torch.uint8)
    found = dreamt(learner, FIRST, samples, 1500).view(2, 1500, *shape[:2], -1)
    assert (found == found[..., :1]).all(), "colours are not seen together"
    seen = found[..., 0]
    assert (seen.sum((2, 3)) == 121).all()
    rows, columns = seen.any(3), seen.any(2)
    assert (rows.sum(2) == 11).all()
    assert (columns.sum(2) == 11).all()
    for side, length in ((rows, shape[0]), (columns, shape[1])):
        first = side.int().argmax(2)
        places = side.int() * torch.arange(length)
        assert (places.amax(2) - first == 10).all(), "the square has a gap"
        for seed in first:
            counts = torch.bincount(seed, minlength=length)
            possible = length - 10
            assert (counts[:possible] > 1500 / possible / 2).all()
            assert (counts[possible:] == 0).all()
    assert not torch.equal(seen[0], seen[1])


def test_a_window_as_large_as_the_image_shows_all_of_it():
    learner = toy(window_info(8, 8), mask="window", mask_window=8, max_rate=1000.0)
    samples = torch.full((3, 1, 64), 254, dtype=torch.uint8)
    assert dreamt(learner, FIRST, samples, 50).all()


def by_hand_mean(stream, tasks):
    """Mean of all samples to learn of some tasks, scaled, [S, D]."""
    rows = [torch.cat([stream.pool(t)[0][s] for t in tasks]) for s in range(len(stream.seeds))]
    inputs = torch.stack([stream.gather(row)[0] for row in rows]).double()
    return inputs.mean(1) * stream.info.scale


@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        ({"sleep_data": "current", "images_per_step": 0}, [2]),
        ({"sleep_data": "current", "images_per_step": 10}, [2]),
        ({"sleep_data": "mean"}, [0, 1, 2]),
        ({"sleep_data": "seen"}, [0, 1, 2]),
    ],
    ids=str,
)
def test_inputs_spike_at_the_rates_of_the_mean_of_what_may_be_looked_at(options, tasks):
    stream = make_stream("class", (3, 5))
    learner = build(SleepReplay, {"hidden": [4], "mask_keep": 0.5} | options, stream)
    for index in range(3):
        samples = learner.asleep.dreams.samples(stream.task(index))
    sizes = [stream.task(t).size for t in tasks]
    assert len(set(sizes)) == len(sizes), "a mean of means would do as well"
    expected = by_hand_mean(stream, tasks)
    if options != {"sleep_data": "current", "images_per_step": 10}:
        found = learner.asleep.dreams.mean_image(samples).squeeze(1).double()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    chance = 0.5 * 0.002 * 239.515363 * expected
    rates = dreamt(learner, stream.task(2), samples, 6000).double().mean(1)
    error = (chance * (1 - chance) / 6000).sqrt()
    assert ((rates - chance).abs() <= 5 * error + 1e-12).all()
    assert (chance > 0.05).any()


def test_images_of_a_step_are_drawn_with_replacement_and_whole():
    """Of two samples, one dark and one bright, a mean of ten has k bright ones, binomial."""
    samples = torch.zeros(3, 2, 40, dtype=torch.uint8)
    samples[:, 1] = 254
    draws = Draws(SEEDS, "images", torch.device("cpu"))
    means = toy(images_per_step=10).asleep.dreams.drawn_means(samples, draws, 2000)
    assert means.shape == (3, 2000, 40)
    assert (means == means[..., :1]).all()
    bright = (means[..., 0] * 10).double()
    torch.testing.assert_close(bright, bright.round(), rtol=0, atol=1e-5)
    assert (bright.mean(1) - 5).abs().max() < 4 * math.sqrt(2.5 / 2000)
    assert (bright.var(1) - 2.5).abs().max() < 0.5
    assert len({tuple(row.tolist()) for row in bright}) == 3


def test_seen_samples_are_kept_task_by_task_and_others_are_not():
    for kind, expected in (("current", 4), ("mean", 4), ("seen", 5 + 6 + 4)):
        held = toy(sleep_data=kind).asleep.dreams
        for index, size in enumerate((5, 6, 4)):
            samples = held.samples(toy_task(size, name=f"task{index}", index=index))
        assert samples.shape == (3, expected, 40)
        assert held.past.shape[1] == (expected if kind == "seen" else 0)


# -- factors of the layers


def forward_by_hand(network, images, keep=1.0):
    """What each layer hands on, in double precision, seed by seed: lists [layer][S] of [N, out].

    ``keep`` scales hidden units, as dropout that is not inverted does in testing.
    """
    found = [[] for _ in network.dense]
    for seed in range(len(images)):
        values = images[seed].double() / 254
        for n, layer in enumerate(network.dense):
            values = values @ layer.weight[seed].detach().double()
            if layer.bias is not None:
                values = values + layer.bias[seed].detach().double()
            values = values.clamp(min=0) * (keep if n < len(network.dense) - 1 else 1.0)
            found[n].append(values)
    return found


def lively(learner, factor=4.0):
    """Move weights so that activity does not die out."""
    with torch.no_grad():
        for n, weight in enumerate(learner.network.parameters()):
            draw = generator(n, "lively")
            weight.copy_(weight * factor + 0.1 * torch.randn(weight.shape, generator=draw))
    return learner


def largest(learner, samples):
    """Lambda of each layer, [S, 1]."""
    return learner.asleep.maxima(learner.network, samples)


def factors_of(learner, samples):
    """Factor of each layer, [S, 1]."""
    return learner.asleep.factors(learner.network, samples)


LAMBDAS = [
    {},
    {"bias": True},
    {"dropout": 0.4, "inverted_dropout": False},
    {"dropout": 0.4, "inverted_dropout": True},
    {"hidden": []},
    {"hidden": [9]},
]


@pytest.mark.parametrize("options", LAMBDAS, ids=str)
def test_lambda_is_the_largest_weight_or_activity_of_a_layer(options):
    learner, task = lively(toy(**options)), toy_task(30)
    samples = task.sample(30, "").inputs
    keep = 0.6 if options.get("inverted_dropout") is False else 1.0
    learner.network.train()  # as training leaves it
    active = forward_by_hand(learner.network, samples, keep)
    for n, (layer, found) in enumerate(
        zip(learner.network.dense, largest(learner, samples), strict=True)
    ):
        for seed in range(3):
            expected = max(0, layer.weight[seed].max().item(), active[n][seed].max().item())
            assert found[seed].item() == pytest.approx(expected, rel=1e-5)
            assert active[n][seed].max() > layer.weight[seed].max(), "no activity to speak of"


def test_lambda_is_the_largest_weight_where_activity_is_less():
    learner, dark = toy(), torch.zeros(3, 4, 40, dtype=torch.uint8)
    for layer, found in zip(learner.network.dense, largest(learner, dark), strict=True):
        assert torch.equal(found.squeeze(1), layer.weight.detach().amax((1, 2)))


def test_every_sample_counts_in_lambda_however_many_there_are():
    learner = lively(toy())
    samples = torch.zeros(3, 1300, 40, dtype=torch.uint8)
    bright = toy_task(1).sample(1, "").inputs[:, 0]
    expected = largest(learner, bright.unsqueeze(1))
    for place in (0, 511, 512, 1299):
        placed = samples.clone()
        placed[:, place] = bright
        for mine, theirs in zip(largest(learner, placed), expected, strict=True):
            torch.testing.assert_close(mine, theirs)


def chains(chain, **options):
    """A learner, its samples, the factors of its layers and their lambdas, [S, 1, 1] each."""
    learner = lively(toy(normalisation=chain, **options))
    samples = toy_task(30).sample(30, "").inputs
    factors = [f.double().unsqueeze(2) for f in factors_of(learner, samples)]
    lambdas = [most.double().unsqueeze(2) for most in largest(learner, samples)]
    return learner, samples, factors, lambdas


@pytest.mark.parametrize("chain", ["consistent", "reference_code"])
def test_rescaled_networks_hand_on_activity_over_lambda(chain):
    """ReLU is homogeneous. The authors' code divides the third layer by the first lambda too."""
    learner, samples, factors, lambdas = chains(chain)
    before = [torch.stack(a) for a in forward_by_hand(learner.network, samples)]
    network = learner.network.double()
    with torch.no_grad():
        for layer, factor in zip(network.dense, factors, strict=True):
            layer.weight.mul_(factor)
    after = [torch.stack(a) for a in forward_by_hand(network, samples)]
    expected = [a / most for a, most in zip(before, lambdas, strict=True)]
    if chain == "reference_code":
        expected[2] = expected[2] / lambdas[0]
    for mine, theirs in zip(after, expected, strict=True):
        assert theirs.max() > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-8)


def test_factors_by_hand():
    _, _, factors, (first, second, third) = chains("consistent")
    expected = [1 / first, first / second, second / third]
    assert all(map(torch.allclose, factors, expected))
    _, _, factors, _ = chains("reference_code")
    expected[2] = second / (first * third)
    assert all(map(torch.allclose, factors, expected))


@pytest.mark.parametrize(
    ("hidden", "products"),
    [
        ([7, 5], [14.983829, 253.17746, 7.7707720]),
        ([7, 5, 6], [14.983829, 253.17746, 253.17746, 7.7707720]),
        ([7], [14.983829, 7.7707720]),
        ([], [7.7707720]),
    ],
)
def test_fixed_scales_are_those_of_the_port(hidden, products):
    learner = toy(hidden=hidden)
    factors = factors_of(learner, torch.zeros(3, 1, 40, dtype=torch.uint8))
    layers = learner.asleep.spiking_layers(learner.network, factors)
    for layer, product in zip(layers, products, strict=True):
        assert layer.scale.flatten().tolist() == pytest.approx([product] * 3, rel=1e-5)
    thresholds = [14.548273, *[44.560317] * (len(hidden) - 1), 38.046326][-len(products) :]
    assert [layer.threshold for layer in layers] == thresholds


# -- rates of spikes follow activity


UNIT = {"alpha_scale": 1.0, "beta_first": 1.0, "beta_hidden": 1.0, "beta_last": 1.0}
UNLIKE = {"alpha_scale": 1.5, "beta_first": 1.8, "beta_hidden": 1.2, "beta_last": 1.7}


@torch.no_grad()
def rates_and_activity(fired, options):
    """Sleep driven by one sample: rates of spikes and what they should be; [layer] of [S, out].

    Activity over lambda, times the rate of inputs, times alpha over beta of the layers passed.
    """
    info = StreamInfo("toy", "class", inputs=50, outputs=10, scale=1 / 254, tasks=1)
    usual = {"hidden": [80, 80], "max_rate": 100.0, "normalisation": "consistent", "inc": 0.0}
    learner = lively(toy(info, **usual, **options), 2.0)
    task = toy_task(1, 50)
    sample = task.sample(1, "").inputs
    learner.asleep.sleep(task, learner.network, 4000)
    rates = [torch.stack(fired[n::3]).double().mean(0) for n in range(3)]
    active = [torch.stack(a).squeeze(1) for a in forward_by_hand(learner.network, sample)]
    scaled, gain = [], 0.2
    betas = (options["beta_first"], options["beta_hidden"], options["beta_last"])
    for a, most, beta in zip(active, largest(learner, sample), betas, strict=True):
        gain *= options["alpha_scale"] / beta
        scaled.append(gain * a / most.double())
    return rates, scaled


@pytest.mark.parametrize(
    ("reset", "decay", "bias", "gains"),
    [
        ("zero", 0.999, False, UNIT),
        ("zero", 0.999, True, UNIT),
        ("subtract", 1.0, False, UNIT),
        ("subtract", 1.0, True, UNIT),
        ("subtract", 1.0, True, UNLIKE),
    ],
)
def test_rates_of_spikes_follow_activity(reset, decay, bias, gains, fired):
    options = {"reset": reset, "decay": decay, "bias": bias} | gains
    rates, activity = rates_and_activity(fired, options)
    # a reset to zero loses part of the drive by spikes, but none of the currents of biases
    least = 0.98 if bias and reset == "zero" else 0.99
    for mine, theirs in zip(rates, activity, strict=True):
        for seed in range(3):
            assert np.corrcoef(mine[seed], theirs[seed])[0, 1] > least
            assert theirs[seed].max() > 0.1
        if reset == "subtract":
            assert (mine - theirs).abs().max() < 0.015


def test_currents_of_biases_shrink_with_the_part_of_the_inputs_seen(fired):
    options = {"reset": "subtract", "decay": 1.0, "bias": True} | UNIT | {"mask_keep": 0.25}
    rates, activity = rates_and_activity(fired, options)
    for mine, theirs in zip(rates, activity, strict=True):
        for seed in range(3):
            assert np.corrcoef(mine[seed], theirs[seed])[0, 1] > 0.95


def test_currents_of_biases_shrink_with_the_window(monkeypatch):
    given = []
    monkeypatch.setattr(phase, "run_sleep", lambda layers, inputs, rule: given.append(layers) or [])
    for mask in ({"mask_keep": 0.125}, {"mask": "window", "mask_window": 4}):
        learner = toy(window_info(8, 16), bias=True, **mask)
        learner.asleep.sleep(toy_task(3, 128), learner.network, 1)
    for pixels, window in zip(*given, strict=True):  # 4 x 4 of 8 x 16 are an eighth
        torch.testing.assert_close(window.current, pixels.current)


@pytest.mark.parametrize("data", ["current", "seen"])
def test_factors_are_of_the_samples_that_sleep_may_look_at(monkeypatch, data):
    given = []
    monkeypatch.setattr(phase, "run_sleep", lambda layers, inputs, rule: given.append(layers) or [])
    learner = lively(toy(sleep_data=data, normalisation="consistent", alpha_scale=1.0))
    tasks = [toy_task(30, name="one"), toy_task(30, name="two", index=1)]
    for task in tasks:
        learner.asleep.sleep(task, learner.network, 1)
    old, new = (task.sample(30, "").inputs for task in tasks)
    samples = torch.cat([old, new], 1) if data == "seen" else new
    expected, apart = factors_of(learner, samples), factors_of(learner, old)
    for layer, factor, other in zip(given[1], expected, apart, strict=True):
        torch.testing.assert_close(layer.scale, factor)
        assert not torch.allclose(layer.scale, other, rtol=1e-3)


# -- how long, by what rule, and in what company


def test_options_say_by_what_rule_units_learn(monkeypatch):
    given = []
    monkeypatch.setattr(phase, "run_sleep", lambda layers, inputs, rule: given.append(rule))
    own = {"inc": 0.02, "dec_ratio": 0.25, "gate": "none", "decay": 0.9, "reset": "subtract"}
    for options in (own, {}):
        learner = toy(**options)
        learner.asleep.sleep(toy_task(3), learner.network, 5)
    assert given[0] == Plasticity(0.02, 0.005, "none", 0.9, "subtract")
    assert given[1] == Plasticity(1e-3, 1e-4, "logistic", 0.999, "zero")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sleep_steps": 15000}, [15000, 20000, 25000, 30000, 35000]),
        ({}, [500, 666, 832, 998, 1164]),
        ({"sleep_steps": 15000, "sleep_growth": 0.0}, [15000] * 5),
        ({"sleep_steps": 10, "sleep_growth": 0.5}, [10, 15, 20, 25, 30]),
        ({"sleep_steps": 0}, [0] * 5),
    ],
)
def test_the_schedule_of_sleep(options, expected):
    config = SleepReplay.Config.parse(options)
    assert [sleep_steps(config, task) for task in range(5)] == expected


COMPANY = [
    {},
    {"mask": "window", "mask_window": 4, "sleep_data": "seen", "normalisation": "consistent"},
    {"sleep_data": "mean", "normalisation": "reference_code", "gate": "matlab", "bias": True},
]


@pytest.mark.parametrize("options", COMPANY, ids=str)
def test_a_seed_sleeps_the_same_whatever_its_company(options, fired):
    # a small network: thresholds within its reach
    quick = {"hidden": [24, 16], "beta_hidden": 5.0, "beta_last": 2.0, "alpha_scale": 30.0}
    slept = {}
    for company in (SEEDS, (5,), (8, 5)):
        stream = make_stream("class", company)
        learner = build(SleepReplay, quick | options, stream)
        for index in range(2):
            learner.asleep.sleep(stream.task(index), learner.network, 300)
        assert all((count > 0).all() for count in learner.asleep.spikes)
        place = company.index(5)
        slept[company] = [layer.weight[place] for layer in learner.network.dense]
        slept[company] += [torch.stack(fired[n::3])[:, place] for n in range(3)]
        fired.clear()
    for company in ((5,), (8, 5)):
        for mine, theirs in zip(slept[company], slept[SEEDS], strict=True):
            assert torch.equal(mine, theirs)


def test_sleep_of_another_task_draws_other_numbers():
    samples = torch.full((3, 1, 40), 127, dtype=torch.uint8)
    found = [dreamt(toy(), SimpleNamespace(id=t), samples, 50) for t in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


# -- what is refused


@pytest.mark.parametrize(
    ("options", "info", "message"),
    [
        ({"layer_norm": True}, FLAT, "layer_norm = true"),
        ({"standardise": True}, FLAT, "standardise = true"),
        ({"rank": 3}, FLAT, "rank = 3"),
        ({"mask": "window", "mask_window": 9}, window_info(8, 8), "mask_window = 9"),
        ({"mask": "window", "mask_window": 9}, window_info(8, 20, 3), "mask_window = 9"),
        ({"mask": "window", "mask_window": 1}, FLAT, "mask_window = 1"),
        ({"mask": "window", "mask_window": 1}, window_info(64), "mask_window = 1"),
    ],
)
def test_what_cannot_sleep_is_refused(options, info, message):
    with pytest.raises(InputError, match=message):
        toy(info, **options)


def test_a_window_that_fits_and_options_of_another_mask_are_not_refused():
    assert toy(window_info(8, 8), mask="window", mask_window=8)
    assert toy(FLAT, mask="pixels", mask_window=99)
