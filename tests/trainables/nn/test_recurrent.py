"""Recurrent spiking layers against plain loops, closed forms and snnTorch.

Most run in double precision: which spikes there are then does not depend on the order of sums.
"""

from __future__ import annotations

import math

import pytest
import snntorch
import torch

from trainables.learner import cross_entropy
from trainables.nn.recurrent import Dynamics, RecurrentNetwork
from trainables.rng import generator

SEEDS = (3, 5, 8)
ALPHA, BETA = math.exp(-1 / 5), math.exp(-1 / 10)
HOW = Dynamics(ALPHA, BETA, slope=100.0)
INPUTS, HIDDEN, OUTPUTS, STEPS = 12, (10, 8, 6), 4, 25
CUTS = range(-1, len(HIDDEN) + 1)


def network(seeds=SEEDS, hidden=HIDDEN, scale=1.5):
    draws = [generator(seed, "weights") for seed in seeds]
    return RecurrentNetwork(INPUTS, hidden, OUTPUTS, draws, HOW, scale).double()


def spike_counts(seeds=SEEDS, batch=3, name="spikes"):
    """Inputs [S, T, B, D]: mostly 0, some 1 or 2; a seed's own in any stack."""
    size = (STEPS, batch, INPUTS)
    drawn = [torch.rand(size, generator=generator(seed, name)) for seed in seeds]
    return torch.stack([(u > 0.7).double() + (u > 0.95).double() for u in drawn])


def single():
    """One unit without recurrence, and one output: the other weights are 1."""
    found = RecurrentNetwork(1, (1,), 1, [torch.Generator()], HOW, 0.0).double()
    with torch.no_grad():
        found.forward_weights[0].fill_(1.0)
        found.readout.fill_(1.0)
    return found


def pulse(steps, size=1.0):
    """An input of so much at step 0, [1, T, 1, 1]."""
    found = torch.zeros(1, steps, 1, 1, dtype=torch.double)
    found[0, 0] = size
    return found


def response(k):
    """Membrane at step k after a unit current at step 0, in closed form."""
    return (BETA ** (k - 1) - ALPHA ** (k - 1)) / (BETA - ALPHA)


# -- against a plain loop


class Fires(torch.autograd.Function):
    """1 above 0, with the surrogate's derivative."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u)

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient / (100 * u.abs() + 1) ** 2


def plainly(inputs, forward, recurrent, readout):
    """One sample [T, D] through all layers at once, step by step: its scores [C], and its spikes of
    each layer and step.
    """
    spikes = [inputs.new_zeros(len(v)) for v in recurrent]
    currents, membranes = [torch.zeros_like(z) for z in spikes], [0.0 * z for z in spikes]
    filtered, output = inputs.new_zeros(OUTPUTS), inputs.new_zeros(OUTPUTS)
    outputs, fired = [output], []
    for arriving in inputs:
        below = arriving
        for k, (w, v) in enumerate(zip(forward, recurrent, strict=True)):
            drive = below @ w + spikes[k] @ v
            spikes[k] = Fires.apply(membranes[k] - 1.0)
            kept = 1.0 - spikes[k].detach()
            membranes[k] = (BETA * membranes[k] + currents[k]) * kept
            currents[k] = ALPHA * currents[k] + drive
            below = spikes[k]
        output = BETA * output + filtered
        filtered = ALPHA * filtered + below @ readout
        outputs.append(output)
        fired.append([z.detach() for z in spikes])
    return torch.stack(outputs).max(0).values, fired


def copies(net, seed):
    """A seed's weights by themselves."""
    mine = [list(net.forward_weights), list(net.recurrent_weights), [net.readout]]
    forward, recurrent, (readout,) = (
        [w[seed].detach().clone().requires_grad_() for w in kind] for kind in mine
    )
    return forward, recurrent, readout


LABELS = torch.tensor([[0, 1, 2], [3, 0, 1], [2, 2, 0]])


