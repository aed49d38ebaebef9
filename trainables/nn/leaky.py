"""Feed-forward networks of leaky integrate-and-fire units for a stack of S seeds, trained by
surrogate gradients through time.

With I the current into a unit at step t, U its membrane potential and Z its spikes, initially 0:

    U(t) = beta U(t-1) + I(t) - threshold Z(t-1);   Z(t) = [U(t) > threshold]      state carried
    U(t) = I(t);                                    Z(t) = [U(t) > threshold]      state reset

The first are the dynamics of ``snntorch.Leaky`` (1.0), whose reset passes no gradient. (In 0.6.2,
with which the source of spiking replay was written, the reset decays too: beta (U - threshold Z).)
The
surrogate derivatives of the step function have the names that snnTorch gives them. Spikes of the
layer below arrive within the same step, so each layer is computed for all steps before the next
one: a convolution has one call for all steps, and the current of an input that is constant in time
is computed once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from trainables.errors import InputError
from trainables.nn.backbones import Pixels
from trainables.nn.convolution import Convolution, Pooling
from trainables.nn.dense import Linear
from trainables.nn.members import is_faster_one_by_one, states_of_seeds


def fast_sigmoid(excess: Tensor, slope: float) -> Tensor:
    """1 / (1 + slope |x|)^2 (Zenke and Ganguli 2018)."""
    return excess.abs().mul_(slope).add_(1.0).pow_(-2)


def atan(excess: Tensor, slope: float) -> Tensor:
    """slope/2 / (1 + (pi/2 slope x)^2) (Fang et al. 2021)."""
    return (excess * (math.pi / 2 * slope)).square_().add_(1.0).reciprocal_().mul_(slope / 2)


def sigmoid(excess: Tensor, slope: float) -> Tensor:
    """The derivative of the logistic function of slope x; that of snnTorch 1.0 overflows to NaN
    at a distance of 44 / slope below the threshold.
    """
    logistic = (excess * slope).sigmoid_()
    return logistic.mul_(1 - logistic).mul_(slope)


SURROGATES = {"fast_sigmoid": fast_sigmoid, "atan": atan, "sigmoid": sigmoid}


@dataclass(frozen=True)
class LeakyUnits:
    """Leaky integrate-and-fire units.

    Attributes:
        steps: number of time steps, T.
        beta: factor of the membrane potential per step.
        threshold: membrane potential above which a unit spikes.
        surrogate: derivative of the step function, one of ``SURROGATES``.
        slope: of the surrogate.
        carried: whether the membrane potential is carried from step to step.
    """

    steps: int
    beta: float
    threshold: float
    surrogate: str
    slope: float
    carried: bool = True

    def __call__(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and membrane potentials for a current [F, ...]: of F = T frames, one a
        step, or of one frame for all steps. They have T frames, or F if the state is reset, where
        equal currents have equal spikes.
        """
        return _Spikes.apply(current, self)  # type: ignore[no-any-return]


