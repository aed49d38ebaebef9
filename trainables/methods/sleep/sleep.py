"""Sleep as a component for any learner of a dense network.

    self.asleep = Sleep(self.config, self.stream, self.seeds, self.device, self.encode)
    self.keep("asleep")
    ...
    self.asleep.after(task, self.network)      # at the end of a task

S seeds, D features, L layers with weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from trainables.learner import Map
from trainables.methods.sleep.dreams import Dreams
from trainables.methods.sleep.options import SleepOptions, sleep_steps
from trainables.methods.sleep.probe import Probe, stable_rank
from trainables.nn import MLP, Linear
from trainables.nn.spiking_sleep import Plasticity, SpikingLayer, run_sleep
from trainables.stateful import Stateful
from trainables.streams import StreamInfo, Task

CHUNK = 512  # samples per seed whose activity is computed at once
# factors of the port: computed for a network of width 1,200, but used for width 4,000
FIXED = tuple(alpha / 55.882454 for alpha in (14.983829, 253.17746, 7.770772))


class Sleep(Stateful):
    """The sleep of a dense network after each task: the network runs as spiking units, driven by
    dreams, and the spikes change the weights. With a probe, diagnostics compare the network before
    and after sleep.

    Args:
        encode: as for :class:`~trainables.methods.sleep.dreams.Dreams`.
    """

    diagnostics: ClassVar = {
        "spikes": ("Spikes during sleep", "spikes"),
        "stable_rank": ("Stable rank of the weights", ""),
        "silent": ("Samples without a positive output", "share of samples"),
    }
    maps: ClassVar = {
        "moved": Map("Change of activity during sleep, 1 - cosine", "", "layer", "class"),
        "outputs": Map("Outputs before and after sleep", "", "output", "class"),
        "components": Map(
            "Activity along the first principal components", "", "component", "class", False
        ),
    }

    def __init__(
        self,
        config: SleepOptions,
        stream: StreamInfo,
        seeds: Sequence[int],
        device: torch.device,
        encode: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(len(seeds), device)
        self.config, self.seeds, self.encode = config, tuple(seeds), encode
        self.dreams = Dreams(config, stream, seeds, device, encode)
        self.probe = None
        if config.probe:
            self.probe = Probe(
                config.probe, self.stack, stream.outputs, stream.inputs, stream.dtype
            )
        self.keep("dreams", "probe")
        # diagnostics of the last sleep; all but the spikes need a probe
        self.spikes: list[Tensor] = []  # per layer
        self.ranks: dict[str, Tensor] = {}
        self.silent: dict[str, Tensor] = {}
        self.comparison: dict[str, dict[str, Tensor]] = {}  # maps

    def after(self, task: Task, network: MLP) -> None:
        """Run the sleep after a task, with the number of steps configured for that task."""
        steps = sleep_steps(self.config, task.id)
        if steps:
            with self.probed(task, network):
                self.sleep(task, network, steps)

    @torch.no_grad()
    def sleep(self, task: Task, network: MLP, steps: int) -> None:
        """Run a sleep of ``steps`` steps; change the weights in place."""
        config = self.config
        rule = Plasticity(
            config.inc, config.inc * config.dec_ratio, config.gate, config.decay, config.reset
        )
        samples = self.dreams.samples(task)
        layers = self.spiking_layers(network, self.factors(network, samples))
        self.spikes = run_sleep(layers, self.dreams.inputs(task, samples, steps), rule)

    # -- the network as spiking units

    def factors(self, network: MLP, samples: Tensor) -> list[Tensor]:
        """Return the normalisation factor f of each layer, [S, 1].

        With lambda_l the largest weight or activity of layer l, the consistent factor is f_l =
        lambda_(l-1) / lambda_l, as in Diehl et al. 2015. The authors' code uses 1 / f_(l-1) in
        place of lambda_(l-1), which differs from the third layer on.
        """
        depth = len(network.dense)
        if self.config.normalisation == "fixed":
            fixed = [FIXED[0], *[FIXED[1]] * (depth - 2), FIXED[2]][-depth:]
            return [torch.full((self.stack, 1), f, device=self.device) for f in fixed]
        factors, previous = [], torch.ones(self.stack, 1, device=self.device)
        for maximum in self.maxima(network, samples):
            factors.append(previous / maximum)
            consistent = self.config.normalisation == "consistent"
            previous = maximum if consistent else 1 / factors[-1]
        return factors

    def maxima(self, network: MLP, samples: Tensor) -> list[Tensor]:
        """Return lambda of each layer: the largest weight or activity on the samples, [S, 1]."""
        network.eval()
        maxima = [layer.weight.flatten(1).amax(1).clamp(min=1e-12) for layer in network.dense]
        for part in torch.split(samples, CHUNK, dim=1):
            activities = rectified_activities(network, self.encode(part))
            maxima = [
                torch.maximum(maximum, activity.flatten(1).amax(1))
                for maximum, activity in zip(maxima, activities, strict=True)
            ]
        return [maximum.unsqueeze(1) for maximum in maxima]

    def spiking_layers(self, network: MLP, factors: list[Tensor]) -> list[SpikingLayer]:
        """Return the layers asleep. A bias becomes a constant current, scaled like the spikes that
        reach the layer, so that its share of the layer's input is unchanged.
        """
        config, dense = self.config, network.dense
        betas = [config.beta_first, *[config.beta_hidden] * (len(dense) - 2), config.beta_last]
        layers: list[SpikingLayer] = []
        rate: float | Tensor = self.dreams.brightest_rate()
        for layer, factor, beta in zip(dense, factors, betas[-len(dense) :], strict=True):
            scale = config.alpha_scale * factor
            bias = None if layer.bias is None else scale * rate * layer.bias.detach().squeeze(1)
            layers.append(SpikingLayer(layer.weight.detach(), scale, beta, bias))
            rate = rate * scale / max(beta, 1e-12)
        return layers

    # -- diagnostics

    @contextmanager
    def probed(self, task: Task, network: MLP) -> Iterator[None]:
        """With a probe, compare the network before and after this context."""
        if self.probe is None:
            yield
            return
        self.probe.store(task)
        before = self.probe.activities(network, self.encode)
        ranks = self.stable_ranks(network, "before")
        yield
        after = self.probe.activities(network, self.encode)
        self.comparison = self.probe.maps(before, after)
        self.silent = {
            "before": self.probe.silent(before[-1]),
            "after": self.probe.silent(after[-1]),
        }
        self.ranks = ranks | self.stable_ranks(network, "after")

    def stable_ranks(self, network: MLP, when: str) -> dict[str, Tensor]:
        """Return the stable rank of each layer's weights, [S], by label."""
        layers = enumerate(network.dense, 1)
        return {f"layer {i} {when}": stable_rank(layer.weight, self.seeds) for i, layer in layers}

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        """Return the diagnostics and maps of the last sleep, in the form of
        :meth:`Learner.diagnose <trainables.learner.Learner.diagnose>`.
        """
        spikes = {f"layer {i}": n for i, n in enumerate(self.spikes, 1)}
        numbers = {"spikes": spikes, "stable_rank": self.ranks, "silent": self.silent}
        return {name: labels for name, labels in (numbers | self.comparison).items() if labels}


def rectified_activities(network: MLP, inputs: Tensor) -> list[Tensor]:
    """Return the rectified activity of each layer with weights, the outputs included; [S, N, width]
    each.
    """
    layer_inputs = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            layer_inputs.append(inputs)
        inputs = layer(inputs)
    return [*layer_inputs[1:], inputs.relu()]
