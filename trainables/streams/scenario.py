"""What a learner may know: the one place that decides labels, output masks and what is hidden.

Sources: van de Ven and Tolias (2019) for task, domain and class; Aljundi et al. (2019) for
task-free.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCENARIOS = {
    "task": "the task is known when testing: only its own classes compete",
    "domain": "one head of as many outputs as a task has classes; the task is unknown when testing",
    "class": "all classes seen so far compete; the task is unknown when testing",
    "task_free": "all classes compete; one pass, no boundaries and no task is ever named",
}


class Scenario:
    """Label map and output masks of a stack of S streams.

    Args:
        name: one of ``SCENARIOS``.
        task_classes: classes of each task, [S, T, K].
        classes: number of classes in the data, C.
        active: outputs that compete in the training loss of the class scenario: ``all``, ``seen``
            or ``current`` (of a replayed sample: those of its own task, else its loss is infinite).
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
        # rivals[s, y, c]: class c is in a task of class y
        self._rivals = torch.einsum("sty,stc->syc", member.float(), member.float()).bool()
        # two tasks may share a class (a permuted stream): its position is the same in both
        self._position = torch.zeros(stack, classes, dtype=torch.long, device=device)
        positions = torch.arange(per_task, device=device).expand(stack, tasks, -1)
        self._position.scatter_(1, task_classes.flatten(1), positions.flatten(1))

    def labels(self, classes: Tensor) -> Tensor:
        """Map classes of the data, [S, B], to columns of the logits."""
        return self._position.gather(1, classes) if self.name == "domain" else classes

    def loss_mask(self, labels: Tensor, task: int | None) -> Tensor | None:
        """Outputs that compete in the loss of these labels; [S, B or 1, outputs], None for all.

        ``task`` is the task being learnt, None when all are learnt at once.
        """
        active = self.active if self.name == "class" and task is not None else "all"
        if self.name == "task" or active == "current":
            index = labels.unsqueeze(-1).expand(-1, -1, self.outputs)
            return self._rivals.gather(1, index)
        return self._seen[:, task].unsqueeze(1) if active == "seen" else None

    def outputs_of(self, task: int) -> Tensor:
        """Outputs that answer for a task; [S, 1, outputs]."""
        mine = self._current[:, task].unsqueeze(1)
        return torch.ones_like(mine[..., : self.outputs]) if self.name == "domain" else mine

    def old_outputs(self, task: int) -> list[Tensor]:
        """Outputs of the tasks before ``task``, in groups that compete when tested; [S, 1,
        outputs] each.
        """
        if self.name == "task":
            return [self.outputs_of(old) for old in range(task)]
        if task == 0:
            return []
        return [self.outputs_of(0) if self.name == "domain" else self._seen[:, task - 1, None]]

    def score_mask(self, learnt: int, scored: int) -> Tensor | None:
        """Outputs that compete when task ``scored`` is tested after learning ``learnt`` tasks; [S,
        1, outputs].
        """
        if self.name == "task":
            return self._current[:, scored].unsqueeze(1)
        if self.name == "class":
            return self._seen[:, max(learnt - 1, 0)].unsqueeze(1)
        return None
