"""Awake training of the dense network of sleep replay, shared by the learners of this package.

Defaults are those of the Python port of the authors' code. ``squared_relu``, ``bound``, dropout
that is not inverted, and ``keep_velocity`` reproduce the authors' own code.
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
    """Awake training: no biases, dropout, SGD with momentum."""

    dense_only = True

    class Config(Training):
        """Options of awake training; defaults of the port."""

        hidden: tuple[int, ...] = option(
            (4000, 4000), "widths of the hidden layers", low=1, high=WIDTH, longest=LAYERS
        )
        bias: bool = option(False, "biases in every layer; sleep does not change them")
        bound: float = option(
            0.0,
            "initial weights are uniform in [-bound, bound]; 0: bound = 1/sqrt(fan-in)",
            low=0.0,
            high=100.0,
        )
        rank: int = option(0, "rank of low-rank weight matrices; 0: full rank", low=0, high=WIDTH)
        dropout: float = option(0.25, "dropout rate of hidden units", low=0.0, high=0.9)
        inverted_dropout: bool = option(
            True,
            "inverted dropout: scale activations up in training; otherwise scale them down in "
            "testing",
        )
        loss: str = option(
            "cross_entropy",
            "training loss; squared_relu (the authors' code): half the squared error of the "
            "outputs after ReLU, with the ReLU ignored in the gradient",
            choices=("cross_entropy", "squared_relu"),
        )
        optimiser: str = option("sgd", "optimiser", choices=("adam", "sgd"))
        lr: float = option(0.01, "learning rate", low=0.0, high=LEARNING_RATE)
        momentum: float = option(0.5, "momentum of SGD", low=0.0, high=1.0)
        keep_velocity: bool = option(
            False,
            "keep the optimiser's state (momentum) across tasks and sleep; otherwise reset it "
            "before each task",
        )
        epochs: int = option(2, "epochs per task", low=1, high=EPOCHS)
        batch_size: int = option(
            100,
            "mini-batch size: new samples per step; the whole task if it has fewer",
            low=1,
            high=SAMPLES,
        )

    network: MLP

    def build_network(self) -> MLP:
        self.noise = Draws(self.seeds, "dropout", self.device)
        self.keep("noise")
        return self.draw_network("weights", self.config.rank)

    def draw_network(self, name: str, rank: int) -> MLP:
        """Return a network with initial weights from the random stream ``name``."""
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
        return network.to(self.device).eval()

    def begin_task(self, task: Task) -> None:
        if not self.config.keep_velocity:
            self.optimiser.state.clear()

    def observe(self, batch: Batch) -> Tensor:
        logits, mask = self.logits(batch.inputs), batch.task.loss_mask(batch.labels)
        if self.config.loss == "cross_entropy":
            return self.descend(cross_entropy(logits, batch.labels, mask))
        outputs = logits + (logits.relu() - logits).detach()
        targets = torch.zeros_like(logits).scatter_(2, batch.labels.unsqueeze(2), 1.0)
        errors = (outputs - targets).square()
        return self.descend((errors if mask is None else errors * mask).sum(2).mean(1) / 2)

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        return self.answers(super().predict(inputs, task_id))

    def answers(self, logits: Tensor) -> Tensor:
        """Return the logits for testing. With ``squared_relu`` they are rectified as in training: a
        sample without a positive output is assigned to the first class.
        """
        return logits.relu() if self.config.loss == "squared_relu" else logits
