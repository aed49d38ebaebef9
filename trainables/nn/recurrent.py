"""Recurrent layers of leaky integrate-and-fire units for a stack of S seeds, trained by surrogate
gradients through time.

With x the input of a layer at step t, z its spikes, i its synaptic current and m its membrane
potential, all initially 0:

    h(t) = x(t) W + z(t-1) V;   z(t) = [m(t) > 1];   i(t+1) = alpha i(t) + h(t)
    m(t+1) = (beta m(t) + i(t)) (1 - z(t))       the reset passes no gradient

The surrogate derivative of the step function [u > 0] is 1 / (slope |u| + 1)^2 (Zenke and Ganguli
2018). Spikes of the layer below arrive within the same step, so each layer is computed for all
steps before the next layer. Sequences are [S, T, B, units].
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

THRESHOLD = 1.0


@dataclass(frozen=True)
class Dynamics:
    """Constants of the units."""

    synapse: float  # factor of the synaptic current per step, alpha
    membrane: float  # factor of the membrane potential per step, beta
    slope: float  # of the surrogate gradient


class _Layer(torch.autograd.Function):
    """Spikes of a recurrent layer, with a hand-written backward pass through time.

    With autograd step by step, a training step of the published network takes 1.7 times as long.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, recurrent: Tensor, dynamics: Dynamics) -> Tensor:
        membrane, spikes = torch.zeros_like(current), torch.empty_like(current)
        synapse, coming = torch.zeros_like(current[:, 0]), torch.empty_like(current[:, 0])
        for t in range(current.shape[1]):
            torch.gt(membrane[:, t], THRESHOLD, out=spikes[:, t])
            arriving = current[:, t]
            if t:
                arriving = torch.baddbmm(arriving, spikes[:, t - 1], recurrent)
            if t + 1 < current.shape[1]:
                torch.add(synapse, membrane[:, t], alpha=dynamics.membrane, out=coming)
                # the reset subtracts the potential from itself: inf becomes NaN, so that a seed
                # with infinite potentials is seen to diverge
                torch.addcmul(coming, coming, spikes[:, t], value=-1, out=membrane[:, t + 1])
            torch.add(arriving, synapse, alpha=dynamics.synapse, out=synapse)
        ctx.save_for_backward(membrane, spikes, recurrent)
        ctx.dynamics = dynamics
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        membrane, spikes, recurrent = ctx.saved_tensors
        dynamics, (of_spikes,) = ctx.dynamics, gradients
        surrogate = (membrane - THRESHOLD).abs_().mul_(dynamics.slope).add_(1.0).pow_(-2)
        silent, back = 1.0 - spikes, recurrent.mT
        of_current = torch.empty_like(membrane)
        # gradients of synapse and membrane at the following step; 0 after the last step
        of_synapse = of_membrane = torch.zeros_like(membrane[:, 0])
        of_current[:, -1] = 0.0
        for t in reversed(range(membrane.shape[1])):
            of_spike = of_spikes[:, t]
            if t + 1 < membrane.shape[1]:
                of_spike = torch.baddbmm(of_spike, of_current[:, t + 1], back)
            unreset = of_membrane * silent[:, t]
            if t:
                of_synapse = torch.add(
                    unreset, of_synapse, alpha=dynamics.synapse, out=of_current[:, t - 1]
                )
            of_membrane = torch.addcmul(unreset.mul_(dynamics.membrane), of_spike, surrogate[:, t])
        before, after = spikes[:, :-1].flatten(1, 2), of_current[:, 1:].flatten(1, 2)
        return of_current, before.mT @ after, None


