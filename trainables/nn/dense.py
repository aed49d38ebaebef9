"""Dense layers for a stack of S seeds; activations are [S, B, features]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stacked(nn.Module, ABC):
    """A layer with parameters of its own for each seed."""

    @abstractmethod
    def squared_gradients(self, inputs: Tensor, squares: Tensor) -> list[Tensor]:
        """Sum over a batch the squared per-sample gradient of each parameter, in their order.

        Args:
            inputs: what the layer was given, [S, B, in].
            squares: squared gradient of each sample's loss at the layer's output, [S, B, out].
        """


class Linear(Stacked):
    """One matrix product for all seeds: weight [S, in, out], bias [S, 1, out].

    Initial values are PyTorch's default for ``nn.Linear``, U(-1/sqrt(in), 1/sqrt(in)), drawn seed
    by seed.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound = inputs**-0.5
        weights = [
            torch.empty(inputs, outputs).uniform_(-bound, bound, generator=g) for g in generators
        ]
        biases = [torch.empty(1, outputs).uniform_(-bound, bound, generator=g) for g in generators]
        self.weight = nn.Parameter(torch.stack(weights))
        self.bias = nn.Parameter(torch.stack(biases))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, inputs, self.weight)

    def squared_gradients(self, inputs: Tensor, squares: Tensor) -> list[Tensor]:
        # a sample's weight gradient is an outer product, so its square is the outer product of
        # squares
        return [inputs.square().mT @ squares, squares.sum(1, keepdim=True)]


class LayerNorm(Stacked):
    """Layer normalisation over the features; scale and shift of each seed, [S, 1, features]."""

    def __init__(self, features: int, stack: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, 1, features))
        self.bias = nn.Parameter(torch.zeros(stack, 1, features))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.addcmul(self.bias, F.layer_norm(inputs, inputs.shape[-1:]), self.weight)

    def squared_gradients(self, inputs: Tensor, squares: Tensor) -> list[Tensor]:
        normal = F.layer_norm(inputs, inputs.shape[-1:])
        return [(normal.square() * squares).sum(1, keepdim=True), squares.sum(1, keepdim=True)]


class MLP(nn.Module):
    """Dense layers with ReLU between them; with ``layer_norm``, each hidden block is Linear, ReLU,
    LayerNorm.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        generators: Sequence[torch.Generator],
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [Linear(inputs, width, generators), nn.ReLU()]
            layers += [LayerNorm(width, len(generators))] if layer_norm else []
            inputs = width
        self.layers = nn.Sequential(*layers, Linear(inputs, outputs, generators))

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layers(inputs)
        return logits
