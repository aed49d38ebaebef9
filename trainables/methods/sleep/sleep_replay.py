"""Sleep replay consolidation (SRC): a dense network that sleeps after each task.

Source: Tadros et al. 2022, its code in MATLAB and a port to Python, which differ from each other
and from the equations they give; defaults are the port's. Awake, the network learns the task alone
and forgets the others; asleep (:mod:`trainables.methods.sleep.sleep`), its units spike, driven by a
mean image, and spikes change the weights without labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from trainables.errors import InputError
from trainables.memory import BalancedMemory, Remembering, capacity, check_budget
from trainables.methods.sleep.sleep import Sleeping, SleepOptions
from trainables.methods.sleep.wake import Wake
from trainables.options import SAMPLES, option
from trainables.rehearsal import Rehearsal
from trainables.streams import Batch, StreamInfo, Task


class SleepReplay(Sleeping, Wake, Rehearsal):
    """A network that sleeps after each task; with a memory, if wanted, that is rehearsed awake.

    The readout ``before`` is the network as training left it, before the sleep. ``sleep_steps =
    0`` is plain training, or plain rehearsal. Differences from the sources: no sample of an earlier
    task is looked at that is not kept (``sleep_data``), and kept samples count as memory; rehearsed
    samples are spread evenly over the batches; random numbers are each seed's own. A seed with
    fewer samples in a task than others may have (shuffled classes) has some of them twice.
    """

    name = "sleep_replay"
    reference = "Tadros et al. 2022, Sleep-like unsupervised replay reduces catastrophic forgetting"
    version = 2
    readouts = ("after", "before")
    diagnostics = Sleeping.diagnostics | Rehearsal.diagnostics

    class Config(Wake.Config, Remembering, SleepOptions):
        """Options awake and asleep; defaults of the port."""

        memory_total: int = option(
            0, "samples rehearsed over the whole stream; 0: none", low=0, high=SAMPLES
        )
        replay_ratio: float | None = option(
            None,
            "rehearsed samples per new sample, but one a batch at least; none: an epoch goes about "
            "once through the memory",
            low=0.0,
            high=16.0,
        )

    memory: BalancedMemory

    def prepare(self) -> None:
        super().prepare()
        besides = self.bytes_besides_samples(self.config, self.stream)
        allowed = capacity(self.config, self.stream, besides=besides)
        self.rehearses = allowed > 0
        each, place = self.config.memory_per_task, (self.seeds, self.stream, self.device)
        if self.config.memory_bytes is not None or each is None:
            self.memory = BalancedMemory(*place, lambda tasks: allowed // tasks)
        else:
            self.memory = BalancedMemory(*place, lambda tasks: each)
        self.unslept: dict[str, Tensor] = {}  # weights before the last sleep, by name

    @classmethod
    def check(cls, config: Any, stream: StreamInfo) -> None:
        super().check(config, stream)
        if config.rank:
            raise InputError(f"rank = {config.rank}: a network of low rank cannot sleep; give 0")
        budget = (config.memory_bytes, config.memory_per_task)
        if config.memory_total or any(given is not None for given in budget):
            besides = cls.bytes_besides_samples(config, stream)
            check_budget(config, stream, shared=True, besides=besides)
        elif config.replay_ratio is not None:
            raise InputError(
                f"replay_ratio = {config.replay_ratio}: there is no memory; give memory_total, "
                "memory_per_task or memory_bytes"
            )

    def observe(self, batch: Batch) -> Tensor:
        return super().observe(self.with_rehearsal(batch) if len(self.memory) else batch)

    def with_rehearsal(self, batch: Batch) -> Batch:
        """Join a batch with samples of the memory, at least one."""
        ratio = self.config.replay_ratio
        if ratio is None:
            ratio = len(self.memory) / batch.task.size
        inputs, labels = self.memory.sample(max(round(ratio * batch.labels.shape[1]), 1))
        joined = torch.cat([batch.inputs, inputs], 1), torch.cat([batch.labels, labels], 1)
        return replace(batch, inputs=joined[0], labels=joined[1])

    def before_sleep(self) -> None:
        self.unslept = {n: w.detach().clone() for n, w in self.network.named_parameters()}

    def end_task(self, task: Task) -> None:
        super().end_task(task)
        if self.rehearses:
            self.memory.end_task(task)

    def readout_logits(self, inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
        after = self.predict(inputs, task_id)
        if not self.unslept:
            return {"after": after, "before": after}
        before: Tensor = functional_call(self.network, self.unslept, (self.encode(inputs),))
        return {"after": after, "before": self.answers(before)}

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        found = super().diagnose()
        if not self.rehearses:
            found.pop("memory_classes")
        return found

    def footprint(self) -> dict[str, int]:
        held = super().footprint()
        unslept = sum(w.numel() * w.element_size() for w in self.unslept.values())
        return held | {"auxiliary": held["auxiliary"] + unslept // len(self.seeds)}

    def state(self) -> dict[str, Any]:
        return super().state() | {"unslept": self.unslept}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.unslept = {n: w.to(self.device, copy=True) for n, w in state["unslept"].items()}
