"""Joint training of the network of sleep replay."""

from __future__ import annotations

from trainables.methods.joint import Joint
from trainables.methods.sleep.wake import Wake
from trainables.options import option


class WakeJoint(Wake["WakeJoint.Config"], Joint):
    """Joint training of the network of ``sleep_replay``: its upper bound."""

    name = "wake_joint"
    reference = "offline training on the union of the tasks, equal number of samples processed"
    scenarios = ("task", "domain", "class")

    class Config(Wake.Config):
        """Options of training on the union of the tasks."""

        keep_velocity: bool = option(
            True, "keep the optimiser's state (momentum) across tasks; otherwise reset it"
        )
