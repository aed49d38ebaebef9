"""Networks whose units belong to tasks, for a stack of S seeds; only slices in use are computed.

A slice is the units of one task in every layer. In a layer it has weights [S, units, inputs, ...]
and biases [S, units]. Seeds may have different numbers of units: a tensor is as large as the
largest seed needs, and zero where a smaller seed has no unit. Behind ReLU such a unit gives zero
and has gradients of zero, so that it stays zero.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.nn.backbones import pooled_layers
from trainables.nn.convolution import Pooling, folded, unfolded
from trainables.nn.members import is_faster_one_by_one, one_by_one
from trainables.rng import Draws

# returns initial weights and biases of units, from the shape of the weights, [units, inputs, ...]
Initial = Callable[[tuple[int, ...]], tuple[Tensor, Tensor]]


class SlicedLayer(nn.Module):
    """The slices of one layer.

    Args:
        lateral: whether a slice also reads the slices of earlier tasks in the layer below.
    """

    shares_weights: ClassVar[bool] = False  # between the pixels of an image

    def __init__(self, lateral: bool) -> None:
        super().__init__()
        self.lateral = lateral
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()

    def forward(self, below: Sequence[Tensor], start: int, first: int) -> list[Tensor]:
        """Return the outputs of the slices from ``first`` on.

        Args:
            below: what the layer below returned for the slices from ``start`` on.
        """
        results = []
        for task in range(first, start + len(below)):
            place = task - start
            inputs = joined(below[: place + 1]) if self.lateral else below[place]
            results.append(self.outputs(inputs, self.weights[task], self.biases[task]))
        return results

    @staticmethod
    @abstractmethod
    def outputs(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the outputs of one slice."""


class SlicedLinear(SlicedLayer):
    """A dense layer; activations are [S, B, units]."""

    @staticmethod
    def outputs(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT)


