"""Dark experience replay, DER and DER++ (Buzzega et al. 2020).

A reservoir keeps, with each sample, the logits z that the network gave when it arrived. With h(x)
the network's logits now, and independent draws x', x'' from the reservoir,

    L = CE(h(x), y) + alpha mean((z' - h(x'))^2) + beta CE(h(x''), y'')

The mean is over samples and all outputs. beta = 0 is DER, beta > 0 is DER++.
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
    """Replay of a network's own logits, and of labels.

    Defaults: DER++ with 500 samples on Split-MNIST, in the protocol of its authors' code: widths
    100-100, plain SGD, batches of 10, one pass. Stored logits belong to the view that was trained
    on; replay looks at a new view of the stored image. In a byte budget the logits count.
    """

    name = "der"
    reference = "Buzzega et al. 2020, Dark Experience for General Continual Learning"

    class Config(Rehearsal.Config):
        """Options of dark experience replay."""

        hidden: tuple[int, ...] = option(
            (100, 100), "widths of the hidden layers", low=1, high=WIDTH, longest=LAYERS
        )
        optimiser: str = option("sgd", "how weights are updated", choices=("adam", "sgd"))
        lr: float = option(0.03, "learning rate", low=0.0, high=LEARNING_RATE)
        epochs: int = option(1, "passes over the data of a task", low=1, high=EPOCHS)
        batch_size: int = option(
            10, "new samples a step; all of a task that has fewer", low=1, high=SAMPLES
        )
        memory_total: int = option(500, "samples held over the whole stream", low=1, high=SAMPLES)
        replay_ratio: float = option(
            1.0, "samples of each draw per new sample", low=0.01, high=16.0
        )
        alpha: float = option(
            1.0, "weight of the squared distance to stored logits", low=0.0, high=FACTOR
        )
        beta: float = option(
            0.5, "weight of stored labels; 0: DER, above: DER++", low=0.0, high=FACTOR
        )

    memory: LogitMemory

    def prepare(self) -> None:
        held = capacity(self.config, self.stream, extra=logit_bytes(self.stream))
        self.memory = LogitMemory(self.seeds, self.stream, self.device, held)
        self.draws_a_step = 2 if self.config.beta else 1
        self.keep("memory")

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_budget(config, stream, extra=logit_bytes(stream))

    def observe(self, batch: Batch) -> Tensor:
        count, task = batch.labels.shape[1], batch.task
        replayed = max(1, round(self.config.replay_ratio * count)) if len(self.memory) else 0
        # one forward pass for the batch and for all draws
        slots = self.memory.draw(replayed * self.draws_a_step)
        old, old_labels = self.memory.gather(slots)
        logits = self.logits(torch.cat([batch.inputs, self.memory.views(old)], 1))
        new = logits[:, :count]
        loss = self.labelled(new, batch.labels, task)
        if len(self.memory):
            loss = loss + self.replay_loss(logits[:, count:], slots, old_labels, task)
        loss = self.descend(loss)
        self.memory.store(batch, new.detach())
        return loss

    def replay_loss(self, logits: Tensor, slots: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Distance to stored logits on the first draw, stored labels on the second; [S]."""
        replayed = slots.shape[1] // self.draws_a_step
        first, second = slice(replayed), slice(replayed, None)
        distance = logits[:, first] - self.memory.stored_logits(slots[:, first])
        loss = self.config.alpha * distance.square().mean((1, 2))
        if self.config.beta:
            again = self.labelled(logits[:, second], labels[:, second], task)
            loss = loss + self.config.beta * again
        return loss

    def labelled(self, logits: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Cross-entropy among the outputs that compete, [S]."""
        return cross_entropy(logits, labels, task.loss_mask(labels))


class LogitMemory(ReservoirMemory):
    """A reservoir that keeps the logits of each sample too: float32 [S, M, C]."""

    def __init__(
        self, seeds: Sequence[int], stream: StreamInfo, device: torch.device, capacity: int
    ) -> None:
        super().__init__(seeds, stream, device, capacity)
        self.logits = torch.zeros(len(seeds), capacity + 1, stream.outputs, device=device)
        self.keep("logits", kind="memory")

    def store(self, batch: Batch, logits: Tensor) -> None:
        """Take in a batch of the stream with its logits [S, B, C]."""
        rows = self.rows(batch.labels.shape[1]).flatten()
        self.put(rows, batch)
        self.logits.flatten(0, 1).index_copy_(0, rows, logits.flatten(0, 1))

    def stored_logits(self, slots: Tensor) -> Tensor:
        """Logits kept in these slots, [S, B, C]."""
        return self.logits.gather(1, slots.unsqueeze(-1).expand(-1, -1, self.logits.shape[-1]))


def logit_bytes(stream: StreamInfo) -> int:
    """Bytes of one sample's logits."""
    return 4 * stream.outputs
