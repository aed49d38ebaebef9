"""The similarity-gated network against torch's layers, one sample and one neuron at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables.nn import MLP, GatedNetwork
from trainables.rng import generator

SEEDS = (3, 5, 8)
INPUTS, HIDDEN, WIDTH, OUTPUTS = 6, (7, 4), 4, 3


def gated(neurons=5, rounds=3, top_k=2, seeds=SEEDS):
    draws = [generator(seed, "weights") for seed in seeds]
    return GatedNetwork(INPUTS, HIDDEN, OUTPUTS, draws, neurons, rounds, top_k).double()


def moved(network):
    """Move every parameter, so that scales are not all one and shifts not all nought."""
    draw = generator(0, "moved")
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.3 * torch.randn(weight.shape, dtype=torch.double, generator=draw)
    return network


class Plain(nn.Module):
    """The network of one seed as its source describes it, in torch's own layers."""

    def __init__(self, network, seed):
        super().__init__()
        self.neurons, self.rounds, self.top_k = network.neurons, network.rounds, network.top_k
        sizes = [INPUTS, *HIDDEN]
        layers = []
        for inputs, width in zip(sizes, HIDDEN, strict=False):
            layers += [nn.Linear(inputs, width), nn.ReLU(), nn.LayerNorm(width)]
        self.encoder = nn.Sequential(*layers, nn.Linear(WIDTH, self.neurons * WIDTH))
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.query_norm, self.key_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.cell = nn.GRUCell(WIDTH, WIDTH)
        self.readout_norm, self.readout = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, OUTPUTS)
        self.double()
        self.pairs = [
            *zip(network.encoder.layers, self.encoder, strict=True),
            *(
                (getattr(network, n), getattr(self, n))
                for n, _ in self.named_children()
                if n
                in {"query", "key", "value", "query_norm", "key_norm", "readout_norm", "readout"}
            ),
        ]
        self.gates = [
            (network.message, self.cell.weight_ih, self.cell.bias_ih),
            (network.state, self.cell.weight_hh, self.cell.bias_hh),
        ]
        for mine, theirs in self.matched(seed):
            with torch.no_grad():
                theirs.copy_(mine)

    def matched(self, seed, part=lambda parameter: parameter):
        """Each parameter of the stack, for one seed, with its counterpart."""
        for stacked, plain in self.pairs:
            if isinstance(plain, nn.Linear):
                yield part(stacked.weight)[seed].mT, part(plain.weight)
                if plain.bias is not None:
                    yield part(stacked.bias)[seed, 0], part(plain.bias)
            elif isinstance(plain, nn.LayerNorm):
                yield part(stacked.weight)[seed, 0], part(plain.weight)
                yield part(stacked.bias)[seed, 0], part(plain.bias)
        for stacked, weight, bias in self.gates:
            yield part(stacked.weight)[seed].mT, part(weight)
            yield part(stacked.bias)[seed, 0], part(bias)

    def messages(self, states):
        """What each neuron hears; states is a list of N vectors."""
        heard = []
        for state in states:
            query = self.query_norm(self.query(state))
            keys = [self.key_norm(self.key(other)) for other in states]
            similarity = [(query @ key) / WIDTH**0.5 for key in keys]
            ranked = sorted(range(len(states)), key=lambda n: -similarity[n].item())
            chosen = ranked[: self.top_k]
            weights = torch.stack([similarity[n] for n in chosen]).exp()
            weights = weights / weights.sum()
            heard.append(
                sum(w * self.value(states[n]) for w, n in zip(weights, chosen, strict=True))
            )
        return heard

    def features(self, sample):
        states = list(self.encoder(sample).split(WIDTH))
        for _ in range(self.rounds):
            heard = self.messages(states)
            states = [self.cell(m[None], s[None])[0] for m, s in zip(heard, states, strict=True)]
        return sum(states) / len(states)

    def forward(self, inputs):
        summary = torch.stack([self.features(sample) for sample in inputs])
        return self.readout(self.readout_norm(summary)), summary


@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize("rounds", [1, 3])
def test_outputs_and_gradients_equal_those_of_one_neuron_at_a_time(rounds, top_k):
    assert_same(moved(gated(5, rounds, top_k)))


def test_a_single_neuron_hears_itself():
    assert_same(moved(gated(1, 2, 1)))


def assert_same(network):
    inputs = torch.randn(3, 4, INPUTS, dtype=torch.double, generator=generator(0, "inputs"))
    summary = network.features(inputs)
    logits = network.classify(summary)
    target = torch.randn(logits.shape, dtype=torch.double, generator=generator(0, "target"))
    ((logits * target).sum() + summary.square().sum()).backward()
    for seed in range(len(SEEDS)):
        plain = Plain(network, seed)
        expected, features = plain(inputs[seed])
        ((expected * target[seed]).sum() + features.square().sum()).backward()
        torch.testing.assert_close(summary[seed], features)
        torch.testing.assert_close(logits[seed], expected)
        pairs = list(plain.matched(seed, lambda parameter: parameter.grad))
        assert len(pairs) == len(list(network.parameters()))
        for mine, theirs in pairs:
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_it_has_as_many_parameters_as_torchs():
    network = gated()
    of_a_seed = sum(weight[0].numel() for weight in network.parameters())
    assert of_a_seed == sum(weight.numel() for weight in Plain(network, 0).parameters())


def test_initial_weights_are_torchs_default_and_each_seeds_own():
    together, alone = gated(), gated(seeds=SEEDS[1:2])
    for mine, theirs in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(mine[1], theirs[0])
    assert not torch.equal(together.query.weight[0], together.query.weight[1])
    assert not torch.equal(together.query.weight[0], together.key.weight[0])
    # GRUCell's bound is 1 / sqrt(width of the state), whichever of its weights
    for layer in (together.message, together.state, together.query):
        assert 0.8 / WIDTH**0.5 < layer.weight.abs().max() <= WIDTH**-0.5


def test_the_encoder_is_the_dense_network_of_the_same_generators():
    network = gated()
    draws = [generator(seed, "weights") for seed in SEEDS]
    plain = MLP(INPUTS, HIDDEN, 5 * WIDTH, draws, layer_norm=True)
    for mine, theirs in zip(network.encoder.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.float(), theirs)


def test_samples_do_not_hear_each_other():
    network = moved(gated())
    inputs = torch.randn(3, 6, INPUTS, dtype=torch.double, generator=generator(0, "inputs"))
    alone = torch.cat([network.features(inputs[:, i : i + 1]) for i in range(6)], 1)
    torch.testing.assert_close(network.features(inputs), alone)
