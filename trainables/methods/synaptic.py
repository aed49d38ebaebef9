"""SynapticNet: units for each task, and growth where a task needs more of them (NeuronGenesis).

Source: the notebooks of SynapticNet. Every unit belongs to a task. A task trains its own units,
its slice of every layer, and in testing a task that is known uses its slice only. What a slice
reads is an option:

    isolated     its own units: one network for each task (the source);
    cumulative   also the units of earlier tasks, which are frozen.

The source adds units by hand. Here a task can ask for them. With the accuracy v on samples that
are held out from the task's own, K classes, and a threshold, every `probe_epochs` epochs:

    (v - 1/K) / (1 - 1/K) >= threshold          good enough: the task grows no more
    v - (v at the last growth) < min_gain       growing does not pay: the task grows no more
    else                                        grow by `growth` times the units of the first slice

up to `max_growths` times, and to `cap` times the parameters of a network of the first slice's size.
Old units do not read new ones at first, so that growing changes no output. The task keeps the
weights with the best v since it last grew. Each seed decides for itself.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from trainables.contract import check_step
from trainables.errors import InputError
from trainables.learner import Learner, Training, cross_entropy, training
from trainables.methods.fssg import distillation
from trainables.networks import check_plain_network
from trainables.nn import weights_of
from trainables.nn.sliced import Initial, SlicedNetwork, kaiming, padded, small
from trainables.options import EPOCHS, FACTOR, LAYERS, SAMPLES, WIDTH, option
from trainables.rng import Draws, generator
from trainables.streams import Batch, StreamInfo, Task

ROWS = 512  # samples per forward pass, over all seeds, when testing on samples held out
MODES = ("isolated", "cumulative")
CHANNELS = (64, 64, 64, 64)  # of the source
INITIAL = {"small": small, "kaiming": kaiming}


class Synaptic(Learner["Synaptic.Config"]):
    """A slice of units for each task, which may grow while the task is learnt.

    Differs from the source: logits outside a task's slice are -inf instead of 0 (`outside`), since
    zeros can win (see "Masks of zeros" in docs/methods.md); a tenth of a task's samples is held
    out, and the best epoch counts, also where nothing grows (`held_out` = 0: as in the source);
    images keep their size; pooling stops at sides of four pixels instead of after three
    convolutions, which is the same for images of 32 x 32; a new optimiser starts with a task and,
    for all seeds, whenever a seed may grow. The outputs of the task's slice compete in the loss,
    whatever ``active_classes`` of the stream. The confidence of slices is comparable only between
    tasks of equally many classes.
    """

    name = "synaptic"
    reference = "SynapticNet (source code): task masks and NeuronGenesis; growth on demand is ours"
    scenarios = ("task", "class")
    # the slice of the task, if it is known, else the most confident slice; and in any case the most
    # confident slice, among all classes seen
    readouts = ("main", "confident")
    masks_outputs = True
    diagnostics: ClassVar[dict[str, tuple[str, str]]] = {
        "units": ("units of all tasks", ""),
        "growths": ("number of growths of a task", ""),
        "grew_at": ("accuracy on samples held out at which a task grew", ""),
        "parameters": ("parameters of all tasks", ""),
    }

    class Config(Training):
        """Options of SynapticNet."""

        network: str = option(
            "conv", "network: conv (convolutions, then dense layers) or mlp (dense layers)"
        )
        channels: tuple[int, ...] | None = option(
            None,
            "channels of each convolution of conv in a slice of size 1, default [64, 64, 64, 64]",
            low=1,
            high=WIDTH,
            longest=LAYERS,
        )
        hidden: tuple[int, ...] = option(
            (512,),
            "units of each hidden dense layer in a slice of size 1",
            low=1,
            high=WIDTH,
            longest=LAYERS,
        )
        mode: str = option(
            "isolated",
            "what a slice reads; isolated: its own units; cumulative: earlier slices too",
            choices=MODES,
        )
        size: float = option(
            1.0, "size of the first slice, relative to channels and hidden", low=0.01, high=100.0
        )
        later_sizes: tuple[float, ...] = option(
            (1.0,),
            "size of the slices of tasks 2, 3, ... relative to the first, before they grow; the "
            "last number counts for all further tasks; 0, with mode cumulative: outputs only",
            low=0.0,
            high=10.0,
            longest=1000,
        )
        max_growths: int = option(0, "largest number of times that a task grows", low=0, high=100)
        threshold: float = option(
            0.85,
            "accuracy on samples held out at which a task stops growing, from 0, that of guessing, "
            "to 1",
            low=0.0,
            high=1.0,
        )
        growth: float = option(
            0.5, "units by which a task grows, relative to the first slice", low=0.01, high=10.0
        )
        probe_epochs: int = option(
            2,
            "epochs before a task may grow, and between two growths; without an effect unless the "
            "task has more epochs",
            low=1,
            high=EPOCHS,
        )
        min_gain: float = option(
            0.01,
            "smallest gain of accuracy from a growth for the task to grow again; -1: any",
            low=-1.0,
            high=1.0,
        )
        cap: float = option(
            4.0,
            "largest number of parameters of a network of a slice's size, relative to one of the "
            "first slice's size",
            low=1.0,
            high=FACTOR,
        )
        held_out: float = option(
            0.1,
            "share of a task's samples that is held out, to decide on growth and to choose the "
            "epoch; 0: none, and the last epoch counts",
            low=0.0,
            high=0.5,
        )
        outside: str = option(
            "excluded",
            "logits outside the slice of the task; excluded: -inf; zero: 0, as in the source",
            choices=("excluded", "zero"),
        )
        initial: str = option(
            "small",
            "initial weights; small: normal with standard deviation 0.01, as in the source; "
            "kaiming: as by He et al.",
            choices=tuple(INITIAL),
        )
        dropout: float = option(0.2, "dropout after the hidden dense layers", low=0.0, high=0.99)
        thaw: float = option(
            0.0,
            "learning rate of earlier slices relative to that of the task's own, 0: frozen; no "
            "effect with mode isolated",
            low=0.0,
            high=1.0,
        )
        distillation: float = option(
            1.0,
            "weight of the distillation that keeps the logits of earlier slices, where they are "
            "not frozen",
            low=0.0,
            high=FACTOR,
        )
        tau: float = option(2.0, "temperature of the distillation", low=0.01, high=1e3)
        standardise: bool = option(
            True,
            "standardise inputs with the mean and standard deviation of the data set; otherwise "
            "they are scaled to 0..1",
        )
        epochs: int = option(10, "epochs per task", low=1, high=EPOCHS)
        batch_size: int = option(
            64,
            "mini-batch size: new samples per step; the whole task if it has fewer",
            low=1,
            high=SAMPLES,
        )

    network: SlicedNetwork

    def prepare(self) -> None:
        self.outputs: list[Tensor] = []  # the outputs of each task, int64 [S, K]
        # of each task: the accuracy on samples held out at each growth, [S, growths]; -1: none
        self.grew_at: list[Tensor] = []
        self.draws = self.network.draws
        self.teacher: dict[str, Tensor] = {}  # weights before the task, if it changes them
        self.keep("outputs", "grew_at", "draws")
        del self.kept["optimiser"]  # a new one starts with each task

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return dense layers where samples are no images."""
        return super().published(stream) | ({} if stream.image else {"network": "mlp"})

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        check_plain_network(config, cls.name)
        if not config.later_sizes:
            raise InputError("later_sizes = []: give at least one number, such as [1.0]")
        if config.mode == "isolated" and 0 in config.later_sizes:
            raise InputError("later_sizes = 0 needs mode = 'cumulative': the slice has no units")
        if config.max_growths and config.network == "mlp" and not config.hidden:
            raise InputError(f"max_growths = {config.max_growths}: hidden = [] has nothing to grow")
        if config.max_growths and not config.held_out:
            raise InputError(
                f"max_growths = {config.max_growths} needs samples to decide on: set held_out to a "
                "share such as 0.1"
            )

    # -- slices

    def build_network(self) -> SlicedNetwork:
        config = self.config
        return SlicedNetwork(
            self.stream.shape or (self.stream.inputs,),
            len(self.units(1.0)) - len(config.hidden),
            len(config.hidden),
            config.mode == "cumulative",
            config.kernel or 3,
            config.dropout,
            Draws(self.seeds, "dropout", self.device),
        ).eval()

    def units(self, factor: float) -> list[int]:
        """Return the units of each hidden layer in the first slice, times a factor, rounded up."""
        config = self.config
        channels = config.channels or CHANNELS if config.network == "conv" else ()
        return [math.ceil(factor * config.size * size) for size in (*channels, *config.hidden)]

    def factor(self, task: int) -> float:
        """Size of the slice of a task relative to the first, before it grows."""
        return (1.0, *self.config.later_sizes)[min(task, len(self.config.later_sizes))]

    @property
    def thaw(self) -> float:
        """Relative learning rate of earlier slices."""
        return self.config.thaw if self.config.mode == "cumulative" else 0.0

    def widest(self, task: int, growths: int) -> int:
        """Return the largest number of units of a dense layer after so many growths."""
        first, more = self.units(self.factor(task)), self.units(self.config.growth)
        grown = [a + growths * b for a, b in zip(first, more, strict=True)]
        return max(grown[len(grown) - len(self.config.hidden) :], default=0)

    def add_slice(self, task: Task) -> None:
        """Append a slice with the outputs of a task."""
        stack = len(self.seeds)
        outputs = task.outputs.squeeze(1).nonzero()[:, 1].view(stack, -1)
        self.outputs = [*self.outputs, outputs]
        units = torch.tensor([[*self.units(self.factor(task.id)), task.classes]] * stack)
        self.network.resize(task.id, units, self.initial(task.id, 0), self.widest(task.id, 0))

    def initial(self, task: int, growth: int) -> list[Initial]:
        """Return the initial values of new units for each seed."""
        draws = (generator(seed, "slices", task, growth) for seed in self.seeds)
        return [INITIAL[self.config.initial](draw) for draw in draws]

    def build_optimiser(
        self, network: torch.nn.Module, lr: float | None = None
    ) -> torch.optim.Optimizer:
        """Return an optimiser of the last slice and, if they are thawed, of the earlier ones."""
        slices = [self.network.slice_of(task) for task in range(self.network.tasks)]
        older = [weight for each in slices[:-1] for weight in each]
        for weight in older:
            weight.requires_grad_(self.thaw > 0)
        lr = self.config.lr if lr is None else lr
        own = {"params": slices[-1] if slices else []}
        thawed = [{"params": older, "lr": self.thaw * lr}] if self.thaw else []
        return self.optimiser_of([own, *thawed], lr)

    # -- learning

    def learn(self, task: Task) -> None:
        self.begin_task(task)
        epochs, steps = self.epochs(task.id), task.steps(self.config.batch_size)
        for batch in task.batches(epochs, self.config.batch_size):
            losses = self.observe(batch)
            if not task.steps_done:
                check_step(self, losses)
            self.losses += losses
            if (task.steps_done + 1) % steps == 0:
                self.end_epoch(task, (task.steps_done + 1) // steps)
        self.end_task(task)

    def begin_task(self, task: Task) -> None:
        if self.stream.scenario == "class" and task.classes == 1:
            raise InputError(
                "synaptic: the slice of a task with one class has no other answer, and is more "
                "confident than all others; use the scenario 'task', or tasks of several classes"
            )
        if self.config.held_out:
            task.hold_out(self.config.held_out)
        distils = self.thaw and self.config.distillation and task.id
        self.teacher = weights_of(self.network) if distils else {}
        self.add_slice(task)
        self.optimiser = self.build_optimiser(self.network)
        stack = len(self.seeds)
        self.may_grow = torch.ones(stack, dtype=torch.bool)  # whether a seed may still grow
        self.grew_at = [*self.grew_at, torch.full((stack, self.config.max_growths), -1.0)]
        self.accuracy_before = torch.full((stack,), torch.nan)  # the last growth
        self.best: list[Tensor] = []  # weights, as in `trained_weights`
        self.best_accuracy = torch.full((stack,), -torch.inf)

    def observe(self, batch: Batch) -> Tensor:
        inputs, task = self.encode(batch.inputs), batch.task.id
        self.trained += inputs.shape[1]
        with training(self.network):
            logits = self.network(inputs, 0 if self.teacher else task, task + 1)
        own = self.outputs[task].shape[1]
        loss = cross_entropy(self.among_all(logits[..., -own:], task), batch.labels)
        if self.teacher:
            loss = loss + self.config.distillation * self.distil(inputs, logits[..., :-own])
        return self.descend(loss)

    def among_all(self, logits: Tensor, task: int) -> Tensor:
        """Return the logits of a task's slice, [S, B, K], among those of all classes, [S, B, C]."""
        size = (*logits.shape[:2], self.stream.outputs)
        among = logits.new_full(size, -torch.inf)
        if self.config.outside == "zero":  # of the classes of all tasks so far
            for outputs in self.outputs:
                among.scatter_(2, class_index(outputs, logits), 0.0)
        return among.scatter(2, class_index(self.outputs[task], logits), logits)

    def distil(self, inputs: Tensor, logits: Tensor) -> Tensor:
        """Return the distillation from the network before the task, [S], the mean over the earlier
        slices.

        Args:
            logits: of the earlier slices, one after the other.
        """
        sizes = [outputs.shape[1] for outputs in self.outputs[:-1]]
        with torch.no_grad():
            teacher = functional_call(self.network, self.teacher, (inputs, 0, len(sizes)))
        pairs = zip(*(torch.split(x, sizes, 2) for x in (logits, teacher)), strict=True)
        losses = [distillation(mine, theirs, self.config.tau).mean(1) for mine, theirs in pairs]
        return torch.stack(losses).mean(0)

    def trained_weights(self, task: Task) -> list[Tensor]:
        """Return the weights that a task trains: of its own slice, then of thawed ones."""
        older = range(task.id) if self.thaw else ()
        slices = [self.network.slice_of(number) for number in (task.id, *older)]
        return [weight for each in slices for weight in each]

    def end_task(self, task: Task) -> None:
        """Return to the best weights."""
        with torch.no_grad():
            for weight, best in zip(self.trained_weights(task), self.best, strict=False):
                weight.copy_(best)
        self.best, self.teacher = [], {}

    # -- growth

    def end_epoch(self, task: Task, epoch: int) -> None:
        """Score the slice on the samples held out; keep its weights, and let it grow, if due."""
        if not self.config.held_out:
            return
        accuracy = self.accuracy_held_out(task)
        better = (accuracy >= self.best_accuracy).to(self.device)
        self.best_accuracy = self.best_accuracy.maximum(accuracy)
        weights = [weight.detach().clone() for weight in self.trained_weights(task)]
        pairs = zip(weights, self.best or weights, strict=True)
        self.best = [torch.where(of_seeds(better, new), new, old) for new, old in pairs]
        growth, is_between = divmod(epoch, self.config.probe_epochs)
        due = not is_between and growth <= self.config.max_growths
        if due and epoch < self.epochs(task.id):
            self.grow(task, growth, accuracy)

    @torch.no_grad()
    def accuracy_held_out(self, task: Task) -> Tensor:
        """Return the accuracy of each seed on the samples held out, [S]."""
        right = torch.zeros(len(self.seeds), 2, dtype=torch.long, device=self.device)
        for batch, is_valid in task.held_out(max(ROWS // len(self.seeds), 64)):
            logits = self.network(self.encode(batch.inputs), task.id, task.id + 1)
            found = self.among_all(logits, task.id).argmax(-1) == batch.labels
            right += torch.stack([(found & is_valid).sum(1), is_valid.sum(1)], 1)
        right = right.cpu()
        return right[:, 0] / right[:, 1].clamp(min=1)

    def grow(self, task: Task, growth: int, accuracy: Tensor) -> None:
        """Add units for the seeds that ask for them.

        Args:
            growth: number of the growth, from 1.
            accuracy: on the samples held out, [S].
        """
        config, network = self.config, self.network
        chance = 1 / task.classes if task.classes > 1 else 0.0
        level = ((accuracy - chance) / (1 - chance)).clamp(min=0)
        does_not_pay = accuracy - self.accuracy_before < config.min_gain
        units = network.units[task.id]
        larger = units + torch.tensor([*self.units(config.growth), 0])
        first = torch.tensor([[*self.units(1.0), task.classes]])
        allowed = config.cap * network.count(first, first)
        fits = network.count(larger, larger) <= allowed
        self.may_grow &= (level < config.threshold) & ~does_not_pay & fits
        self.accuracy_before = torch.where(self.may_grow, accuracy, self.accuracy_before)
        self.grew_at[-1][:, growth - 1] = torch.where(self.may_grow, accuracy, -1.0)
        units = torch.where(self.may_grow.unsqueeze(1), larger, units)
        initial, widest = self.initial(task.id, growth), self.widest(task.id, growth)
        network.resize(task.id, units, initial, widest)
        shapes = [weight.shape for weight in self.trained_weights(task)]
        self.best = [padded(old, new) for old, new in zip(self.best, shapes, strict=True)]
        self.best_accuracy[self.may_grow] = -torch.inf
        self.optimiser = self.build_optimiser(network)

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        return self.readout_logits(inputs, task_id)["main"]

    def readout_logits(self, inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
        """Return the logits of the task's slice, and log-probabilities of every slice: the largest
        of them is that of the most confident slice. A task without a slice has logits of zero.
        """
        known = self.network.tasks
        guess = torch.zeros(*inputs.shape[:2], self.stream.outputs, device=self.device)
        if not known:
            return dict.fromkeys(self.readouts, guess)
        logits = self.network(self.encode(inputs), 0, known)
        parts = torch.split(logits, [outputs.shape[1] for outputs in self.outputs], 2)
        confident = torch.full_like(guess, -torch.inf)
        for part, outputs in zip(parts, self.outputs, strict=True):
            index = class_index(outputs, part)
            confident.scatter_reduce_(2, index, part.log_softmax(-1), "amax")
        if task_id is None:
            return dict.fromkeys(self.readouts, confident)
        has_slice = task_id < known
        return {
            "main": self.among_all(parts[task_id], task_id) if has_slice else guess,
            "confident": confident,
        }

    # -- what it tells of itself

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        network = self.network
        totals = torch.stack(network.units).sum(0).T[:-1].double()
        grew_at = {
            f"task {number}": accuracies.where(accuracies >= 0, torch.nan)
            for number, accuracies in enumerate(self.grew_at, start=1)
        }
        kinds = ["convolution" if layer.shares_weights else "dense" for layer in network.layers]
        labels = [f"{kind} {kinds[: n + 1].count(kind)}" for n, kind in enumerate(kinds[:-1])]
        return {
            "units": dict(zip(labels, totals, strict=True)),
            "growths": {task: rows.isfinite().sum(1).double() for task, rows in grew_at.items()},
            "grew_at": {
                f"{task}, growth {number}": column
                for task, rows in grew_at.items()
                for number, column in enumerate(rows.T, start=1)
                if column.isfinite().any()
            },
            "parameters": {
                "in use": network.count_used().double(),
                "with the weights between slices": network.count_whole().double(),
            },
        }

    def footprint(self) -> dict[str, Any]:
        """Return the bytes of each seed by kind; parameters are those in use."""
        return super().footprint() | {"parameters": (4 * self.network.count_used()).tolist()}


def class_index(outputs: Tensor, logits: Tensor) -> Tensor:
    """Return the outputs of a task, [S, K], for each sample, [S, B, K]."""
    return outputs.unsqueeze(1).expand(-1, logits.shape[1], -1)


def of_seeds(values: Tensor, weight: Tensor) -> Tensor:
    """Return a value for each seed in a shape that broadcasts with a weight, [S, 1, ...]."""
    return values.view(-1, *[1] * (weight.dim() - 1))
