"""Spiking networks trained on one task after the other: the lower bound of spiking replay."""

from __future__ import annotations

from torch import Tensor

from trainables.methods.spiking.leaky import LeakyLearner, LeakyOptions
from trainables.streams import Batch


class SpikingFinetune(LeakyLearner["SpikingFinetune.Config"]):
    """Plain training of a feed-forward spiking network on the current data only."""

    name = "spiking_finetune"
    reference = "lower bound of spiking_replay: the same network without a memory"
    bound = "lower"

    class Config(LeakyOptions):
        """Options of the network, the encoding and the training."""

    def observe(self, batch: Batch) -> Tensor:
        record = self.run(self.frames(batch.inputs, self.draws)).record
        mask = batch.task.loss_mask(batch.labels)
        return self.descend(self.losses_of(record, batch.labels, mask))
