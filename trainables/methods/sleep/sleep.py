"""Sleep as a part that any learner of a dense network may hold.

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
from trainables.nn.sleep import Plasticity, SpikingLayer, sleep
from trainables.stateful import Stateful
from trainables.streams import StreamInfo, Task

CHUNK = 512  # samples of a seed whose activity is measured at once
# factors of the port, of some network 1,200 wide; it uses them for one 4,000 wide
FIXED = tuple(alpha / 55.882454 for alpha in (14.983829, 253.17746, 7.770772))


class Sleep(Stateful):
    """The sleep of a dense network after each task: its units spike, driven by dreams, and spikes
    change its weights. With a probe it tells what that does to the network.

    Args:
        encode: as of :class:`~trainables.methods.sleep.dreams.Dreams`.
    """

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
            self.probe = Probe(config.probe, self.stack, stream.outputs, stream.inputs)
        self.keep("dreams", "probe")
        # of the last sleep: spikes of each layer, and ranks, shares and maps by label
        self.spikes: list[Tensor] = []
        self.ranks: dict[str, Tensor] = {}
        self.silent: dict[str, Tensor] = {}
        self.compared: dict[str, dict[str, Tensor]] = {}

    def after(self, task: Task, network: MLP) -> None:
        """Let the network sleep for as long as its options say of this task."""
        steps = sleep_steps(self.config, task.id)
        if steps:
            with self.watched(task, network):
                self.sleep(task, network, steps)

    @torch.no_grad()
    def sleep(self, task: Task, network: MLP, steps: int) -> None:
        """Change the weights for so many steps, driven by the mean of what was seen."""
        config = self.config
        rule = Plasticity(
            config.inc, config.inc * config.dec_ratio, config.gate, config.decay, config.reset
        )
        samples = self.dreams.samples(task)
        layers = self.spiking_layers(network, self.factors(network, samples))
        self.spikes = sleep(layers, self.dreams.inputs(task, samples, steps), rule)

    # -- the network as spiking units

    def factors(self, network: MLP, samples: Tensor) -> list[Tensor]:
        """Factor f of each layer, [S, 1].

        With lambda_l the largest weight or activity of a layer, consistent: f_l = lambda_(l-1) /
        lambda_l, as Diehl et al. 2015; the authors' code takes 1 / f for lambda in the chain, which
        differs from the third layer on.
        """
        depth = len(network.dense)
        if self.config.normalisation == "fixed":
            fixed = [FIXED[0], *[FIXED[1]] * (depth - 2), FIXED[2]][-depth:]
            return [torch.full((self.stack, 1), f, device=self.device) for f in fixed]
        factors, before = [], torch.ones(self.stack, 1, device=self.device)
        for largest in self.largest(network, samples):
            factors.append(before / largest)
            consistent = self.config.normalisation == "consistent"
            before = largest if consistent else 1 / factors[-1]
        return factors

    def largest(self, network: MLP, samples: Tensor) -> list[Tensor]:
        """Lambda of each layer: its largest weight or, over samples, activity, [S, 1]."""
        network.eval()
        found = [layer.weight.flatten(1).amax(1).clamp(min=1e-12) for layer in network.dense]
        for part in torch.split(samples, CHUNK, dim=1):
            active = activity(network, self.encode(part))
            found = [
                torch.maximum(most, a.flatten(1).amax(1))
                for most, a in zip(found, active, strict=True)
            ]
        return [most.unsqueeze(1) for most in found]

    def spiking_layers(self, network: MLP, factors: list[Tensor]) -> list[SpikingLayer]:
        """The layers asleep. A bias is a current that keeps its share of the layer's input: it is
        scaled as the spikes that reach the layer are, and does not change.
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

    # -- what it tells

    @contextmanager
    def watched(self, task: Task, network: MLP) -> Iterator[None]:
        """Compare the network before and after, if there are samples to look at."""
        if self.probe is None:
            yield
            return
        self.probe.see(task)
        before, ranks = self.probe.look(network, self.encode), self.stable_ranks(network, "before")
        yield
        after = self.probe.look(network, self.encode)
        self.compared = self.probe.maps(before, after)
        self.silent = {
            "before": self.probe.silent(before[-1]),
            "after": self.probe.silent(after[-1]),
        }
        self.ranks = ranks | self.stable_ranks(network, "after")

    def stable_ranks(self, network: MLP, when: str) -> dict[str, Tensor]:
        """Stable rank of each layer's weights, [S]."""
        layers = enumerate(network.dense, 1)
        return {f"layer {i} {when}": stable_rank(layer.weight, self.seeds) for i, layer in layers}

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        """Return the ``diagnostics`` and ``maps`` of the last sleep, as a learner does."""
        spikes = {f"layer {i}": n for i, n in enumerate(self.spikes, 1)}
        found = {"spikes": spikes, "stable_rank": self.ranks, "silent": self.silent}
        return {name: labels for name, labels in (found | self.compared).items() if labels}


def activity(network: MLP, inputs: Tensor) -> list[Tensor]:
    """What each layer hands on, the outputs rectified as well; [S, N, width] each."""
    given = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            given.append(inputs)
        inputs = layer(inputs)
    return [*given[1:], inputs.relu()]