def assert_as_plainly(kind, rtol):
    net, inputs = network().to(kind), spike_counts().to(kind)
    inputs.requires_grad_()
    scores = net(inputs)
    cross_entropy(scores, LABELS).sum().backward()
    layers = [net.below(inputs, cut) for cut in range(1, len(HIDDEN) + 1)]
    for s in range(len(SEEDS)):
        forward, recurrent, readout = copies(net, s)
        given = inputs[s].detach().clone().requires_grad_()
        found = [plainly(given[:, b], forward, recurrent, readout) for b in range(3)]
        expected = torch.stack([score for score, _ in found])
        torch.testing.assert_close(scores[s], expected, rtol=rtol, atol=rtol)
        for k, layer in enumerate(layers):
            spikes = [torch.stack([step[k] for step in fired]) for _, fired in found]
            assert torch.equal(layer[s], torch.stack(spikes, dim=1))
            assert 0.02 < layer[s].mean() < 0.6
        torch.nn.functional.cross_entropy(expected, LABELS[s]).backward()
        pairs = [(given.grad, inputs.grad[s]), (readout.grad, net.readout.grad[s])]
        pairs += [(w.grad, n.grad[s]) for w, n in zip(forward, net.forward_weights, strict=True)]
        pairs += [
            (v.grad, n.grad[s]) for v, n in zip(recurrent, net.recurrent_weights, strict=True)
        ]
        for plain, stacked in pairs:
            assert plain.abs().max() > 0
            scale = float(plain.abs().max())
            torch.testing.assert_close(stacked, plain, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize(("kind", "rtol"), [(torch.double, 1e-10), (torch.float32, 1e-4)])
def test_scores_spikes_and_gradients_are_those_of_a_plain_loop(kind, rtol):
    assert_as_plainly(kind, rtol)


# -- closed forms


@pytest.mark.parametrize("k", range(2, 9))
def test_a_unit_fires_when_its_membrane_as_computed_by_hand_passes_the_threshold(k):
    """The response rises until step 8, so a pulse that just suffices at a step does not before."""
    assert k <= max(range(1, 12), key=response) == 8
    enough, short = (pulse(12, size / response(k)) for size in (1 + 1e-9, 1 - 1e-9))
    assert single().below(enough, 1).flatten().nonzero()[0] == k
    assert not single().below(short, 1).flatten()[: k + 1].any()


def test_a_membrane_at_the_threshold_does_not_fire():
    """It is exactly 1 at step 2."""
    assert single().below(pulse(4, 1.0), 1).flatten().tolist() == [0, 0, 0, 1]


def test_the_response_by_hand():
    assert response(2) == pytest.approx(1.0)
    assert response(3) == pytest.approx(1.72357, abs=1e-5)


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_score_is_the_greatest_of_the_readouts_response(steps):
    found = single().above(pulse(steps), 1)
    assert found.item() == pytest.approx(max(map(response, range(1, steps + 1))), abs=1e-12)


def test_spikes_of_the_last_step_do_not_reach_the_score():
    net, spikes = network(), torch.zeros(3, STEPS, 2, HIDDEN[-1], dtype=torch.double)
    spikes[:, -1] = 1.0
    assert not net.above(spikes, len(HIDDEN)).any()
    spikes[:, -2] = 1.0
    assert net.above(spikes, len(HIDDEN)).any()


def test_a_score_is_never_below_that_of_no_spikes():
    net = single()
    with torch.no_grad():
        net.readout.fill_(-1.0)
    assert net.above(pulse(9), 1).item() == 0.0


@pytest.mark.parametrize(
    ("distance", "slope"),
    [(0.0, 1.0), (0.01, 0.25), (-0.01, 0.25), (0.1, 1 / 121), (-0.1, 1 / 121)],
)
def test_the_surrogate_by_hand(distance, slope):
    """A pulse at step 0 is the membrane at step 2, one of no other step."""
    given = pulse(3, 1.0 + distance).requires_grad_()
    single().below(given, 1)[:, 2].sum().backward()
    assert given.grad.flatten().tolist() == pytest.approx([slope, 0.0, 0.0], rel=1e-9)


def test_without_input_nothing_fires_and_all_classes_are_as_likely():
    net, nothing = network(), torch.zeros_like(spike_counts())
    assert not any(net.below(nothing, cut).any() for cut in CUTS)
    scores = net(nothing)
    assert not scores.any()
    loss = cross_entropy(scores, LABELS)
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(OUTPUTS)))


# -- properties


def test_twice_the_readout_gives_twice_the_scores():
    net = network()
    before = net(spike_counts())
    assert before.any()
    with torch.no_grad():
        net.readout.mul_(2.0)
    assert torch.equal(net(spike_counts()), 2 * before)


