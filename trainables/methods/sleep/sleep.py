"""Sleep as a phase that any dense learner can have after a task.

What the network dreams of is not data: inputs spike at the rates of a mean image, of which each
step sees a part. S seeds, D features, L layers with weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainables.errors import InputError
from trainables.learner import Learner, Map
from trainables.methods.sleep.probe import Probe, stable_rank
from trainables.nn import MLP, Linear
from trainables.nn.sleep import GATES, Plasticity, SpikingLayer, sleep
from trainables.options import FACTOR, Options, option
from trainables.rng import Draws
from trainables.streams import StreamInfo, Task

STEP = 1e-3  # seconds
CHUNK = 64  # steps whose inputs are drawn at once; samples of a seed whose activity is measured
PROBED = 2000  # most samples of a seed that are looked at: the time grows with their cube
IMAGES = 8192  # of a seed whose means are taken at once, or as many as one mean is of
# factors of the port, of some network 1,200 wide; it uses them for one 4,000 wide
FIXED = tuple(alpha / 55.882454 for alpha in (14.983829, 253.17746, 7.770772))


class SleepOptions(Options):
    """Options of the sleep phase; defaults of the Python port of the authors' code."""

    sleep_steps: int = option(
        500, "steps of the sleep after the first task; 0: no sleep", low=0, high=1_000_000
    )
    sleep_growth: float = option(
        1 / 3, "how much longer each later sleep is, as a share of the first", low=0.0, high=10.0
    )
    inc: float = option(
        1e-3, "weight gained by an input that fires with its unit", low=0.0, high=100.0
    )
    dec_ratio: float = option(
        0.1, "weight lost by an input that does not, as a share of inc", low=0.0, high=1e3
    )
    gate: str = option(
        "logistic",
        "factor of a change, by the weight w: 1/(1+exp(-w)) (the port), 2/(1+exp(w/0.001)) (the "
        "authors' code), w itself, or 1",
        choices=tuple(GATES),
    )
    decay: float = option(0.999, "of a unit's membrane, in a step", low=0.0, high=1.0)
    reset: str = option(
        "zero",
        "membrane after a spike: zero, or less the threshold",
        choices=("zero", "subtract"),
    )
    beta_first: float = option(14.548273, "threshold of the first layer", low=0.0, high=FACTOR)
    beta_hidden: float = option(44.560317, "threshold of layers between", low=0.0, high=FACTOR)
    beta_last: float = option(38.046326, "threshold of the outputs", low=0.0, high=FACTOR)
    alpha_scale: float = option(
        55.882454, "factor of the input of every layer", low=0.0, high=FACTOR
    )
    normalisation: str = option(
        "fixed",
        "factor of each layer: that of the port, or from weights and activity, layer by layer "
        "(consistent) or as the authors' code chains them",
        choices=("fixed", "consistent", "reference_code"),
    )
    max_rate: float = option(
        239.515363, "spikes a second of the brightest input, halved", low=0.0, high=FACTOR
    )
    mask: str = option(
        "pixels",
        "part of the mean image that a step sees: pixels by chance, or a square",
        choices=("pixels", "window"),
    )
    mask_keep: float = option(
        0.25, "share of the pixels seen, for mask = pixels", low=0.0, high=1.0
    )
    mask_window: int = option(11, "side of the square seen, for mask = window", low=1, high=1024)
    sleep_data: str = option(
        "current",
        "what mean image and factors are of: the samples of the task just learnt; all tasks by one "
        "running mean image, factors by the task; or all samples so far, which are then kept, "
        "without labels and besides any memory: not with memory_bytes",
        choices=("current", "mean", "seen"),
    )
    images_per_step: int = option(
        10,
        "random samples in the mean image of a step, for sleep_data = current; 0: all",
        low=0,
        high=10_000,
    )
    probe: int = option(
        0,
        "samples of each class kept to look at activity before and after sleep, not to learn from "
        "(auxiliary bytes); 0: none",
        low=0,
        high=100,
    )


