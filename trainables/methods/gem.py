"""Gradient episodic memory (GEM; Lopez-Paz and Ranzato 2017) and averaged GEM (A-GEM; Chaudhry et
al. 2019).

Both methods store samples of every finished task, and correct the gradient g of a step that would,
to first order, increase the loss on the stored samples.

GEM: row k of G, g_k, is the gradient on all stored samples of old task k. If g . g_k < 0 for any k,
g is replaced by

    g + G'v,   v = argmin_{v >= gamma} 1/2 v'(GG' + 1e-3 I)v + (Gg)'v,

in which v covers all old tasks. For gamma = 0, and without the ridge 1e-3, the result is the
gradient closest to g with g . g_k >= 0 for all k; gamma > 0 biases it towards the old tasks.

A-GEM: r is the gradient on one random batch of the memory. If g . r < 0, g is replaced by

    g - (g . r / r . r) r.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.learner import cross_entropy
from trainables.memory import BalancedMemory, capacity_per_task, check_budget
from trainables.nn import assign_gradients, flat
from trainables.options import FACTOR, LEARNING_RATE, option
from trainables.rehearsal import MemoryConfigT, Rehearsal
from trainables.streams import Batch, StreamInfo, Task

RIDGE = 1e-3  # as in the published code: absolute, independent of the scale of the gradients
CHUNK = 16384  # components of a gradient multiplied at once, few enough for the cache of a core
ROUNDS = 16  # Newton steps to solve for v; see `multipliers`


class EpisodicLearner(Rehearsal[MemoryConfigT]):
    """Base of GEM and A-GEM: a step follows the gradient of the task, corrected by gradients on
    stored samples of every old task.
    """

    scenarios = ("task", "domain", "class")

    memory: BalancedMemory

    def prepare(self) -> None:
        share = capacity_per_task(self.config, self.stream)
        self.memory = BalancedMemory(self.seeds, self.stream, self.device, lambda tasks: share)
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
        """Return the loss of each seed on some samples, [S], and the gradient, [S, P]."""
        loss = cross_entropy(self.logits(inputs), labels, task.loss_mask(labels))
        weights = list(self.network.parameters())
        # zeros for weights that a user's network does not use
        gradients = torch.autograd.grad(loss.sum(), weights, materialize_grads=True)
        return loss.detach(), flat(gradients)

    @abstractmethod
    def corrected(self, gradient: Tensor, task: Task) -> Tensor:
        """Return the corrected gradient, [S, P], of a step on ``task``."""

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)


class GEM(EpisodicLearner["GEM.Config"]):
    """A step must not increase the loss on the memory of any old task.

    Every task has the same fixed share of the memory, memory_total // tasks, as in the paper; Hsu
    et al. divide the memory among the tasks so far. The stored samples are drawn at random at the
    end of a task; in the paper they are the last samples of the task. A step computes the gradient
    on the whole memory: its time grows with the memory, and its working memory with the number of
    tasks times the number of weights. The constraints are guaranteed for plain SGD only.

    Defaults follow the protocol of Hsu et al. (2018) for Split-MNIST: two hidden layers of 400
    units, SGD with learning rate 0.01 without momentum, batch size 128, 4 epochs per task, gamma
    0.5.
    """

    name = "gem"
    reference = "Lopez-Paz and Ranzato 2017, Gradient Episodic Memory for Continual Learning"

    class Config(Rehearsal.Config):
        """Options of gradient episodic memory."""

        optimiser: str = option("sgd", "optimiser", choices=("adam", "sgd"))
        lr: float = option(1e-2, "learning rate", low=0.0, high=LEARNING_RATE)
        gamma: float = option(
            0.5,
            "memory strength: lower bound on the weight of each old task in a corrected gradient",
            low=0.0,
            high=FACTOR,
        )

    def corrected(self, gradient: Tensor, task: Task) -> Tensor:
        memory = self.memory
        inputs = torch.split(memory.views(memory.inputs), memory.shares, dim=1)
        labels = torch.split(memory.labels.long(), memory.shares, dim=1)
        # as fast as one joint pass, and much faster than one forward and many backward passes
        old = [self.gradient(x, y, task)[1] for x, y in zip(inputs, labels, strict=True)]
        return project(gradient, old, self.config.gamma)


def project(gradient: Tensor, old: Sequence[Tensor], gamma: float) -> Tensor:
    """Return the gradient of each seed, [S, P], corrected if it violates the constraint of an old
    task.

    Args:
        gradient: g, [S, P].
        old: rows of G: the gradient of each old task, [S, P].
        gamma: lower bound on the weight of each old task in a corrected gradient.
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
    """Return the gradient of each seed, [S, P], without its component opposite to the reference
    gradient, [S, P].
    """
    along = (gradient * reference).sum(1, keepdim=True).clamp(max=0.0)
    square = reference.square().sum(1, keepdim=True)
    return gradient - along / square.clamp(min=torch.finfo(square.dtype).tiny) * reference


def products(rows: Sequence[Tensor]) -> Tensor:
    """Return the inner products of all pairs of rows, each [S, P]; [S, rows, rows].

    Computed in double precision: the ridge must not be lost in the rounding of large gradients, and
    rounding, which differs between stacks, should not decide whether a constraint is violated.
    """
    total = torch.zeros((), dtype=torch.double, device=rows[0].device)
    for parts in zip(*(torch.split(row, CHUNK, dim=1) for row in rows), strict=True):
        part = torch.stack(parts, dim=1).double()
        total = total + part @ part.mT
    return total


def multipliers(gram: Tensor, along: Tensor, gamma: float) -> Tensor:
    """Solve for v of each seed, [S, K].

    A primal-dual interior-point method (Wright 1997) in w = v - gamma >= 0 and its multipliers z,
    after scaling the problem to be free of units: each round is a Newton step towards w z = a tenth
    of its mean. After ``ROUNDS`` rounds the corrected gradient is exact to about 1e-6 for 1 to 19
    old tasks, even with nearly parallel gradients. Coordinate descent needs 50 sweeps on gradients
    from training, and more than 1,000 on nearly parallel ones.

    Args:
        gram: GG', [S, K, K].
        along: Gg, [S, K].
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
        # the longest step, at most a full one, that keeps both positive
        fastest = torch.maximum(-dw / w, -dz / z).amax(1, keepdim=True)
        length = 0.99 / fastest.clamp(min=0.99)
        w, z = w + length * dw, z + length * dz
    return gamma + w * unit * scale
