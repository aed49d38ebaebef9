"""GDumb: greedy sampler and dumb learner (Prabhu et al. 2020).

While the stream passes, once, samples are kept, as many of each class, and nothing is learnt. To
answer, a fresh network is trained on what is kept, and on nothing else.

    learning rate of the epochs: lr / 10, then cycles of 1, 2, 4, ... epochs, each from lr down to
    lr / 100 along half a cosine: of the j-th epoch of n, lr/100 + 99/200 lr (1 + cos(pi j / n)).

128 passes end with the cycle of 64, 256 with that of 128.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.learner import cross_entropy, descend
from trainables.memory import GreedyMemory, capacity, check_budget
from trainables.memory.greedy import KEY_BYTES
from trainables.nn.cutmix import cutmix
from trainables.options import EPOCHS, FACTOR, LEARNING_RATE, SAMPLES, option
from trainables.rehearsal import Rehearsal
from trainables.rng import Draws, generator
from trainables.streams import Batch, StreamInfo, Task
from trainables.streams.views import Views


class GDumb(Rehearsal["GDumb.Config"]):
    """A balanced memory, and a network trained from scratch on it whenever it is asked.

    The published code reports the epoch that is best on the test set, keeps the first samples of
    each class, and computes in half precision; here the last epoch counts and any sample of a class
    may be kept. It also normalises every layer over the batch and shifts the images by up to 4
    pixels in training, digits too: much of its advantage on small memories. Here views are random
    where the stream augments, for every method alike.
    """

    name = "gdumb"
    reference = "Prabhu et al. 2020, GDumb: A Simple Approach that Questions Our Progress"

    class Config(Rehearsal.Config):
        """Options of GDumb: the training ones are those of a fit."""

        optimiser: str = option("sgd", "how weights are updated", choices=("adam", "sgd"))
        lr: float = option(0.05, "greatest learning rate of a fit", low=0.0, high=LEARNING_RATE)
        momentum: float = option(0.9, "momentum of sgd", low=0.0, high=1.0)
        weight_decay: float = option(1e-6, "weight decay", low=0.0, high=1.0)
        clip: float = option(
            10.0, "greatest norm of a seed's gradient; 0: any", low=0.0, high=FACTOR
        )
        epochs: int = option(1, "passes over the stream, which is seen once", low=1, high=1)
        passes: int = option(128, "passes over the memory in a fit", low=1, high=EPOCHS)
        fit_batch_size: int = option(
            16, "samples of the memory a step of a fit", low=1, high=SAMPLES
        )
        cutmix: float = option(
            0.0, "probability that a batch of a fit is mixed by CutMix", low=0.0, high=1.0
        )

    memory: GreedyMemory

    def prepare(self) -> None:
        allowed = capacity(self.config, self.stream, KEY_BYTES)
        self.memory = GreedyMemory(self.seeds, self.stream, self.device, allowed)
        self.fitted = 0  # samples the memory had seen when the network was trained on it
        self._loss_mask: Callable[[Tensor], Tensor | None] = lambda labels: None
        self.keep("memory", "fitted")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """More passes, with CutMix, for images in colour."""
        return {"passes": 256, "cutmix": 0.5} if stream.shape[2:] == (3,) else {}

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_budget(config, stream, KEY_BYTES)
        if config.cutmix and len(stream.shape) < 2:
            raise InputError(f"cutmix = {config.cutmix} needs images: set it to 0 for this stream")

    # -- the sampler

    def learn(self, task: Task) -> None:
        """Pass over a task once, and be ready to answer."""
        super().learn(task)
        self.fit()

    def observe(self, batch: Batch) -> Tensor:
        """Let the memory see a batch: no optimisation step, and no loss."""
        self.memory.observe(batch)
        self._loss_mask = batch.task.loss_mask
        return torch.zeros_like(self.losses)

    # -- the learner

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        self.fit()
        return super().predict(inputs, task_id)

    @torch.enable_grad()
    def fit(self) -> None:
        """Train a fresh network on the memory, unless that was done since the memory changed.

        What a fit draws depends on how much of the stream had passed, not on earlier fits: it does
        not matter when and how often the learner is tested, save that every fit counts as training.
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
            total += self._pass(self.encode(views(inputs)), labels)
        self.losses += 0.0 * total  # observing costs nothing, but what is not finite leaves a mark

    def build_optimiser(
        self, network: torch.nn.Module, lr: float | None = None
    ) -> torch.optim.Optimizer:
        optimiser = super().build_optimiser(network, lr)
        for group in optimiser.param_groups:
            group["weight_decay"] = self.config.weight_decay
        return optimiser

    def _order(self, seen: int, epoch: int) -> Tensor:
        """Shuffle the memory of each seed; [S, M]."""
        held = len(self.memory)
        draws = [generator(seed, "fit", seen, epoch) for seed in self.seeds]
        return torch.stack([torch.randperm(held, generator=g) for g in draws]).to(self.device)

    def _pass(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on samples in their order; return the sum of each seed's losses, [S]."""
        total = torch.zeros_like(self.losses)
        self.trained += labels.shape[1]
        for start in range(0, labels.shape[1], self.config.fit_batch_size):
            part = slice(start, start + self.config.fit_batch_size)
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
        of_images = cross_entropy(logits, labels, mask)
        of_boxes = cross_entropy(logits, pasted, self._loss_mask(pasted))
        return share * of_images + (1 - share) * of_boxes


def learning_rate(epoch: int, lr: float) -> float:
    """Learning rate of an epoch, from 0: a warm-up, then cosine cycles of 1, 2, 4, ... epochs."""
    if epoch == 0:
        return lr / 10
    length = 1 << (epoch.bit_length() - 1)  # the cycle of n epochs begins with epoch n
    return lr / 100 + 0.99 / 2 * lr * (1 + math.cos(math.pi * (epoch - length) / length))
