"""iCaRL that sleeps after each task."""

from __future__ import annotations

from trainables.methods.icarl import ICaRL
from trainables.methods.sleep.sleep import Sleeping, SleepOptions


class ICaRLSleep(Sleeping, ICaRL):
    """iCaRL with a sleep after the training on each task, before exemplars are chosen.

    Differs from the authors' combination, which trains by softmax and cross-entropy.
    """

    name = "icarl_sleep"
    reference = "Tadros et al. 2022, with iCaRL: Rebuffi et al. 2017"
    scenarios = ICaRL.scenarios
    version = 2
    diagnostics = Sleeping.diagnostics | ICaRL.diagnostics

    class Config(ICaRL.Config, SleepOptions):
        """Options of iCaRL and of sleep."""
