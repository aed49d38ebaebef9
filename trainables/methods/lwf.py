"""Learning without forgetting (Li and Hoiem 2016), in the form of van de Ven et al. (2022).

Before task t = 2, 3, ... the network is copied. The copy is the teacher: what it makes of the
*current* inputs is to be kept, while the labels are learnt,

    L = (1/t) CE + alpha (1 - 1/t) KD,    KD = - E_x sum_k q_k(x) log p_k(x),
    q = softmax(teacher's logits / tau),  p = softmax(logits / tau).

KD is not multiplied by tau^2. q is over the outputs of earlier tasks, so it is 0 for new classes;
p is over these and, where new and old classes compete in CE, over the new ones too. Task scenario:
KD is the mean over earlier tasks, each with a softmax of its own. Domain: over all outputs.

Li and Hoiem add up the KD of earlier tasks to a CE of weight 1: with alpha = 1 that is our L times
t. They also train new outputs alone at first, which we do not. In van de Ven's class scenario q
covers unseen classes too where all compete, and is split by task where only those of a task do; a
later version of that code weighs CE and KD equally there: alpha would be 1 / (t - 1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from trainables.learner import Learner, Training, cross_entropy
from trainables.options import FACTOR, option
from trainables.streams import Batch, Task


class LwF(Learner["LwF.Config"]):
    """Finetune while answering like the network before the task: the teacher needs no old data."""

    name = "lwf"
    reference = "Li and Hoiem 2016, Learning without Forgetting; van de Ven et al. 2022 (weights)"
    scenarios = ("task", "domain", "class")

    class Config(Training):
        """Options of learning without forgetting."""

        tau: float = option(
            2.0, "temperature of the softmax in the distillation", low=0.01, high=1e3
        )
        alpha: float = option(
            1.0,
            "weight of the distillation besides 1 - 1/t, for task t; 1: published",
            low=0.0,
            high=FACTOR,
        )

    def prepare(self) -> None:
        self.teacher: dict[str, Tensor] = {}  # weights by name; none before a task is done
        self.keep("teacher", kind="auxiliary")

    def observe(self, batch: Batch) -> Tensor:
        logits, mask = self.logits(batch.inputs), batch.task.loss_mask(batch.labels)
        loss = cross_entropy(logits, batch.labels, mask)
        if batch.task.id:
            share = 1 / (batch.task.id + 1)
            kept = self.distillation(batch, logits, mask)
            loss = share * loss + self.config.alpha * (1 - share) * kept
        return self.descend(loss)

    def distillation(self, batch: Batch, logits: Tensor, mask: Tensor | None) -> Tensor:
        """KD of each seed, [S], the mean over the groups of old outputs.

        Args:
            logits: of the batch, [S, B, C].
            mask: outputs that compete in the cross-entropy; None for all.
        """
        with torch.no_grad():
            taught = functional_call(self.network, self.teacher, (self.encode(batch.inputs),))
        groups, tau = batch.task.old_outputs, self.config.tau
        return torch.stack(
            [distil(logits, taught, old, rivals(old, mask), tau) for old in groups]
        ).mean(0)

    def end_task(self, task: Task) -> None:
        self.teacher = {name: w.detach().clone() for name, w in self.network.named_parameters()}


def rivals(old: Tensor, mask: Tensor | None) -> Tensor | None:
    """Outputs that the student's probabilities run over: the old ones, and new ones that compete
    with them in the cross-entropy; None for all.

    Args:
        old: outputs of one group, [S, 1, C].
        mask: outputs that compete in the cross-entropy, [S, B or 1, C]; None for all.
    """
    if mask is None:
        return None
    return old | (mask & (mask & old).any(-1, keepdim=True))


def distil(
    logits: Tensor, taught: Tensor, old: Tensor, rivals: Tensor | None, tau: float
) -> Tensor:
    """Cross-entropy of the logits with the teacher's, [S, B, C] both, at temperature tau; mean
    over the batch, [S].
    """
    q = (taught / tau).masked_fill(~old, -torch.inf).softmax(-1)
    mine = logits / tau
    shown = mine if rivals is None else mine.masked_fill(~rivals, -torch.inf)
    # as q sums to 1; without log p, which is -inf where q is 0
    return (shown.logsumexp(-1) - (q * mine).sum(-1)).mean(1)
