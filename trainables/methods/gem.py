"""Gradient episodic memory (GEM; Lopez-Paz and Ranzato 2017) and averaged GEM (A-GEM; Chaudhry et
al. 2019).

Both keep samples of every finished task, and change the gradient g of a step where following it
would raise the loss on them, to first order.

GEM: g_k, row k of G, is the gradient on all that is kept of old task k. Where g . g_k < 0 for any
k, g becomes

    g + G'v,   v = argmin_{v >= gamma} 1/2 v'(GG' + 1e-3 I)v + (Gg)'v,

and all old tasks enter v once one is violated. With gamma 0 (and without the 1e-3) that is the
gradient nearest to g with g . g_k >= 0 for all k; gamma > 0 leans it towards the old tasks.

A-GEM: r is the gradient on one random batch of all that is kept. Where g . r < 0, g becomes

    g - (g . r / r . r) r.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.learner import cross_entropy
from trainables.memory import BalancedMemory, check_budget, share
from trainables.nn import assign_gradients, flat
from trainables.options import FACTOR, LEARNING_RATE, option
from trainables.rehearsal import MemoryConfigT, Rehearsal
from trainables.streams import Batch, StreamInfo, Task

RIDGE = 1e-3  # as in the published code: absolute, whatever the scale of the gradients
CHUNK = 16384  # numbers of a gradient multiplied at once, few enough for a core's cache
ROUNDS = 16  # Newton steps to solve for v; see `multipliers`


class EpisodicMemory(Rehearsal[MemoryConfigT]):
    """A step follows the gradient of the task, corrected by those on samples of every old task."""

    scenarios = ("task", "domain", "class")

    memory: BalancedMemory

    def prepare(self) -> None:
        each = share(self.config, self.stream)
        self.memory = BalancedMemory(self.seeds, self.stream, self.device, lambda tasks: each)
        self.keep("memory")

    @classmethod
    def check(cls, config: MemoryConfigT, stream: StreamInfo) -> None:
        check_budget(config, stream, shared=True)

    def observe(self, batch: Batch) -> Tensor:
        loss, gradient = self.gradient(batch.inputs, batch.labels, batch.task)
        if len(self.memory):
            gradient = self.corrected(gradient, batch.task)
        assign_gradients(self.network.parameters(), gradient)
        self.optimiser.step()
        return loss

    def gradient(self, inputs: Tensor, labels: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        """Return the loss of each seed on these samples, [S], and its gradient, [S, P]."""
        loss = cross_entropy(self.logits(inputs), labels, task.loss_mask(labels))
        gradients = torch.autograd.grad(loss.sum(), list(self.network.parameters()))
        return loss.detach(), flat(gradients)

    @abstractmethod
    def corrected(self, gradient: Tensor, task: Task) -> Tensor:
        """Return the gradient to follow while ``task`` is learnt, [S, P]."""

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)


class GEM(EpisodicMemory["GEM.Config"]):
    """A step may not raise the loss on the memory of any old task.

    Every task has the same share of the memory from the start, memory_total // tasks (as in the
    paper; Hsu et al. share it out among the tasks so far): random samples of it, chosen when it
    ends (in the paper its last ones). A step takes the gradient on all of them: its time grows with
    the memory, its working space with the number of tasks times that of the weights. What is
    guaranteed holds for a step of plain sgd only.

    Defaults: the protocol of Hsu et al. (2018) for Split-MNIST, two hidden layers of 400, SGD 0.01
    without momentum, batch 128, 4 epochs a task, gamma 0.5.
    """

    name = "gem"
    reference = "Lopez-Paz and Ranzato 2017, Gradient Episodic Memory for Continual Learning"

    class Config(Rehearsal.Config):
        """Options of gradient episodic memory."""

        optimiser: str = option("sgd", "how weights are updated", choices=("adam", "sgd"))
        lr: float = option(1e-2, "learning rate", low=0.0, high=LEARNING_RATE)
        gamma: float = option(
            0.5,
            "least weight of an old task in a corrected step (memory strength)",
            low=0.0,
            high=FACTOR,
        )

    def corrected(self, gradient: Tensor, task: Task) -> Tensor:
        memory = self.memory
        inputs = torch.split(memory.views(memory.inputs), memory.shares, dim=1)
        labels = torch.split(memory.labels.long(), memory.shares, dim=1)
        # as fast as all tasks in one pass, and much faster than one pass forward and many back
        old = [self.gradient(x, y, task)[1] for x, y in zip(inputs, labels, strict=True)]
        return project(gradient, old, self.config.gamma)


def project(gradient: Tensor, old: Sequence[Tensor], gamma: float) -> Tensor:
    """Correct the gradient of each seed that goes against that of an old task; [S, P].

    Args:
        gradient: g, [S, P].
        old: the rows of G, the gradient of each old task, [S, P].
        gamma: least weight of an old task in a corrected gradient.
    """
    dots = products([gradient, *old])
    along = dots[:, 0, 1:]
    violated = (along < 0).any(dim=1, keepdim=True)
    v = torch.where(violated, multipliers(dots[:, 1:, 1:], along, gamma), 0.0)
    corrected = gradient.clone()
    for weights, row in zip(torch.split(v.to(gradient.dtype), 1, dim=1), old, strict=True):
        corrected.addcmul_(weights, row)
    return corrected


def project_one(gradient: Tensor, reference: Tensor) -> Tensor:
    """Take from the gradient of each seed, [S, P], the part against its reference, [S, P]."""
    along = (gradient * reference).sum(1, keepdim=True).clamp(max=0.0)
    square = reference.square().sum(1, keepdim=True)
    return gradient - along / square.clamp(min=torch.finfo(square.dtype).tiny) * reference


def products(rows: Sequence[Tensor]) -> Tensor:
    """Return the product of every row, [S, P], with every other; [S, rows, rows].

    In double precision: the 1e-3 must not drown in the rounding of large gradients, and whether a
    constraint is violated should not hang on last digits, which differ from stack to stack.
    """
    total = torch.zeros((), dtype=torch.double, device=rows[0].device)
    for parts in zip(*(torch.split(row, CHUNK, dim=1) for row in rows), strict=True):
        part = torch.stack(parts, dim=1).double()
        total = total + part @ part.mT
    return total


def multipliers(gram: Tensor, along: Tensor, gamma: float) -> Tensor:
    """Solve for v of each seed, [S, K], given GG' [S, K, K] and Gg [S, K].

    By a primal-dual interior-point method (Wright 1997) for w = v - gamma >= 0 and its multipliers
    z, a problem without units: each round is a Newton step towards w z = a tenth of its mean. After
    ``ROUNDS`` the corrected gradient is exact to about 1e-6, however parallel the old gradients
    are, for 1 to 19 of them. Coordinate descent takes 50 sweeps on gradients met in training and
    more than 1,000 on nearly parallel ones.
    """
    matrix = gram + RIDGE * torch.eye(along.shape[1], dtype=along.dtype, device=along.device)
    linear = along + gamma * matrix.sum(2)
    unit = matrix.diagonal(dim1=1, dim2=2).rsqrt()
    matrix, linear = matrix * unit.unsqueeze(1) * unit.unsqueeze(2), linear * unit
    scale = linear.abs().amax(1, keepdim=True).clamp(min=torch.finfo(linear.dtype).tiny)
    linear = linear / scale
    w, z = torch.ones_like(linear), torch.ones_like(linear)
    for _ in range(ROUNDS):
        target = 0.1 * (w * z).mean(1, keepdim=True) / w
        residual = target - linear - (matrix @ w.unsqueeze(2)).squeeze(2)
        dw, _ = torch.linalg.solve_ex(matrix + torch.diag_embed(z / w), residual)
        dz = target - z - z / w * dw
        # as far as both stay positive, and not beyond the whole step
        fastest = torch.maximum(-dw / w, -dz / z).amax(1, keepdim=True)
        length = 0.99 / fastest.clamp(min=0.99)
        w, z = w + length * dw, z + length * dz
    return gamma + w * unit * scale
