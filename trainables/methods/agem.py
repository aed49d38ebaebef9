"""Averaged gradient episodic memory (A-GEM; Chaudhry et al. 2019)."""

from __future__ import annotations

from torch import Tensor

from trainables.methods.gem import EpisodicLearner, project_one
from trainables.options import option
from trainables.rehearsal import Rehearsal
from trainables.streams import Task


class AGEM(EpisodicLearner["AGEM.Config"]):
    """GEM with a single constraint: a step must not increase the loss on a random batch of the
    memory, drawn with replacement.

    The memory is that of GEM, with the share of every task filled; some public implementations
    store only one batch per task. Defaults are those of replay with Adam 1e-3, as in van de Ven et
    al. (2022). Adam transforms the corrected gradient, so a step may violate the constraint.
    """

    name = "agem"
    reference = "Chaudhry et al. 2019, Efficient Lifelong Learning with A-GEM"

    class Config(Rehearsal.Config):
        """Options of averaged gradient episodic memory."""

        ref_batch: int = option(
            128,
            "batch size of the reference gradient, which the constraint of a step is computed on",
            low=1,
            high=10_000,
        )

    def corrected(self, gradient: Tensor, task: Task) -> Tensor:
        inputs, labels = self.memory.sample(self.config.ref_batch)
        return project_one(gradient, self.gradient(inputs, labels, task)[1])
