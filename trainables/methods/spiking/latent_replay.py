"""Compressed latent replay.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks", and its code. The network is cut in two. After pre-training what is below
stays as it is; of old samples only the spikes that cross the cut are kept, compressed in time, and
while the part above learns new samples it sees them again, expanded to all steps.

:mod:`trainables.methods.spiking.base` has the steps, which rehearsal of whole samples shares: cut
at the inputs, latent replay is rehearsal.
"""

from __future__ import annotations

from trainables.errors import InputError
from trainables.memory.compressed import Codec
from trainables.methods.spiking.base import DEEPEST, ReplayOptions, SpikingReplay
from trainables.options import option
from trainables.streams import StreamInfo


class LatentReplay(SpikingReplay["LatentReplay.Config"]):
    """What is below the cut is frozen; above it new samples and compressed spikes of old ones are
    learnt.
    """

    name = "latent_replay"
    reference = "Dequino et al. 2024, Compressed Latent Replays for Spiking Neural Networks"

    class Config(ReplayOptions):
        """Options of latent replay."""

        depth: int = option(
            3,
            "where the network is cut: after this layer; 0: after the weights of the first one, "
            "whose currents are kept as floats",
            low=0,
            high=DEEPEST,
        )
        codec: str = option(
            "binary",
            "what is kept of the spikes of a window: whether there was one, or how many",
            choices=("binary", "sums"),
        )

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        if config.hidden and config.depth > len(config.hidden):
            raise InputError(
                f"depth = {config.depth}: there are {len(config.hidden)} layers (hidden = "
                f"{list(config.hidden)}); allowed: 0 to {len(config.hidden)}"
            )
        super().check(config, stream)

    def prepare(self) -> None:
        self.cut = self.config.depth
        super().prepare()

    @classmethod
    def codec(cls, config: Config, stream: StreamInfo, ratio: int = 1) -> Codec:
        units = config.hidden[max(config.depth - 1, 0)]
        return Codec(config.codec if config.depth else "currents", stream.shape[0], units, ratio)
