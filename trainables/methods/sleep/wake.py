"""The dense network of sleep replay as it is trained awake, which its companions share.

Defaults are those of the Python port of the authors' code; ``squared_relu``, ``bound``, dropout
that is not inverted and velocity that is kept are their own code's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import TypeVar

from trainables.learner import Learner, Training, cross_entropy
from trainables.nn import MLP, Dropout
from trainables.options import EPOCHS, LAYERS, LEARNING_RATE, SAMPLES, WIDTH, option
from trainables.rng import Draws, generator
from trainables.streams import Batch, Task

WakeConfigT = TypeVar("WakeConfigT", bound="Wake.Config", default=Any)


class Wake(Learner[WakeConfigT]):
    """The network as it is trained awake: no biases, dropout, SGD with momentum."""

    class Config(Training):
        """Options of training awake; defaults of the port."""

        hidden: tuple[int, ...] = option(
            (4000, 4000), "widths of the hidden layers", low=1, high=WIDTH, longest=LAYERS
        )
        bias: bool = option(False, "biases in every layer; sleep leaves them as they are")
        bound: float = option(
            0.0,
            "weights are drawn up to here on either side of 0; 0: 1/sqrt(inputs)",
            low=0.0,
            high=100.0,
        )
        rank: int = option(
            0, "weights are products of this rank; 0: they are of full rank", low=0, high=WIDTH
        )
        dropout: float = option(0.25, "dropout of hidden units", low=0.0, high=0.9)
        inverted_dropout: bool = option(
            True, "scale up in training what dropout leaves, instead of all down in testing"
        )
        loss: str = option(
            "cross_entropy",
            "of the outputs; squared_relu: half the squared error of rectified outputs, the "
            "rectification left out of the gradient (the authors' code)",
            choices=("cross_entropy", "squared_relu"),
        )
        optimiser: str = option("sgd", "how weights are updated", choices=("adam", "sgd"))
        lr: float = option(0.01, "learning rate", low=0.0, high=LEARNING_RATE)
        momentum: float = option(0.5, "momentum of sgd", low=0.0, high=1.0)
        keep_velocity: bool = option(
            False, "let the optimiser remember over tasks and sleep, instead of starting anew"
        )
        epochs: int = option(2, "passes over the data of a task", low=1, high=EPOCHS)
        batch_size: int = option(
            100, "new samples a step; all of a task that has fewer", low=1, high=SAMPLES
        )

    network: MLP

    def build_network(self) -> MLP:
        self.noise = Draws(self.seeds, "dropout", self.device)
        self.keep("noise")
        return self.draw_network("weights", self.config.rank)

    def draw_network(self, name: str, rank: int) -> MLP:
        """Return a network with weights drawn under ``name``."""
        config, stream = self.config, self.stream
        draws = [generator(seed, name) for seed in self.seeds]
        network = MLP(
            stream.inputs,
            config.hidden,
            stream.outputs,
            draws,
            layer_norm=config.layer_norm,
            dropout=Dropout(config.dropout, self.noise, config.inverted_dropout),
            bias=config.bias,
            bound=config.bound or None,
            rank=rank,
        )
        return network.to(self.device)

    def begin_task(self, task: Task) -> None:
        if not self.config.keep_velocity:
            self.optimiser.state.clear()

    def observe(self, batch: Batch) -> Tensor:
        self.network.train()
        logits, mask = self.logits(batch.inputs), batch.task.loss_mask(batch.labels)
        if self.config.loss == "cross_entropy":
            return self.descend(cross_entropy(logits, batch.labels, mask))
        outputs = logits + (logits.relu() - logits).detach()
        targets = torch.zeros_like(logits).scatter_(2, batch.labels.unsqueeze(2), 1.0)
        errors = (outputs - targets).square()
        return self.descend((errors if mask is None else errors * mask).sum(2).mean(1) / 2)

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        self.network.eval()
        return self.answers(super().predict(inputs, task_id))

    def answers(self, logits: Tensor) -> Tensor:
        """Logits as they are tested; where outputs are rectified in training they are here too, so
        a sample that moves none of them is taken for the first class.
        """
        return logits.relu() if self.config.loss == "squared_relu" else logits
