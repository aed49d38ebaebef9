"""iCaRL that sleeps after each task."""

from __future__ import annotations

from torch import Tensor

from trainables.methods.icarl import ICaRL
from trainables.methods.sleep.options import Sleeping, check_sleep, mean_image_bytes
from trainables.methods.sleep.sleep import Sleep
from trainables.streams import StreamInfo, Task


class ICaRLSleep(ICaRL["ICaRLSleep.Config"]):
    """iCaRL with sleep after the training on each task, before exemplars are chosen.

    Differs from the combination in the paper, which trains with softmax and cross-entropy.
    """

    name = "icarl_sleep"
    reference = "Tadros et al. 2022, with iCaRL: Rebuffi et al. 2017"
    version = 2
    dense_only = True
    diagnostics = Sleep.diagnostics | ICaRL.diagnostics
    maps = Sleep.maps

    class Config(ICaRL.Config, Sleeping):
        """Options of iCaRL and of sleep."""

    def prepare(self) -> None:
        super().prepare()
        self.asleep = Sleep(self.config, self.stream, self.seeds, self.device, self.encode)
        self.keep("asleep")

    @classmethod
    def check(cls, config: Config, stream: StreamInfo) -> None:
        super().check(config, stream)
        check_sleep(config, stream)

    @classmethod
    def reserved_bytes(cls, config: Config, stream: StreamInfo) -> int:
        return mean_image_bytes(config, stream)

    def end_task(self, task: Task) -> None:
        self.asleep.after(task, self.network)
        super().end_task(task)

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        return super().diagnose() | self.asleep.diagnose()
