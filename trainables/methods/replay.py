"""Experience replay (ER; Chaudhry et al. 2019, Riemer et al. 2019)."""

from __future__ import annotations

from typing import Any

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
    et al. weight the two parts by 1/t and 1 - 1/t. The memory is updated after each task (balanced,
    the default as in Avalanche) or after each step (reservoir, as in Mammoth). From the second step
    of a task on, the reservoir also replays samples of the current task. Samples are drawn with
    replacement.
    """

    name = "replay"
    reference = "Chaudhry et al. 2019, On Tiny Episodic Memories in Continual Learning"

    class Config(Rehearsal.Config):
        """Options of experience replay."""

        memory_policy: str = option(
            "balanced",
            "balanced: equal shares of the finished tasks; reservoir: a uniform sample of the "
            "stream, the default of a task-free stream",
            choices=("balanced", "reservoir"),
        )
        replay_ratio: float = option(1.0, "replayed samples per new sample", low=0.0, high=16.0)

    def prepare(self) -> None:
        self.memory = self.build_memory(self.config, self.stream)
        self.keep("memory")

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return the reservoir for a task-free stream, which has no finished tasks to balance."""
        task_free = {"memory_policy": "reservoir"} if stream.tasks is None else {}
        return super().published(stream) | task_free

    def build_memory(self, config: Config, stream: StreamInfo) -> Memory:
        """Return the memory of the configured policy."""
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
