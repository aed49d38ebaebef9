"""Fisher information of the weights of a stack, summed over a batch, for networks of any kind."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from trainables.nn.dense import Stacked
from trainables.nn.members import Members, State, has_many_activations, states_of_seeds

SAMPLE_NUMBERS = 1 << 22  # numbers in the gradients of single samples that are held at once


def samples_at_once(network: nn.Module) -> int:
    """Return the number of samples per seed to hand to :func:`fisher_sum` at once: fewer where a
    sample has many activations.
    """
    return 32 if has_many_activations(network) else 512


def fisher_sum(network: nn.Module, inputs: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    """Return sum_y p(y|x) (d log p(y|x) / d theta)^2, summed over a batch, for each parameter.

    Args:
        network: in evaluation mode.
        inputs: encoded, [S, B, D].
        mask: outputs that compete in the softmax, [S, B or 1, C]; None for all.
    """
    if not has_many_activations(network):
        return _sum_over_layers(network, inputs, mask)
    alone, results = _Alone(network), []
    for seed, state in enumerate(states_of_seeds(alone)):
        part = slice(seed, seed + 1)
        given = (inputs[part], None if mask is None else mask[part])
        results.append(functional_call(alone, state, given))
    return [torch.cat(parts) for parts in zip(*results, strict=True)]


class _Alone(nn.Module):
    """The Fisher information of a network, called with the state of a single seed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, mask: Tensor | None) -> list[Tensor]:
        if isinstance(self.network, Members):
            return _sum_over_samples(self.network, inputs, mask)
        return _sum_over_layers(self.network, inputs, mask)


def _sum_over_layers(network: nn.Module, inputs: Tensor, mask: Tensor | None) -> list[Tensor]:
    """One backward pass per label gives the gradients at the outputs of the layers; each layer then
    sums the squared gradients of samples, mostly without forming the gradients of single samples.
    """
    layers = [m for m in network.modules() if isinstance(m, Stacked)]
    calls: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # input and output of each layer
    hooks = [
        m.register_forward_hook(lambda m, given, output: calls.update({m: (given[0], output)}))
        for m in layers
    ]
    log_p = _log_p(network(inputs), mask)
    for hook in hooks:
        hook.remove()
    p = log_p.detach().exp()
    recorded = [calls[layer] for layer in layers]
    outputs = [output for _, output in recorded]
    squares = [torch.zeros_like(output) for output in outputs]
    sums = [[torch.zeros_like(w) for w in layer.parameters()] for layer in layers]
    for label in range(log_p.shape[-1]):
        chosen = torch.where(p[..., label] > 0, log_p[..., label], 0.0).sum()
        gradients = torch.autograd.grad(chosen, outputs, retain_graph=True)
        for layer, (given, _), square, total, gradient in zip(
            layers, recorded, squares, sums, gradients, strict=True
        ):
            weight = p[..., label].view(*p.shape[:2], *[1] * (gradient.dim() - 2))
            if layer.shares_weights:
                _add(total, layer.squared_gradients(given.detach(), gradient * weight.sqrt()))
            else:
                square.addcmul_(gradient.square(), weight)
    for layer, (given, _), square, total in zip(layers, recorded, squares, sums, strict=True):
        if not layer.shares_weights:
            _add(total, layer.squared_gradients(given.detach(), square.sqrt_()))
    return [each for total in sums for each in total]


@torch.no_grad()
def _sum_over_samples(network: Members, inputs: Tensor, mask: Tensor | None) -> list[Tensor]:
    """Square the gradients of single samples, of the only seed of a stack."""
    state = {name: tensor[0] for name, tensor in network.state().items()}
    weights = {name: state.pop(name) for name, _ in network.module.named_parameters()}
    samples = network.shaped(inputs)[0]
    masks = torch.ones_like(samples[:, :0]) if mask is None else mask[0].expand(len(samples), -1)
    sums = {name: torch.zeros_like(w) for name, w in weights.items()}

    def log_p(weights: State, sample: Tensor, allowed: Tensor, label: int) -> Tensor:
        logits = network.logits_of({**weights, **state}, sample.unsqueeze(0))
        return _log_p(logits, None if mask is None else allowed)[0, label]

    of_sample = grad(log_p)
    gradients = vmap(of_sample, in_dims=(None, 0, 0, None))
    if network.obstacle:
        gradients = functools.partial(_one_after_the_other, of_sample)
    logits = network.logits_of({**weights, **state}, samples)
    p = _log_p(logits, None if mask is None else masks).exp()
    size = max(SAMPLE_NUMBERS // sum(w.numel() for w in weights.values()), 1)
    for label in range(p.shape[1]):
        parts = (torch.split(each, size) for each in (samples, masks, p[:, label]))
        for part, allowed, share in zip(*parts, strict=True):
            for name, found in gradients(weights, part, allowed, label).items():
                squares = torch.where(_like(share, found) > 0, found, 0.0).square()
                sums[name] += (squares * _like(share, found)).sum(0)
    return [total.unsqueeze(0) for total in sums.values()]


def _one_after_the_other(
    of_sample: Callable[..., State], weights: State, samples: Tensor, masks: Tensor, label: int
) -> State:
    """Return the gradients of samples, each [B, ...], of a module that cannot be vectorised."""
    found = [of_sample(weights, *each, label) for each in zip(samples, masks, strict=True)]
    return {name: torch.stack([one[name] for one in found]) for name in weights}


def _log_p(logits: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    return logits.log_softmax(-1)


def _like(numbers: Tensor, tensor: Tensor) -> Tensor:
    """Give numbers [B] the axes of a tensor [B, ...]."""
    return numbers.view(-1, *[1] * (tensor.dim() - 1))


def _add(totals: list[Tensor], parts: list[Tensor]) -> None:
    for total, part in zip(totals, parts, strict=True):
        total.add_(part.detach())
