"""Joint: the offline upper bound."""

from __future__ import annotations

from trainables.methods.finetune import Finetune
from trainables.streams import Task


class Joint(Finetune):
    """Finetune on the union of all tasks, from the first step on.

    While a method learns task t, joint takes as many steps, with batches of shuffled samples of
    *all* tasks; after the last task it has gone ``epochs`` times through everything and has
    processed exactly as many samples. Its accuracy after earlier tasks is a learning curve, not a
    result of continual learning. Its memory is all the data.
    """

    name = "joint"
    reference = "offline training on the union of the tasks, equal number of samples processed"
    offline = True
    bound = "upper"

    def prepare(self) -> None:
        super().prepare()
        self.held = 0  # samples at hand all the time
        self.keep("held")

    def learn(self, task: Task) -> None:
        self.held = task.union_size
        super().learn(task)

    def footprint(self) -> dict[str, int]:
        return super().footprint() | {"memory": self.held * (self.stream.inputs + 1)}
