"""Optimisers without host transfers within a step, which treat a weight alike wherever it lies in a
stack.

Both are equal to those of torch up to rounding. These read their step count from a tensor, a host
transfer, or, if they are fused, round the last numbers of a tensor on a CPU otherwise than the
others: the last seed of a stack would learn a little differently than alone. Spikes make another
network of such a difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

BETAS = (0.9, 0.999)  # b1, b2
EPS = 1e-8


class _Moments(torch.optim.Optimizer, ABC):
    """An optimiser with a mean of the gradients and another state for each weight."""

    second: str  # name of the other state

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr, "steps": 0})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["steps"] += 1
            rate = group["lr"] / (1 - BETAS[0] ** group["steps"])
            weights = [w for w in group["params"] if w.grad is not None]
            if not weights:
                continue
            gradients: list[Tensor] = [w.grad for w in weights]
            means, others = (self._states(weights, name) for name in ("mean", self.second))
            torch._foreach_lerp_(means, gradients, 1 - BETAS[0])
            scales = self.scales(others, gradients, group["steps"])
            torch._foreach_addcdiv_(weights, means, scales, value=-rate)

    @abstractmethod
    def scales(self, states: list[Tensor], gradients: list[Tensor], step: int) -> list[Tensor]:
        """Update the other states in step t, and return what the means are divided by."""

    def _states(self, weights: list[Tensor], name: str) -> list[Tensor]:
        """Return the state ``name`` of each weight, initially zeros."""
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = torch.zeros_like(weight)
        return [self.state[weight][name] for weight in weights]


class Adamax(_Moments):
    """Adam with an exponentially weighted maximum norm (Kingma and Ba 2015, section 7.1):

    m = b1 m + (1 - b1) g;   u = max(b2 u, |g| + eps);   w -= lr / (1 - b1^t) m / u
    """

    second = "greatest"

    def scales(self, states: list[Tensor], gradients: list[Tensor], step: int) -> list[Tensor]:
        torch._foreach_mul_(states, BETAS[1])
        magnitudes = torch._foreach_abs(gradients)
        torch._foreach_add_(magnitudes, EPS)
        torch._foreach_maximum_(states, magnitudes)
        return states


class Adam(_Moments):
    """Adam (Kingma and Ba 2015, algorithm 1):

    m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2
    w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
    """

    second = "square"

    def scales(self, states: list[Tensor], gradients: list[Tensor], step: int) -> list[Tensor]:
        torch._foreach_mul_(states, BETAS[1])
        torch._foreach_addcmul_(states, gradients, gradients, 1 - BETAS[1])
        scales = torch._foreach_div(states, 1 - BETAS[1] ** step)
        torch._foreach_sqrt_(scales)
        torch._foreach_add_(scales, EPS)
        return list(scales)
