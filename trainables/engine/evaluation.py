"""Confusion counts of a stack of seeds, computed on the device.

S seeds, T tasks, C outputs, N samples of a task.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.contract import check_logits
from trainables.learner import Learner
from trainables.nn import has_many_activations
from trainables.streams import Stream

# samples per forward pass, over all seeds: few enough for the activations to fit the CPU's cache,
# and with convolutions for them to fit the memory
ROWS, CONVOLUTIONAL_ROWS = 4096, 512


@dataclass(frozen=True)
class Evaluation:
    """Confusion counts of all tasks.

    Attributes:
        counts: by readout, [S, T, C, C]: seed, task, true class, predicted class.
        finite: which seeds had only finite outputs, bool [S].
    """

    counts: dict[str, Tensor]
    finite: Tensor


@torch.no_grad()
def evaluate(learner: Learner, stream: Stream, learnt: int) -> Evaluation:
    """Evaluate a learner on all tasks of its stream.

    In the class scenario future tasks have counts of zero: the learner has no outputs for their
    classes yet.

    Args:
        learnt: number of tasks learnt so far.
    """
    finite = torch.ones(len(learner.seeds), dtype=torch.bool, device=stream.device)
    rows = [_score(learner, stream, task, learnt, finite) for task in range(stream.tasks)]
    counts = {name: torch.stack([row[name] for row in rows], dim=1) for name in learner.readouts}
    return Evaluation(counts, finite)


def _score(
    learner: Learner, stream: Stream, task: int, learnt: int, finite: Tensor
) -> dict[str, Tensor]:
    """Return the counts of one task, [S, C, C] by readout; set ``finite`` to False in place for
    seeds with an output that is not finite.
    """
    index, valid = stream.scored(task)
    if stream.info.scenario == "class" and task >= learnt:
        index, valid = index[:, :0], valid[:, :0]
    mask = stream.scenario.score_mask(learnt, task)
    if learner.masks_outputs and task < learnt and stream.info.scenario in ("task", "class"):
        mask = stream.scenario.seen(learnt)
    task_id = task if stream.info.scenario == "task" else None
    size = stream.info.outputs
    counts = {
        n: torch.zeros(len(index) * size * size, device=index.device) for n in learner.readouts
    }
    offset = torch.arange(len(index), device=index.device).unsqueeze(1) * size
    rows = CONVOLUTIONAL_ROWS if has_many_activations(learner.network) else ROWS
    chunk = max(rows // len(index), 64)
    for start in range(0, index.shape[1], chunk):
        part = slice(start, start + chunk)
        inputs, labels = stream.gather(index[:, part], scored=True)
        weights = valid[:, part].flatten().float()
        learner.valid = valid[:, part]
        answers = learner.readout_logits(inputs, task_id)
        learner.valid = None
        check_logits(learner, answers, inputs, size)
        for name, logits in answers.items():
            sound = logits < torch.inf if learner.masks_outputs else logits.isfinite()
            finite &= sound.flatten(1).all(1)
            if mask is not None:
                logits = logits.masked_fill(~mask, -torch.inf)
            cells = (offset + labels) * size + logits.argmax(-1)
            counts[name].scatter_add_(0, cells.flatten(), weights)
    return {name: c.view(-1, size, size).long() for name, c in counts.items()}
