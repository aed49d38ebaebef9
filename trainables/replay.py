"""Experience replay (ER; Chaudhry et al. 2019, Riemer et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.learner import Learner, Training, cross_entropy
from trainables.memory import BalancedMemory, Memory, ReservoirMemory
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

    class Config(Training):
        """Options of experience replay."""

        memory_total: int = option(1000, "samples held over the whole stream", low=1)
        memory_per_task: int | None = option(
            None, "samples held per task; when given, it takes the place of memory_total", low=1
        )
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
        check_memory(config, stream)

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


def check_memory(config: Any, stream: StreamInfo) -> None:
    """Refuse a memory that needs what a task-free stream hides, or that is too small to share."""
    balanced = config.memory_policy == "balanced"
    if stream.tasks is None and (balanced or config.memory_per_task is not None):
        raise InputError(
            "a task-free stream tells neither boundaries nor the number of tasks: "
            "use memory_policy = 'reservoir' with memory_total"
        )
    if balanced and config.memory_per_task is None and config.memory_total < (stream.tasks or 0):
        raise InputError(f"memory_total = {config.memory_total} is less than a sample a task")


def build_memory(learner: Learner) -> Memory:
    """Return the memory a learner's configuration asks for."""
    config, place = learner.config, (learner.seeds, learner.stream.inputs, learner.device)
    if config.memory_policy == "balanced":
        return BalancedMemory(*place, config.memory_total, config.memory_per_task)
    if config.memory_per_task is not None:
        return ReservoirMemory(*place, config.memory_per_task * (learner.stream.tasks or 1))
    return ReservoirMemory(*place, config.memory_total)
