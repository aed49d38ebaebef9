"""Joint: the offline upper bound."""

from __future__ import annotations

from trainables.finetune import Finetune


class Joint(Finetune):
    """Finetune on the union of all tasks, from the first step on.

    While a method learns task t, joint takes as many steps, with batches of shuffled samples of
    *all* tasks; after the last task it has gone ``epochs`` times through everything and has
    processed exactly as many samples. Its accuracy after earlier tasks is a learning curve, not a
    result of continual learning.
    """

    name = "joint"
    reference = "offline training on the union of the tasks, equal number of samples processed"
    offline = True
