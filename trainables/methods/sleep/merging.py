"""Model merging: a network of its own for each task, merged by their weights.

Source: the companion experiments of the Python port of sleep replay. With W_t the weights of a
layer after task t alone,

    mean:  W = (1/t) sum_k W_k          from one and the same initial network
    sum:   W = sum_k A_k B_k            of low-rank networks, their factors concatenated
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from trainables.errors import InputError
from trainables.methods.sleep.wake import Wake
from trainables.nn import MLP
from trainables.options import option
from trainables.streams import StreamInfo, Task


class Merging(Wake["Merging.Config"]):
    """Networks that learn one task each; what answers is their merged weights.

    Before the first task is done, the network in training answers. ``rank``, ``merge = "sum"`` and
    ``shared_start = false`` give low-rank concatenation.
    """

    name = "merging"
    reference = "the Python port of sleep replay: model merging"
    scenarios = ("task", "domain", "class")

    class Config(Wake.Config):
        """Options of the networks and of merging them."""

        merge: str = option("mean", "of the weights of each task", choices=("mean", "sum"))
        shared_start: bool = option(True, "let all networks begin with the same weights")

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        if config.keep_velocity:
            raise InputError("keep_velocity = true: each task has a network of its own; give false")

    def prepare(self) -> None:
        self.weights: dict[str, Tensor] = {}  # merged, by name
        self.merged = 0
        self.keep("weights", "merged", kind="auxiliary")
        # of full rank, without values: it is given those merged
        self.shape = self.draw_network("weights", rank=0).to("meta")

    def begin_task(self, task: Task) -> None:
        """Begin a new network."""
        super().begin_task(task)
        name = "weights" if self.config.shared_start else f"weights of task {task.id}"
        fresh = self.draw_network(name, self.config.rank)
        with torch.no_grad():
            for weight, start in zip(self.network.parameters(), fresh.parameters(), strict=True):
                weight.copy_(start)

    def end_task(self, task: Task) -> None:
        """Merge the weights of the network with those of the earlier ones."""
        new, old = multiplied(self.network), self.weights
        self.merged += 1
        part = 1 / self.merged if self.config.merge == "mean" else 1.0
        kept = 1 - part if self.config.merge == "mean" else 1.0
        self.weights = {n: kept * old[n] + part * w for n, w in new.items()} if old else new

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        if not self.merged:
            return super().predict(inputs, task_id)
        self.shape.eval()
        logits: Tensor = functional_call(self.shape, self.weights, (self.encode(inputs),))
        return self.answers(logits)


@torch.no_grad()
def multiplied(network: MLP) -> dict[str, Tensor]:
    """Weights and biases by their names in a network of full rank, low-rank factors multiplied."""
    found: dict[str, Tensor] = {}
    for index, layer in enumerate(network.layers):
        for name, value in layer.named_parameters():
            key = f"layers.{index}.{name.split('.')[-1]}"
            found[key] = found[key] @ value if key in found else value.clone()
    return found
