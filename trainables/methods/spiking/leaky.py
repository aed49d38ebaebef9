"""Base class of learners with a feed-forward spiking network: encoding, loss, readout, cost.

Source: "Memory replay for continual learning with spiking neural networks" (2023) and its code,
written on snnTorch 0.6.2: a convolutional network of leaky integrate-and-fire units, whose outputs
spike. The count of an output's spikes over all steps is the score of its class. The defaults are
the source's constants with the dynamics that its text describes; its code differs (see ``state``,
``encoding`` and ``ties``, and docs/methods.md, section spiking_replay).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from snntorch import functional
from torch import Tensor
from typing_extensions import TypeVar

from trainables.errors import InputError
from trainables.learner import Learner, Training, training
from trainables.networks import check_plain_network
from trainables.nn.leaky import SURROGATES, Activity, LeakyUnits, SpikingNetwork
from trainables.nn.optimisers import Adam
from trainables.options import EPOCHS, LAYERS, SAMPLES, STEPS, WIDTH, option
from trainables.rng import Draws, generator
from trainables.streams import StreamInfo, Task

CHANNELS, KERNEL = (12, 64), 5  # of the source
SMALLEST_SIDE = 16  # of images with these, in pixels
FRAMES = 2048  # frames of a seed in a forward pass, when testing: few enough for the CPU's cache
TEST_DRAWS = 64  # a tested sample has one of so many sets of random numbers
CROSS_ENTROPIES = {"ce_count": functional.ce_count_loss, "ce_rate": functional.ce_rate_loss}
LOSSES = (*CROSS_ENTROPIES, "mse_count")
# picojoules of a float addition, and of a multiplication and an addition, in a 45 nm process
# (Horowitz 2014, Computing's energy problem)
ADDITION, MULTIPLY_ACCUMULATE = 0.9, 4.6


class LeakyOptions(Training):
    """Options of the network, the encoding and the training."""

    network: str = option(
        "conv", "network: conv (convolutions, then dense layers) or mlp (dense layers)"
    )
    channels: tuple[int, ...] | None = option(
        None,
        "channels of each convolution of conv, default [12, 64], or [12] below 16 x 16 pixels",
        low=1,
        high=WIDTH,
        longest=LAYERS,
    )
    kernel: int | None = option(
        None,
        "width of the kernels of conv, an odd number, default 5, or 3 below 16 x 16 pixels",
        low=1,
        high=31,
        odd=True,
    )
    hidden: tuple[int, ...] = option(
        (), "units of each hidden dense layer", low=1, high=WIDTH, longest=LAYERS
    )
    units: str = option(
        "leaky",
        "units; leaky: leaky integrate-and-fire; relu: the non-spiking twin, the same layers with "
        "ReLU, which computes once for a sample",
        choices=("leaky", "relu"),
    )
    steps: int = option(30, "time steps for a sample", low=1, high=STEPS)
    encoding: str = option(
        "direct",
        "inputs in time; direct: the inputs as a constant current; rate: at each step a spike with "
        "a probability of the input; static: drawn once as in rate, and the same at all steps, as "
        "in the source",
        choices=("direct", "rate", "static"),
    )
    state: str = option(
        "carried",
        "membrane potentials; carried: from step to step; reset: to 0 at each step, as in the "
        "source, so that a step is like all others",
        choices=("carried", "reset"),
    )
    beta: float = option(
        0.99, "factor of the membrane potential per step; no effect if reset", low=0.0, high=1.0
    )
    threshold: float = option(1.0, "threshold of the units", low=1e-3, high=1e3)
    surrogate: str = option(
        "fast_sigmoid",
        "surrogate gradient of a spike; x: distance from the threshold; fast_sigmoid: "
        "1 / (1 + slope |x|)^2; atan: slope/2 / (1 + (pi/2 slope x)^2); sigmoid: the derivative of "
        "the logistic function of slope x",
        choices=tuple(SURROGATES),
    )
    slope: float = option(25.0, "slope of the surrogate gradient", low=1e-3, high=1e3)
    loss: str = option(
        "ce_count",
        "loss; ce_count: cross-entropy of the spike counts; ce_rate: mean cross-entropy of the "
        "spikes of each step; mse_count: squared distance of the counts from all steps for the "
        "label and none for other classes, per step",
        choices=LOSSES,
    )
    ties: str = option(
        "membrane",
        "answer where classes have equally many spikes; membrane: the largest sum of membrane "
        "potentials; lowest: the first class, as in the source; random",
        choices=("membrane", "lowest", "random"),
    )
    epochs: int = option(5, "epochs per task", low=1, high=EPOCHS)
    batch_size: int = option(
        16,
        "mini-batch size: new samples per step; the whole task if it has fewer",
        low=1,
        high=SAMPLES,
    )


LeakyConfigT = TypeVar("LeakyConfigT", bound=LeakyOptions, default=Any)


class LeakyLearner(Learner[LeakyConfigT]):
    """A learner with a feed-forward spiking network, or its non-spiking twin.

    Its diagnostics are the spikes of a tested sample and what they cost. A spike costs an addition
    at each synapse that it passes; a constant input current costs a multiply-accumulate at each
    synapse, once for a sample; updates of membrane potentials are not counted. The non-spiking twin
    costs a multiply-accumulate at each synapse.
    """

    diagnostics: ClassVar = {
        "spikes": ("spikes of a tested sample", "spikes"),
        "synaptic_operations": ("synaptic operations of a tested sample", "operations"),
        "multiply_accumulates": (
            "multiply-accumulates among the synaptic operations of a tested sample",
            "operations",
        ),
        "energy": ("estimated energy of the synaptic operations of a tested sample", "nJ"),
        "ties": ("share of tested samples whose most frequent classes spike equally often", ""),
    }
    version = 2
    network: SpikingNetwork
    spikes: Tensor  # of tested samples, of the inputs and in each layer, [S, 1 + L]
    additions: Tensor  # of tested samples, in each layer, [S, L]
    tied: Tensor  # number of tested samples whose most frequent classes spike equally often, [S]
    samples_tested: Tensor  # [S]

    @classmethod
    def published(cls, stream: StreamInfo) -> dict[str, Any]:
        """Return dense layers where samples are no images."""
        dense = {"network": "mlp", "hidden": (400,)}
        return super().published(stream) | ({} if stream.image else dense)

    @classmethod
    def check(cls, config: LeakyConfigT, stream: StreamInfo) -> None:
        check_plain_network(config, cls.name)
        if stream.steps is not None:
            raise InputError(
                f"stream '{stream.name}' has sequences in time; {cls.name} needs images or "
                "features: use spiking_rehearsal"
            )
        draws = config.units == "leaky" and config.encoding != "direct"
        if draws and (config.standardise or stream.extremes[0] < 0 or stream.extremes[1] > 1):
            raise InputError(
                f"encoding = '{config.encoding}' needs inputs from 0 to 1, as probabilities: use "
                "'direct', or inputs that are not standardised"
            )
        if config.network == "conv":
            cls.network_of(config, stream, [generator(0, "weights")])

    @classmethod
    def network_of(
        cls, config: LeakyConfigT, stream: StreamInfo, generators: list[torch.Generator]
    ) -> SpikingNetwork:
        is_conv, leaky = config.network == "conv", None
        is_small = is_conv and min(stream.shape[:2]) < SMALLEST_SIDE
        if config.units == "leaky":
            leaky = LeakyUnits(
                config.steps,
                config.beta,
                config.threshold,
                config.surrogate,
                config.slope,
                config.state == "carried",
            )
        return SpikingNetwork(
            stream.shape if is_conv else (stream.inputs,),
            (config.channels or CHANNELS[: 1 if is_small else 2]) if is_conv else (),
            config.kernel or (3 if is_small else KERNEL),
            config.hidden,
            stream.outputs,
            generators,
            leaky,
        )

    def build_network(self) -> SpikingNetwork:
        draws = [generator(seed, "weights") for seed in self.seeds]
        return self.network_of(self.config, self.stream, draws).to(self.device).eval()

    def prepare(self) -> None:
        super().prepare()
        self.draws = Draws(self.seeds, "encoding", self.device)
        self.drawn_once: dict[str, Tensor] = {}  # see `test_draws`
        self.keep("draws")
        self.forget_cost()

    def optimiser_of(self, weights: Iterable[Any], lr: float) -> torch.optim.Optimizer:
        """Return the configured optimiser, of a kind that treats a weight alike wherever it lies in
        a stack (see :mod:`trainables.nn.optimisers`).
        """
        if self.config.optimiser == "sgd":
            return torch.optim.SGD(weights, lr, momentum=self.config.momentum, foreach=True)
        return Adam(weights, lr)

    # -- encoding

    def frames(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return stored inputs [S, B, D] as frames [S, F, B, D]: one for each step, or one that
        holds for all.
        """
        values = self.encode(inputs).unsqueeze(1)
        if not self.draws_spikes:
            return values
        size = (len(values), self.frames_drawn, *values.shape[2:])
        drawn = draws.uniform(math.prod(size[1:])).view(size)
        return (drawn < values).to(values.dtype)

    @property
    def frames_drawn(self) -> int:
        """Number of frames that are drawn for a sample."""
        return self.config.steps if self.config.encoding == "rate" else 1

    def test_frames(self, inputs: Tensor) -> Tensor:
        """Return stored inputs as frames, with spikes that depend on the sample alone: neither on
        its place in a batch, nor on what was tested before.
        """
        values = self.encode(inputs).unsqueeze(1)
        if not self.draws_spikes:
            return values
        drawn = self.test_draws("encoding in tests", (self.frames_drawn, values.shape[3]))
        chosen = _of_each(drawn, inputs).movedim(2, 1)  # [S, F, B, D]
        return (chosen < values).to(values.dtype)

    def test_draws(self, name: str, size: tuple[int, ...]) -> Tensor:
        """Return random numbers for tests, [S, TEST_DRAWS, *size], always the same."""
        if name not in self.drawn_once:
            drawn = Draws(self.seeds, name, self.device).uniform(TEST_DRAWS * math.prod(size))
            self.drawn_once[name] = drawn.view(len(self.seeds), TEST_DRAWS, *size)
        return self.drawn_once[name]

    @property
    def draws_spikes(self) -> bool:
        """Whether inputs are drawn as spikes."""
        return self.config.units == "leaky" and self.config.encoding != "direct"

    # -- loss

    def losses_of(self, record: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mean loss of each seed, [S].

        Args:
            record: spikes of the outputs, [S, F, B, C].
            labels: [S, B].
            mask: outputs that compete, as for :func:`trainables.learner.cross_entropies`.
        """
        if self.config.loss == "mse_count":
            return self.squared_distances(record, labels, mask).mean(1)
        if mask is not None:
            record = record.masked_fill(~mask.unsqueeze(1), -torch.inf)
        record = record.expand(-1, max(self.steps, record.shape[1]), -1, -1)
        by_step = record.transpose(0, 1).flatten(1, 2)
        kind = CROSS_ENTROPIES[self.config.loss]
        losses: Tensor = kind(reduction="none")(by_step, labels.flatten())
        return losses.view(labels.shape).mean(1)

    def squared_distances(self, record: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        """Return the squared distance of the counts from T for the label and 0 for other classes,
        over T, as the mean over the classes that compete, [S, B].

        As ``snntorch.functional.mse_count_loss``, which compares labels on the host in each call.
        """
        counts, classes = self.counts(record), torch.arange(record.shape[3], device=record.device)
        wanted = self.steps * (labels.unsqueeze(2) == classes)
        distances = (counts - wanted).square() / self.steps
        compete = torch.ones_like(distances) if mask is None else mask.expand_as(distances)
        return (distances * compete).sum(2) / compete.sum(2)

    def counts(self, record: Tensor) -> Tensor:
        """Return the spikes of each output over all steps, [S, B, C]."""
        return record.sum(1) * (self.steps / record.shape[1])

    @property
    def steps(self) -> int:
        """Number of steps for which the network computes: one, without spiking units."""
        return self.config.steps if self.config.units == "leaky" else 1

    def run(self, frames: Tensor) -> Activity:
        """Return the activity of the network in training, and count the samples."""
        self.trained += frames.shape[2]
        with training(self.network):
            found: Activity = self.network(frames)
        return found

    # -- testing

    def predict(self, inputs: Tensor, task_id: int | None) -> Tensor:
        size, counted = max(FRAMES // self.steps, 1), self.counted(inputs)
        parts = zip(torch.split(inputs, size, 1), torch.split(counted, size, 1), strict=True)
        return torch.cat([self.scores(part, self.tested(part, of)) for part, of in parts], dim=1)

    def counted(self, inputs: Tensor) -> Tensor:
        """Return which of the samples to predict count in the cost, [S, B]."""
        everyone = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        return everyone if self.valid is None else self.valid

    def tested(self, inputs: Tensor, counted: Tensor) -> Activity:
        """Return the activity of the network in testing, and add up what it costs.

        Args:
            counted: whether the cost of a sample counts, [S, B].
        """
        is_spiking = self.config.units == "leaky"
        activity: Activity = self.network(self.test_frames(inputs), counts=is_spiking)
        weights = counted.double().unsqueeze(2)
        self.is_tested = True
        self.samples_tested = self.samples_tested + counted.sum(1)
        self.spikes = self.spikes + (weights * activity.spikes).sum(1)
        self.additions = self.additions + (weights * activity.additions).sum(1)
        if is_spiking:
            counts = self.counts(activity.record)
            equal = (counts == counts.amax(2, keepdim=True)).sum(2) > 1
            self.tied = self.tied + (equal * counted).sum(1)
        return activity

    def scores(self, inputs: Tensor, activity: Activity) -> Tensor:
        """Return the spike count of each class, plus less than a half to decide between equals.

        Not finite for a seed with such a weight, which may end all spikes and seem sound.
        """
        if self.config.units == "relu":
            return activity.record[:, 0]
        weights = [weight.detach().flatten(1).sum(1) for weight in self.network.parameters()]
        sound = 0 * torch.stack(weights, 1).sum(1).view(-1, 1, 1)  # NaN unless all are finite
        counts = self.counts(activity.record).double() + sound
        if self.config.ties == "membrane":  # between -1/4 and 1/4
            return counts + activity.membrane.double().atan() / (2 * math.pi)
        if self.config.ties == "lowest":
            return counts
        return counts + _of_each(self.test_draws("ties in tests", counts.shape[2:]), inputs) / 4

    # -- cost

    def learn(self, task: Task) -> None:
        super().learn(task)
        self.forget_cost()

    def forget_cost(self) -> None:
        """Begin to add up the cost of tested samples."""
        self.is_tested = False
        nothing = torch.zeros(1, dtype=torch.float64, device=self.device)
        self.spikes = self.additions = self.tied = self.samples_tested = nothing

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        if not self.is_tested:
            return {}
        ones = torch.ones(len(self.seeds), dtype=torch.float64, device=self.device)
        synapses = self.network.synapses()
        in_twin = sum(synapses) * ones
        if self.config.units == "relu":
            additions, multiplied = 0 * ones, in_twin
        else:
            first = 0 if self.draws_spikes else 1  # whose inputs are no spikes
            additions = self.additions[:, first:].sum(1) / self.samples_tested
            multiplied = sum(synapses[:first]) * ones
        energy = (ADDITION * additions + MULTIPLY_ACCUMULATE * multiplied) / 1000
        twin = MULTIPLY_ACCUMULATE * in_twin / 1000
        ties = {} if self.config.units == "relu" else {"outputs": self.tied / self.samples_tested}
        return {
            "spikes": self.spikes_of_layers(),
            "ties": ties,
            "synaptic_operations": {"all layers": additions + multiplied},
            "multiply_accumulates": {"all layers": multiplied, "non-spiking twin": in_twin},
            "energy": {"all layers": energy, "non-spiking twin": twin},
        }

    def spikes_of_layers(self) -> dict[str, Tensor]:
        """Return the spikes of a tested sample in each layer, [S] each."""
        if self.config.units == "relu":
            return {}
        spikes = self.spikes / self.samples_tested.unsqueeze(1)
        hidden = {f"layer {n}": spikes[:, n] for n in range(1, spikes.shape[1] - 1)}
        inputs = {"inputs": spikes[:, 0]} if self.draws_spikes else {}
        return inputs | hidden | {"outputs": spikes[:, -1]}


def _of_each(drawn: Tensor, inputs: Tensor) -> Tensor:
    """Return the random numbers [S, TEST_DRAWS, ...] of each sample, chosen by the sum of its
    features, [S, B, ...].
    """
    chosen = inputs.sum(2, dtype=torch.float64).long() % TEST_DRAWS
    seeds = torch.arange(len(drawn), device=drawn.device).unsqueeze(1)
    return drawn[seeds, chosen]
