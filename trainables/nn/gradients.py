"""Gradients of a stack, seed by seed: norms, clipping, as rows of one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def clip_gradients(parameters: Iterable[Tensor], limit: float) -> None:
    """Scale the gradients of each seed down to a norm of ``limit``, taken over all parameters.

    As ``torch.nn.utils.clip_grad_norm_`` does for one network.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors with a leading axis of seeds into one row a seed, [S, P]."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def assign_gradients(parameters: Iterable[Tensor], rows: Tensor) -> None:
    """Give parameters their gradients out of one row a seed, [S, P]: the reverse of `flat`."""
    start = 0
    for parameter in parameters:
        end = start + parameter[0].numel()
        parameter.grad = rows[:, start:end].reshape(parameter.shape).contiguous()
        start = end
