"""The spiking network of one seed, as one writes it with snnTorch: step by step."""

from __future__ import annotations

from collections.abc import Callable

import snntorch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.nn.leaky import LeakyUnits, SpikingNetwork


class Plain(nn.Module):
    """A network of ``snntorch.Leaky`` with the weights of a seed of a stack.

    Args:
        surrogate: surrogate gradient, of ``snntorch.surrogate``.
    """

    def __init__(
        self,
        stacked: SpikingNetwork,
        seed: int,
        units: LeakyUnits,
        surrogate: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.steps = units.steps
        self.convolutions, self.dense = nn.ModuleList(), nn.ModuleList()
        for layer in stacked.convolutions:
            outputs, inputs, kernel, _ = layer.weight[seed].shape
            made = nn.Conv2d(inputs, outputs, kernel)
            made.weight.data, made.bias.data = layer.weight[seed].clone(), layer.bias[seed].clone()
            self.convolutions.append(made)
        for layer in stacked.dense:
            dense = nn.Linear(*layer.weight[seed].shape)
            dense.weight.data = layer.weight[seed].T.clone()
            dense.bias.data = layer.bias[seed, 0].clone()
            self.dense.append(dense)
        self.leaky = nn.ModuleList(
            snntorch.Leaky(units.beta, threshold=units.threshold, spike_grad=surrogate)
            for _ in [*self.convolutions, *self.dense]
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return the spikes of the outputs [T, B, C] for frames [T, B, ...]."""
        membranes, record = [layer.reset_mem() for layer in self.leaky], []
        for t in range(self.steps):
            passed = frames[t]
            for number, layer in enumerate([*self.convolutions, *self.dense]):
                if number < len(self.convolutions):
                    current = F.max_pool2d(layer(passed), 2)
                else:  # channels last, as the stacked network has them
                    flat = passed.movedim(1, -1).flatten(1) if passed.dim() > 2 else passed
                    current = layer(flat)
                passed, membranes[number] = self.leaky[number](current, membranes[number])
            record.append(passed)
        return torch.stack(record)
