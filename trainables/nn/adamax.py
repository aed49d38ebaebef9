"""Adamax (Kingma and Ba 2015, section 7.1) without a transfer to the host in a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Adamax(torch.optim.Optimizer):
    """Adam with the greatest recent gradient in place of the second moment:

        m = b1 m + (1 - b1) g;   u = max(b2 u, |g| + eps);   w -= lr / (1 - b1^t) m / u

    As ``torch.optim.Adamax``, which asks a tensor for the number of the step.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(weights, {"lr": lr, "betas": betas, "eps": eps})
        self.steps = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group in self.param_groups:
            first, second = group["betas"]
            rate = group["lr"] / (1 - first**self.steps)
            weights = [w for w in group["params"] if w.grad is not None]
            gradients: list[Tensor] = [w.grad for w in weights]
            means, greatest = (self._kept(weights, name) for name in ("mean", "greatest"))
            torch._foreach_lerp_(means, gradients, 1 - first)
            torch._foreach_mul_(greatest, second)
            recent = torch._foreach_abs(gradients)
            torch._foreach_add_(recent, group["eps"])
            torch._foreach_maximum_(greatest, recent)
            torch._foreach_addcdiv_(weights, means, greatest, value=-rate)

    def _kept(self, weights: list[Tensor], name: str) -> list[Tensor]:
        """What is remembered of each weight, zeros at first."""
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = torch.zeros_like(weight)
        return [self.state[weight][name] for weight in weights]
