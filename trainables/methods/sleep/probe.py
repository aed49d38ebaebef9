"""What a phase without labels does to a network, looked at with a few samples of each class.

S seeds, C classes, N samples of a class, L layers with weights. Nothing is learnt from the samples.
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

COMPONENTS = 10
TIMES = ("before", "after", "difference")
ROUNDS = 50  # of the power iteration for the largest singular value


class Probe(Stateful):
    """The first samples of every class met; on the host, whatever device the network is on.

    Args:
        count: how many of each, N.
        stack: number of seeds.
        classes: number of outputs.
        size: features of a sample.
    """

    def __init__(self, count: int, stack: int, classes: int, size: int) -> None:
        super().__init__(stack, "cpu")
        self.samples = torch.zeros(stack, classes, count, size, dtype=torch.uint8)
        self.known = torch.zeros(stack, classes, dtype=torch.bool)  # classes met
        self.keep("samples", "known", kind="auxiliary")

    def see(self, task: Task) -> None:
        """Keep samples of the classes of a task."""
        every, count = torch.arange(len(self.known)), self.samples.shape[2]
        for labels, inputs, _ in task.by_class():
            rows = torch.arange(count) % inputs.shape[1]
            self.samples[every, labels.cpu()] = inputs[:, rows.to(inputs.device)].cpu()
            self.known[every, labels.cpu()] = True

    @torch.no_grad()
    def look(self, network: MLP, encode: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """What each layer answers to the samples, [S, C, N, width] each."""
        network.eval()
        device = next(network.parameters()).device
        found = activities(network, encode(self.samples.flatten(1, 2).to(device)))
        shape = self.samples.shape[:3]
        return [answers.view(*shape, -1).cpu() for answers in found]

    def maps(self, before: list[Tensor], after: list[Tensor]) -> dict[str, dict[str, Tensor]]:
        """What :meth:`look` saw before and after, compared."""
        panels = {}
        for layer, pair in enumerate(zip(before[:-1], after[:-1], strict=True), 1):
            for when, means in zip(TIMES, self.components(*pair), strict=True):
                panels[f"layer {layer} {when}"] = means
        outputs = [self.means(answers) for answers in (before[-1], after[-1])]
        outputs.append(outputs[1] - outputs[0])
        return {
            "moved": {"change": self.moved(before, after)},
            "outputs": dict(zip(TIMES, outputs, strict=True)),
            "components": panels,
        }

    def means(self, outputs: Tensor) -> Tensor:
        """Mean outputs for each class, [S, outputs, C]."""
        return outputs.mean(2).masked_fill(~self.known.unsqueeze(2), torch.nan).mT

    def silent(self, outputs: Tensor) -> Tensor:
        """Share of the samples that no output is above zero for, [S]: where outputs are rectified
        these are taken for the first class.
        """
        silent = (outputs <= 0).all(-1).double().mean(2)
        return (silent * self.known).sum(1) / self.known.sum(1)

    def moved(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
        """One less the mean cosine of each class's activity before and after, [S, L, C]."""
        pairs = zip(before, after, strict=True)
        change = [1 - F.cosine_similarity(a, b, dim=-1).mean(2) for a, b in pairs]
        return torch.stack(change, 1).masked_fill(~self.known.unsqueeze(1), torch.nan)

    def components(self, before: Tensor, after: Tensor) -> list[Tensor]:
        """Mean of each class along the principal components of a layer's activity before, after,
        and of the difference, [S, K, C] each. The components are those of all three together, as
        in the port; the difference is shown from zero on, not from their centre.

        Args:
            before: [S, C, N, width]; as ``after``.
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
    """What each layer with weights answers, before it is rectified; [S, N, width] each."""
    found = []
    for layer in network.layers:
        inputs = layer(inputs)
        if isinstance(layer, Linear):
            found.append(inputs)
    return found


def principal_axes(rows: Tensor, count: int) -> Tensor:
    """First principal axes of centred rows [S, N, width]; [S, width, count], zero where there are
    fewer. The largest entry of an axis is positive.
    """
    few = rows.shape[1] <= rows.shape[2]  # rows, less than features: the smaller product will do
    products = rows @ rows.mT if few else rows.mT @ rows
    # a seed that diverged counts as nought, or it would stop all seeds
    values, vectors = torch.linalg.eigh(products.nan_to_num(0.0, 0.0, 0.0))
    values, vectors = values.flip(1)[:, :count], vectors.flip(2)[:, :, :count]
    there = values > 1e-9 * values[:, :1].clamp(min=1e-300)
    axes = vectors * there.unsqueeze(1)
    if few:
        axes = rows.mT @ axes / values.clamp(min=1e-300).sqrt().unsqueeze(1)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    axes = torch.where(largest < 0, -axes, axes)
    return F.pad(axes, (0, count - axes.shape[2]))


@torch.no_grad()
def stable_rank(weight: Tensor, seeds: Sequence[int]) -> Tensor:
    """Squared Frobenius norm over the squared largest singular value of weights [S, in, out]; [S].

    The singular value is found by power iteration.
    """
    drawn = [torch.randn(weight.shape[2], 1, generator=generator(s, "stable rank")) for s in seeds]
    vector = torch.stack(drawn).to(weight.device)
    for _ in range(ROUNDS):
        vector = F.normalize(weight.mT @ (weight @ vector), dim=1)
    return weight.square().sum((1, 2)) / (weight @ vector).square().sum((1, 2))