class RecurrentNetwork(nn.Module):
    """Recurrent spiking layers and a readout that does not spike, without biases.

    The readout filters the spikes of the last layer by a synapse and a membrane without reset. The
    score of a class is the maximum of its membrane potential over the T + 1 steps, hence at least
    0, the initial potential.

    A *cut* divides the network into a part below and a part above, and defines the sequence passed
    from the one to the other: the inputs (cut -1), the input currents x W of the first layer (cut
    0), or the spikes of layer d (cut d).

    Args:
        inputs: channels of the input.
        hidden: units of each recurrent layer.
        outputs: number of classes.
        generators: random generator of each seed.
        scale: initial weights are N(0, (scale / sqrt(fan in))^2).
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        generators: Sequence[torch.Generator],
        dynamics: Dynamics,
        scale: float,
    ) -> None:
        super().__init__()

        def drawn(rows: int, columns: int) -> nn.Parameter:
            std = scale * rows**-0.5
            weights = [torch.randn(rows, columns, generator=g) * std for g in generators]
            return nn.Parameter(torch.stack(weights))

        below = (inputs, *hidden[:-1])
        self.forward_weights = nn.ParameterList(map(drawn, below, hidden))
        self.recurrent_weights = nn.ParameterList(map(drawn, hidden, hidden))
        self.readout = drawn(hidden[-1], outputs)
        self.dynamics = dynamics

    def weights_above(self, cut: int) -> list[nn.Parameter]:
        """Return the weights above a cut."""
        first = 0 if cut < 0 else max(cut, 1)
        forward = list(self.forward_weights)[first:]
        return [*forward, *list(self.recurrent_weights)[max(cut, 0) :], self.readout]

    def below(self, inputs: Tensor, cut: int) -> Tensor:
        """Return the sequence passed at a cut, [S, T, B, units], for inputs [S, T, B, D]."""
        if cut < 0:
            return inputs
        current = _times(inputs, self.forward_weights[0])
        return self._spikes(current, 0, cut) if cut else current

    def above(self, passed: Tensor, cut: int) -> Tensor:
        """Return the scores [S, B, C] for the sequence passed at a cut, [S, T, B, units]."""
        current = self.below(passed, 0) if cut < 0 else passed
        layers = len(self.recurrent_weights)
        spikes = current if cut == layers else self._above(current, max(cut, 0))
        outputs = _times(spikes, self.readout)
        # of equal maxima the first receives the gradient, as in the authors' code: there is no
        # gradient for a class whose readout never rises above 0
        return _filtered(outputs, self.dynamics).max(1).values

    def _above(self, passed: Tensor, cut: int) -> Tensor:
        """Return the spikes of the last layer for the sequence passed at a cut of 0 or more."""
        current = _times(passed, self.forward_weights[cut]) if cut else passed
        return self._spikes(current, cut, len(self.recurrent_weights))

    def _spikes(self, current: Tensor, first: int, last: int) -> Tensor:
        """Return the spikes of layer ``last`` for the input current of layer ``first`` + 1."""
        spikes: Tensor = _Layer.apply(current, self.recurrent_weights[first], self.dynamics)
        for layer in range(first + 1, last):
            current = _times(spikes, self.forward_weights[layer])
            spikes = _Layer.apply(current, self.recurrent_weights[layer], self.dynamics)
        return spikes

    def forward(self, inputs: Tensor) -> Tensor:
        return self.above(inputs, -1)


def _times(sequence: Tensor, weight: Tensor) -> Tensor:
    """Apply a matrix [S, in, out] to every step of a sequence."""
    product = sequence.flatten(1, 2) @ weight
    return product.view(*sequence.shape[:3], -1)


def _filtered(outputs: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the readout's membrane potential [S, T + 1, B, C] for input currents [S, T, B, C]."""
    response = _response(outputs.shape[1], dynamics, outputs.dtype, outputs.device)
    membrane = response @ outputs.flatten(2)
    return membrane.view(*membrane.shape[:2], *outputs.shape[2:])


@functools.cache
def _response(steps: int, dynamics: Dynamics, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the impulse response: membrane potential at each step for a unit current at each step,
    [T + 1, T].
    """
    synapse = membrane = torch.zeros(steps, dtype=torch.double)
    rows = [membrane]
    for arriving in torch.eye(steps, dtype=torch.double):
        membrane = dynamics.membrane * membrane + synapse
        synapse = dynamics.synapse * synapse + arriving
        rows.append(membrane)
    return torch.stack(rows).to(device, dtype)
