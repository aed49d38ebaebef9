"""The network of SynapticNet as its source computes it: whole layers, and a mask for each task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.nn.sliced import SlicedNetwork


class Masked(nn.Module):
    """The network of one seed, with weights [units of all tasks, inputs of all tasks, ...].

    Weights between units of different tasks that a sliced network lacks are drawn at random when
    no mask lets them count, and are zero otherwise.
    """

    def __init__(self, network: SlicedNetwork, seed: int) -> None:
        super().__init__()
        self.cumulative, self.shape = network.cumulative, network.shape
        self.pooled = network.convolutions.pooled
        self.tasks_of: list[Tensor] = []  # of each unit, layer by layer
        self.read: list[list[slice]] = []  # inputs of each task's slice, layer by layer
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        blocks = [network.blocks(seed, task) for task in range(network.tasks)]
        each = 1
        for n in range(len(network.layers)):
            parts = [of_task[n] for of_task in blocks]
            sizes = [len(bias) for _, bias in parts]
            if n == len(network.convolutions.layers) > 0:
                each = network.pixels
            below = [len(bias) * each for _, bias in (b[n - 1] for b in blocks)] if n else [0]
            each = 1
            inputs = sum(below) if n else network.inputs
            kernel = parts[0][0].shape[2:]
            draw = torch.zeros if network.cumulative else torch.randn
            weight = draw(sum(sizes), inputs, *kernel)
            self.read.append([])
            for task, (block, _) in enumerate(parts):
                first = sum(sizes[:task])
                left = 0 if network.cumulative or not n else sum(below[:task])
                self.read[n].append(slice(left, left + block.shape[1]))
                weight[first : first + sizes[task], self.read[n][task]] = block
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.cat([bias for _, bias in parts])))
            self.tasks_of.append(torch.arange(len(parts)).repeat_interleave(torch.tensor(sizes)))

    def forward(self, samples: Tensor, task: int) -> Tensor:
        """Return the logits of all tasks, [B, outputs], zero for those of other tasks.

        Args:
            samples: [B, features], channels last.
        """
        last, x = len(self.weights) - 1, samples
        if self.weights[0].dim() == 4:
            x = samples.view(len(samples), *self.shape[:2], -1).movedim(-1, 1)
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.dim() == 4:
                x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
            else:
                x = F.linear(x.flatten(1), weight, bias)
            ids = self.tasks_of[n]
            visible = ids <= task if self.cumulative and n < last else ids == task
            x = x * visible.view(-1, *[1] * (x.dim() - 2))
            if n < last:
                x = F.relu(x)
                x = F.max_pool2d(x, 2) if n < self.pooled else x
        return x