def test_samples_do_not_see_each_other():
    net, inputs = network(), spike_counts(batch=64)
    scores = net(inputs)
    order = torch.randperm(64, generator=generator(1, "order"))
    torch.testing.assert_close(net(inputs[:, :, order]), scores[:, order])
    for row in (0, 17, 63):
        alone = net(inputs[:, :, row : row + 1])
        torch.testing.assert_close(alone, scores[:, row : row + 1])


def test_a_seed_is_the_same_alone():
    stacked = network()
    scores = stacked(spike_counts())
    cross_entropy(scores, LABELS).sum().backward()
    for s, seed in enumerate(SEEDS):
        alone = network((seed,))
        found = alone(spike_counts((seed,)))
        cross_entropy(found, LABELS[s : s + 1]).sum().backward()
        torch.testing.assert_close(found[0], scores[s])
        for mine, theirs in zip(alone.parameters(), stacked.parameters(), strict=True):
            assert torch.equal(mine[0], theirs[s])
            torch.testing.assert_close(mine.grad[0], theirs.grad[s])


def test_weights_have_the_deviation_of_their_units():
    """The published network: 218,500 weights, all of deviation 0.2 over the root of the fan in."""
    net = RecurrentNetwork(700, (200, 100, 50), 20, [generator(4, "weights")], HOW, 0.2)
    assert sum(w.numel() for w in net.parameters()) == 218_500
    for weight in net.parameters():
        rows, columns = weight.shape[1:]
        spread = 4 / math.sqrt(2 * rows * columns)  # four standard errors of a deviation
        assert weight.std().item() == pytest.approx(0.2 * rows**-0.5, rel=spread)


@pytest.mark.parametrize("fires", [True, False])
def test_of_equal_greatest_values_the_first_has_the_gradient(fires):
    """Without a spike all values of the readout are 0, and the first, which no spike reaches, is
    the score; after a spike at step 0 the greatest one is.
    """
    net = network(hidden=(1,))
    with torch.no_grad():
        net.readout.fill_(1.0)
    spikes = torch.zeros(len(SEEDS), 6, 1, 1, dtype=torch.double)
    spikes[:, 0] = float(fires)
    spikes.requires_grad_()
    scores = net.above(spikes, 1)
    assert (scores > 0).all() == fires
    scores.sum().backward()
    assert bool(spikes.grad[:, 0].all()) == bool(spikes.grad.any()) == fires


# -- cuts


@pytest.mark.parametrize("cut", CUTS)
def test_what_is_below_and_above_a_cut_is_the_whole(cut):
    net, inputs = network(), spike_counts()
    passed = net.below(inputs, cut)
    assert passed.shape[-1] == [INPUTS, HIDDEN[0], *HIDDEN][cut + 1]
    torch.testing.assert_close(net.above(passed, cut), net(inputs))
    if cut == 0:
        expected = torch.einsum("stbi,sih->stbh", inputs, net.forward_weights[0])
        torch.testing.assert_close(passed, expected)
    if cut > 0:
        assert set(passed.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("cut", "count"), [(-1, 7), (0, 6), (1, 5), (2, 3), (3, 1)])
def test_gradients_reach_what_is_above_a_cut_and_nothing_else(cut, count):
    """Trained are: all; all but w1; w2 v2 w3 v3 and the readout; w3 v3 and it; it alone."""
    net, inputs = network(), spike_counts()
    forward, recurrent = list(net.forward_weights), list(net.recurrent_weights)
    expected = {
        -1: [*forward, *recurrent],
        0: [*forward[1:], *recurrent],
        1: [*forward[1:], *recurrent[1:]],
        2: [forward[2], recurrent[2]],
        3: [],
    }[cut]
    above = net.weights_above(cut)
    assert len(above) == count
    assert {id(w) for w in above} == {id(w) for w in [*expected, net.readout]}
    with torch.no_grad():
        passed = net.below(inputs, cut)
    cross_entropy(net.above(passed, cut), LABELS).sum().backward()
    for weight in net.parameters():
        reached = weight.grad is not None and bool(weight.grad.any())
        assert reached is any(weight is w for w in above)


