"""Exemplars chosen by herding (Welling 2009), equally many of each class (Rebuffi et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainables.memory.base import Memory
from trainables.streams import StreamInfo, Task


class HerdedMemory(Memory):
    """After a task, holds ``total // classes seen`` exemplars of each class seen, but at most as
    many as the smallest class of the stream has samples. Exemplars are stored class by class.

    The exemplars of a class are stored in the order of their selection: shrinking a share keeps the
    first exemplars, exactly those that herding selects for a smaller share.

    Args:
        total: largest number of exemplars per seed.
        features: maps samples [S, N, D] to features [S, N, F].
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
        """Classes with exemplars, in order of arrival, [S, classes seen]."""
        return self.labels[:, :: self.share or 1].long()

    def end_task(self, task: Task) -> None:
        classes = self.classes.shape[1] + int(task.outputs[0].sum())
        share = min(self.total // classes, task.smallest_class)
        width = self.share or 1
        inputs = [block[:, :share] for block in torch.split(self.inputs, width, dim=1)]
        labels = [block[:, :share] for block in torch.split(self.labels, width, dim=1)]
        for label, samples, valid in task.by_class():
            chosen = herd(self.features(samples), valid, share)
            inputs.append(samples.gather(1, chosen.unsqueeze(2).expand(-1, -1, samples.shape[2])))
            labels.append(label.to(torch.uint8).unsqueeze(1).expand(-1, share))
        self.inputs, self.labels = torch.cat(inputs, dim=1), torch.cat(labels, dim=1)
        self.share = share


def herd(features: Tensor, valid: Tensor, share: int) -> Tensor:
    """Choose samples one by one such that their mean stays close to the mean of all samples.

    With mu the mean of all samples and p_1, p_2, ... the chosen samples, the k-th choice is the
    sample p, not chosen before, that minimises || mu - (phi(p) + sum_{j<k} phi(p_j)) / k ||; ties
    go to the first sample.

    Args:
        features: phi of each sample, [S, N, F].
        valid: which samples exist, bool [S, N]; the others pad the rows of smaller seeds.
        share: number of samples to choose, at most the number of valid samples of any seed.

    Returns:
        indices of the chosen samples in order of selection, [S, share].
    """
    present = valid.to(features.dtype).unsqueeze(1)
    mean = present @ features / present.sum(2, keepdim=True)
    half = features.square().sum(2) / 2
    excluded, chosen = ~valid, []
    gap = torch.zeros_like(mean)  # k mu - sum_{j<k} phi(p_j)
    for _ in range(share):
        gap = gap + mean
        # maximising this score minimises || gap - phi ||^2
        score = (features @ gap.mT).squeeze(2) - half
        best = score.masked_fill(excluded, -torch.inf).argmax(1, keepdim=True)
        excluded = excluded.scatter(1, best, True)
        gap = gap - features.gather(1, best.unsqueeze(2).expand(-1, -1, features.shape[2]))
        chosen.append(best)
    return torch.cat(chosen, dim=1)
