"""Sleep replay consolidation (SRC): a dense network that sleeps after each task.

Source: Tadros et al. 2022, its code in MATLAB and a port to Python, which differ from each other
and from the equations they give; defaults are the port's. Awake, the network learns the task alone
and forgets the others; asleep (:mod:`trainables.methods.sleep.sleep`), its units spike, driven by a
mean image, and spikes change the weights without labels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from trainables.errors import InputError
from trainables.memory import BalancedMemory, capacity, check_budget, share_so_far
from trainables.methods.sleep.options import Sleeping, check_sleep, mean_image_bytes
from trainables.methods.sleep.sleep import Sleep
from trainables.methods.sleep.wake import Wake
from trainables.options import SAMPLES, option
from trainables.rehearsal import Rehearsal
from trainables.streams import Batch, StreamInfo, Task


class SleepReplay(Wake["SleepReplay.Config"], Rehearsal["SleepReplay.Config"]):
    """A network that sleeps after each task; with a memory, if wanted, that is rehearsed awake.

    The readout ``before`` is the network as training left it, before the sleep. ``sleep_steps =
    0`` is plain training, or plain rehearsal. Differences from the sources: no sample of an earlier
    task is looked at that is not kept (``sleep_data``), and kept samples count as memory; rehearsed
    samples are spread evenly over the batches; random numbers are each seed's own. A seed with
    fewer samples in a task than others may have (shuffled classes) has some of them twice.
    """

    name = "sleep_replay"
    reference = "Tadros et al. 2022, Sleep-like unsupervised replay reduces catastrophic forgetting"
    scenarios = ("task", "domain", "class")
    version = 2
    readouts = ("after", "before")
    diagnostics = Sleep.diagnostics | Rehearsal.diagnostics
    maps = Sleep.maps

    class Config(Wake.Config, Sleeping):
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
        config, stream = self.config, self.stream
        self.asleep = Sleep(config, stream, self.seeds, self.device, self.encode)
        besides = mean_image_bytes(config, stream)
        self.rehearses = capacity(config, stream, besides=besides) > 0
        share = share_so_far(config, stream, besides)
        self.memory = BalancedMemory(self.seeds, stream, self.device, share)
        self.unslept: dict[str, Tensor] = {}  # weights before the last sleep, by name
        self.keep("asleep", "memory")
        self.keep("unslept", kind="auxiliary")

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_sleep(config, stream)
        if config.rank:
            raise InputError(f"rank = {config.rank}: a network of low rank cannot sleep; give 0")
        budget = (config.memory_bytes, config.memory_per_task)
        if config.memory_total or any(given is not None for given in budget):
            besides = mean_image_bytes(config, stream)
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

    def end_task(self, task: Task) -> None:
        if self.config.sleep_steps:
            self.unslept = {n: w.detach().clone() for n, w in self.network.named_parameters()}
        self.asleep.after(task, self.network)
        if self.rehearses:
            self.memory.end_task(task)

    def readout_logits(self, inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
        after = self.predict(inputs, task_id)
        if not self.unslept:
            return {"after": after, "before": after}
        before: Tensor = functional_call(self.network, self.unslept, (self.encode(inputs),))
        return {"after": after, "before": self.answers(before)}

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        held = super().diagnose() if self.rehearses else {}
        return held | self.asleep.diagnose()
