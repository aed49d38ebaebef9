"""Networks of slices against whole layers with masks, as the source of SynapticNet has them."""

from __future__ import annotations

import pytest
import torch
from masked import Masked

from trainables.nn.sliced import SlicedNetwork, kaiming, small
from trainables.rng import Draws, generator

SEEDS = (3, 4)
KINDS = {"convolutions": ((9, 8, 3), 2, 1), "dense": ((5,), 0, 2), "one layer": ((7,), 0, 0)}
# units of each hidden layer, of the first and of the second seed, for three tasks
SIZES = [[[4, 3, 6], [4, 3, 6]], [[2, 5, 3], [4, 7, 3]], [[3, 2, 5], [3, 2, 5]]]
OUTPUTS = [2, 3, 2]


def network_of(kind="convolutions", cumulative=False, seeds=SEEDS, dropout=0.0):
    shape, convolutions, hidden = KINDS[kind]
    draws = Draws(seeds, "dropout", torch.device("cpu"))
    return SlicedNetwork(shape, convolutions, hidden, cumulative, 3, dropout, draws).eval()


def units(network, task, more=0, grown=(True, True), outputs=OUTPUTS):
    """The units of each seed: those of SIZES, and so many more for the seeds that grow."""
    hidden = len(network.layers) - 1
    rows = [
        [size + more * grows for size in row[:hidden]] + [outputs[task]]
        for row, grows in zip(SIZES[task], grown, strict=True)
    ]
    return torch.tensor(rows[: network.stack])


def initial(task, growth=0, seeds=SEEDS, kind=kaiming):
    return [kind(generator(seed, "slices", task, growth)) for seed in seeds]


def built(kind="convolutions", cumulative=False, dropout=0.0, start=kaiming):
    """A network of three tasks, in the second of which only the first seed grew."""
    network = network_of(kind, cumulative, dropout=dropout)
    for task in range(3):
        network.resize(task, units(network, task), initial(task, kind=start), 12)
        if task == 1:
            more = units(network, task, 2, (True, False))
            network.resize(task, more, initial(task, 1, kind=start), 12)
    return network


def samples_of(network, count=6):
    size = torch.Size(network.shape).numel()
    return torch.randn(network.stack, count, size, generator=generator(0, "samples"))


@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_slices_equal_whole_layers_with_masks(kind, cumulative):
    network = built(kind, cumulative)
    samples = samples_of(network)
    for task in range(3):
        network.zero_grad()
        logits = network(samples, task, task + 1)
        logits.square().sum().backward()
        for seed in range(2):
            whole = Masked(network, seed)
            expected = whole(samples[seed], task)
            of_task = whole.tasks_of[-1] == task
            torch.testing.assert_close(
                logits[seed].detach(), expected[:, of_task].detach(), rtol=1e-5, atol=1e-6
            )
            assert not expected[:, ~of_task].any()
            expected.square().sum().backward()
            for n, ids in enumerate(whole.tasks_of):
                layer, size = network.layers[n], int(network.units[task][seed, n])
                mine = layer.biases[task].grad[seed, :size]
                torch.testing.assert_close(mine, whole.biases[n].grad[ids == task])
                mine = layer.weights[task].grad[seed, :size][:, network.columns(seed, task, n)]
                theirs = whole.weights[n].grad[ids == task]
                torch.testing.assert_close(mine, theirs[:, whole.read[n][task]])
                assert mine.count_nonzero() == theirs.count_nonzero()


@pytest.mark.parametrize("cumulative", [False, True])
def test_the_source_s_gradient_mask_counts_only_where_other_slices_are_read(cumulative):
    whole = Masked(built(cumulative=cumulative), 0)
    whole(samples_of(built())[0], 2).square().sum().backward()
    foreign = [b.grad[ids != 2] for b, ids in zip(whole.biases, whole.tasks_of, strict=True)]
    assert any(bool(gradient.any()) for gradient in foreign[:-1]) is cumulative
    assert not foreign[-1].any()


@pytest.mark.parametrize("cumulative", [False, True])
def test_a_seed_of_a_stack_equals_the_seed_alone(cumulative):
    stacked = built(cumulative=cumulative)
    samples = samples_of(stacked)
    for place, seed in enumerate(SEEDS):
        alone = network_of(cumulative=cumulative, seeds=(seed,))
        for task in range(3):
            rows = units(stacked, task)[[place]]
            alone.resize(task, rows, initial(task, 0, (seed,)))
            if task == 1 and place == 0:
                rows = units(stacked, task, 2)[[0]]
                alone.resize(task, rows, initial(task, 1, (seed,)))
        together = stacked(samples, 0, 3)[place]
        torch.testing.assert_close(alone(samples[[place]], 0, 3)[0], together)
        for task in range(3):
            for mine, theirs in zip(
                alone.blocks(0, task), stacked.blocks(place, task), strict=True
            ):
                assert torch.equal(mine[0], theirs[0])
                assert torch.equal(mine[1], theirs[1])


