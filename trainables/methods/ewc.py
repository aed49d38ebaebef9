"""Elastic weight consolidation: one Fisher information per task (Kirkpatrick et al. 2017), or
online (Schwarz et al. 2018).

After task k, with weights theta_k, the diagonal Fisher information of weight i is

    F_k,i = E_x E_{y ~ p(.|x)} [ (d log p(y|x) / d theta_i)^2 ],

with squared per-sample gradients and the exact expectation over y: every label is weighted by the
predicted probability; the labels of the data are not used. Later tasks add the penalty

    (lam / 2) sum_k sum_i F_k,i (theta_i - theta_k,i)^2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainables.learner import Learner, Training, cross_entropy
from trainables.nn.fisher import fisher_sum, samples_at_once
from trainables.options import SAMPLES, option
from trainables.streams import Batch, StreamInfo, Task


class EWC(Learner["EWC.Config"]):
    """Finetune with a quadratic penalty around the weights of earlier tasks.

    The penalties of all tasks sum, up to a constant, to a single parabola with ``precision`` sum_k
    F_k and ``centre`` sum_k F_k theta_k / sum_k F_k: the same gradient at the cost of one penalty.
    Online: precision <- gamma precision + F_k, centre <- theta_k.
    """

    name = "ewc"
    reference = "Kirkpatrick et al. 2017; online: Schwarz et al. 2018"
    scenarios = ("task", "domain", "class")

    class Config(Training):
        """Options of elastic weight consolidation."""

        lam: float = option(1e9, "weight lambda of the penalty", low=0.0, high=1e15)
        online: bool = option(
            False, "online EWC: one running Fisher information instead of one per task"
        )
        gamma: float = option(
            1.0, "decay of the running Fisher information per task (online)", low=0.0, high=1.0
        )
        fisher_samples: int | None = option(
            None,
            "samples per task for estimating the Fisher information; none: all samples",
            low=1,
            high=SAMPLES,
        )

    def prepare(self) -> None:
        weights = list(self.network.parameters())
        self.precision = [torch.zeros_like(w) for w in weights]
        self.centre = [torch.zeros_like(w) for w in weights]
        self.tasks_done = 0
        self.keep("precision", "centre", "tasks_done", kind="auxiliary")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return the penalty weight of van de Ven et al. (2022) for Split-MNIST."""
        lam = {"task": 1e5, "domain": 1e10}.get(stream.scenario, 1e9)
        return super().published(stream) | {"lam": lam}

    def observe(self, batch: Batch) -> Tensor:
        mask = batch.task.loss_mask(batch.labels)
        loss = cross_entropy(self.logits(batch.inputs), batch.labels, mask)
        if self.tasks_done:
            loss = loss + self.config.lam / 2 * self.penalty()
        return self.descend(loss)

    def penalty(self) -> Tensor:
        """Return the precision-weighted squared distance of the weights from the centre, [S]."""
        parts = zip(self.precision, self.network.parameters(), self.centre, strict=True)
        return sum((f * (w - c).square()).flatten(1).sum(1) for f, w, c in parts)  # type: ignore[return-value]

    def end_task(self, task: Task) -> None:
        fisher = self.fisher(task)
        for f, w, precision, centre in zip(
            fisher, self.network.parameters(), self.precision, self.centre, strict=True
        ):
            theta = w.detach()
            if self.config.online:
                precision.mul_(self.config.gamma).add_(f)
                centre.copy_(theta)
                continue
            total = precision + f
            # where the precision is 0, any centre gives the same penalty
            share = torch.where(total > 0, f / total, 0.0)
            centre.lerp_(theta, share)
            precision.copy_(total)
        self.tasks_done += 1

    def fisher(self, task: Task) -> list[Tensor]:
        """Return the diagonal Fisher information of each parameter, the mean over samples of a
        task.
        """
        count = min(self.config.fisher_samples or task.size, task.size)
        batch = task.sample(count, "fisher")
        fisher = [torch.zeros_like(w) for w in self.network.parameters()]
        size = samples_at_once(self.network)
        for start in range(0, count, size):
            part = slice(start, start + size)
            mask = task.loss_mask(batch.labels[:, part])
            squares = fisher_sum(self.network, self.encode(batch.inputs[:, part]), mask)
            for total, square in zip(fisher, squares, strict=True):
                total.add_(square, alpha=1 / count)
        return fisher
