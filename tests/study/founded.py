"""A learner with a long first task, and what finds it where it is a package's plug-in."""

from __future__ import annotations

import torch
from optuna.distributions import FloatDistribution

from trainables.learner import Training, descend
from trainables.methods.finetune import Finetune
from trainables.options import option

ENTRY_POINTS = (
    "[study.learners]\nfounded = founded:Founded\n[study.search_spaces]\nfounded = founded:SPACE\n"
)


class Founded(Finetune):
    """Learns the first task with options of its own, the others as finetune does."""

    name = "founded"
    reference = "made up"
    diagnostics = {"own": ("Learnt the first task itself", "")}  # noqa: RUF012

    class Config(Training):
        """Options of the learner."""

        pretrain_epochs: int = option(2, "passes over the first task", low=1)
        pretrain_lr: float = option(5e-3, "learning rate of the first task", low=0.0)

    own = 0.0

    @classmethod
    def pretraining(cls, config):
        names = ("hidden", "batch_size", "pretrain_epochs", "pretrain_lr")
        return "founded", {name: config.plain()[name] for name in names}

    def foundation(self):
        return self.network.state_dict()

    def epochs(self, index):
        return self.config.epochs if index else self.config.pretrain_epochs

    def learn(self, task):
        if task.id > 0:
            super().learn(task)
        elif self.pretrained is None:
            self.pretrain(task)
        else:
            self.network.load_state_dict(self.pretrained)
            steps = self.config.pretrain_epochs * task.steps(self.config.batch_size)
            task.samples = steps * self.config.batch_size
            self.trained += task.samples

    def pretrain(self, task):
        self.own = 1.0
        optimiser = torch.optim.SGD(self.network.parameters(), lr=self.config.pretrain_lr)
        for batch in task.batches(self.config.pretrain_epochs, self.config.batch_size):
            loss = torch.nn.functional.cross_entropy(
                self.logits(batch.inputs).mT, batch.labels, reduction="none"
            )
            self.losses += descend(loss.mean(1), optimiser)

    def diagnose(self):
        return {"own": {"itself": torch.full((len(self.seeds),), self.own)}}

    def state(self):
        return super().state() | {"own": self.own}

    def load(self, state):
        super().load(state)
        self.own = state["own"]


SPACE = {"lr": FloatDistribution(1e-4, 1e-2, log=True)}
