"""Merged networks against networks that were trained apart."""

from __future__ import annotations

import pytest
import torch

from trainables import InputError
from trainables.learner import cross_entropy
from trainables.methods.sleep.merging import Merging, full_weights
from trainables.nn import MLP, Dropout
from trainables.rng import Draws, generator
from trainables.testing import accuracies, build, learn, make_stream

SEEDS = (11, 12)
QUICK = {"hidden": [16], "epochs": 2, "batch_size": 16, "lr": 0.05}


def merging(tasks, seeds=SEEDS, **options):
    stream = make_stream("class", seeds)
    learner = build(Merging, QUICK | options, stream)
    learn(learner, stream, 0, tasks)
    return learner, stream


def trained_apart(stream, tasks, name=lambda task: "weights", dropout=0.25, rank=0):
    """A network for each task, trained by a plain loop that knows of no learner."""
    networks, noise = [], Draws(stream.seeds, "dropout", torch.device("cpu"))
    for index in range(tasks):
        draws = [generator(seed, name(index)) for seed in stream.seeds]
        network = MLP(64, [16], 10, draws, dropout=Dropout(dropout, noise), bias=False, rank=rank)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.5)
        for batch in stream.task(index).batches(2, 16):
            optimiser.zero_grad()
            cross_entropy(network(batch.inputs / 16), batch.labels).sum().backward()
            optimiser.step()
        networks.append(network.eval())
    return networks


def whole_weights(network):
    """Weights of each layer, [S, in, out]; of two in a row, their product."""
    found = []
    for layer in network.layers:
        factors = list(layer.parameters())
        if factors:
            found.append(factors[0] if len(factors) == 1 else factors[0] @ factors[1])
    return [weight.detach() for weight in found]


def answers(weights, inputs):
    """A network of two layers without biases."""
    return (inputs / 16 @ weights[0]).relu() @ weights[1]


