"""Synaptic intelligence (Zenke, Poole and Ganguli 2017).

While a task is learnt, each weight i follows how much it lowers the loss L of the task,

    w_i <- w_i - g_i (theta_i after the step - theta_i before), with g = dL / d theta;

when the task ends, over the distance it has come since the task began,

    Omega_i <- max(0, Omega_i + w_i / ((theta_i - theta_i at the beginning)^2 + xi)),  w_i <- 0.

Later tasks add, around the weights theta* at the end of the last task,

    c sum_i Omega_i (theta_i - theta*_i)^2.

As in the authors' code, g leaves out the penalty, and Omega is cut off at zero: the paper's
equation has no max, but below zero the penalty would push a weight away without bound. Van de Ven
et al. (2022), whose strengths are our defaults, take g of loss and penalty together, and do not
cut off.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainables.learner import Learner, Training, cross_entropy
from trainables.options import FACTOR, option
from trainables.streams import Batch, StreamInfo, Task


class SI(Learner["SI.Config"]):
    """Finetune with a quadratic penalty on weights that have lowered the losses of earlier tasks.

    Unlike in elastic weight consolidation, importance costs no pass over the data: it is gathered
    while learning, whatever the optimiser does with the gradient.
    """

    name = "si"
    reference = "Zenke et al. 2017, Continual Learning Through Synaptic Intelligence"
    scenarios = ("task", "domain", "class")

    class Config(Training):
        """Options of synaptic intelligence."""

        c: float = option(5e3, "strength of the penalty", low=0.0, high=1e10)
        xi: float = option(
            0.1,
            "added to the squared distance that importance is divided by",
            low=1e-12,
            high=FACTOR,
        )

    def prepare(self) -> None:
        weights = [w.detach() for w in self.network.parameters()]
        self.path = [torch.zeros_like(w) for w in weights]  # w of the equations
        self.importance = [torch.zeros_like(w) for w in weights]  # Omega
        self.anchor = [w.clone() for w in weights]  # theta*, where the task began
        self.tasks_done = 0
        self.keep("path", "importance", "anchor", "tasks_done", kind="auxiliary")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Strengths of van de Ven et al. (2022) for Split-MNIST and Permuted MNIST."""
        if stream.name.startswith("permuted"):
            return {"c": 5.0 if stream.scenario == "class" else 10.0}
        return {"c": {"task": 10.0, "domain": 5e4}.get(stream.scenario, 5e3)}

    def observe(self, batch: Batch) -> Tensor:
        mask = batch.task.loss_mask(batch.labels)
        return self.descend(cross_entropy(self.logits(batch.inputs), batch.labels, mask))

    def descend(self, loss: Tensor) -> Tensor:
        """Step on the loss with its penalty, and follow what the step does to the loss alone."""
        self.optimiser.zero_grad()
        loss.backward(torch.ones_like(loss))  # type: ignore[no-untyped-call] # summed over seeds
        weights = list(self.network.parameters())
        gradients = [w.grad for w in weights if w.grad is not None]  # every weight has one
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
        """sum_i Omega_i (theta_i - theta*_i)^2 of each seed, [S], and half its gradient of each
        parameter.
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
