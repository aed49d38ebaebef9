"""GDumb: greedy sampler and dumb learner (Prabhu et al. 2020).

During a single pass over the stream, the sampler fills a class-balanced memory, and nothing is
learnt. For a prediction, a new network is trained from scratch on the memory alone.

    learning rate: lr / 10 in the first epoch, then cosine cycles of 1, 2, 4, ... epochs from lr to
    lr / 100; in epoch j (from 0) of a cycle of n: lr/100 + 99/200 lr (1 + cos(pi j / n)).

With 128 epochs the last cycle has 64 epochs; with 256 epochs, 128.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.learner import cross_entropy, descend, training
from trainables.memory import GreedyMemory, capacity, check_budget
from trainables.memory.greedy import KEY_BYTES
from trainables.nn.cutmix import cutmix
from trainables.options import EPOCHS, FACTOR, LEARNING_RATE, SAMPLES, option
from trainables.rehearsal import Rehearsal
from trainables.rng import Draws, generator
from trainables.streams import Batch, StreamInfo, Task
from trainables.streams.views import Views


class GDumb(Rehearsal["GDumb.Config"]):
    """A balanced memory, and a network trained from scratch on the memory before every evaluation.

    Differences from the published code, which reports the epoch with the best test accuracy, stores
    the first samples of each class, and computes in half precision: here the last epoch counts, and
    every sample of a class is equally likely to be stored. The published code also uses batch
    normalisation and shifts the training images, digits included, by up to 4 pixels: much of its
    advantage with small memories. Here images are augmented only if the stream augments, equally
    for every method.
    """

    name = "gdumb"
    reference = "Prabhu et al. 2020, GDumb: A Simple Approach that Questions Our Progress"

    class Config(Rehearsal.Config):
        """Options of GDumb. A fit is the training of a network on the memory."""

        optimiser: str = option("sgd", "optimiser", choices=("adam", "sgd"))
        lr: float = option(
            0.05,
            "maximum learning rate of the schedule, when fitting the network to the memory",
            low=0.0,
            high=LEARNING_RATE,
        )
        momentum: float = option(0.9, "momentum of SGD", low=0.0, high=1.0)
        weight_decay: float = option(1e-6, "weight decay", low=0.0, high=1.0)
        clip: float = option(
            10.0, "gradient clipping: largest norm; 0: no clipping", low=0.0, high=FACTOR
        )
        epochs: int = option(
            1, "passes over the stream that fill the memory; always 1", low=1, high=1
        )
        passes: int = option(
            128, "epochs over the memory, when fitting the network to it", low=1, high=EPOCHS
        )
        fit_batch_size: int = option(
            16, "mini-batch size, when fitting the network to the memory", low=1, high=SAMPLES
        )
        cutmix: float = option(
            0.0,
            "probability of CutMix for a mini-batch, when fitting the network to the memory",
            low=0.0,
            high=1.0,
        )

    memory: GreedyMemory

    def prepare(self) -> None:
        allowed = capacity(self.config, self.stream, KEY_BYTES)
        self.memory = GreedyMemory(self.seeds, self.stream, self.device, allowed)
        self.fitted = 0  # value of `memory.seen` at the last fit
        self._loss_mask: Callable[[Tensor], Tensor | None] = lambda labels: None
        self.keep("memory", "fitted")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return more epochs, with CutMix, for colour images."""
        coloured = {"passes": 256, "cutmix": 0.5} if stream.shape[2:] == (3,) else {}
        return super().published(stream) | coloured

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_budget(config, stream, KEY_BYTES)
        if config.cutmix and len(stream.shape) < 2:
            raise InputError(f"cutmix = {config.cutmix} needs images: set it to 0 for this stream")

    # -- the sampler

    def learn(self, task: Task) -> None:
        """Pass over a task once, then fit the network."""
        super().learn(task)
        self.fit()

    def observe(self, batch: Batch) -> Tensor:
        """Update the memory; take no optimisation step, and return losses of 0."""
        self.memory.observe(batch)
        self._loss_mask = batch.task.loss_mask
        return torch.zeros_like(self.losses)

    # -- the learner

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        self.fit()
        return super().predict(inputs, task_id)

    @torch.enable_grad()
    def fit(self) -> None:
        """Train a new network on the memory, if the memory has changed since the last fit.

        The random numbers of a fit depend on the number of samples seen, not on earlier fits:
        evaluating the learner more often does not change its results, but every fit counts as
        training.
        """
        if self.fitted == self.memory.seen:
            return
        seen = self.fitted = self.memory.seen
        self.network = self.build_network()
        self.optimiser = self.build_optimiser(self.network)
        self._mixing = Draws(self.seeds, f"cutmix/{seen}", self.device)
        kind, shape = self.stream.augmentation, self.stream.shape
        views = Views(kind, shape, self.seeds, f"fit views/{seen}", self.device)
        total = torch.zeros_like(self.losses)
        for epoch in range(self.config.passes):
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(epoch, self.config.lr)
            inputs, labels = self.memory.gather(self._order(seen, epoch))
            total += self._train_epoch(self.encode(views(inputs)), labels)
        self.losses += 0.0 * total  # adds 0, or NaN if a loss of the fit was not finite

    def build_optimiser(
        self, network: torch.nn.Module, lr: float | None = None
    ) -> torch.optim.Optimizer:
        optimiser = super().build_optimiser(network, lr)
        for group in optimiser.param_groups:
            group["weight_decay"] = self.config.weight_decay
        return optimiser

    def _order(self, seen: int, epoch: int) -> Tensor:
        """Return a random order of the memory for each seed, [S, M]."""
        size = len(self.memory)
        draws = [generator(seed, "fit", seen, epoch) for seed in self.seeds]
        return torch.stack([torch.randperm(size, generator=g) for g in draws]).to(self.device)

    def _train_epoch(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on the samples in order; return the sum of each seed's losses, [S]."""
        total = torch.zeros_like(self.losses)
        self.trained += labels.shape[1]
        for start in range(0, labels.shape[1], self.config.fit_batch_size):
            part = slice(start, start + self.config.fit_batch_size)
            with training(self.network):
                loss = self._loss(images[:, part], labels[:, part])
            total += descend(loss, self.optimiser, self.config.clip)
        return total

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        mask = self._loss_mask(labels)
        if not self.config.cutmix:
            return cross_entropy(self.network(images), labels, mask)
        drawn = self._mixing.uniform(4 + labels.shape[1])
        images, partners, share = cutmix(images, self.stream.shape, drawn, self.config.cutmix)
        logits, pasted = self.network(images), labels.gather(1, partners)
        image_loss = cross_entropy(logits, labels, mask)
        box_loss = cross_entropy(logits, pasted, self._loss_mask(pasted))
        return share * image_loss + (1 - share) * box_loss


def learning_rate(epoch: int, lr: float) -> float:
    """Learning rate of an epoch (from 0): a warm-up, then cosine cycles of 1, 2, 4, ... epochs."""
    if epoch == 0:
        return lr / 10
    length = 1 << (epoch.bit_length() - 1)  # the cycle of n epochs begins with epoch n
    return lr / 100 + 0.99 / 2 * lr * (1 + math.cos(math.pi * (epoch - length) / length))
