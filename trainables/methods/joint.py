"""Joint: the offline upper bound."""

from __future__ import annotations

from trainables.methods.finetune import Finetune
from trainables.streams import Task


class Joint(Finetune):
    """Finetune on the union of all tasks, from the first step on.

    For task t, joint takes as many steps as a method, with mini-batches of shuffled samples of
    *all* tasks. By the end of the last task, joint has passed ``epochs`` times through all data and
    has processed the same number of samples as a method. The accuracies after earlier tasks are a
    learning curve, not results of continual learning. The memory counts all the data.
    """

    name = "joint"
    reference = "offline training on the union of the tasks, equal number of samples processed"
    offline = True
    bound = "upper"

    def prepare(self) -> None:
        super().prepare()
        self.held = 0  # samples of all tasks
        self.keep("held")

    def learn(self, task: Task) -> None:
        self.held = task.union_size
        super().learn(task)

    def footprint(self) -> dict[str, int]:
        return super().footprint() | {"memory": self.held * self.stream.held_bytes}
