"""Learning without forgetting (Li and Hoiem 2016), in the form of van de Ven et al. (2022).

Before each task t = 2, 3, ... the network is copied. The copy is the teacher, whose outputs for the
*current* inputs are distilled while the labels are learnt,

    L = (1/t) CE + alpha (1 - 1/t) KD,    KD = - E_x sum_k q_k(x) log p_k(x),
    q = softmax(teacher's logits / tau),  p = softmax(logits / tau).

KD is not multiplied by tau^2. q is over the outputs of earlier tasks, so that q is 0 for new
classes; p is over the same outputs and, where new and old classes compete in CE, also over the new
ones. In the task scenario KD is the mean over the earlier tasks, with a separate softmax each. In
the domain scenario q and p are over all outputs.

Li and Hoiem add the KD of every earlier task to a CE of weight 1: with alpha = 1 that is the L
above times t. Their initial phase, which trains only the new outputs, is omitted here. In the class
scenario of van de Ven et al., q also covers unseen classes if all classes compete, and is split by
task if only the classes of a task compete; a later version of that code weights CE and KD equally,
which is alpha = 1 / (t - 1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from trainables.learner import Learner, Training, cross_entropy
from trainables.nn import weights_of
from trainables.options import FACTOR, option
from trainables.streams import Batch, Task


class LwF(Learner["LwF.Config"]):
    """Finetune with distillation from the network before the task; needs no old data."""

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
            "factor alpha of the distillation loss, which has weight alpha (1 - 1/t) in task t; "
            "published: 1",
            low=0.0,
            high=FACTOR,
        )

    def prepare(self) -> None:
        self.teacher: dict[str, Tensor] = {}  # see `weights_of`; empty during the first task
        self.keep("teacher", kind="auxiliary")

    def observe(self, batch: Batch) -> Tensor:
        logits, mask = self.logits(batch.inputs), batch.task.loss_mask(batch.labels)
        loss = cross_entropy(logits, batch.labels, mask)
        if batch.task.id:
            share = 1 / (batch.task.id + 1)
            distillation = self.distillation(batch, logits, mask)
            loss = share * loss + self.config.alpha * (1 - share) * distillation
        return self.descend(loss)

    def distillation(self, batch: Batch, logits: Tensor, mask: Tensor | None) -> Tensor:
        """Return the distillation loss KD, [S], the mean over the groups of old outputs.

        Args:
            logits: logits of the batch, [S, B, C].
            mask: outputs that compete in the cross-entropy; None for all.
        """
        with torch.no_grad():
            targets = functional_call(self.network, self.teacher, (self.encode(batch.inputs),))
        groups, tau = batch.task.old_outputs, self.config.tau
        return torch.stack(
            [distil(logits, targets, old, rivals(old, mask), tau) for old in groups]
        ).mean(0)

    def end_task(self, task: Task) -> None:
        self.teacher = weights_of(self.network)


def rivals(old: Tensor, mask: Tensor | None) -> Tensor | None:
    """Return the outputs in the softmax of the student: the old outputs, and the new outputs that
    compete with them in the cross-entropy; None for all.

    Args:
        old: old outputs of one group, [S, 1, C].
        mask: outputs that compete in the cross-entropy, [S, B or 1, C]; None for all.
    """
    if mask is None:
        return None
    return old | (mask & (mask & old).any(-1, keepdim=True))


def distil(
    logits: Tensor, teacher_logits: Tensor, old: Tensor, rivals: Tensor | None, tau: float
) -> Tensor:
    """Return the cross-entropy with the teacher's probabilities at temperature tau, the mean over
    the batch, [S].

    Args:
        logits, teacher_logits: [S, B, C].
        old: outputs in the softmax of the teacher, [S, 1, C].
        rivals: outputs in the softmax of the student, [S, B or 1, C]; None for all.
    """
    q = (teacher_logits / tau).masked_fill(~old, -torch.inf).softmax(-1)
    scaled = logits / tau
    competing = scaled if rivals is None else scaled.masked_fill(~rivals, -torch.inf)
    # equal to -sum q log p because q sums to 1; log p itself is -inf where q is 0
    return (competing.logsumexp(-1) - (q * scaled).sum(-1)).mean(1)