# -- snnTorch's layers of the same kind
#
# In a step snnTorch adds what arrives to the current, the current to the membrane, and fires. Here,
# as in the source of the method, each of the three sees the state of the step before, so that the
# spikes of an input come two steps later. That is a matter of when inputs are given, as long as
# nothing is fed back. Fed back, a spike passes on after one step there and after three here.


def driven():
    """A layer that fires without and with its recurrent weights, and its input currents."""
    net = network(hidden=(16,), scale=2.0)
    return net, net.below(spike_counts(), 0).detach()


def later(currents, steps):
    """The same currents so many steps later; those that would be given at the end are left out."""
    return torch.cat([torch.zeros_like(currents[:steps]), currents[: len(currents) - steps]])


def units(alpha=ALPHA, beta=BETA):
    """What both of snnTorch's layers are given; tensors keep the decays in double precision."""
    decays = {"alpha": alpha, "beta": beta}
    exact = {name: torch.tensor(value, dtype=torch.double) for name, value in decays.items()}
    return exact | {"threshold": 1.0, "reset_mechanism": "zero"}


def run_synaptic(currents):
    layer = snntorch.Synaptic(**units())
    found, synapse, membrane = [], None, None
    for current in currents:
        spikes, synapse, membrane = layer(current, synapse, membrane)
        found.append(spikes.double())  # snnTorch's are float32
    return torch.stack(found).detach()


def run_rsynaptic(currents, recurrent, delay, how=None):
    """Hand back the layer's own spikes of ``delay`` steps before; its documentation says 1."""
    layer = snntorch.RSynaptic(**(how or units()), linear_features=len(recurrent)).double()
    with torch.no_grad():
        layer.recurrent.weight.copy_(recurrent.mT)
        layer.recurrent.bias.zero_()
    found = [torch.zeros_like(currents[0])] * delay
    synapse = membrane = None
    for current in currents:
        spikes, synapse, membrane = layer(current, found[-delay], synapse, membrane)
        found.append(spikes.double())  # snnTorch's are float32
    return torch.stack(found[delay:]).detach()


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_without_recurrent_weights_a_layer_is_snntorchs_two_steps_later(seed):
    net, currents = driven()
    with torch.no_grad():
        net.recurrent_weights[0].zero_()
        spikes = net.below(spike_counts(), 1)[seed]
    assert 0.02 < spikes.mean() < 0.6
    assert torch.equal(run_synaptic(later(currents[seed], 2)), spikes)
    for steps in (0, 1, 3):
        assert not torch.equal(run_synaptic(later(currents[seed], steps)), spikes)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_snntorchs_recurrent_layer_feeds_spikes_back_two_steps_earlier(seed):
    """So no delay of its inputs makes it a layer of the source; that of its spikes does."""
    net, currents = driven()
    with torch.no_grad():
        spikes = net.below(spike_counts(), 1)[seed]
    recurrent = net.recurrent_weights[0][seed].detach()
    for steps in range(5):
        found = run_rsynaptic(later(currents[seed], steps), recurrent, 1)
        assert not torch.equal(found, spikes)
    assert torch.equal(run_rsynaptic(later(currents[seed], 2), recurrent, 3), spikes)


def test_the_delay_of_a_recurrent_spike_by_hand():
    """A current of 1.5 at step 0 makes a unit fire, and its spike, through a weight of 1.5, another
    one: h(t + 1), i(t + 2), m(t + 3), so three steps later; in snnTorch one step later.
    """
    how = Dynamics(0.0, 0.0, 100.0)  # nothing is left over of a step
    net = RecurrentNetwork(2, (2,), 1, [torch.Generator()], how, 0.0).double()
    weights, currents = torch.zeros(2, 2).double(), torch.zeros(1, 8, 1, 2).double()
    weights[0, 1], currents[0, 0, 0, 0] = 1.5, 1.5
    with torch.no_grad():
        net.forward_weights[0].copy_(torch.eye(2))
        net.recurrent_weights[0].copy_(weights)
        found = net.below(currents, 1)[0, :, 0]
    assert found.nonzero().tolist() == [[2, 0], [5, 1]]
    theirs = run_rsynaptic(currents[0], weights, 1, units(0.0, 0.0))[:, 0]
    assert theirs.nonzero().tolist() == [[0, 0], [1, 1]]
