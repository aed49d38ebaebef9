"""Sleep replay consolidation (SRC): a dense network that sleeps after each task.

Source: Tadros et al. 2022, their MATLAB code and its Python port, which differ from each other and
from the published equations; defaults are those of the port. Awake, the network learns only the
current task. Asleep (:mod:`trainables.methods.sleep.sleep`), the network runs as spiking units
driven by a mean image, and the spikes change the weights without labels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call

from trainables.errors import InputError
from trainables.memory import BalancedMemory, capacity, check_budget, equal_shares
from trainables.methods.sleep.options import Sleeping, check_sleep, mean_image_bytes
from trainables.methods.sleep.sleep import Sleep
from trainables.methods.sleep.wake import Wake
from trainables.options import SAMPLES, option
from trainables.rehearsal import Rehearsal
from trainables.streams import Batch, StreamInfo, Task


class SleepReplay(Wake["SleepReplay.Config"], Rehearsal["SleepReplay.Config"]):
    """A network that sleeps after each task, with an optional memory for rehearsal awake.

    The readout ``before`` is the network after training and before sleep. ``sleep_steps = 0`` gives
    plain training, or plain rehearsal. Differences from the sources: sleep uses no sample of an
    earlier task unless the sample is stored (``sleep_data``) and counted as memory; rehearsed
    samples are spread evenly over the mini-batches; every seed has separate random numbers. With
    shuffled classes, a seed whose task is smaller than the largest possible repeats some samples.
    """

    name = "sleep_replay"
    reference = "Tadros et al. 2022, Sleep-like unsupervised replay reduces catastrophic forgetting"
    scenarios = ("task", "domain", "class")
    version = 2
    readouts = ("after", "before")
    diagnostics = Sleep.diagnostics | Rehearsal.diagnostics
    maps = Sleep.maps

    class Config(Wake.Config, Sleeping):
        """Options of awake training and of sleep; defaults of the port."""

        memory_total: int = option(
            0,
            "memory capacity in samples, for the whole stream; 0: no rehearsal",
            low=0,
            high=SAMPLES,
        )
        replay_ratio: float | None = option(
            None,
            "rehearsed samples per new sample, at least one per mini-batch; none: about one pass "
            "through the memory per epoch",
            low=0.0,
            high=16.0,
        )

    memory: BalancedMemory

    def prepare(self) -> None:
        config, stream = self.config, self.stream
        self.asleep = Sleep(config, stream, self.seeds, self.device, self.encode)
        reserved = mean_image_bytes(config, stream)
        self.rehearses = capacity(config, stream, reserved_bytes=reserved) > 0
        share = equal_shares(config, stream, reserved)
        self.memory = BalancedMemory(self.seeds, stream, self.device, share)
        self.unslept: dict[str, Tensor] = {}  # weights before the last sleep, by name
        self.keep("asleep", "memory")
        self.keep("unslept", kind="auxiliary")

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_sleep(config, stream)
        if config.rank:
            raise InputError(f"rank = {config.rank}: a network of low rank cannot sleep; give 0")
        budgets = (config.memory_bytes, config.memory_per_task)
        if config.memory_total or any(budget is not None for budget in budgets):
            reserved = mean_image_bytes(config, stream)
            check_budget(config, stream, shared=True, reserved_bytes=reserved)
        elif config.replay_ratio is not None:
            raise InputError(
                f"replay_ratio = {config.replay_ratio}: there is no memory; give memory_total, "
                "memory_per_task or memory_bytes"
            )

    def observe(self, batch: Batch) -> Tensor:
        return super().observe(self.with_rehearsal(batch) if len(self.memory) else batch)

    def with_rehearsal(self, batch: Batch) -> Batch:
        """Return a batch joined with samples of the memory, at least one."""
        ratio = self.config.replay_ratio
        if ratio is None:
            ratio = len(self.memory) / batch.task.size
        inputs, labels = self.memory.sample(max(round(ratio * batch.labels.shape[1]), 1))
        return replace(
            batch,
            inputs=torch.cat([batch.inputs, inputs], 1),
            labels=torch.cat([batch.labels, labels], 1),
        )

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
        memory = super().diagnose() if self.rehearses else {}
        return memory | self.asleep.diagnose()
