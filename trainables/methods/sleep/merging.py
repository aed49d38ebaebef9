"""Model merging: a separate network for each task; the merged weights make the predictions.

Source: the companion experiments of the Python port of sleep replay. With W_k the weights of a
layer trained on task k alone, after t tasks,

    mean:  W = (1/t) sum_k W_k          of networks with the same initial weights
    sum:   W = sum_k A_k B_k            of low-rank networks: their factors concatenated
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
    """Networks that learn one task each, and a network with their merged weights for predictions.

    During the first task, the network in training makes the predictions. ``rank``, ``merge =
    "sum"`` and ``shared_start = false`` give low-rank concatenation.
    """

    name = "merging"
    reference = "the Python port of sleep replay: model merging"
    scenarios = ("task", "domain", "class")

    class Config(Wake.Config):
        """Options of the networks and of merging."""

        merge: str = option(
            "mean",
            "merged weights: mean or sum of the weights of all tasks",
            choices=("mean", "sum"),
        )
        shared_start: bool = option(
            True, "same initial weights for all networks; otherwise drawn separately for each task"
        )

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        if config.keep_velocity:
            raise InputError("keep_velocity = true: each task has a separate network; give false")

    def prepare(self) -> None:
        self.weights: dict[str, Tensor] = {}  # merged weights by name
        self.merged = 0  # number of tasks merged
        self.keep("weights", "merged", kind="auxiliary")
        # a full-rank network without values, called with the merged weights
        self.merged_network = self.draw_network("weights", rank=0).to("meta")

    def begin_task(self, task: Task) -> None:
        """Reset the network to its initial weights."""
        super().begin_task(task)
        name = "weights" if self.config.shared_start else f"weights of task {task.id}"
        fresh = self.draw_network(name, self.config.rank)
        with torch.no_grad():
            for weight, start in zip(self.network.parameters(), fresh.parameters(), strict=True):
                weight.copy_(start)

    def end_task(self, task: Task) -> None:
        """Merge the weights of the network into those of earlier tasks."""
        new, old = full_weights(self.network), self.weights
        self.merged += 1
        new_share = 1 / self.merged if self.config.merge == "mean" else 1.0
        old_share = 1 - new_share if self.config.merge == "mean" else 1.0
        if old:
            new = {name: old_share * old[name] + new_share * w for name, w in new.items()}
        self.weights = new

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        if not self.merged:
            return super().predict(inputs, task_id)
        network = self.merged_network.eval()
        logits: Tensor = functional_call(network, self.weights, (self.encode(inputs),))
        return self.answers(logits)


@torch.no_grad()
def full_weights(network: MLP) -> dict[str, Tensor]:
    """Return copies of the weights and biases, low-rank factors multiplied, by their names in a
    network of full rank.
    """
    weights: dict[str, Tensor] = {}
    for index, layer in enumerate(network.layers):
        for name, value in layer.named_parameters():
            key = f"layers.{index}.{name.split('.')[-1]}"
            weights[key] = weights[key] @ value if key in weights else value.clone()
    return weights
