"""Experience replay (ER; Chaudhry et al. 2019, Riemer et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.learner import Learner, cross_entropy
from trainables.memory import (
    BalancedMemory,
    Memory,
    Remembering,
    ReservoirMemory,
    capacity,
    check_budget,
)
from trainables.options import Options, option
from trainables.streams import Batch, StreamInfo, Task


class Replay(Learner):
    """Each step trains on the current batch and a batch of remembered samples, joined.

    L = mean of the cross-entropy over current and replayed samples (as in Mammoth; van de Ven
    weighs the two parts by 1/t and 1 - 1/t instead). Memory is filled after the step (reservoir) or
    after the task (balanced); the reservoir replays samples of the current task too, from its
    second batch on. Draws are with replacement.
    """

    name = "replay"
    reference = "Chaudhry et al. 2019, On Tiny Episodic Memories in Continual Learning"
    diagnostics: ClassVar = {"memory_classes": ("Samples held of each class", "samples")}

    class Config(Remembering):
        """Options of experience replay."""

        memory_policy: str = option(
            "reservoir",
            "reservoir: uniform over the stream; balanced: equal shares of the finished tasks",
            choices=("reservoir", "balanced"),
        )
        replay_ratio: float = option(1.0, "replayed samples per new sample", low=0.0, high=16.0)

    def __init__(
        self,
        config: Options,
        stream: StreamInfo,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(config, stream, seeds, device)
        self.memory = build_memory(self)
        self.replayed = round(self.config.replay_ratio * self.config.batch_size)

    @classmethod
    def check(cls, config: Any, stream: StreamInfo) -> None:
        check_budget(config, stream, shared=config.memory_policy == "balanced")

    def observe(self, batch: Batch) -> Tensor:
        inputs, labels = batch.inputs, batch.labels
        if len(self.memory) and self.replayed:
            old_inputs, old_labels = self.memory.sample(self.replayed)
            inputs, labels = torch.cat([inputs, old_inputs], 1), torch.cat([labels, old_labels], 1)
        mask = batch.task.loss_mask(labels)
        loss = self.descend(cross_entropy(self.logits(inputs), labels, mask))
        self.memory.observe(batch)
        return loss

    def end_task(self, task: Task) -> None:
        self.memory.end_task(task)

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        counts = self.memory.class_counts(self.stream.outputs)
        return {"memory_classes": {f"class {c}": n for c, n in enumerate(counts.unbind(1))}}

    def footprint(self) -> dict[str, int]:
        return super().footprint() | {"memory": self.memory.footprint()}

    def state(self) -> dict[str, Any]:
        return super().state() | {"memory": self.memory.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.memory.load(state["memory"])


def build_memory(learner: Learner) -> Memory:
    """Return the memory a learner's configuration asks for."""
    config, place = learner.config, (learner.seeds, learner.stream, learner.device)
    allowed = capacity(config, learner.stream)
    if config.memory_policy == "reservoir":
        return ReservoirMemory(*place, allowed)
    per_task = config.memory_per_task if config.memory_bytes is None else None
    return BalancedMemory(*place, allowed, per_task)