class Sleeping(Learner):
    """A learner of a dense network that sleeps after each task, before it concludes it."""

    diagnostics: ClassVar = {
        "spikes": ("Spikes asleep", "spikes"),
        "stable_rank": ("Stable rank of the weights", ""),
        "silent": ("Samples that no output answers to", "share of samples"),
    }
    maps: ClassVar = {
        "moved": Map("Change of activity asleep, 1 - cosine", "", "layer", "class"),
        "outputs": Map("Outputs before and after sleep", "", "output", "class"),
        "components": Map(
            "Activity along the first principal components", "", "component", "class", False
        ),
    }
    scenarios: ClassVar[tuple[str, ...]] = ("task", "domain", "class")

    network: MLP

    def prepare(self) -> None:
        super().prepare()
        # what is kept of past data: a mean image, or all samples
        keeps_mean, size = keeps_mean_image(self.config), self.stream.inputs
        self.mean = torch.zeros(len(self.seeds), size if keeps_mean else 0, device=self.device)
        self.meant = torch.zeros(len(self.seeds), 1 if keeps_mean else 0, device=self.device)
        self.past = torch.zeros(len(self.seeds), 0, size, dtype=torch.uint8, device=self.device)
        self.spikes: list[Tensor] = []  # of each layer in the last sleep, [S]
        shape = (len(self.seeds), self.stream.outputs, self.stream.inputs)
        self.probe = Probe(self.config.probe, *shape) if self.config.probe else None
        self.ranks: dict[str, Tensor] = {}  # of the last sleep, [S]
        self.silent: dict[str, Tensor] = {}  # likewise
        self.compared: dict[str, dict[str, Tensor]] = {}  # maps of the last sleep

    @classmethod
    def check(cls, config: Any, stream: StreamInfo) -> None:
        super().check(config, stream)
        if not config.sleep_steps:
            return
        if config.layer_norm:
            raise InputError("layer_norm = true: a network with layer normalisation cannot sleep")
        if config.standardise:
            raise InputError("standardise = true: rates of spikes are inputs from 0 to 1")
        if config.sleep_data == "seen" and getattr(config, "memory_bytes", None) is not None:
            raise InputError(
                f'memory_bytes = {config.memory_bytes} cannot be kept to with sleep_data = "seen": '
                'all samples so far are kept; give sleep_data = "mean" or "current", or a number '
                "of samples (memory_total, memory_per_task), which counts what is kept with labels"
            )
        if config.probe * stream.outputs > PROBED:
            raise InputError(
                f"probe = {config.probe}: of {stream.outputs} classes that is too much to look at; "
                f"allowed: 0 to {PROBED // stream.outputs}"
            )
        side = min(stream.shape[:2]) if len(stream.shape) > 1 else 0
        if config.mask == "window" and config.mask_window > side:
            raise InputError(
                f"mask_window = {config.mask_window} does not fit in inputs of {stream.shape}"
            )

    @classmethod
    def bytes_besides_samples(cls, config: Any, stream: StreamInfo) -> int:
        """Bytes of the mean image and of the number of samples it is of, if one is kept."""
        return 4 * (stream.inputs + 1) if keeps_mean_image(config) else 0

    def end_task(self, task: Task) -> None:
        steps = sleep_steps(self.config, task.id)
        if steps:
            self.before_sleep()
            with self.watched(task):
                self.sleep(task, steps)
        super().end_task(task)

    def before_sleep(self) -> None:
        """Look at the network as training left it."""

    @torch.no_grad()
    def sleep(self, task: Task, steps: int) -> None:
        """Change the weights for so many steps, driven by the mean of what was seen."""
        config = self.config
        rule = Plasticity(
            config.inc, config.inc * config.dec_ratio, config.gate, config.decay, config.reset
        )
        samples = self.samples(task)
        layers = self.spiking_layers(self.factors(samples))
        self.spikes = sleep(layers, self.dreams(task, samples, steps), rule)

    @contextmanager
    def watched(self, task: Task) -> Iterator[None]:
        """Compare the network before and after, if there are samples to look at."""
        if self.probe is None:
            yield
            return
        self.probe.see(task)
        before, ranks = self.probe.look(self.network, self.encode), self.stable_ranks()
        yield
        after = self.probe.look(self.network, self.encode)
        self.compared = self.probe.maps(before, after)
        self.silent = {
            "before": self.probe.silent(before[-1]),
            "after": self.probe.silent(after[-1]),
        }
        self.ranks = {f"{layer} before": rank for layer, rank in ranks.items()}
        self.ranks |= {f"{layer} after": rank for layer, rank in self.stable_ranks().items()}

    def stable_ranks(self) -> dict[str, Tensor]:
        """Stable rank of each layer's weights, [S]."""
        layers = enumerate(self.network.dense, 1)
        return {f"layer {i}": stable_rank(layer.weight, self.seeds) for i, layer in layers}

    # -- what sleep is driven by

    def samples(self, task: Task) -> Tensor:
        """Samples that a sleep may look at, uint8 [S, N, D]; the mean image learns of them."""
        new = task.sample(task.size, "asleep").inputs
        if self.config.sleep_data == "seen":
            self.past = new = torch.cat([self.past, new], 1)
        if self.config.sleep_data == "mean":
            share = new.shape[1] / (self.meant + new.shape[1])
            self.mean += share * (self.encode(new).mean(1) - self.mean)
            self.meant += new.shape[1]
        return new

    def dreams(self, task: Task, samples: Tensor, steps: int) -> Iterator[Tensor]:
        """Yield which inputs spike, bool [S, D], for so many steps."""
        draws = {
            name: Draws(self.seeds, f"sleep {name}/{task.id}", self.device)
            for name in ("spikes", "mask", "images")
        }
        stack, size = len(self.seeds), self.stream.inputs
        mean = None if self.images_drawn else self.mean_image(samples)
        for start in range(0, steps, CHUNK):
            count = min(CHUNK, steps - start)
            rates = self.drawn_means(samples, draws["images"], count) if mean is None else mean
            chance: Tensor = (2 * STEP * self.config.max_rate * rates).clamp(max=1.0)
            chance = chance * self.part_seen(draws["mask"], count)
            drawn = draws["spikes"].uniform(count * size).view(stack, count, size)
            yield from (drawn < chance).unbind(1)

    @property
    def images_drawn(self) -> bool:
        """Whether each step has a mean image of its own."""
        return bool(self.config.sleep_data == "current" and self.config.images_per_step)

    def mean_image(self, samples: Tensor) -> Tensor:
        """Mean of what was seen, [S, 1, D]."""
        mean = self.mean if self.config.sleep_data == "mean" else self.encode(samples).mean(1)
        return mean.unsqueeze(1)

    def drawn_means(self, samples: Tensor, draws: Draws, count: int) -> Tensor:
        """Means of random samples, with replacement; [S, count, D]."""
        each, (stack, held, size) = self.config.images_per_step, samples.shape
        rows = (draws.uniform(count * each) * held).long()
        rows += torch.arange(stack, device=self.device).unsqueeze(1) * held
        rows, pool = rows.view(stack, count, each), samples.flatten(0, 1)
        means = []
        for some in torch.split(rows, max(IMAGES // each, 1), dim=1):
            drawn = self.encode(pool.index_select(0, some.flatten()))
            means.append(drawn.view(*some.shape, size).mean(2))
        return torch.cat(means, dim=1)

    def part_seen(self, draws: Draws, count: int) -> Tensor:
        """Which inputs each step sees, [S, count, D]."""
        stack, size = len(self.seeds), self.stream.inputs
        if self.config.mask == "pixels":
            kept: Tensor = draws.uniform(count * size) < self.config.mask_keep
            return kept.view(stack, count, size)
        high, wide, *channels = self.stream.shape
        down, right = draws.uniform(2 * count).view(stack, count, 2).unbind(2)
        rows = _within(down, self.config.mask_window, high)
        columns = _within(right, self.config.mask_window, wide)
        seen = rows.unsqueeze(3) & columns.unsqueeze(2)
        return seen.unsqueeze(4).expand(*seen.shape, math.prod(channels)).flatten(2)

    def share_seen(self) -> float:
        """Part of the inputs that a step sees on average, as far as a window sees all alike."""
        if self.config.mask == "pixels":
            return float(self.config.mask_keep)
        return float(self.config.mask_window**2 / math.prod(self.stream.shape[:2]))

    # -- the network as spiking units

    def factors(self, samples: Tensor) -> list[Tensor]:
        """Factor f of each layer, [S, 1].

        With lambda_l the largest weight or activity of a layer, consistent: f_l = lambda_(l-1) /
        lambda_l, as Diehl et al. 2015; the authors' code takes 1 / f for lambda in the chain, which
        differs from the third layer on.
        """
        depth, stack = len(self.network.dense), len(self.seeds)
        if self.config.normalisation == "fixed":
            fixed = [FIXED[0], *[FIXED[1]] * (depth - 2), FIXED[2]][-depth:]
            return [torch.full((stack, 1), f, device=self.device) for f in fixed]
        factors, before = [], torch.ones(stack, 1, device=self.device)
        for largest in self.largest(samples):
            factors.append(before / largest)
            consistent = self.config.normalisation == "consistent"
            before = largest if consistent else 1 / factors[-1]
        return factors

    def largest(self, samples: Tensor) -> list[Tensor]:
        """Lambda of each layer: its largest weight or, over samples, activity, [S, 1]."""
        self.network.eval()
        found = [layer.weight.flatten(1).amax(1).clamp(min=1e-12) for layer in self.network.dense]
        for part in torch.split(samples, 8 * CHUNK, dim=1):
            active = self.activity(part)
            found = [
                torch.maximum(most, a.flatten(1).amax(1))
                for most, a in zip(found, active, strict=True)
            ]
        return [most.unsqueeze(1) for most in found]

    def activity(self, samples: Tensor) -> list[Tensor]:
        """What each layer hands on, the outputs rectified as well; [S, N, width] each."""
        values, given = self.encode(samples), []
        for layer in self.network.layers:
            if isinstance(layer, Linear):
                given.append(values)
            values = layer(values)
        return [*given[1:], values.relu()]

    def spiking_layers(self, factors: list[Tensor]) -> list[SpikingLayer]:
        """The layers asleep. A bias is a current that keeps its share of the layer's input: it is
        scaled as the spikes that reach the layer are, and does not change.
        """
        config, dense = self.config, self.network.dense
        betas = [config.beta_first, *[config.beta_hidden] * (len(dense) - 2), config.beta_last]
        layers, rate = [], 2 * STEP * config.max_rate * self.share_seen()
        for layer, factor, beta in zip(dense, factors, betas[-len(dense) :], strict=True):
            scale = config.alpha_scale * factor
            bias = None if layer.bias is None else scale * rate * layer.bias.detach().squeeze(1)
            layers.append(SpikingLayer(layer.weight.detach(), scale, beta, bias))
            rate = rate * scale / max(beta, 1e-12)
        return layers

    # -- what is held

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        spikes = {f"layer {i}": n for i, n in enumerate(self.spikes, 1)}
        own = {"spikes": spikes, "stable_rank": self.ranks, "silent": self.silent, **self.compared}
        return super().diagnose() | {name: found for name, found in own.items() if found}

    def footprint(self) -> dict[str, int]:
        held = super().footprint()
        for tensor in (self.mean, self.meant, self.past):
            held["memory"] += tensor.numel() * tensor.element_size() // len(self.seeds)
        held["auxiliary"] += self.probe.bytes() if self.probe else 0
        return held

    def state(self) -> dict[str, Any]:
        own = {"mean": self.mean, "meant": self.meant, "seen": self.past}
        return super().state() | own | ({"probe": self.probe.state()} if self.probe else {})

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.mean.copy_(state["mean"])
        self.meant.copy_(state["meant"])
        self.past = state["seen"].to(self.device, copy=True)
        if self.probe:
            self.probe.load(state["probe"])


def keeps_mean_image(config: Any) -> bool:
    """Whether a mean image of all tasks so far is kept for sleep."""
    return bool(config.sleep_steps and config.sleep_data == "mean")


def sleep_steps(config: Any, task: int) -> int:
    """Length of the sleep after a task, the first being task 0."""
    return int(config.sleep_steps) + task * int(config.sleep_growth * config.sleep_steps + 1e-9)


def _within(drawn: Tensor, side: int, length: int) -> Tensor:
    """Which of ``length`` places lie in a window, whose start is drawn from [0, 1), for each of
    [S, N] numbers; [S, N, length].
    """
    first = (drawn * (length - side + 1)).long().unsqueeze(2)
    place = torch.arange(length, device=drawn.device)
    return (place >= first) & (place < first + side)
