"""Finetune: cross-entropy on the current data only; the lower bound for every method."""

from __future__ import annotations

from torch import Tensor

from trainables.learner import Learner, cross_entropy
from trainables.streams import Batch


class Finetune(Learner):
    """Plain training on one task after the other; also known as naive or SGD.

    Defaults follow the protocol of Hsu et al. (2018): two hidden layers of 400 units, Adam with
    learning rate 1e-3, batch size 128, 4 epochs per task.
    """

    name = "finetune"
    reference = "Hsu et al. 2018, Re-evaluating Continual Learning Scenarios (protocol)"
    bound = "lower"

    def observe(self, batch: Batch) -> Tensor:
        mask = batch.task.loss_mask(batch.labels)
        return self.descend(cross_entropy(self.logits(batch.inputs), batch.labels, mask))
