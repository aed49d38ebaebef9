"""Adam and Adamax equal torch's, wherever a weight lies."""

from __future__ import annotations

import pytest
import torch

from trainables.nn.optimisers import Adam, Adamax
from trainables.rng import generator

KINDS = {Adam: torch.optim.Adam, Adamax: torch.optim.Adamax}


def weights(stack=3):
    draws = generator(0, "weights")
    return [torch.randn(stack, *size, generator=draws).requires_grad_() for size in ((7, 3), (5,))]


def descend(parameters, optimiser, steps, first=0):
    for step in range(first, first + steps):
        for number, weight in enumerate(parameters):
            scale = 10.0 ** (step % 4 - 2)
            draws = generator(step, "gradients", number)
            weight.grad = scale * torch.randn(3, *weight.shape[1:], generator=draws)[: len(weight)]
        optimiser.step()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_torch(kind):
    mine, theirs = weights(), weights()
    descend(mine, kind(mine, 0.03), 20)
    descend(theirs, KINDS[kind](theirs, 0.03), 20)
    for found, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_moves_the_same_alone(kind):
    together, alone = weights(), [w[:1].detach().clone().requires_grad_() for w in weights()]
    descend(together, kind(together, 0.03), 20)
    descend(alone, kind(alone, 0.03), 20)
    assert all(w[:1].equal(v) for w, v in zip(together, alone, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimiser_goes_on_from_its_state(kind):
    whole, parts = weights(), weights()
    descend(whole, kind(whole, 0.03), 10)
    first = kind(parts, 0.03)
    descend(parts, first, 4)
    second = kind(parts, 0.03)
    second.load_state_dict(first.state_dict())
    descend(parts, second, 6, first=4)
    assert all(w.equal(v) for w, v in zip(whole, parts, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_without_a_gradient_stay(kind):
    parameters = weights()
    before = [w.detach().clone() for w in parameters]
    kind(parameters, 0.03).step()
    assert all(w.equal(v) for w, v in zip(parameters, before, strict=True))
