"""Dark experience replay, DER and DER++ (Buzzega et al. 2020).

A reservoir stores each sample with the network's logits z at the time of storing. With h(x) the
current logits, and independent draws x', x'' from the reservoir,

    L = CE(h(x), y) + alpha mean((z' - h(x'))^2) + beta CE(h(x''), y'')

where the mean is over samples and all outputs. beta = 0 is DER, beta > 0 is DER++.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.learner import cross_entropy
from trainables.memory import ReservoirMemory, capacity, check_budget
from trainables.options import EPOCHS, FACTOR, LAYERS, LEARNING_RATE, SAMPLES, WIDTH, option
from trainables.rehearsal import Rehearsal
from trainables.streams import Batch, StreamInfo, Task


class DER(Rehearsal["DER.Config"]):
    """Replay of the network's earlier logits, and of labels.

    Defaults are those of the authors' code for DER++ with 500 samples on Split-MNIST: hidden layers
    of 100 and 100 units, plain SGD, batch size 10, one epoch. Stored logits are those of the
    augmented view trained on; replay uses a new view of the stored image. The logits count in a
    memory budget in bytes.
    """

    name = "der"
    reference = "Buzzega et al. 2020, Dark Experience for General Continual Learning"

    class Config(Rehearsal.Config):
        """Options of dark experience replay."""

        hidden: tuple[int, ...] = option(
            (100, 100), "widths of the hidden layers", low=1, high=WIDTH, longest=LAYERS
        )
        optimiser: str = option("sgd", "optimiser", choices=("adam", "sgd"))
        lr: float = option(0.03, "learning rate", low=0.0, high=LEARNING_RATE)
        epochs: int = option(1, "epochs per task", low=1, high=EPOCHS)
        batch_size: int = option(
            10,
            "mini-batch size: new samples per step; the whole task if it has fewer",
            low=1,
            high=SAMPLES,
        )
        memory_total: int = option(
            500, "memory capacity in samples, for the whole stream", low=1, high=SAMPLES
        )
        replay_ratio: float = option(
            1.0,
            "replayed samples per new sample, in each draw from the memory (two if beta > 0)",
            low=0.01,
            high=16.0,
        )
        alpha: float = option(
            1.0, "weight of the squared error to the stored logits", low=0.0, high=FACTOR
        )
        beta: float = option(
            0.5,
            "weight of the cross-entropy with the stored labels; 0: DER, above 0: DER++",
            low=0.0,
            high=FACTOR,
        )

    memory: LogitMemory

    def prepare(self) -> None:
        samples = capacity(self.config, self.stream, extra_bytes=logit_bytes(self.stream))
        self.memory = LogitMemory(self.seeds, self.stream, self.device, samples)
        self.draws_per_step = 2 if self.config.beta else 1
        self.keep("memory")

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_budget(config, stream, extra_bytes=logit_bytes(stream))

    def observe(self, batch: Batch) -> Tensor:
        count, task = batch.labels.shape[1], batch.task
        replayed = max(1, round(self.config.replay_ratio * count)) if len(self.memory) else 0
        # one forward pass for the batch and all draws
        slots = self.memory.draw(replayed * self.draws_per_step)
        old_inputs, old_labels = self.memory.gather(slots)
        logits = self.logits(torch.cat([batch.inputs, self.memory.views(old_inputs)], 1))
        new_logits = logits[:, :count]
        loss = self.label_loss(new_logits, batch.labels, task)
        if len(self.memory):
            loss = loss + self.replay_loss(logits[:, count:], slots, old_labels, task)
        loss = self.descend(loss)
        self.memory.store(batch, new_logits.detach())
        return loss

    def replay_loss(self, logits: Tensor, slots: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the loss on replayed samples, [S]: squared error to the stored logits on the first
        draw, cross-entropy with the stored labels on the second.
        """
        replayed = slots.shape[1] // self.draws_per_step
        first, second = slice(replayed), slice(replayed, None)
        errors = logits[:, first] - self.memory.stored_logits(slots[:, first])
        loss = self.config.alpha * errors.square().mean((1, 2))
        if self.config.beta:
            label_loss = self.label_loss(logits[:, second], labels[:, second], task)
            loss = loss + self.config.beta * label_loss
        return loss

    def label_loss(self, logits: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Cross-entropy over the outputs that compete, [S]."""
        return cross_entropy(logits, labels, task.loss_mask(labels))


class LogitMemory(ReservoirMemory):
    """A reservoir that also stores the logits of each sample, float32 [S, M, C]."""

    def __init__(
        self, seeds: Sequence[int], stream: StreamInfo, device: torch.device, capacity: int
    ) -> None:
        super().__init__(seeds, stream, device, capacity)
        self.logits = torch.zeros(len(seeds), capacity + 1, stream.outputs, device=device)
        self.keep("logits", kind="memory")

    def store(self, batch: Batch, logits: Tensor) -> None:
        """Update the reservoir with a batch and its logits, [S, B, C]."""
        rows = self.rows(batch.labels.shape[1]).flatten()
        self.put(rows, batch)
        self.logits.flatten(0, 1).index_copy_(0, rows, logits.flatten(0, 1))

    def stored_logits(self, slots: Tensor) -> Tensor:
        """Return the stored logits of slots [S, B]; [S, B, C]."""
        return self.logits.gather(1, slots.unsqueeze(-1).expand(-1, -1, self.logits.shape[-1]))


def logit_bytes(stream: StreamInfo) -> int:
    """Bytes of the logits of one sample."""
    return 4 * stream.outputs
