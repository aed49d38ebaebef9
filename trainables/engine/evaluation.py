"""Confusion counts of a whole stack, measured without leaving the device.

S seeds, T tasks, C outputs, N samples of a task.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.contract import check_logits
from trainables.learner import Learner
from trainables.streams import Stream

# samples predicted at once, over all seeds: few enough for the activations to stay in the cache
ROWS = 4096


@dataclass(frozen=True)
class Evaluation:
    """Counts [S, T, C, C] of each readout (true class, predicted class); which seeds gave finite
    outputs, [S].
    """

    counts: dict[str, Tensor]
    finite: Tensor


@torch.no_grad()
def evaluate(learner: Learner, stream: Stream, learnt: int) -> Evaluation:
    """Test a learner on the tasks of its stream, after it has learnt ``learnt`` of them.

    In the class scenario a task to come is not tested (no counts): its classes cannot be answered.
    """
    finite = torch.ones(len(learner.seeds), dtype=torch.bool, device=stream.device)
    rows = [_score(learner, stream, task, learnt, finite) for task in range(stream.tasks)]
    counts = {name: torch.stack([row[name] for row in rows], dim=1) for name in learner.readouts}
    return Evaluation(counts, finite)


def _score(
    learner: Learner, stream: Stream, task: int, learnt: int, finite: Tensor
) -> dict[str, Tensor]:
    """Counts of one task, [S, C, C] for each readout; clears ``finite`` for seeds with an output
    that is not.
    """
    index, valid = stream.scored(task)
    if stream.info.scenario == "class" and task >= learnt:
        index, valid = index[:, :0], valid[:, :0]
    mask = stream.scenario.score_mask(learnt, task)
    task_id = task if stream.info.scenario == "task" else None
    size = stream.info.outputs
    counts = {
        n: torch.zeros(len(index) * size * size, device=index.device) for n in learner.readouts
    }
    offset = torch.arange(len(index), device=index.device).unsqueeze(1) * size
    chunk = max(ROWS // len(index), 64)
    for start in range(0, index.shape[1], chunk):
        part = slice(start, start + chunk)
        inputs, labels = stream.gather(index[:, part], scored=True)
        weights = valid[:, part].flatten().float()
        answers = learner.readout_logits(inputs, task_id)
        check_logits(learner, answers, inputs, size)
        for name, logits in answers.items():
            finite &= logits.isfinite().flatten(1).all(1)
            if mask is not None:
                logits = logits.masked_fill(~mask, -torch.inf)
            cells = (offset + labels) * size + logits.argmax(-1)
            counts[name].scatter_add_(0, cells.flatten(), weights)
    return {name: c.view(-1, size, size).long() for name, c in counts.items()}