def scored(stream):
    return stream.gather(stream.scored(0)[0], scored=True)[0]


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_the_mean_is_that_of_networks_trained_apart_from_one_start(tasks):
    learner, stream = merging(tasks)
    apart = [whole_weights(network) for network in trained_apart(stream, tasks)]
    mean = [sum(layers) / tasks for layers in zip(*apart, strict=True)]
    for mine, theirs in zip(learner.weights.values(), mean, strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(learner.predict(scored(stream), None), answers(mean, scored(stream)))
    if tasks > 1:
        assert not torch.allclose(apart[0][0], apart[1][0], atol=1e-2)


def test_the_mean_of_one_task_is_its_network():
    learner, stream = merging(1)
    assert torch.equal(
        learner.predict(scored(stream), None),
        learner.network.eval()(scored(stream) / 16),
    )


def test_the_sum_is_the_network_whose_factors_are_concatenated():
    """Rank r over t tasks makes rank r t; the networks begin with weights of their own."""
    learner, stream = merging(3, rank=4, merge="sum", shared_start=False)
    apart = trained_apart(stream, 3, lambda task: f"weights of task {task}", rank=4)
    wide = []
    for place in (0, -1):
        pairs = [list(network.layers[place].parameters()) for network in apart]
        first = torch.cat([pair[0] for pair in pairs], 2)  # [S, in, rt]
        second = torch.cat([pair[1] for pair in pairs], 1)  # [S, rt, out]
        assert first.shape[2] == second.shape[1] == 12
        wide.append((first, second))
    inputs = scored(stream) / 16
    hidden = (inputs @ wide[0][0] @ wide[0][1]).relu()
    expected = (hidden @ wide[1][0] @ wide[1][1]).detach()
    torch.testing.assert_close(
        learner.predict(scored(stream), None), expected, rtol=1e-4, atol=1e-5
    )
    ranks = torch.linalg.matrix_rank(learner.weights["layers.0.weight"])
    assert ranks.tolist() == [12, 12]


def test_the_mean_of_low_rank_networks_is_that_of_their_products():
    learner, stream = merging(3, rank=4)
    apart = [whole_weights(network) for network in trained_apart(stream, 3, rank=4)]
    mean = [sum(layers) / 3 for layers in zip(*apart, strict=True)]
    found = learner.predict(scored(stream), None)
    torch.testing.assert_close(found, answers(mean, scored(stream)), rtol=1e-4, atol=1e-5)


def test_a_low_rank_network_has_its_factors_and_biases_multiplied_out():
    draws = [generator(seed, "weights") for seed in SEEDS]
    network = MLP(6, [5, 4], 3, draws, bias=True, rank=2)
    found = full_weights(network)
    names = {f"layers.{n}.{kind}" for n in (0, 2, 4) for kind in ("weight", "bias")}
    assert set(found) == names
    inputs = torch.rand(2, 7, 6, generator=generator(0, "inputs"))
    values = inputs
    for n in (0, 2, 4):
        values = values @ found[f"layers.{n}.weight"] + found[f"layers.{n}.bias"]
        values = values.relu() if n < 4 else values
    torch.testing.assert_close(values, network(inputs).detach())


@pytest.mark.parametrize(
    "options",
    [
        {"bias": True},
        {"layer_norm": True},
        {"dropout": 0.4, "inverted_dropout": False},
        {"hidden": [12, 8], "bias": True, "layer_norm": True},
        {"bias": True, "rank": 5, "inverted_dropout": False},
    ],
    ids=str,
)
def test_one_task_answers_like_its_network_whatever_the_network(options):
    learner, stream = merging(1, **options)
    inputs = scored(stream)
    found, expected = learner.predict(inputs, None), learner.network.eval()(inputs / 16)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_velocity_cannot_be_kept_from_one_network_to_the_next():
    with pytest.raises(InputError, match="keep_velocity = true"):
        merging(0, keep_velocity=True)


@pytest.mark.parametrize("shared", [True, False])
def test_networks_begin_with_the_same_weights_where_the_start_is_shared(shared, monkeypatch):
    stream = make_stream("class", SEEDS)
    learner = build(Merging, QUICK | {"shared_start": shared, "momentum": 0.9}, stream)
    starts = []
    for index in range(3):
        learner.begin_task(stream.task(index))
        starts.append([weight.detach().clone() for weight in learner.network.parameters()])
        assert not learner.optimiser.state, "a network begins with the velocity of another"
        learn(learner, stream, index, index + 1)
    for start in starts[1:]:
        assert all(torch.equal(*pair) == shared for pair in zip(start, starts[0], strict=True))


def test_before_the_first_task_is_done_the_network_in_training_answers():
    stream = make_stream("class", SEEDS)
    learner = build(Merging, QUICK, stream)
    inputs = scored(stream)
    first = learner.predict(inputs, None)
    task = stream.task(0)
    learner.begin_task(task)
    learner.observe(next(iter(task.batches(1, 16))))
    now = learner.predict(inputs, None)
    assert not torch.equal(now, first)
    assert torch.equal(now, learner.network(inputs / 16))


def test_what_is_merged_is_held_once_whatever_the_number_of_tasks():
    for options, expected in (
        ({}, (64 * 16 + 16 * 10, 64 * 16 + 16 * 10)),
        ({"rank": 4}, (64 * 4 + 4 * 16 + 16 * 4 + 4 * 10, 64 * 16 + 16 * 10)),
    ):
        stream = make_stream("class", SEEDS)
        learner = build(Merging, QUICK | options, stream)
        live, merged = (4 * numbers for numbers in expected)
        for index in range(3):
            held = {"parameters": live, "memory": 0, "auxiliary": merged if index else 0}
            assert learner.footprint() == held
            learn(learner, stream, index, index + 1)


def test_merged_weights_remember_more_than_those_of_the_last_task():
    learner, stream = merging(5, (1, 2, 3), hidden=[64], epochs=4, lr=0.1)
    kept = accuracies(learner, stream, 5).mean(1)
    learner.merged = 0  # the network in training answers
    assert (kept > accuracies(learner, stream, 5).mean(1) + 0.05).all()
