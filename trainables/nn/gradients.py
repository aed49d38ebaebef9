"""Gradients of a stack: clipping per seed, and conversion to one row per seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def clip_gradients(parameters: Iterable[Tensor], limit: float) -> None:
    """Clip the gradient norm of each seed, over all parameters, to ``limit``, in place.

    The equivalent of ``torch.nn.utils.clip_grad_norm_`` for a stack.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors [S, ...] into one row per seed, [S, P]."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def assign_gradients(parameters: Iterable[Tensor], rows: Tensor) -> None:
    """Set the gradients of parameters from one row per seed, [S, P]: the inverse of `flat`."""
    start = 0
    for parameter in parameters:
        end = start + parameter[0].numel()
        parameter.grad = rows[:, start:end].reshape(parameter.shape).contiguous()
        start = end
