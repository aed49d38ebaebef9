"""Dense layers for a stack of S seeds; activations are [S, B, features]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stacked(nn.Module, ABC):
    """A layer with separate parameters for each seed.

    Attributes:
        shares_weights: whether a sample uses a weight in several places, such as the pixels of an
            image. If not, its squared gradient is a function of the squares of ``gradient``.
    """

    shares_weights: ClassVar[bool] = False

    @abstractmethod
    def squared_gradients(self, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        """Return the squared per-sample gradients of each parameter, summed over a batch, in the
        order of the parameters.

        Args:
            inputs: inputs of the layer, [S, B, ...].
            gradient: gradient of each sample's loss at the layer's output, [S, B, ...].
        """


class Linear(Stacked):
    """A dense layer, computed as one batched matrix product: weight [S, in, out], bias [S, 1, out].

    Args:
        generators: random generator of each seed.
        bias: whether the layer has a bias.
        bound: initial values are U(-bound, bound); None for 1/sqrt(in), as in ``nn.Linear``.
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

    def squared_gradients(self, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        squares = gradient.square()
        # the weight gradient of a sample is an outer product; its square, the product of squares
        weight = inputs.square().mT @ squares
        return [weight] if self.bias is None else [weight, squares.sum(1, keepdim=True)]


class LayerNorm(Stacked):
    """Layer normalisation over the features, with a scale and shift per seed, [S, 1, features]."""

    def __init__(self, features: int, stack: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(stack, 1, features))
        self.bias = nn.Parameter(torch.zeros(stack, 1, features))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.addcmul(self.bias, F.layer_norm(inputs, inputs.shape[-1:]), self.weight)

    def squared_gradients(self, inputs: Tensor, gradient: Tensor) -> list[Tensor]:
        squares = gradient.square()
        normal = F.layer_norm(inputs, inputs.shape[-1:])
        return [(normal.square() * squares).sum(1, keepdim=True), squares.sum(1, keepdim=True)]


class MLP(nn.Module):
    """Multilayer perceptron with ReLU.

    A hidden block is Linear, ReLU, LayerNorm (with ``layer_norm``), and ``dropout`` (if given).

    Args:
        bias, bound: as for :class:`Linear`.
        rank: replaces each Linear layer by a product of two with this many units in between; 0 for
            full rank.
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
        self.width = inputs  # number of features: the inputs of the last layer
        self.layers = nn.Sequential(*layers, linear(inputs, outputs))

    @property
    def dense(self) -> list[Linear]:
        """The Linear layers, from input to output."""
        return [layer for layer in self.layers if isinstance(layer, Linear)]

    def features(self, inputs: Tensor) -> Tensor:
        """Return the input of the last layer, [S, B, width]."""
        for layer in self.layers[:-1]:
            inputs = layer(inputs)
        return inputs

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits [S, B, outputs] of features."""
        logits: Tensor = self.layers[-1](features)
        return logits

    def forward(self, inputs: Tensor) -> Tensor:
        return self.classify(self.features(inputs))