class _Spikes(torch.autograd.Function):
    """Spikes and membrane potentials of units.

    A training step of the published network takes 0.6 of the time that it takes with
    ``snntorch.Leaky`` called step by step, see tests/benchmarks/spikes.py.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, units: LeakyUnits) -> tuple[Tensor, Tensor]:
        steps = units.steps if units.carried else len(current)
        membrane = _empty(current, steps) if units.carried else current.detach().clone()
        spikes = torch.empty_like(membrane)
        for t in range(steps if units.carried else 0):
            arriving = current[t if len(current) > 1 else 0]
            if t:
                torch.add(arriving, membrane[t - 1], alpha=units.beta, out=membrane[t])
                membrane[t].sub_(spikes[t - 1], alpha=units.threshold)
            else:
                membrane[0].copy_(arriving)
            torch.gt(membrane[t], units.threshold, out=spikes[t])
        if not units.carried:
            torch.gt(membrane, units.threshold, out=spikes)
        ctx.save_for_backward(membrane)
        ctx.units, ctx.frames = units, len(current)
        ctx.mark_non_differentiable(membrane)
        return spikes, membrane

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (membrane,), units = ctx.saved_tensors, ctx.units
        of_current = SURROGATES[units.surrogate](membrane - units.threshold, units.slope)
        of_current.mul_(gradients[0])
        for t in reversed(range(len(membrane) - 1 if units.carried else 0)):
            of_current[t].add_(of_current[t + 1], alpha=units.beta)
        if ctx.frames < len(membrane):
            of_current = of_current.sum(0, keepdim=True)
        return of_current, None


def _empty(current: Tensor, steps: int) -> Tensor:
    """Return an empty tensor of T frames, each of which lies in memory as a frame of a current."""
    frame = current[0]
    order = sorted(range(frame.dim()), key=frame.stride, reverse=True)
    empty = current.new_empty(steps, *(frame.shape[axis] for axis in order))
    return empty.permute(0, *(1 + order.index(axis) for axis in range(frame.dim())))


class Activity(NamedTuple):
    """What a network did with a batch.

    Attributes:
        record: spikes of the outputs, [S, F, B, C]: a frame for each step, or one for all. Without
            spiking units: their values, [S, 1, B, C].
        membrane: sum over the frames of the membrane potentials of the outputs, [S, B, C].
        spikes: number of spikes of the inputs and of each layer over the steps, [S, B, 1 + L];
            empty unless they were to be counted.
        additions: number of additions of a spike through a synapse, [S, B, L]; likewise.
    """

    record: Tensor
    membrane: Tensor
    spikes: Tensor
    additions: Tensor


class SpikingNetwork(nn.Module):
    """Convolutions without padding, each with 2 x 2 maximum pooling of its currents, then dense
    layers; every layer, the outputs too, ends with spiking units.

    Args:
        shape: shape of a sample: height, width, and channels unless there is one, for convolutions.
        channels: channels of each convolution; none for dense layers only.
        kernel: width of the kernels.
        hidden: units of each hidden dense layer.
        outputs: number of classes.
        generators: random generator of each seed.
        units: the spiking units; None for the non-spiking twin, with ReLU and plain outputs.

    Raises:
        InputError: the images are too small for the convolutions.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: Sequence[int],
        kernel: int,
        hidden: Sequence[int],
        outputs: int,
        generators: Sequence[torch.Generator],
        units: LeakyUnits | None,
    ) -> None:
        super().__init__()
        self.shape, self.units = tuple(shape), units
        self.sides = [tuple(shape[:2])]  # height and width of the inputs of each convolution
        width, layers = (*shape, 1)[2] if channels else 1, []
        for number in channels:
            layers.append(Convolution(width, number, kernel, generators, padding=0))
            width = number
            self.sides.append(tuple((side - kernel + 1) // 2 for side in self.sides[-1]))
        if min(self.sides[-1]) < 1:
            raise InputError(
                f"images of {shape[0]} x {shape[1]} pixels are too small for {len(channels)} "
                f"convolutions with kernels of {kernel} x {kernel}: give fewer channels or a "
                "smaller kernel"
            )
        self.convolutions: Any = nn.ModuleList(layers)
        self.pooling = Pooling("max")
        for side in self.sides[-1] if channels else shape:
            width *= side
        sizes = (width, *hidden, outputs)
        self.dense: Any = nn.ModuleList(Linear(a, b, generators) for a, b in pairwise(sizes))
        self.pixels = Pixels()

    @property
    def readout(self) -> Linear:
        """The last layer."""
        return self.dense[-1]  # type: ignore[no-any-return]

    @property
    def below_readout(self) -> list[nn.Parameter]:
        """The weights below the last layer."""
        last = {id(weight) for weight in self.readout.parameters()}
        return [weight for weight in self.parameters() if id(weight) not in last]

    def forward(self, frames: Tensor, counts: bool = False) -> Activity:
        """Return the activity for inputs [S, F, B, D], of F = T frames or of one for all steps.

        Args:
            counts: whether to count spikes and additions.
        """
        if len(self.convolutions) and is_faster_one_by_one(frames):
            stacks = zip(states_of_seeds(self), torch.split(frames, 1), strict=True)
            parts = [functional_call(self, state, (part, counts)) for state, part in stacks]
            return Activity(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))
        batch = frames.shape[2]
        passed = [self._inputs(frames)]  # to each layer, [S, F * B, ...]
        for layer in self.convolutions:
            currents = _channels_last(self.pooling(layer(passed[-1])))
            passed.append(self._fired(currents, batch))
        if len(self.convolutions):
            passed[-1] = self.pixels(passed[-1])
        for layer in self.dense[:-1]:
            passed.append(self._fired(layer(passed[-1]), batch))
        record, membrane = self._outputs(self.readout(passed[-1]), batch)
        signals = [*passed, record.flatten(1, 2)]
        counted = self._counted(signals, batch) if counts else [record[:, 0, :, :0]] * 2
        return Activity(record, membrane.sum(1), *counted)

    def _inputs(self, frames: Tensor) -> Tensor:
        """Return inputs of the first layer, [S, F * B, D] or images [S, F * B, C, H, W]."""
        inputs = frames.flatten(1, 2)
        if not len(self.convolutions):
            return inputs
        return inputs.view(*inputs.shape[:2], *self.shape[:2], -1).movedim(-1, 2)

    def _fired(self, current: Tensor, batch: int) -> Tensor:
        """Return the signals that a hidden layer sends, [S, F * B, ...]."""
        if self.units is None:
            return F.relu(current)
        spikes, _ = self.units(_by_frame(current, batch).movedim(1, 0))
        return spikes.movedim(0, 1).flatten(1, 2)

    def _outputs(self, current: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Return the signals of the outputs and their membrane potentials, [S, F, B, C]."""
        frames = _by_frame(current, batch)
        if self.units is None:
            return frames, torch.zeros_like(frames)
        spikes, membrane = self.units(frames.movedim(1, 0))
        return spikes.movedim(0, 1), membrane.movedim(0, 1)

    # -- the cost

    def _counted(self, signals: Sequence[Tensor], batch: int) -> list[Tensor]:
        """Return the spikes of each layer, and the additions in each, over the steps."""
        steps = self.units.steps if self.units else 1
        # a frame of a constant signal stands for all steps
        frames = [_by_frame(x, batch) for x in signals]
        sums = [_at_places(x) * (steps / x.shape[1]) for x in frames]
        pairs = zip(sums, self.fans, strict=False)
        additions = [(each * fan.to(each.device)).sum((2, 3)) for each, fan in pairs]
        return [torch.stack([each.sum((2, 3)) for each in sums], 2), torch.stack(additions, 2)]

    @functools.cached_property
    def fans(self) -> list[Tensor]:
        """The number of synapses from each place of the inputs of each layer: [H, W] of a
        convolution, at whose margins it is smaller; one number of a dense layer.
        """
        fans = []
        for layer, sides in zip(self.convolutions, self.sides, strict=False):
            outputs, _, kernel, _ = layer.weight.shape[1:]
            ones = torch.ones(1, 1, *(side - kernel + 1 for side in sides))
            reached = F.conv_transpose2d(ones, torch.ones(1, 1, kernel, kernel))
            fans.append(outputs * reached[0, 0].double())
        return fans + [torch.tensor(float(layer.weight.shape[2])) for layer in self.dense]

    def synapses(self) -> list[int]:
        """Return the number of synapses of each layer: the multiply-accumulates of a sample in the
        non-spiking twin.
        """
        inputs = [layer.weight.shape[2] for layer in self.convolutions]
        inputs += [layer.weight.shape[1] for layer in self.dense]
        return [int(fan.sum()) * size for fan, size in zip(self.fans, inputs, strict=True)]


def _by_frame(signals: Tensor, batch: int) -> Tensor:
    """Return signals [S, F * B, ...] as [S, F, B, ...]."""
    return signals.view(len(signals), -1, batch, *signals.shape[2:])


def _at_places(signals: Tensor) -> Tensor:
    """Return the sum of signals [S, F, B, ...] over frames and channels, [S, B, H, W] of images; of
    dense layers over all units, [S, B, 1, 1].
    """
    if signals.dim() == 4:
        return signals.sum((1, 3), dtype=torch.float64)[..., None, None]
    return signals.sum((1, 3), dtype=torch.float64)


def _channels_last(images: Tensor) -> Tensor:
    """Return images [S, B, C, H, W] whose channels lie last in memory, if there is one seed: torch
    then chooses kernels that are faster on a CPU.
    """
    if len(images) > 1:
        return images
    return images.squeeze(0).contiguous(memory_format=torch.channels_last).unsqueeze(0)
