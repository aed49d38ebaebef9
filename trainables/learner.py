"""The contract of a continual-learning method, and the training loop most of them share.

S seeds, B batch, D input features, C outputs. Losses are one number a seed, [S]: summed over the
stack for the gradient, never averaged across it, so that a seed learns the same alone as in
company.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import TypeVar

from trainables.contract import check_losses, check_step
from trainables.nn import MLP, clip_gradients
from trainables.options import EPOCHS, LAYERS, LEARNING_RATE, SAMPLES, WIDTH, Options, option
from trainables.rng import generator
from trainables.stateful import Stateful
from trainables.streams import Batch, StreamInfo, Task


class Training(Options):
    """Options every gradient-trained learner has."""

    hidden: tuple[int, ...] = option(
        (400, 400), "widths of the hidden layers", low=1, high=WIDTH, longest=LAYERS
    )
    layer_norm: bool = option(False, "layer normalisation after each hidden layer")
    standardise: bool = option(
        False, "inputs less their mean over the data set, over its deviation, instead of 0 to 1"
    )
    optimiser: str = option("adam", "how weights are updated", choices=("adam", "sgd"))
    lr: float = option(1e-3, "learning rate", low=0.0, high=LEARNING_RATE)
    momentum: float = option(0.0, "momentum of sgd", low=0.0, high=1.0)
    epochs: int = option(4, "passes over the data of a task", low=1, high=EPOCHS)
    batch_size: int = option(
        128, "new samples a step; all of a task that has fewer", low=1, high=SAMPLES
    )


# the options of a learner, as in `class EWC(Learner["EWC.Config"])`; any, where it does not say
ConfigT = TypeVar("ConfigT", bound=Training, default=Any)


class Map(NamedTuple):
    """What a matrix that a learner tells of itself shows.

    Attributes:
        title: of the figure.
        unit: of the values; empty for none.
        rows, columns: what a row and a column is, such as "layer" and "class". Rows are counted
            from 1; columns too, unless they are classes, which begin at 0.
        averaged: whether a mean over seeds has a meaning; where it has none, as for principal
            components, which turn with the seed, the first seed is shown.
    """

    title: str
    unit: str
    rows: str
    columns: str
    averaged: bool = True


class Learner(Stateful, ABC, Generic[ConfigT]):
    """One continual-learning method; it learns a stream task by task, for a stack of S seeds at
    once.

    A method implements :meth:`observe` and, where it needs them, :meth:`begin_task` and
    :meth:`end_task`; one that needs another loop overrides :meth:`learn`. What it holds besides the
    network it builds in :meth:`prepare` and names to :meth:`keep`: saving, restoring and counting
    follow. What a method returns is looked at as it comes in, by :mod:`trainables.contract`.

    >>> class Anchored(Learner["Anchored.Config"]):
    ...     name, reference = "anchored", "an example: finetune that stays near its last weights"
    ...     scenarios = ("task", "domain", "class")
    ...
    ...     class Config(Training):
    ...         pull: float = option(0.1, "strength of the penalty", low=0.0, high=1e6)
    ...
    ...     def prepare(self):
    ...         self.anchor = [w.detach().clone() for w in self.network.parameters()]
    ...         self.keep("anchor", kind="auxiliary")
    ...
    ...     def observe(self, batch):
    ...         mask = batch.task.loss_mask(batch.labels)
    ...         loss = cross_entropy(self.logits(batch.inputs), batch.labels, mask)
    ...         pairs = zip(self.network.parameters(), self.anchor, strict=True)
    ...         gaps = sum((w - a).square().flatten(1).sum(1) for w, a in pairs)
    ...         return self.descend(loss + self.config.pull * gaps)
    ...
    ...     def end_task(self, task):
    ...         self.anchor = [w.detach().clone() for w in self.network.parameters()]

    Args:
        config: an instance of the class's ``Config``.
        stream: what the learner is told about its stream.
        seeds: the seeds of the stack.
        device: where everything lives.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    scenarios: ClassVar[tuple[str, ...]] = ("task", "domain", "class", "task_free")
    version: ClassVar[int] = (
        1  # raise it when results change: the ledger then runs everything again
    )
    readouts: ClassVar[tuple[str, ...]] = ("main",)  # the first is the primary one
    max_stack: ClassVar[int | None] = None  # 1 for a learner that cannot be stacked
    diagnostics: ClassVar[dict[str, tuple[str, str]]] = {}  # name -> title, unit; see `diagnose`
    maps: ClassVar[dict[str, Map]] = {}  # other names -> what they show; see `diagnose`
    offline: ClassVar[bool] = (
        False  # given the union of all tasks at every step: an upper bound, not a method
    )
    # "upper" or "lower": the metric `cl_gap` is a method's way from the one to the other
    bound: ClassVar[str | None] = None

    class Config(Training):
        """Options of the learner, with their published defaults."""

    config: ConfigT
    # what another trial's first task left behind, see `pretraining`; None: `learn` trains
    pretrained: dict[str, Tensor] | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.bound = vars(cls).get("bound")  # a learner made from a bound is a method of its own

    def __init__(
        self,
        config: ConfigT,
        stream: StreamInfo,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.check(config, stream)
        super().__init__(len(seeds), device)
        self.config, self.stream, self.seeds = config, stream, tuple(seeds)
        # samples each seed has trained on, replayed ones included: `logits` counts them, and a
        # method that trains without it does so itself
        self.trained = 0
        # sum of each seed's losses in this task: one that was not finite leaves its mark
        self.losses = torch.zeros(len(seeds), device=self.device)
        self._mean, self._std = self._by_feature(stream.mean), self._by_feature(stream.std)
        self.network = self.build_network()
        self.optimiser = self.build_optimiser(self.network)
        self.keep("network", "optimiser", "trained")
        self.prepare()

    def prepare(self) -> None:
        """Build what the method needs besides its network and optimiser, such as a memory or
        importances, and name it to :meth:`keep`.
        """

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Published values that depend on the stream; they replace the defaults of ``Config``."""
        return {}

    @classmethod
    def check(cls, config: ConfigT, stream: StreamInfo) -> None:
        """Raise :class:`InputError` for a configuration that the stream cannot serve."""

    # -- a long first task that trials share

    @classmethod
    def pretraining(cls, config: ConfigT) -> tuple[str, dict[str, Any]] | None:
        """Return whose first task leaves behind what this learner's would: the name of a learner,
        maybe its own, and its configuration, where an option left out has the default of its
        ``Config``. None: the first task depends on too much to be shared. An option that the first
        task depends on has one name in both learners: a study looks there for what it searches.

        A study runs such a task once for all trials that it serves, and gives each what
        :meth:`foundation` of the learner named has returned, as ``pretrained``. :meth:`learn` then
        takes that instead of training, and must leave exactly what training would: the learner's
        state, its diagnostics, and the counts ``task.samples`` and ``trained``.

        Args:
            config: an instance of the class's ``Config``.
        """
        return None

    def foundation(self) -> dict[str, Tensor]:
        """Return what the first task has left behind, for other trials: tensors [S, ...]."""
        return {}

    # -- learning

    def learn(self, task: Task) -> None:
        """Learn one task. In a task-free stream nothing marks its beginning or its end."""
        if not task.free:
            self.begin_task(task)
        for batch in task.batches(self.epochs(0 if task.free else task.id), self.config.batch_size):
            losses = self.observe(batch)
            if not task.steps_done:
                check_step(self, losses)
            self.losses += losses
        if not task.free:
            self.end_task(task)

    def epochs(self, index: int) -> int:
        """Passes over the data of a task, by its index: what a study's plan reckons with."""
        return self.config.epochs

    def begin_task(self, task: Task) -> None:
        """Prepare for a task; not called in a task-free stream."""

    @abstractmethod
    def observe(self, batch: Batch) -> Tensor:
        """Take one optimisation step and return the loss of each seed, [S]."""

    def end_task(self, task: Task) -> None:
        """Conclude a task: store samples, measure importance; not called in a task-free stream."""

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        """Return logits [S, B, C] for inputs uint8 [S, B, D]; ``task_id`` is None unless the
        scenario tells it.
        """
        logits: Tensor = self.network(self.encode(inputs))
        return logits

    def readout_logits(self, inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
        """Return the logits of each readout; a learner with several overrides this."""
        return {self.readouts[0]: self.predict(inputs, task_id)}

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        """Return what the method tells of itself after a task, such as spikes of each layer: of
        each of its ``diagnostics``, by label, a number for every seed, [S]; of each of its
        ``maps``, by label, a matrix for every seed, [S, R, C], NaN where a seed has no value.

        Names and labels may be left out after any task; a matrix of a label has one size, whatever
        the task and the seed.
        """
        return {}

    # -- what methods are written with

    def build_network(self) -> torch.nn.Module:
        """Return the network; its initial weights are equal for equal seeds and widths."""
        draws = [generator(seed, "weights") for seed in self.seeds]
        config, stream = self.config, self.stream
        network = MLP(stream.inputs, config.hidden, stream.outputs, draws, config.layer_norm)
        return network.to(self.device)

    def build_optimiser(
        self, network: torch.nn.Module, lr: float | None = None
    ) -> torch.optim.Optimizer:
        """Return the configured optimiser, with the configured learning rate unless one is given.
        Adam and SGD are element-wise, so seeds stay apart.
        """
        lr = self.config.lr if lr is None else lr
        if self.config.optimiser == "sgd":
            return torch.optim.SGD(
                network.parameters(), lr=lr, momentum=self.config.momentum, fused=True
            )
        return torch.optim.Adam(network.parameters(), lr=lr, fused=True)

    def encode(self, inputs: Tensor) -> Tensor:
        """Turn stored bytes into what the network is given."""
        scaled = inputs.to(torch.float32).mul_(self.stream.scale)
        return scaled.sub_(self._mean).div_(self._std) if self.config.standardise else scaled

    def _by_feature(self, channels: tuple[float, ...]) -> Tensor:
        """Spread one number a channel over the features of a sample, channels last; [D]."""
        return torch.tensor(channels, device=self.device).repeat(
            self.stream.inputs // len(channels)
        )

    def logits(self, inputs: Tensor) -> Tensor:
        """Forward pass for training, [S, B, C]; counts the samples."""
        self.trained += inputs.shape[1]
        logits: Tensor = self.network(self.encode(inputs))
        return logits

    def descend(self, loss: Tensor) -> Tensor:
        """Take a gradient step on the loss of each seed, [S], and return it without its graph."""
        check_losses(self, loss, "descend was given")
        return descend(loss, self.optimiser)


def descend(loss: Tensor, optimiser: torch.optim.Optimizer, clip: float = 0.0) -> Tensor:
    """Take a step down the loss of each seed, [S], and return it without its graph.

    Args:
        optimiser: of the weights that take the step.
        clip: greatest norm of a seed's gradient; 0 for any.
    """
    optimiser.zero_grad()
    loss.backward(torch.ones_like(loss))  # type: ignore[no-untyped-call] # summed over seeds
    if clip:
        clip_gradients((w for group in optimiser.param_groups for w in group["params"]), clip)
    optimiser.step()
    return loss.detach()


def cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of each seed's batch, [S]; arguments as of :func:`cross_entropies`."""
    return cross_entropies(logits, labels, mask).mean(1)


def cross_entropies(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Cross-entropy of each sample, [S, B].

    Args:
        logits: [S, B, C].
        labels: [S, B].
        mask: outputs that compete, broadcastable to the logits; None for all.
    """
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    # with the classes in the middle softmax runs along the samples: several times faster
    return F.cross_entropy(logits.mT, labels, reduction="none")
