"""Recurrent layers of leaky integrate-and-fire units for a stack of S seeds, trained by surrogate
gradients through time.

With x the input of a layer at step t, z its spikes, i its synaptic current and m its membrane, all
of them 0 at first:

    h(t) = x(t) W + z(t-1) V;   z(t) = [m(t) > 1];   i(t+1) = alpha i(t) + h(t)
    m(t+1) = (beta m(t) + i(t)) (1 - z(t))       the reset passes no gradient

In learning, the derivative of the step [u > 0] is taken to be 1 / (slope |u| + 1)^2 (Zenke and
Ganguli 2018). Spikes of the layer below arrive within the same step, so a layer is computed for all
steps before the next one. Sequences are [S, T, B, units].
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
    """How units forget and learn: decay of the current, of the membrane, in a step; slope."""

    synapse: float
    membrane: float
    slope: float


class _Layer(torch.autograd.Function):
    """Spikes of a recurrent layer; the course through time is unrolled by hand.

    Differentiated step by step, a training step of the published network takes 1.7 times as long.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, recurrent: Tensor, how: Dynamics) -> Tensor:
        membrane, spikes = torch.zeros_like(current), torch.empty_like(current)
        synapse, coming = torch.zeros_like(current[:, 0]), torch.empty_like(current[:, 0])
        for t in range(current.shape[1]):
            torch.gt(membrane[:, t], THRESHOLD, out=spikes[:, t])
            arriving = current[:, t]
            if t:
                arriving = torch.baddbmm(arriving, spikes[:, t - 1], recurrent)
            if t + 1 < current.shape[1]:
                torch.add(synapse, membrane[:, t], alpha=how.membrane, out=coming)
                # less itself where a unit has fired; beyond all numbers, not one: its seed diverges
                torch.addcmul(coming, coming, spikes[:, t], value=-1, out=membrane[:, t + 1])
            torch.add(arriving, synapse, alpha=how.synapse, out=synapse)
        ctx.save_for_backward(membrane, spikes, recurrent)
        ctx.how = how
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        membrane, spikes, recurrent = ctx.saved_tensors
        how, (of_spikes,) = ctx.how, gradients
        surrogate = (membrane - THRESHOLD).abs_().mul_(how.slope).add_(1.0).pow_(-2)
        silent, back = 1.0 - spikes, recurrent.mT
        of_current = torch.empty_like(membrane)
        # of the synapse and the membrane at the step after; those after the last one reach nothing
        of_synapse = of_membrane = torch.zeros_like(membrane[:, 0])
        of_current[:, -1] = 0.0
        for t in reversed(range(membrane.shape[1])):
            of_spike = of_spikes[:, t]
            if t + 1 < membrane.shape[1]:
                of_spike = torch.baddbmm(of_spike, of_current[:, t + 1], back)
            kept = of_membrane * silent[:, t]
            if t:
                of_synapse = torch.add(
                    kept, of_synapse, alpha=how.synapse, out=of_current[:, t - 1]
                )
            of_membrane = torch.addcmul(kept.mul_(how.membrane), of_spike, surrogate[:, t])
        before, after = spikes[:, :-1].flatten(1, 2), of_current[:, 1:].flatten(1, 2)
        return of_current, before.mT @ after, None


class RecurrentNetwork(nn.Module):
    """Recurrent spiking layers and a readout that does not fire, without biases.

    The readout filters the last layer's spikes as a synapse and a membrane without reset; a
    sample's score for a class is the readout's greatest value over the steps and the step after
    the last, so never below 0, its value at first.

    A *cut* divides the network: below it is what turns inputs into what is passed on there, above
    it the rest. Cut -1 passes on the inputs, 0 the input currents of the first layer (x W), d the
    spikes of layer d.

    Args:
        inputs, hidden, outputs: units of a step's input, of each layer, and classes.
        generators: of each seed; weights are N(0, (scale / sqrt(fan in))^2).
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        generators: Sequence[torch.Generator],
        how: Dynamics,
        scale: float,
    ) -> None:
        super().__init__()

        def drawn(rows: int, columns: int) -> nn.Parameter:
            deviation = scale * rows**-0.5
            each = [torch.randn(rows, columns, generator=g) * deviation for g in generators]
            return nn.Parameter(torch.stack(each))

        below = (inputs, *hidden[:-1])
        self.forward_weights = nn.ParameterList(map(drawn, below, hidden))
        self.recurrent_weights = nn.ParameterList(map(drawn, hidden, hidden))
        self.readout = drawn(hidden[-1], outputs)
        self.how = how

    def weights_above(self, cut: int) -> list[nn.Parameter]:
        """The weights that a cut leaves to learn."""
        first = 0 if cut < 0 else max(cut, 1)
        forward = list(self.forward_weights)[first:]
        return [*forward, *list(self.recurrent_weights)[max(cut, 0) :], self.readout]

    def below(self, inputs: Tensor, cut: int) -> Tensor:
        """Return what is passed on at a cut, [S, T, B, units], of inputs [S, T, B, D]."""
        if cut < 0:
            return inputs
        current = _times(inputs, self.forward_weights[0])
        return self._spikes(current, 0, cut) if cut else current

    def above(self, passed: Tensor, cut: int) -> Tensor:
        """Return the scores [S, B, C] of what was passed on at a cut."""
        current = self.below(passed, 0) if cut < 0 else passed
        layers = len(self.recurrent_weights)
        spikes = current if cut == layers else self._above(current, max(cut, 0))
        outputs = _times(spikes, self.readout)
        # of several greatest values the first has the gradient, as in the source: where the readout
        # never rises above 0 there is none
        return _filtered(outputs, self.how).max(1).values

    def _above(self, passed: Tensor, cut: int) -> Tensor:
        """Spikes of the last layer, from what was passed on at a cut of 0 or more."""
        current = _times(passed, self.forward_weights[cut]) if cut else passed
        return self._spikes(current, cut, len(self.recurrent_weights))

    def _spikes(self, current: Tensor, first: int, last: int) -> Tensor:
        """Spikes of layer ``last``, from the input current of the layer after ``first``."""
        spikes: Tensor = _Layer.apply(current, self.recurrent_weights[first], self.how)
        for layer in range(first + 1, last):
            current = _times(spikes, self.forward_weights[layer])
            spikes = _Layer.apply(current, self.recurrent_weights[layer], self.how)
        return spikes

    def forward(self, inputs: Tensor) -> Tensor:
        return self.above(inputs, -1)


def _times(sequence: Tensor, weight: Tensor) -> Tensor:
    """Apply a matrix [S, in, out] to every step of a sequence."""
    product = sequence.flatten(1, 2) @ weight
    return product.view(*sequence.shape[:3], -1)


def _filtered(outputs: Tensor, how: Dynamics) -> Tensor:
    """The readout's membrane after outputs [S, T, B, C]; [S, T + 1, B, C], 0 at first."""
    response = _response(outputs.shape[1], how, outputs.dtype, outputs.device)
    found = response @ outputs.flatten(2)
    return found.view(*found.shape[:2], *outputs.shape[2:])


@functools.cache
def _response(steps: int, how: Dynamics, kind: torch.dtype, device: torch.device) -> Tensor:
    """How much of an output at each step is in the membrane at each step, [T + 1, T]."""
    synapse = membrane = torch.zeros(steps, dtype=torch.double)
    rows = [membrane]
    for arriving in torch.eye(steps, dtype=torch.double):
        membrane = how.membrane * membrane + synapse
        synapse = how.synapse * synapse + arriving
        rows.append(membrane)
    return torch.stack(rows).to(device, kind)
