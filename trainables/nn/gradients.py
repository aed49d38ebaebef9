"""Weights and gradients of a stack: copies, clipping per seed, and rows per seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from trainables.nn.members import tensors_of


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


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of all parameters and statistics of a network by name, as of a teacher: for
    ``torch.func.functional_call``.
    """
    return {name: tensor.detach().clone() for name, tensor in tensors_of(network).items()}


def assign_gradients(parameters: Iterable[Tensor], rows: Tensor) -> None:
    """Set the gradients of parameters from one row per seed, [S, P]: the inverse of `flat`."""
    start = 0
    for parameter in parameters:
        end = start + parameter[0].numel()
        parameter.grad = rows[:, start:end].reshape(parameter.shape).contiguous()
        start = end
