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
    """One matrix product for all seeds: weight [S, in, out], bias [S, 1, out] or none.

    Initial values are U(-bound, bound), drawn seed by seed; PyTorch's default for ``nn.Linear``,
    1/sqrt(in), unless told.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        generators: Sequence[torch.Generator],
        bias: bool = True,
        bound: float | None = None,
    ) -> None:
        super().__init__()
        bound = inputs**-0.5 if bound is None else bound
        drawn = [
            torch.empty(inputs, outputs).uniform_(-bound, bound, generator=g) for g in generators
        ]
        self.weight = nn.Parameter(torch.stack(drawn))
        self.bias = None
        if bias:
            drawn = [
                torch.empty(1, outputs).uniform_(-bound, bound, generator=g) for g in generators
            ]
            self.bias = nn.Parameter(torch.stack(drawn))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.bias is None:
            return inputs @ self.weight
        return torch.baddbmm(self.bias, inputs, self.weight)

    def squared_gradients(self, inputs: Tensor, squares: Tensor) -> list[Tensor]:
        # a sample's weight gradient is an outer product, so its square is the outer product of
        # squares
        weight = inputs.square().mT @ squares
        return [weight] if self.bias is None else [weight, squares.sum(1, keepdim=True)]


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
    """Dense layers with ReLU between them.

    A hidden block is Linear, ReLU, then LayerNorm where ``layer_norm`` says so, then ``dropout``
    where it is given. ``bias`` and ``bound`` are those of the Linear layers, each of which is two
    in a row, through ``rank`` units, where that is given.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        generators: Sequence[torch.Generator],
        layer_norm: bool = False,
        dropout: nn.Module | None = None,
        bias: bool = True,
        bound: float | None = None,
        rank: int = 0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []

        def linear(inputs: int, width: int) -> nn.Module:
            if not rank:
                return Linear(inputs, width, generators, bias, bound)
            first = Linear(inputs, rank, generators, False, bound)
            return nn.Sequential(first, Linear(rank, width, generators, bias, bound))

        for width in hidden:
            layers += [linear(inputs, width), nn.ReLU()]
            layers += [LayerNorm(width, len(generators))] if layer_norm else []
            layers += [dropout] if dropout is not None else []
            inputs = width
        self.layers = nn.Sequential(*layers, linear(inputs, outputs))

    @property
    def dense(self) -> list[Linear]:
        """The layers with weights, from the input on."""
        return [layer for layer in self.layers if isinstance(layer, Linear)]

    def features(self, inputs: Tensor) -> Tensor:
        """What the last layer is given, [S, B, width of the last hidden layer]."""
        for layer in self.layers[:-1]:
            inputs = layer(inputs)
        return inputs

    def classify(self, features: Tensor) -> Tensor:
        """Logits [S, B, outputs] of features."""
        logits: Tensor = self.layers[-1](features)
        return logits

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classify(self.features(inputs))
