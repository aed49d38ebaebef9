"""Averaged gradient episodic memory (A-GEM; Chaudhry et al. 2019)."""

from __future__ import annotations

from torch import Tensor

from trainables.methods.gem import EpisodicMemory, project_one
from trainables.options import option
from trainables.rehearsal import Rehearsal
from trainables.streams import Task


class AGEM(EpisodicMemory["AGEM.Config"]):
    """A step may not raise the loss on a random batch of the memory, drawn with replacement: GEM
    with one constraint.

    Its memory is that of GEM, every task's share filled (some public code keeps only one batch of a
    task). Defaults are those of replay, Adam 1e-3, as van de Ven et al. (2022) train it: the
    corrected gradient goes through Adam, so a step need not keep to it.
    """

    name = "agem"
    reference = "Chaudhry et al. 2019, Efficient Lifelong Learning with A-GEM"

    class Config(Rehearsal.Config):
        """Options of averaged gradient episodic memory."""

        ref_batch: int = option(
            128, "remembered samples that a step is held against", low=1, high=10_000
        )

    def corrected(self, gradient: Tensor, task: Task) -> Tensor:
        inputs, labels = self.memory.sample(self.config.ref_batch)
        return project_one(gradient, self.gradient(inputs, labels, task)[1])
