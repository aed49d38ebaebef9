"""Spiking networks trained on all tasks together: the upper bound of spiking replay."""

from __future__ import annotations

from trainables.methods.joint import Joint
from trainables.methods.spiking.leaky import LeakyOptions
from trainables.methods.spiking.spiking_finetune import SpikingFinetune


class SpikingJoint(SpikingFinetune, Joint):
    """Spiking finetune on the union of all tasks, from the first step on, as :class:`Joint`."""

    name = "spiking_joint"
    reference = "upper bound of spiking_replay: the same network, trained on the union of the tasks"
    bound = "upper"

    class Config(LeakyOptions):
        """Options of the network, the encoding and the training."""
