"""Scenarios: the labels, the output masks, and the facts that a learner may know.

Sources: van de Ven and Tolias (2019) for task, domain and class; Aljundi et al. (2019) for
task-free.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCENARIOS = {
    "task": "the task is known in testing, and only its classes compete",
    "domain": "all tasks share one head with an output per class of a task; the task is unknown in "
    "testing",
    "class": "all classes seen so far compete; the task is unknown in testing",
    "task_free": "all classes compete; one pass over the stream, without task boundaries",
}


class Scenario:
    """Label map and output masks of a stack of S streams.

    Args:
        name: one of ``SCENARIOS``.
        task_classes: classes of each task, [S, T, K].
        classes: number of classes in the data, C.
        active: outputs that compete in the training loss of the class scenario: ``all``, ``seen``
            or ``current`` (for a replayed sample, those of the sample's own task, without which its
            loss would be infinite).
    """

    def __init__(self, name: str, task_classes: Tensor, classes: int, active: str = "all") -> None:
        stack, tasks, per_task = task_classes.shape
        self.name, self.active = name, active
        self.outputs = per_task if name == "domain" else classes
        device = task_classes.device
        member = torch.zeros(stack, tasks, classes, dtype=torch.bool, device=device)
        member.scatter_(2, task_classes, True)  # member[s, t, c]: class c belongs to task t
        self._current = member
        self._seen = member.cumsum(1).bool()
        # rivals[s, y, c]: classes c and y share a task
        self._rivals = torch.einsum("sty,stc->syc", member.float(), member.float()).bool()
        # tasks may share a class (a permuted stream), which then has the same position in each
        self._position = torch.zeros(stack, classes, dtype=torch.long, device=device)
        positions = torch.arange(per_task, device=device).expand(stack, tasks, -1)
        # a class that fills the places of a smaller task has the first of its positions
        self._position.scatter_reduce_(
            1, task_classes.flatten(1), positions.flatten(1), "amin", include_self=False
        )

    def labels(self, classes: Tensor) -> Tensor:
        """Map classes of the data to columns of the logits, [S, B]."""
        return self._position.gather(1, classes) if self.name == "domain" else classes

    def loss_mask(self, labels: Tensor, task: int | None) -> Tensor | None:
        """Return the outputs in the softmax of the loss for labels [S, B]; [S, B or 1, outputs],
        None for all.

        Args:
            task: index of the task in training; None for the union of all tasks.
        """
        active = self.active if self.name == "class" and task is not None else "all"
        if self.name == "task" or active == "current":
            index = labels.unsqueeze(-1).expand(-1, -1, self.outputs)
            return self._rivals.gather(1, index)
        return self._seen[:, task].unsqueeze(1) if active == "seen" else None

    def outputs_of(self, task: int) -> Tensor:
        """Return the outputs of the classes of a task, [S, 1, outputs]."""
        current = self._current[:, task].unsqueeze(1)
        return torch.ones_like(current[..., : self.outputs]) if self.name == "domain" else current

    def old_outputs(self, task: int) -> list[Tensor]:
        """Return the outputs of the tasks before ``task``, in groups that compete in testing, each
        [S, 1, outputs].
        """
        if self.name == "task":
            return [self.outputs_of(old) for old in range(task)]
        if task == 0:
            return []
        return [self.outputs_of(0) if self.name == "domain" else self._seen[:, task - 1, None]]

    def score_mask(self, learnt: int, scored: int) -> Tensor | None:
        """Return the outputs that compete in testing on task ``scored`` after ``learnt`` tasks, [S,
        1, outputs]; None for all.
        """
        if self.name == "task":
            return self._current[:, scored].unsqueeze(1)
        return self.seen(learnt) if self.name == "class" else None

    def seen(self, learnt: int) -> Tensor:
        """Return the outputs of the classes of the first ``learnt`` tasks, at least of one task;
        [S, 1, outputs].
        """
        return self._seen[:, max(learnt - 1, 0)].unsqueeze(1)
