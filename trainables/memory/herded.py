"""Exemplars chosen by herding (Welling 2009), as many of each class (Rebuffi et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainables.memory.base import Memory
from trainables.streams import StreamInfo, Task


class HerdedMemory(Memory):
    """After a task, ``total // classes seen`` exemplars of each class seen, class by class; no
    class gets more than the smallest class of the stream has samples.

    The exemplars of a class are in the order of their choice, so a smaller share is their first
    part: what herding had chosen had it been asked for less.

    Args:
        total: exemplars a seed holds at most.
        features: maps samples uint8 [S, N, D] to features [S, N, F].
    """

    def __init__(
        self,
        seeds: Sequence[int],
        stream: StreamInfo,
        device: torch.device,
        total: int,
        features: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(seeds, stream, device)
        self.total, self.features = total, features
        self.share = 0  # exemplars of each class
        self.keep("share")

    def __len__(self) -> int:
        return self.labels.shape[1]

    @property
    def classes(self) -> Tensor:
        """Classes with exemplars, in the order they came; [S, classes seen]."""
        return self.labels[:, :: self.share or 1].long()

    def end_task(self, task: Task) -> None:
        classes = self.classes.shape[1] + int(task.outputs[0].sum())
        share = min(self.total // classes, task.smallest_class)
        width = self.share or 1
        inputs = [block[:, :share] for block in torch.split(self.inputs, width, dim=1)]
        labels = [block[:, :share] for block in torch.split(self.labels, width, dim=1)]
        for label, samples, counts in task.by_class():
            chosen = herd(self.features(samples), counts, share)
            inputs.append(samples.gather(1, chosen.unsqueeze(2).expand(-1, -1, samples.shape[2])))
            labels.append(label.to(torch.uint8).unsqueeze(1).expand(-1, share))
        self.inputs, self.labels = torch.cat(inputs, dim=1), torch.cat(labels, dim=1)
        self.share = share


def herd(features: Tensor, counts: Tensor, share: int) -> Tensor:
    """Choose samples, one after the other, whose mean stays near the mean of all; [S, share].

    With mu the mean of all and p_1, p_2, ... those chosen, the k-th is the p, not chosen before,
    that minimises || mu - (phi(p) + sum_{j<k} phi(p_j)) / k ||; of equals, the first.

    Args:
        features: phi of each sample, [S, N, F].
        counts: which samples there are, [S, N]; the others fill up rows of seeds with fewer.
        share: how many to choose, no more than any seed has.
    """
    present = counts.to(features.dtype).unsqueeze(1)
    mean = present @ features / present.sum(2, keepdim=True)
    half = features.square().sum(2) / 2
    taken, chosen = ~counts, []
    gap = torch.zeros_like(mean)  # k mu - sum_{j<k} phi(p_j)
    for _ in range(share):
        gap = gap + mean
        # || gap - phi ||^2 is least where this is greatest
        score = (features @ gap.mT).squeeze(2) - half
        best = score.masked_fill(taken, -torch.inf).argmax(1, keepdim=True)
        taken = taken.scatter(1, best, True)
        gap = gap - features.gather(1, best.unsqueeze(2).expand(-1, -1, features.shape[2]))
        chosen.append(best)
    return torch.cat(chosen, dim=1)
