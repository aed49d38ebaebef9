"""Synaptic intelligence (Zenke, Poole and Ganguli 2017).

During a task, the path integral w_i accumulates how much weight i lowers the loss L of the task,

    w_i <- w_i - g_i (theta_i after the step - theta_i before), with g = dL / d theta.

At the end of the task, the importance Omega_i grows by w_i over the squared distance that the
weight moved during the task,

    Omega_i <- max(0, Omega_i + w_i / ((theta_i - theta_i at the beginning)^2 + xi)),  w_i <- 0.

Later tasks add a penalty around the weights theta* at the end of the last task,

    c sum_i Omega_i (theta_i - theta*_i)^2.

As in the authors' code, g excludes the penalty, and Omega is clipped at zero: the paper's equation
has no max, but a negative importance would push a weight away without bound. Van de Ven et al.
(2022), the source of the default penalty weights, take g of loss and penalty together, and do not
clip.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainables.learner import Learner, Training, cross_entropy
from trainables.options import FACTOR, option
from trainables.streams import Batch, StreamInfo, Task


class SI(Learner["SI.Config"]):
    """Finetune with a quadratic penalty on weights that lowered the losses of earlier tasks.

    Unlike elastic weight consolidation, synaptic intelligence needs no extra pass over the data:
    importance is accumulated during training, with any optimiser.
    """

    name = "si"
    reference = "Zenke et al. 2017, Continual Learning Through Synaptic Intelligence"
    scenarios = ("task", "domain", "class")

    class Config(Training):
        """Options of synaptic intelligence."""

        c: float = option(5e3, "weight c of the penalty", low=0.0, high=1e10)
        xi: float = option(
            0.1,
            "damping xi, added to the squared distance in the denominator of the importance",
            low=1e-12,
            high=FACTOR,
        )

    def prepare(self) -> None:
        weights = [w.detach() for w in self.network.parameters()]
        self.path = [torch.zeros_like(w) for w in weights]  # w of the equations
        self.importance = [torch.zeros_like(w) for w in weights]  # Omega
        self.anchor = [w.clone() for w in weights]  # theta*, also the beginning of the task
        self.tasks_done = 0
        self.keep("path", "importance", "anchor", "tasks_done", kind="auxiliary")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return the penalty weight of van de Ven et al. (2022) for Split-MNIST or Permuted
        MNIST.
        """
        c = {"task": 10.0, "domain": 5e4}.get(stream.scenario, 5e3)
        if stream.name.startswith("permuted"):
            c = 5.0 if stream.scenario == "class" else 10.0
        return super().published(stream) | {"c": c}

    def observe(self, batch: Batch) -> Tensor:
        mask = batch.task.loss_mask(batch.labels)
        return self.descend(cross_entropy(self.logits(batch.inputs), batch.labels, mask))

    def descend(self, loss: Tensor) -> Tensor:
        """Take a step on the loss with the penalty, and update the path integral of the loss."""
        self.optimiser.zero_grad()
        loss.backward(torch.ones_like(loss))  # type: ignore[no-untyped-call] # summed over seeds
        weights = list(self.network.parameters())
        # zeros for weights that a user's network does not use
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        before = [w.detach().clone() for w in weights]
        loss = loss.detach()
        if self.tasks_done:
            penalty, pulls = self.penalty()
            loss = loss + self.config.c * penalty
            for w, g, pull in zip(weights, gradients, pulls, strict=True):
                w.grad = g.add(pull, alpha=2 * self.config.c)
        self.optimiser.step()
        for path, g, w, b in zip(self.path, gradients, weights, before, strict=True):
            path.addcmul_(g, b.sub_(w.detach()))
        return loss

    @torch.no_grad()
    def penalty(self) -> tuple[Tensor, list[Tensor]]:
        """Return sum_i Omega_i (theta_i - theta*_i)^2, [S], and half of its gradient with respect
        to each parameter.
        """
        weights = self.network.parameters()
        distances = [w - anchor for w, anchor in zip(weights, self.anchor, strict=True)]
        pulls = [o * d for o, d in zip(self.importance, distances, strict=True)]
        parts = [(p * d).flatten(1).sum(1) for p, d in zip(pulls, distances, strict=True)]
        return torch.stack(parts).sum(0), pulls

    def end_task(self, task: Task) -> None:
        weights = [w.detach() for w in self.network.parameters()]
        parts = zip(weights, self.path, self.importance, self.anchor, strict=True)
        for weight, path, importance, anchor in parts:
            gained = path / ((weight - anchor).square() + self.config.xi)
            importance.add_(gained).clamp_(min=0.0)
            anchor.copy_(weight)
            path.zero_()
        self.tasks_done += 1
