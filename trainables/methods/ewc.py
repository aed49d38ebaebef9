"""Elastic weight consolidation (Kirkpatrick et al. 2017), separate and online (Schwarz et al.
2018).

After task k, with weights theta_k, each weight i has the diagonal Fisher information

    F_k,i = E_x E_{y ~ p(.|x)} [ (d log p(y|x) / d theta_i)^2 ],

per sample and exact over y: every label weighted by its probability, never the label of the data.
Later tasks add

    (lam / 2) sum_k sum_i F_k,i (theta_i - theta_k,i)^2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainables.learner import Learner, Training, cross_entropy
from trainables.nn import Stacked
from trainables.options import SAMPLES, option
from trainables.streams import Batch, StreamInfo, Task

CHUNK = 512  # samples a seed whose gradients are squared at once


class EWC(Learner["EWC.Config"]):
    """Finetune with a quadratic penalty around the weights of earlier tasks.

    The separate penalties of all tasks sum to one parabola with ``precision`` sum_k F_k and
    ``centre`` sum_k F_k theta_k / sum_k F_k, up to a constant: the same gradient at the cost of
    one. Online: precision <- gamma precision + F_k, centre <- theta_k.
    """

    name = "ewc"
    reference = "Kirkpatrick et al. 2017; online: Schwarz et al. 2018"
    scenarios = ("task", "domain", "class")

    class Config(Training):
        """Options of elastic weight consolidation."""

        lam: float = option(1e9, "strength of the penalty", low=0.0, high=1e15)
        online: bool = option(False, "one running Fisher information instead of one per task")
        gamma: float = option(
            1.0, "decay of the running Fisher information (online)", low=0.0, high=1.0
        )
        fisher_samples: int | None = option(
            None,
            "samples of a task to estimate the Fisher information on; none: all of them",
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
        """Strengths of van de Ven et al. (2022) for Split-MNIST."""
        return {"lam": {"task": 1e5, "domain": 1e10}.get(stream.scenario, 1e9)}

    def observe(self, batch: Batch) -> Tensor:
        mask = batch.task.loss_mask(batch.labels)
        loss = cross_entropy(self.logits(batch.inputs), batch.labels, mask)
        if self.tasks_done:
            loss = loss + self.config.lam / 2 * self.penalty()
        return self.descend(loss)

    def penalty(self) -> Tensor:
        """Weighted squared distance of each seed's weights from the centre, [S]."""
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
            # where nothing has any weight yet the centre does not matter
            share = torch.where(total > 0, f / total, 0.0)
            centre.lerp_(theta, share)
            precision.copy_(total)
        self.tasks_done += 1

    def fisher(self, task: Task) -> list[Tensor]:
        """Diagonal Fisher information of each parameter on samples of a task, mean over samples."""
        count = min(self.config.fisher_samples or task.size, task.size)
        batch = task.sample(count, "fisher")
        fisher = [torch.zeros_like(w) for w in self.network.parameters()]
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            mask = task.loss_mask(batch.labels[:, part])
            squares = fisher_sum(self.network, self.encode(batch.inputs[:, part]), mask)
            for total, square in zip(fisher, squares, strict=True):
                total.add_(square, alpha=1 / count)
        return fisher


def fisher_sum(
    network: torch.nn.Module, inputs: Tensor, mask: Tensor | None = None
) -> list[Tensor]:
    """Sum over a batch of sum_y p(y|x) (d log p(y|x) / d theta)^2, for each parameter of the
    network.

    One backward pass per label gives the gradients at the layers' outputs; each stacked layer
    squares them sample by sample without forming a gradient per sample.
    """
    layers = [m for m in network.modules() if isinstance(m, Stacked)]
    seen: list[tuple[Tensor, Tensor]] = []
    hooks = [
        m.register_forward_hook(lambda _, given, out: seen.append((given[0], out))) for m in layers
    ]
    logits = network(inputs)
    for hook in hooks:
        hook.remove()
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    log_p = logits.log_softmax(-1)
    p = log_p.detach().exp()
    squares = [torch.zeros_like(out) for _, out in seen]
    for label in range(log_p.shape[-1]):
        chosen = torch.where(p[..., label] > 0, log_p[..., label], 0.0).sum()
        gradients = torch.autograd.grad(chosen, [out for _, out in seen], retain_graph=True)
        for total, gradient in zip(squares, gradients, strict=True):
            total.addcmul_(gradient.square(), p[..., label : label + 1])
    sums = zip(layers, seen, squares, strict=True)
    return [s for layer, (given, _), q in sums for s in layer.squared_gradients(given.detach(), q)]
