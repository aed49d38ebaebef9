"""Experience replay (ER; Chaudhry et al. 2019, Riemer et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.learner import cross_entropy
from trainables.memory import (
    BalancedMemory,
    Memory,
    ReservoirMemory,
    capacity,
    check_budget,
    equal_shares,
)
from trainables.options import option
from trainables.rehearsal import Rehearsal
from trainables.streams import Batch, StreamInfo, Task


class Replay(Rehearsal["Replay.Config"]):
    """Each step trains on the current mini-batch joined with samples replayed from the memory.

    The loss is the mean cross-entropy over current and replayed samples, as in Mammoth; van de Ven
    et al. weight the two parts by 1/t and 1 - 1/t. The memory is updated after each step
    (reservoir) or after each task (balanced). From the second step of a task on, the reservoir also
    replays samples of the current task. Samples are drawn with replacement.
    """

    name = "replay"
    reference = "Chaudhry et al. 2019, On Tiny Episodic Memories in Continual Learning"

    class Config(Rehearsal.Config):
        """Options of experience replay."""

        memory_policy: str = option(
            "reservoir",
            "reservoir: a uniform sample of the stream; balanced: equal shares of the finished "
            "tasks",
            choices=("reservoir", "balanced"),
        )
        replay_ratio: float = option(1.0, "replayed samples per new sample", low=0.0, high=16.0)

    def prepare(self) -> None:
        self.memory = self.build_memory()
        self.keep("memory")

    def build_memory(self) -> Memory:
        """Return the memory of the configured policy."""
        config, stream = self.config, self.stream
        if config.memory_policy == "reservoir":
            return ReservoirMemory(self.seeds, stream, self.device, capacity(config, stream))
        return BalancedMemory(self.seeds, stream, self.device, equal_shares(config, stream))

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_budget(config, stream, shared=config.memory_policy == "balanced")

    def observe(self, batch: Batch) -> Tensor:
        inputs, labels = batch.inputs, batch.labels
        replayed = round(self.config.replay_ratio * labels.shape[1])
        if len(self.memory) and replayed:
            old_inputs, old_labels = self.memory.sample(replayed)
            inputs, labels = torch.cat([inputs, old_inputs], 1), torch.cat([labels, old_labels], 1)
        mask = batch.task.loss_mask(labels)
        loss = self.descend(cross_entropy(self.logits(inputs), labels, mask))
        self.memory.observe(batch)
        return loss

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)
