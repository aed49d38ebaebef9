"""Compressed latent replay.

Source: Dequino et al. 2024, "Compressed latent replays for lightweight continual learning on
spiking neural networks", and its code. A cut divides the network; the part below is frozen after
pre-training. Of old samples only the latents, the spikes that cross the cut, are stored, compressed
in time. Later tasks train the part above on new latents and on old ones, expanded to all steps.

The training steps are in :mod:`trainables.methods.spiking.recurrent`, shared with rehearsal: latent
replay with its cut at the inputs is rehearsal.
"""

from __future__ import annotations

from trainables.errors import InputError
from trainables.memory.compressed import Codec
from trainables.methods.spiking.recurrent import DEEPEST, RecurrentReplay, ReplayOptions
from trainables.options import option
from trainables.streams import StreamInfo


class LatentReplay(RecurrentReplay["LatentReplay.Config"]):
    """The part below the cut is frozen; the part above is trained on new latents and on stored,
    compressed latents of old samples.
    """

    name = "latent_replay"
    reference = "Dequino et al. 2024, Compressed Latent Replays for Spiking Neural Networks"

    class Config(ReplayOptions):
        """Options of latent replay."""

        depth: int = option(
            3,
            "layer after which the network is cut; 0: at the input currents of the first layer, "
            "stored as float32",
            low=0,
            high=DEEPEST,
        )
        codec: str = option(
            "binary",
            "stored number of a window; binary: whether the unit spiked; sums: number of spikes",
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