@pytest.mark.parametrize("cumulative", [False, True])
def test_places_without_a_unit_stay_zero_in_training(cumulative):
    network = built(cumulative=cumulative, dropout=0.3, start=small)
    before = [weight.detach().clone() for weight in network.slice_of(1)]
    optimiser = torch.optim.Adam(network.slice_of(1), lr=0.01)
    network.train()
    for _ in range(5):
        optimiser.zero_grad()
        network(samples_of(network), 1, 2).square().sum().backward()
        optimiser.step()
    empty = 0
    for n, layer in enumerate(network.layers):
        weight, bias = layer.weights[1].detach(), layer.biases[1].detach()
        assert not torch.equal(weight, before[2 * n])
        for seed in range(2):
            size, read = int(network.units[1][seed, n]), network.columns(seed, 1, n)
            exists = torch.zeros_like(weight[seed], dtype=torch.bool)
            exists[:size, read] = True
            assert not weight[seed][~exists].any()
            assert not bias[seed, size:].any()
            empty += int((~exists).sum())
    assert empty


def test_dropout_of_a_seed_does_not_depend_on_the_units_of_others():
    stacked, alone = built(dropout=0.5).train(), network_of(seeds=SEEDS[1:], dropout=0.5).train()
    for task in range(2):
        rows = units(stacked, task)[[1]]
        alone.resize(task, rows, initial(task, 0, SEEDS[1:]), 12)
    samples = samples_of(stacked)
    for _ in range(3):
        mine, theirs = alone(samples[[1]], 1, 2)[0], stacked(samples, 1, 2)[1]
        torch.testing.assert_close(mine, theirs)
    assert not torch.equal(stacked(samples, 1, 2), stacked(samples, 1, 2))


@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_slice_keeps_its_weights_and_all_earlier_logits(kind, cumulative):
    network = built(kind, cumulative)
    samples = samples_of(network)
    earlier, own = network(samples, 0, 2), network(samples, 2, 3)
    old = [network.blocks(seed, 2) for seed in range(2)]
    network.resize(2, units(network, 2, 3, (False, True)), initial(2, 1))
    assert torch.equal(network(samples, 0, 2), earlier)
    torch.testing.assert_close(network(samples, 2, 3), own, rtol=1e-5, atol=1e-6)
    for seed, blocks in enumerate(old):
        for (weight, bias), (larger, more) in zip(blocks, network.blocks(seed, 2), strict=True):
            assert torch.equal(larger[: len(weight), : weight.shape[1]], weight)
            assert torch.equal(more[: len(bias)], bias)
            grown = larger.numel() > weight.numel()
            assert grown is (seed == 1 and len(network.layers) > 1)


def test_parameters_are_those_of_the_source():
    """642,506 for the first task; 16,217,410 in the end, of which 28.2 % are ever used."""
    draws = Draws((1,), "dropout", torch.device("cpu"))
    network = SlicedNetwork((32, 32, 3), 4, 1, False, 3, 0.0, draws)
    found = []
    for task, (channels, hidden, outputs) in enumerate(
        [(64, 512, 10), (64, 512, 10), (64, 512, 10), (128, 1024, 100)]
    ):
        network.resize(task, torch.tensor([[channels] * 4 + [hidden, outputs]]), initial(task)[:1])
        found.append((int(network.count_used()), int(network.count_whole())))
    assert [whole for _, whole in found] == [642_506, 2_565_012, 5_767_518, 16_217_410]
    assert [used for used, _ in found] == [642_506, 1_285_012, 1_927_518, 4_574_530]
    assert sum(weight.numel() for weight in network.parameters()) == 4_574_530
    assert found[-1][0] / found[-1][1] == pytest.approx(0.2821, abs=5e-5)


@pytest.mark.parametrize("cumulative", [False, True])
def test_the_parameters_counted_are_those_of_the_blocks(cumulative):
    network = built(cumulative=cumulative)
    held = [
        sum(w.numel() + b.numel() for task in range(3) for w, b in network.blocks(seed, task))
        for seed in range(2)
    ]
    assert network.count_used().tolist() == held
    assert held[0] != held[1]


@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_of_any_size_is_restored(kind, cumulative):
    network, other = built(kind, cumulative), network_of(kind, cumulative)
    other.resize(0, units(other, 0), initial(0))
    other.load_state_dict(network.state_dict())
    samples = samples_of(network)
    assert torch.equal(other(samples, 0, 3), network(samples, 0, 3))
    assert torch.equal(other.count_used(), network.count_used())
    other.units[0] += 1
    assert not torch.equal(other.units[0], network.units[0])


def test_a_slice_without_hidden_units_reads_the_earlier_slices():
    network = network_of(cumulative=True)
    network.resize(0, units(network, 0), initial(0))
    bare = torch.tensor([[0, 0, 0, 3]] * 2)
    network.resize(1, bare, initial(1))
    samples = samples_of(network)
    logits = network(samples, 1, 2)
    assert logits.shape == (2, 6, 3)
    for seed in range(2):
        expected = Masked(network, seed)(samples[seed], 1)[:, -3:]
        torch.testing.assert_close(logits[seed], expected, rtol=1e-5, atol=1e-6)
    network.resize(1, units(network, 1), initial(1, 1))
    expected = Masked(network, 1)(samples[1], 1)[:, -3:]
    torch.testing.assert_close(network(samples, 1, 2)[1], expected, rtol=1e-5, atol=1e-6)


def test_small_initial_values_are_those_of_the_source():
    weight, bias = small(generator(1, "slices"))((400, 100))
    assert weight.std() == pytest.approx(0.01, rel=0.02)
    assert bias.std() == pytest.approx(0.01, rel=0.1)
