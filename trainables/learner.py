"""The contract of a continual-learning method, and the training loop that most methods share.

S seeds, B batch, D input features, C outputs. A loss is one number per seed, [S]. For the gradient
the losses are summed over the stack, never averaged, so that a seed learns the same alone as in a
stack.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Generic, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import TypeVar

from trainables.contract import check_losses, check_step
from trainables.errors import InputError
from trainables.networks import build_network, check_network
from trainables.nn import clip_gradients
from trainables.nn.convolution import NORMS
from trainables.options import EPOCHS, LAYERS, LEARNING_RATE, SAMPLES, WIDTH, Options, option
from trainables.rng import generator
from trainables.stateful import Stateful
from trainables.streams import Batch, StreamInfo, Task


class Training(Options):
    """Options of every learner that trains a network by gradients."""

    network: str = option(
        "mlp",
        "network: mlp (dense layers), conv (convolutions, then dense layers), resnet18, or a "
        "function of your own that builds a torch.nn.Module, as package:function",
    )
    hidden: tuple[int, ...] = option(
        (400, 400),
        "widths of the hidden layers of mlp; in conv, of the dense layers after the convolutions",
        low=1,
        high=WIDTH,
        longest=LAYERS,
    )
    channels: tuple[int, ...] | None = option(
        None,
        "channels of each convolution of conv, default [32, 64]; of the first layers of resnet18, "
        "default [20]",
        low=1,
        high=WIDTH,
        longest=LAYERS,
    )
    kernel: int | None = option(
        None, "width of the kernels of conv, an odd number, default 3", low=1, high=31, odd=True
    )
    pooling: str | None = option(
        None, "pooling after each convolution of conv, default max", choices=("max", "average")
    )
    norm: str | None = option(
        None,
        "normalisation after each convolution, default none in conv, batch in resnet18",
        choices=NORMS,
    )
    layer_norm: bool = option(False, "layer normalisation after each hidden layer")
    standardise: bool = option(
        False,
        "standardise inputs with the mean and standard deviation of the data set; otherwise they "
        "are scaled to 0..1",
    )
    optimiser: str = option("adam", "optimiser", choices=("adam", "sgd"))
    lr: float = option(1e-3, "learning rate", low=0.0, high=LEARNING_RATE)
    momentum: float = option(0.0, "momentum of SGD", low=0.0, high=1.0)
    epochs: int = option(4, "epochs per task", low=1, high=EPOCHS)
    batch_size: int = option(
        128,
        "mini-batch size: new samples per step; the whole task if it has fewer",
        low=1,
        high=SAMPLES,
    )


# the options of a learner, as in `class EWC(Learner["EWC.Config"])`
ConfigT = TypeVar("ConfigT", bound=Training, default=Any)


class Map(NamedTuple):
    """Description of a matrix among a learner's diagnostics, for its figure.

    Attributes:
        title: title of the figure.
        unit: unit of the values; empty for none.
        rows, columns: meaning of a row and of a column, such as "layer" and "class". Rows are
            numbered from 1; so are columns, except classes, which are numbered from 0.
        averaged: whether the figure shows the mean over seeds; if not, it shows the first seed.
            False for principal components, whose directions differ between seeds.
    """

    title: str
    unit: str
    rows: str
    columns: str
    averaged: bool = True


class Learner(Stateful, ABC, Generic[ConfigT]):
    """One continual-learning method; learns a stream task by task, for a stack of S seeds at once.

    A method implements :meth:`observe` and, if needed, :meth:`begin_task` and :meth:`end_task`; a
    method with another training loop overrides :meth:`learn`. A method builds its state besides the
    network in :meth:`prepare` and registers it with :meth:`keep`: checkpoints and the footprint
    follow. :mod:`trainables.contract` checks the values that a method returns.

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
        stream: the facts of the stream that the scenario reveals.
        seeds: the seeds of the stack.
        device: device of all tensors.
    """

    name: ClassVar[str]  # as in a study file
    reference: ClassVar[str]  # the paper
    scenarios: ClassVar[tuple[str, ...]] = ("task", "domain", "class", "task_free")
    # increase when results change: the ledger then runs every trial again
    version: ClassVar[int] = 1
    readouts: ClassVar[tuple[str, ...]] = ("main",)  # the first is the primary one
    max_stack: ClassVar[int | None] = None  # 1 for a learner that cannot be stacked
    dense_only: ClassVar[bool] = False  # whether the method is defined for `mlp` only
    # whether the method decides by itself which outputs compete in testing: its logits are -inf
    # for the others, and testing only excludes classes that are not seen yet
    masks_outputs: ClassVar[bool] = False
    diagnostics: ClassVar[dict[str, tuple[str, str]]] = {}  # name -> title, unit; see `diagnose`
    maps: ClassVar[dict[str, Map]] = {}  # name -> description; see `diagnose`
    # trained on the union of all tasks at every step: an upper bound, not a continual learner
    offline: ClassVar[bool] = False
    # "upper" or "lower" for a baseline between which the metric `cl_gap` places the methods
    bound: ClassVar[str | None] = None

    class Config(Training):
        """Options of the learner, with their published defaults."""

    config: ConfigT
    # in a prediction that is scored: the samples that count, [S, B]; the others fill up the rows
    # of seeds with fewer samples
    valid: Tensor | None = None
    # the foundation of another trial, see `pretraining`; None: the first task is learnt here
    pretrained: dict[str, Tensor] | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.bound = vars(cls).get("bound")  # not inherited: a learner derived from a bound is none

    def __init__(
        self,
        config: ConfigT,
        stream: StreamInfo,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.admit(config, stream)
        super().__init__(len(seeds), device)
        self.config, self.stream, self.seeds = config, stream, tuple(seeds)
        # samples each seed has trained on, replayed samples included; counted by `logits`, or by a
        # method that trains without `logits`
        self.trained = 0
        # sum of each seed's losses in this task: not finite once a loss was not
        self.losses = torch.zeros(len(seeds), device=self.device)
        self._mean, self._std = self._by_feature(stream.mean), self._by_feature(stream.std)
        self.network = self.build_network()
        self.optimiser = self.build_optimiser(self.network)
        self.keep("network", "optimiser", "trained")
        self.prepare()

    def prepare(self) -> None:
        """Build the state besides network and optimiser, such as a memory or importances, and
        register it with :meth:`keep`.
        """

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return the values that depend on the stream, by option; they replace the defaults of
        ``Config``.

        By default these are the stream's own values for those options of :class:`Training` for
        which the method has no value of its own. A method that adds published values calls
        ``super().published(stream)``.
        """
        fields, inherited = cls.Config.fields(), Training.fields()
        return {
            name: value
            for name, value in stream.training
            if name in fields and fields[name].default == inherited[name].default
        }

    @classmethod
    def admit(cls, config: ConfigT, stream: StreamInfo) -> None:
        """Raise :class:`InputError` for a configuration that is impossible on this stream: for its
        network, or by :meth:`check`.
        """
        if isinstance(config, Training):
            check_network(config, stream)
            if cls.dense_only and config.network != "mlp":
                raise InputError(f"network = '{config.network}': {cls.name} needs 'mlp'")
        cls.check(config, stream)

    @classmethod
    def check(cls, config: ConfigT, stream: StreamInfo) -> None:
        """Raise :class:`InputError` for a configuration that the method cannot use."""

    # -- a long first task that trials share

    @classmethod
    def pretraining(cls, config: ConfigT) -> tuple[str, dict[str, Any]] | None:
        """Return the learner and configuration of a first task (the pre-training) that trials can
        share with this learner; None if the first task depends on options that trials vary.

        A study learns a shared first task once. Every trial that shares it receives the
        :meth:`foundation` of the named learner as ``pretrained``. :meth:`learn` must then load the
        foundation instead of training, and leave exactly the state that training would: the
        learner's state, its diagnostics, and the counts ``task.samples`` and ``trained``.

        An option that the first task depends on must have the same name in both learners: a study
        looks up by name whether such an option is searched.

        Args:
            config: an instance of the class's ``Config``.

        Returns:
            the name of a learner, possibly this one, and its options; an option left out has its
            default.
        """
        return None

    def foundation(self) -> dict[str, Tensor]:
        """Return the tensors [S, ...] that the first task leaves behind for other trials."""
        return {}

    # -- learning

    def learn(self, task: Task) -> None:
        """Learn one task. A task-free stream marks neither the beginning nor the end of a task."""
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
        """Number of epochs of the task with this index; also used to estimate a study's cost."""
        return self.config.epochs

    def begin_task(self, task: Task) -> None:
        """Prepare for a task; not called in a task-free stream."""

    @abstractmethod
    def observe(self, batch: Batch) -> Tensor:
        """Take one optimisation step and return the loss of each seed, [S]."""

    def end_task(self, task: Task) -> None:
        """Finish a task, such as by storing samples; not called in a task-free stream."""

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        """Return logits [S, B, C] for stored inputs [S, B, D]; ``task_id`` is None except in the
        task scenario.
        """
        logits: Tensor = self.network(self.encode(inputs))
        return logits

    def readout_logits(self, inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
        """Return the logits of each readout; a learner with several overrides this."""
        return {self.readouts[0]: self.predict(inputs, task_id)}

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        """Return the method's diagnostics after a task, such as the spikes per layer: for each name
        in ``diagnostics``, numbers [S] by label; for each name in ``maps``, matrices [S, R, C] by
        label, NaN where a seed has no value.

        Names and labels may be missing after any task. The matrices of a label have the same size
        after every task. Of two layers and two seeds, for example:
        ``{"spikes": {"layer 1": tensor([812, 790]), "layer 2": tensor([95, 101])}}``.
        """
        return {}

    # -- building blocks for methods

    def build_network(self) -> torch.nn.Module:
        """Return the network. Learners with equal seeds and widths get equal initial weights.

        The network is in evaluation mode, except where :func:`training` puts it into training mode.
        """
        draws = [generator(seed, "weights") for seed in self.seeds]
        return build_network(self.config, self.stream, draws).to(self.device).eval()

    def build_optimiser(
        self, network: torch.nn.Module, lr: float | None = None
    ) -> torch.optim.Optimizer:
        """Return the configured optimiser. Adam and SGD are element-wise, so seeds are independent.

        Args:
            lr: learning rate; None for the configured one.
        """
        return self.optimiser_of(network.parameters(), self.config.lr if lr is None else lr)

    def optimiser_of(self, weights: Iterable[Any], lr: float) -> torch.optim.Optimizer:
        """Return the configured optimiser of weights, or of groups of them as torch has them."""
        if self.config.optimiser == "sgd":
            return torch.optim.SGD(weights, lr=lr, momentum=self.config.momentum, fused=True)
        return torch.optim.Adam(weights, lr=lr, fused=True)

    def encode(self, inputs: Tensor) -> Tensor:
        """Convert stored inputs to the network's inputs, float32 of the same shape."""
        scaled = inputs.to(torch.float32, copy=True).mul_(self.stream.scale)
        return scaled.sub_(self._mean).div_(self._std) if self.config.standardise else scaled

    def _by_feature(self, channels: tuple[float, ...]) -> Tensor:
        """Repeat one number per channel over the features of a sample, channels last; [D]."""
        return torch.tensor(channels, device=self.device).repeat(
            self.stream.inputs // len(channels)
        )

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits [S, B, C] for training, and count the samples in ``trained``."""
        self.trained += inputs.shape[1]
        with training(self.network):
            logits: Tensor = self.network(self.encode(inputs))
        return logits

    def descend(self, loss: Tensor) -> Tensor:
        """Take a gradient step on the loss of each seed, [S], and return the detached loss."""
        check_losses(self, loss, "descend was given")
        return descend(loss, self.optimiser)


@contextlib.contextmanager
def training(network: torch.nn.Module) -> Iterator[None]:
    """Put a network into training mode for a forward pass: batch normalisation then uses, and
    updates, the statistics of the batch.
    """
    network.train()
    try:
        yield
    finally:
        network.eval()


def descend(loss: Tensor, optimiser: torch.optim.Optimizer, clip: float = 0.0) -> Tensor:
    """Take a gradient step on the loss of each seed, [S], and return the detached loss.

    Args:
        optimiser: optimiser of the weights to update.
        clip: largest gradient norm of a seed; 0 for no clipping.
    """
    optimiser.zero_grad()
    loss.backward(torch.ones_like(loss))  # type: ignore[no-untyped-call] # summed over seeds
    if clip:
        clip_gradients((w for group in optimiser.param_groups for w in group["params"]), clip)
    optimiser.step()
    return loss.detach()


def cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of each seed's batch, [S]; arguments as for :func:`cross_entropies`.

    >>> cross_entropy(torch.zeros(2, 5, 4), torch.zeros(2, 5, dtype=torch.long))
    tensor([1.3863, 1.3863])
    """
    return cross_entropies(logits, labels, mask).mean(1)


def cross_entropies(logits: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Cross-entropy of each sample, [S, B].

    Args:
        logits: [S, B, C].
        labels: [S, B].
        mask: outputs that compete in the softmax, broadcastable to the logits; None for all.
    """
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    # with the class axis in the middle, softmax runs along the samples: several times faster
    return F.cross_entropy(logits.mT, labels, reduction="none")
