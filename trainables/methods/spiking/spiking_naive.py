"""Spiking networks without replay: pre-training, then one task after the other; the lower bound."""

from __future__ import annotations

from trainables.methods.spiking.recurrent import RecurrentLearner, RecurrentOptions


class SpikingNaive(RecurrentLearner["SpikingNaive.Config"]):
    """Pre-training on the first task; then all weights are trained on each new task alone."""

    name = "spiking_naive"
    reference = "lower bound of Dequino et al. 2024, Compressed Latent Replays"

    class Config(RecurrentOptions):
        """Options of pre-training and of later tasks."""
