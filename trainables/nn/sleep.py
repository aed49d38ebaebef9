"""Sleep: the weights of a dense network drive spiking units, and spikes change the weights.

Source: Tadros et al. 2022, "Sleep-like unsupervised replay reduces catastrophic forgetting in
artificial neural networks", and its code. At each step, layer by layer, within the same step:

    I = alpha W s_in (+ a bias current)      s_in: which inputs fired
    m = decay m + I;  s = [m >= beta]        beta: the threshold
    W_ij += inc g(W_ij)  where s_i and s_in,j;   W_ij -= dec g(W_ij)  where s_i and not s_in,j
    m_i = 0 (or m_i - beta)  where s_i

Only rows of units that fired change. S seeds sleep together; weights are stored [S, in, out].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic": torch.sigmoid,  # the Python port
    "matlab": lambda weight: 2 * torch.sigmoid(weight * -1e3),  # the authors' code
    "multiplicative": lambda weight: weight,  # the equation in the port's README
    "none": torch.ones_like,
}


@dataclass(frozen=True)
class Plasticity:
    """How weights and units change when a unit fires."""

    inc: float
    dec: float
    gate: str = "logistic"
    decay: float = 0.999
    reset: str = "zero"


@dataclass(frozen=True)
class SpikingLayer:
    """One layer asleep: weight [S, in, out], changed in place; scale alpha [S, 1]; threshold beta;
    bias current [S, out] or none.
    """

    weight: Tensor
    scale: Tensor
    threshold: float
    current: Tensor | None = None


@torch.no_grad()
def sleep(
    layers: Sequence[SpikingLayer], inputs: Iterable[Tensor], rule: Plasticity
) -> list[Tensor]:
    """Let the network sleep for as many steps as there are inputs, bool [S, D] each; return the
    number of spikes of each layer, [S] each.
    """
    membranes = [torch.zeros_like(layer.weight[:, 0]) for layer in layers]
    counts = [torch.zeros_like(membrane) for membrane in membranes]
    for spikes in inputs:
        for layer, membrane, count in zip(layers, membranes, counts, strict=True):
            given, spikes = spikes, _fire(layer, membrane, spikes, rule)
            learn(layer.weight, given, spikes, rule)
            count += spikes
    return [count.sum(1) for count in counts]


def _fire(layer: SpikingLayer, membrane: Tensor, spikes: Tensor, rule: Plasticity) -> Tensor:
    """Move the membrane on by a step and return which units fire, bool [S, out]."""
    current = incoming(layer.weight, spikes).mul_(layer.scale)
    if layer.current is not None:
        current += layer.current
    membrane.mul_(rule.decay).add_(current)
    fired = membrane >= layer.threshold
    if rule.reset == "zero":
        membrane.masked_fill_(fired, 0.0)
    else:
        membrane.sub_(fired.to(membrane.dtype), alpha=layer.threshold)
    return fired


def incoming(weight: Tensor, spikes: Tensor) -> Tensor:
    """Sum of the weights from inputs that fired, [S, out]."""
    return (sparse_incoming if weight.device.type == "cpu" else dense_incoming)(weight, spikes)


def learn(weight: Tensor, given: Tensor, fired: Tensor, rule: Plasticity) -> None:
    """Change the weights into units that fired: up from inputs that did too, down from others."""
    (sparse_learn if weight.device.type == "cpu" else dense_learn)(weight, given, fired, rule)


# -- of a few units that fire, on a processor that need not be told beforehand how many


def sparse_incoming(weight: Tensor, spikes: Tensor) -> Tensor:
    counts = spikes.sum(1)
    rows = spikes.flatten().nonzero().squeeze(1)
    return F.embedding_bag(rows, weight.flatten(0, 1), counts.cumsum(0) - counts, mode="sum")


def sparse_learn(weight: Tensor, given: Tensor, fired: Tensor, rule: Plasticity) -> None:
    seed, unit = fired.nonzero(as_tuple=True)
    rows = weight.mT[seed, unit]
    change = torch.where(given, rule.inc, -rule.dec)[seed]
    weight.mT[seed, unit] = rows + GATES[rule.gate](rows) * change


# -- of all units: nothing has to be known of the spikes on the host


def dense_incoming(weight: Tensor, spikes: Tensor) -> Tensor:
    return torch.bmm(spikes.to(weight.dtype).unsqueeze(1), weight).squeeze(1)


def dense_learn(weight: Tensor, given: Tensor, fired: Tensor, rule: Plasticity) -> None:
    change = torch.where(given, rule.inc, -rule.dec).unsqueeze(2) * fired.unsqueeze(1)
    weight += GATES[rule.gate](weight) * change
