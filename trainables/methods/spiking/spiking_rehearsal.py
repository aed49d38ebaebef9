"""Rehearsal of input samples with spiking networks: the baseline of compressed latent replay."""

from __future__ import annotations

from trainables.methods.spiking.recurrent import RecurrentReplay, ReplayOptions


class SpikingRehearsal(RecurrentReplay["SpikingRehearsal.Config"]):
    """All weights are trained on the new task and on stored input samples of old tasks. With
    ``ratio`` above 1, the spikes of a window are summed and replayed at the window's first step.
    """

    name = "spiking_rehearsal"
    reference = "rehearsal of Dequino et al. 2024, Compressed Latent Replays"

    class Config(ReplayOptions):
        """Options of rehearsal."""
