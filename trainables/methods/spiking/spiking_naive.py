"""Spiking networks that are pre-trained and then learn task after task: what replay has to beat."""

from __future__ import annotations

from trainables.methods.spiking.base import SpikingLearner, SpikingOptions


class SpikingNaive(SpikingLearner["SpikingNaive.Config"]):
    """Pre-trained on the first task, then all weights learn each new task and nothing else."""

    name = "spiking_naive"
    reference = "lower bound of Dequino et al. 2024, Compressed Latent Replays"

    class Config(SpikingOptions):
        """Options of pre-training and of what follows."""
