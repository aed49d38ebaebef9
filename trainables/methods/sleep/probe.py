"""Comparison of a network before and after sleep, on a few samples of each class that are never
trained on.

S seeds, C classes, N samples per class, L layers with weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.nn import MLP, Linear
from trainables.rng import generator
from trainables.stateful import Stateful
from trainables.streams import Task

COMPONENTS = 10  # principal components
TIMES = ("before", "after", "difference")
ROUNDS = 50  # rounds of the power iteration for the largest singular value


class Probe(Stateful):
    """The first samples of every class so far, on the host whatever the device of the network.

    Args:
        count: samples per class, N.
        stack: number of seeds.
        classes: number of classes, C.
        size: features per sample.
        dtype: of a stored feature.
    """

    def __init__(
        self, count: int, stack: int, classes: int, size: int, dtype: torch.dtype = torch.uint8
    ) -> None:
        super().__init__(stack, "cpu")
        self.samples = torch.zeros(stack, classes, count, size, dtype=dtype)
        self.known = torch.zeros(stack, classes, dtype=torch.bool)  # classes so far
        self.keep("samples", "known", kind="auxiliary")

    def store(self, task: Task) -> None:
        """Store the first samples of each class of a task."""
        seeds, count = torch.arange(len(self.known)), self.samples.shape[2]
        for labels, inputs, _ in task.by_class():
            rows = torch.arange(count) % inputs.shape[1]
            self.samples[seeds, labels.cpu()] = inputs[:, rows.to(inputs.device)].cpu()
            self.known[seeds, labels.cpu()] = True

    @torch.no_grad()
    def activities(self, network: MLP, encode: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Return the activity of each layer on the samples, before ReLU, [S, C, N, width] each."""
        network.eval()
        device = next(network.parameters()).device
        layers = activities(network, encode(self.samples.flatten(1, 2).to(device)))
        shape = self.samples.shape[:3]
        return [activity.view(*shape, -1).cpu() for activity in layers]

    def maps(self, before: list[Tensor], after: list[Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return the maps that compare the :meth:`activities` before and after sleep."""
        panels = {}
        for layer, pair in enumerate(zip(before[:-1], after[:-1], strict=True), 1):
            for when, means in zip(TIMES, self.components(*pair), strict=True):
                panels[f"layer {layer} {when}"] = means
        outputs = [self.means(activity) for activity in (before[-1], after[-1])]
        outputs.append(outputs[1] - outputs[0])
        return {
            "moved": {"change": self.moved(before, after)},
            "outputs": dict(zip(TIMES, outputs, strict=True)),
            "components": panels,
        }

    def means(self, outputs: Tensor) -> Tensor:
        """Return the mean outputs for each class, [S, outputs, C]."""
        return outputs.mean(2).masked_fill(~self.known.unsqueeze(2), torch.nan).mT

    def silent(self, outputs: Tensor) -> Tensor:
        """Return the share of samples without a positive output, [S]; rectified outputs assign such
        samples to the first class.
        """
        silent = (outputs <= 0).all(-1).double().mean(2)
        return (silent * self.known).sum(1) / self.known.sum(1)

    def moved(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
        """Return 1 minus the mean cosine between activity before and after, [S, L, C]."""
        pairs = zip(before, after, strict=True)
        change = [1 - F.cosine_similarity(a, b, dim=-1).mean(2) for a, b in pairs]
        return torch.stack(change, 1).masked_fill(~self.known.unsqueeze(1), torch.nan)

    def components(self, before: Tensor, after: Tensor) -> list[Tensor]:
        """Return the mean of each class along the principal components, [S, K, C], for a layer's
        activity before, after, and for their difference. As in the port, the components are those
        of all three together; the difference is not centred.

        Args:
            before, after: activity of the layer, [S, C, N, width].
        """
        parts = torch.stack([before, after, after - before], 1).double()
        known = self.known[:, None, :, None, None]
        centre = (parts * known).sum((1, 2, 3), keepdim=True)
        centre = centre / (3 * parts.shape[3] * known.sum((1, 2, 3), keepdim=True)).clamp(min=1)
        rows = ((parts - centre) * known).flatten(1, 3)
        axes = principal_axes(rows, COMPONENTS)
        means = (parts[:, :2] - centre).mean(3) @ axes.unsqueeze(1)
        means = torch.cat([means, means[:, 1:] - means[:, :1]], 1)
        means = means.masked_fill(~self.known[:, None, :, None], torch.nan)
        return list(means.mT.float().unbind(1))


def activities(network: MLP, inputs: Tensor) -> list[Tensor]:
    """Return the activity of each layer with weights, before ReLU, [S, N, width] each."""
    activities = []
    for layer in network.layers:
        inputs = layer(inputs)
        if isinstance(layer, Linear):
            activities.append(inputs)
    return activities


def principal_axes(rows: Tensor, count: int) -> Tensor:
    """Return the first principal axes of centred rows [S, N, width]; [S, width, count], padded with
    zeros. The entry of largest magnitude of an axis is positive.
    """
    few_rows = rows.shape[1] <= rows.shape[2]  # the smaller of the two products is enough
    products = rows @ rows.mT if few_rows else rows.mT @ rows
    # a diverged seed counts as zeros, since `eigh` would raise for the whole stack
    values, vectors = torch.linalg.eigh(products.nan_to_num(0.0, 0.0, 0.0))
    values, vectors = values.flip(1)[:, :count], vectors.flip(2)[:, :, :count]
    significant = values > 1e-9 * values[:, :1].clamp(min=1e-300)
    axes = vectors * significant.unsqueeze(1)
    if few_rows:
        axes = rows.mT @ axes / values.clamp(min=1e-300).sqrt().unsqueeze(1)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = torch.where(largest < 0, -axes, axes)
    return F.pad(axes, (0, count - axes.shape[2]))


@torch.no_grad()
def stable_rank(weight: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the stable rank of weights [S, in, out]: the squared Frobenius norm divided by the
    squared largest singular value, which is found by power iteration; [S].
    """
    drawn = [torch.randn(weight.shape[2], 1, generator=generator(s, "stable rank")) for s in seeds]
    vector = torch.stack(drawn).to(weight.device)
    for _ in range(ROUNDS):
        vector = F.normalize(weight.mT @ (weight @ vector), dim=1)
    return weight.square().sum((1, 2)) / (weight @ vector).square().sum((1, 2))
