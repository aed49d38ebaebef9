"""Sleep: the dense network runs as spiking units, whose spikes change the weights.

Source: Tadros et al. 2022, "Sleep-like unsupervised replay reduces catastrophic forgetting in
artificial neural networks", and its code. At each step, for one layer after the other:

    I = alpha W s_in (+ bias current)        s_in: spikes of the inputs
    m = decay m + I;  s = [m >= beta]        beta: threshold
    W_ij += inc g(W_ij)  if s_i and s_in,j;      W_ij -= dec g(W_ij)  if s_i and not s_in,j
    m_i = 0 (or m_i - beta)  if s_i

Only the weights into units that fired change. Weights of a stack are stored as [S, in, out].
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
    """Constants of the units and of the change of weights."""

    inc: float
    dec: float
    gate: str = "logistic"  # name of g in `GATES`
    decay: float = 0.999
    reset: str = "zero"  # membrane potential after a spike: zero, or subtract the threshold


@dataclass(frozen=True)
class SpikingLayer:
    """One layer asleep."""

    weight: Tensor  # [S, in, out], changed in place
    scale: Tensor  # alpha, [S, 1]
    threshold: float  # beta
    current: Tensor | None = None  # bias current, [S, out]


@torch.no_grad()
def run_sleep(
    layers: Sequence[SpikingLayer], inputs: Iterable[Tensor], rule: Plasticity
) -> list[Tensor]:
    """Run the sleep, one step per input, bool [S, D]; change the weights of the layers in place.

    Returns:
        number of spikes of each layer, [S] each.
    """
    membranes = [torch.zeros_like(layer.weight[:, 0]) for layer in layers]
    counts = [torch.zeros_like(membrane) for membrane in membranes]
    for spikes in inputs:
        for layer, membrane, count in zip(layers, membranes, counts, strict=True):
            presynaptic, spikes = spikes, _fire(layer, membrane, spikes, rule)
            learn(layer.weight, presynaptic, spikes, rule)
            count += spikes
    return [count.sum(1) for count in counts]


def _fire(layer: SpikingLayer, membrane: Tensor, spikes: Tensor, rule: Plasticity) -> Tensor:
    """Advance the membrane potentials by one step, in place; return the spikes, bool [S, out]."""
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
    """Return the sum of the weights from inputs that fired, [S, out]."""
    return (sparse_incoming if weight.device.type == "cpu" else dense_incoming)(weight, spikes)


def learn(weight: Tensor, presynaptic: Tensor, fired: Tensor, rule: Plasticity) -> None:
    """Change, in place, the weights into units that fired: increase those from inputs that fired
    too, decrease the others.

    Args:
        presynaptic: spikes of the inputs, bool [S, in].
        fired: spikes of the units, bool [S, out].
    """
    (sparse_learn if weight.device.type == "cpu" else dense_learn)(weight, presynaptic, fired, rule)


# -- on a CPU: only the units that fired, whose number the host knows at no cost


def sparse_incoming(weight: Tensor, spikes: Tensor) -> Tensor:
    counts = spikes.sum(1)
    rows = spikes.flatten().nonzero().squeeze(1)
    return F.embedding_bag(rows, weight.flatten(0, 1), counts.cumsum(0) - counts, mode="sum")


def sparse_learn(weight: Tensor, presynaptic: Tensor, fired: Tensor, rule: Plasticity) -> None:
    seed, unit = fired.nonzero(as_tuple=True)
    rows = weight.mT[seed, unit]
    change = torch.where(presynaptic, rule.inc, -rule.dec)[seed]
    weight.mT[seed, unit] = rows + GATES[rule.gate](rows) * change


# -- on a GPU: all units, so that the host needs no number of spikes


def dense_incoming(weight: Tensor, spikes: Tensor) -> Tensor:
    return torch.bmm(spikes.to(weight.dtype).unsqueeze(1), weight).squeeze(1)


def dense_learn(weight: Tensor, presynaptic: Tensor, fired: Tensor, rule: Plasticity) -> None:
    change = torch.where(presynaptic, rule.inc, -rule.dec).unsqueeze(2) * fired.unsqueeze(1)
    weight += GATES[rule.gate](weight) * change
