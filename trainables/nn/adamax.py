"""Adamax (Kingma and Ba 2015, section 7.1) without host transfers within a step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

BETAS = (0.9, 0.999)  # b1, b2
EPS = 1e-8


class Adamax(torch.optim.Optimizer):
    """Adam with an exponentially weighted maximum norm in place of the second moment:

        m = b1 m + (1 - b1) g;   u = max(b2 u, |g| + eps);   w -= lr / (1 - b1^t) m / u

    Equal to ``torch.optim.Adamax``, which reads its step count from a tensor, a host transfer.
    """

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        super().__init__(weights, {"lr": lr})
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        self.steps += 1
        first, second = BETAS
        for group in self.param_groups:
            rate = group["lr"] / (1 - first**self.steps)
            weights = [w for w in group["params"] if w.grad is not None]
            gradients: list[Tensor] = [w.grad for w in weights]
            means = self._moments(weights, "mean")
            norms = self._moments(weights, "greatest")
            torch._foreach_lerp_(means, gradients, 1 - first)
            torch._foreach_mul_(norms, second)
            magnitudes = torch._foreach_abs(gradients)
            torch._foreach_add_(magnitudes, EPS)
            torch._foreach_maximum_(norms, magnitudes)
            torch._foreach_addcdiv_(weights, means, norms, value=-rate)

    def _moments(self, weights: list[Tensor], name: str) -> list[Tensor]:
        """Return the state ``name`` of each weight, initially zeros."""
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = torch.zeros_like(weight)
        return [self.state[weight][name] for weight in weights]