class SlicedConvolution(SlicedLayer):
    """A convolution with padding that keeps the size; activations are [S, B, units, H, W]."""

    shares_weights = True

    @staticmethod
    def outputs(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if not weight.shape[1]:  # torch has no convolution without outputs
            return inputs.new_zeros(*inputs.shape[:2], 0, *inputs.shape[3:])
        flat, padding = weight.flatten(0, 1), weight.shape[-1] // 2
        result = F.conv2d(folded(inputs), flat, bias.flatten(), padding=padding, groups=len(weight))
        return unfolded(result, len(weight))


class SlicedConvolutions(nn.Module):
    """Convolutions with ReLU, the first ``pooled`` of them with 2 x 2 pooling of the maximum."""

    def __init__(self, count: int, pooled: int, cumulative: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SlicedConvolution(cumulative and n > 0) for n in range(count))
        self.pooled, self.pooling = pooled, Pooling("max")

    def forward(self, images: Tensor, start: int, last: int) -> Tensor:
        """Return the features of the slices ``start`` to ``last`` - 1, one after the other, [S, B,
        features]: for each channel its pixels, so that a channel more is a feature more at the end.

        Args:
            images: [S, B, channels, H, W].
        """
        below = [images] * (last - start)
        for number, layer in enumerate(self.layers):
            # a maximum and ReLU may change places: ReLU then sees a quarter of the pixels
            pooled = number < self.pooled
            above = layer(below, start, start)
            below = [F.relu(self.pooling(x) if pooled and x.shape[2] else x) for x in above]
        return torch.cat([x.flatten(2) for x in below], 2)


class SlicedNetwork(nn.Module):
    """Convolutions, if any, then dense layers; a slice of every layer for each task.

    Args:
        shape: shape of a sample: height, width, and channels unless there is one; or features.
        convolutions, hidden: number of convolutions and of dense layers before the last.
        cumulative: whether the slice of a task also reads the slices of earlier tasks.
        kernel: width of the kernels, an odd number.
        dropout: probability with which an output of a hidden dense layer is zero in training.
        draws: random numbers of the dropout.

    Attributes:
        units: for each task, the numbers of units in each layer, int64 [S, layers]; the units of
            the last layer are the outputs.
        widest: for each task, the number of units for which dropout draws.
    """

    def __init__(
        self,
        shape: Sequence[int],
        convolutions: int,
        hidden: int,
        cumulative: bool,
        kernel: int,
        dropout: float,
        draws: Draws,
    ) -> None:
        super().__init__()
        self.shape, self.cumulative, self.kernel = tuple(shape), cumulative, kernel
        self.rate, self.draws, self.stack = dropout, draws, draws.stack
        pooled = pooled_layers(shape, convolutions) if convolutions else 0
        self.convolutions = SlicedConvolutions(convolutions, pooled, cumulative)
        self.dense = nn.ModuleList(
            SlicedLinear(cumulative and n + convolutions > 0) for n in range(hidden + 1)
        )
        self.inputs = (*shape, 1)[2] if convolutions else math.prod(shape)
        self.pixels: int = math.prod(side >> pooled for side in shape[:2]) if convolutions else 1
        self.units: list[Tensor] = []
        self.widest: list[int] = []

    @property
    def tasks(self) -> int:
        """Number of tasks that have a slice."""
        return len(self.units)

    @property
    def layers(self) -> list[SlicedLayer]:
        """All layers, from input to output."""
        return [*self.convolutions.layers, *self.dense]

    def slice_of(self, task: int) -> list[nn.Parameter]:
        """Return the weights and biases of a task's slice, layer by layer."""
        pairs = ((layer.weights[task], layer.biases[task]) for layer in self.layers)
        return [tensor for pair in pairs for tensor in pair]

    # -- what is computed

    def forward(self, inputs: Tensor, first: int, last: int) -> Tensor:
        """Return the logits of the slices ``first`` to ``last`` - 1, one after the other.

        Args:
            inputs: [S, B, D].
        """
        if not self.cumulative and last - first > 1:  # one after the other takes less memory
            return torch.cat([self(inputs, task, task + 1) for task in range(first, last)], 2)
        start = 0 if self.cumulative else first
        below = self._features(inputs, start, last)
        for layer in self.dense[:-1]:
            slices = enumerate(layer(below, start, start), start)
            below = [self._dropped(F.relu(units), task) for task, units in slices]
        return torch.cat(self.dense[-1](below, start, first), 2)

    def _features(self, inputs: Tensor, start: int, last: int) -> list[Tensor]:
        if not len(self.convolutions.layers):
            return [inputs] * (last - start)
        images = inputs.view(*inputs.shape[:2], *self.shape[:2], -1).movedim(-1, 2)
        if is_faster_one_by_one(inputs):
            features = one_by_one(self.convolutions, images, start=start, last=last)
        else:
            features = self.convolutions(images, start, last)
        weights = self.layers[len(self.convolutions.layers) - 1].weights
        sizes = [weights[task].shape[1] * self.pixels for task in range(start, last)]
        return list(torch.split(features, sizes, 2))

    def _dropped(self, hidden: Tensor, task: int) -> Tensor:
        """Drop outputs of one slice, [S, B, units]. The numbers drawn do not depend on the units of
        the slice, which depend on the other seeds of the stack.
        """
        if not (self.training and self.rate):
            return hidden
        count, units = hidden.shape[1:]
        drawn = self.draws.uniform(self.widest[task] * count)[:, : units * count]
        return hidden * (drawn.view(len(hidden), units, count).mT >= self.rate) / (1 - self.rate)

    # -- how it grows

    def resize(self, task: int, units: Tensor, initial: Sequence[Initial], widest: int = 0) -> None:
        """Give the slice of a task new numbers of units; the slice of a new task is appended.

        Units that were there do not read the new ones at first: growing changes no output.

        Args:
            units: of each layer, at least as many as before, [S, layers].
            initial: of the new units, for each seed.
            widest: for dropout: a number of units that no dense layer exceeds, whichever seeds are
                in the stack.
        """
        is_new = task == self.tasks
        before = torch.zeros_like(units) if is_new else self.units[task]
        larger = (units != before).any(1).nonzero().flatten().tolist()
        self.units[task:], self.widest[task:] = [units.clone()], [widest]
        for n in range(len(self.layers)):
            weight, bias = self._enlarged(task, n)
            for seed in larger:
                kept, live = int(before[seed, n]), int(units[seed, n])
                read = self.columns(seed, task, n).to(weight.device)
                values, shifts = initial[seed]((live - kept, len(read), *weight.shape[3:]))
                weight[seed][kept:live, read] = values.to(weight.device)
                bias[seed, kept:live] = shifts.to(weight.device)
            self._set(task, n, weight, bias)

    def _enlarged(self, task: int, layer: int) -> tuple[Tensor, Tensor]:
        """Return the weights and biases of a slice of a layer, with zeros for new units."""
        outputs, inputs = int(self.units[task][:, layer].max()), self._inputs_held(task, layer)
        module = self.layers[layer]
        kernel = [self.kernel] * 2 if module.shares_weights else []
        weight = torch.zeros(self.stack, outputs, inputs, *kernel, device=self.draws.device)
        bias = torch.zeros(self.stack, outputs, device=self.draws.device)
        if task < len(module.weights):
            weight, bias = (
                padded(old.detach(), new.shape)
                for old, new in ((module.weights[task], weight), (module.biases[task], bias))
            )
        return weight, bias

    def _set(self, task: int, layer: int, weight: Tensor, bias: Tensor) -> None:
        module = self.layers[layer]
        for held, tensor in ((module.weights, weight), (module.biases, bias)):
            if task == len(held):
                held.append(nn.Parameter(tensor))
            else:
                held[task] = nn.Parameter(tensor)

    def read_by(self, task: int) -> range:
        """Return the tasks whose slices the slice of a task reads."""
        return range(0 if self.cumulative else task, task + 1)

    def _numbers_of(self, layer: int) -> int:
        """Return how many inputs of a layer a unit below gives: the pixels of a channel, or one."""
        is_first_dense = layer == len(self.convolutions.layers) > 0
        return self.pixels if is_first_dense else 1

    def _inputs_held(self, task: int, layer: int) -> int:
        """Return the inputs for which the weights of a slice of a layer have room."""
        if not layer:
            return self.inputs
        below = self.layers[layer - 1].weights
        units = sum(int(below[t].shape[1]) for t in self.read_by(task))
        return units * self._numbers_of(layer)

    def columns(self, seed: int, task: int, layer: int) -> Tensor:
        """Return the inputs of a slice of a layer that exist for a seed, by position of the seed
        in the stack.
        """
        if not layer:
            return torch.arange(self.inputs)
        below, first, found = self.layers[layer - 1].weights, 0, []
        for other in self.read_by(task):
            found.append(torch.arange(int(self.units[other][seed, layer - 1])) + first)
            first += below[other].shape[1] if other < task else 0
        each = self._numbers_of(layer)
        return (torch.cat(found).unsqueeze(1) * each + torch.arange(each)).flatten()

    def blocks(self, seed: int, task: int) -> list[tuple[Tensor, Tensor]]:
        """Return the weights and biases of a task's slice that exist for a seed, layer by layer:
        [units, inputs, ...] and [units].
        """
        found = []
        for n, layer in enumerate(self.layers):
            size, read = int(self.units[task][seed, n]), self.columns(seed, task, n)
            weight, bias = layer.weights[task].detach(), layer.biases[task].detach()
            found.append((weight[seed, :size][:, read.to(weight.device)], bias[seed, :size]))
        return found

    # -- how large it is

    def count_used(self) -> Tensor:
        """Return the number of parameters of all slices for each seed, int64 [S]."""
        counts = [self.count(own, self._read(task, own)) for task, own in enumerate(self.units)]
        return sum(counts, torch.zeros(self.stack, dtype=torch.long))

    def _read(self, task: int, units: Tensor) -> Tensor:
        """Return how many units of each layer a slice of so many units reads, [S, layers]."""
        return torch.stack([*(self.units[t] for t in self.read_by(task)[:-1]), units]).sum(0)

    def count_whole(self) -> Tensor:
        """Return the number of parameters with the weights between all slices, which the source
        holds too, int64 [S].
        """
        total = torch.stack(self.units).sum(0)
        return self.count(total, total)

    def count(self, units: Tensor, below: Tensor) -> Tensor:
        """Return the number of parameters of units that read so many units of each layer, [S]."""
        count = torch.zeros_like(units[:, 0])
        for n, layer in enumerate(self.layers):
            inputs = below[:, n - 1] * self._numbers_of(n) if n else self.inputs
            area = self.kernel**2 if layer.shares_weights else 1
            count += units[:, n] * (inputs * area + 1)
        return count

    # -- checkpoints

    def get_extra_state(self) -> Any:
        return {"units": [units.clone() for units in self.units], "widest": [*self.widest]}

    def set_extra_state(self, state: Any) -> None:
        self.units = [units.cpu().clone() for units in state["units"]]
        self.widest = [*state["widest"]]

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights of any sizes and any number of tasks."""
        self.set_extra_state(state_dict["_extra_state"])
        for layer in self.layers:
            layer.weights, layer.biases = nn.ParameterList(), nn.ParameterList()
        for task in range(self.tasks):
            for n in range(len(self.layers)):
                self._set(task, n, *self._enlarged(task, n))
        return super().load_state_dict(state_dict, strict, assign)


def joined(slices: Sequence[Tensor]) -> Tensor:
    """Join slices of a layer; one without units may have images of another size."""
    some = [units for units in slices if units.shape[2]]
    if len(some[0]) > 1:
        return torch.cat(some, 2)
    # without the axis of seeds torch keeps the channels last, as convolutions are fastest
    return torch.cat([units.squeeze(0) for units in some], 1).unsqueeze(0)


def padded(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a copy of a tensor with zeros at the end of each axis, up to a shape.

    >>> padded(torch.ones(1, 2), (2, 3))
    tensor([[1., 1., 0.],
            [0., 0., 0.]])
    """
    result = tensor.new_zeros(*shape)
    result[tuple(slice(size) for size in tensor.shape)] = tensor
    return result


def small(generator: torch.Generator) -> Initial:
    """Return the initial values of the source: normal with a standard deviation of 0.01."""

    def values(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return (
            0.01 * torch.randn(shape, generator=generator),
            0.01 * torch.randn(shape[0], generator=generator),
        )

    return values


def kaiming(generator: torch.Generator) -> Initial:
    """Return the initial values of He et al. (2015): normal with variance 2 / inputs, and zero."""

    def values(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        scale = math.sqrt(2 / max(math.prod(shape[1:]), 1))
        return scale * torch.randn(shape, generator=generator), torch.zeros(shape[0])

    return values
