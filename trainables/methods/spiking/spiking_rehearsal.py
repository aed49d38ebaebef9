"""Rehearsal of spiking networks: what compressed latent replay is compared with."""

from __future__ import annotations

from trainables.methods.spiking.base import ReplayOptions, SpikingReplay


class SpikingRehearsal(SpikingReplay["SpikingRehearsal.Config"]):
    """All weights learn the new task, and samples of the old ones as they came, or with the spikes
    of a window added up and put at its first step.
    """

    name = "spiking_rehearsal"
    reference = "rehearsal of Dequino et al. 2024, Compressed Latent Replays"

    class Config(ReplayOptions):
        """Options of rehearsal."""
