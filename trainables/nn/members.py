"""Networks of single seeds: how a stack is computed seed by seed, and modules of any kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from trainables.errors import InputError

State = dict[str, Tensor]


def one_by_one(network: nn.Module, inputs: Tensor, **options: Any) -> Tensor:
    """Apply a network of stacked layers to inputs [S, ...], seed by seed as stacks of one.

    For convolutions on a CPU: a stack of four trains as fast as four networks without a stack, with
    a loop over seeds in each layer at 0.6 to 0.9 of that speed, and with groups at 0.5.
    """
    parts = zip(states_of_seeds(network), torch.split(inputs, 1), strict=True)
    return torch.cat([functional_call(network, state, part, options) for state, part in parts])


def states_of_seeds(network: nn.Module) -> list[State]:
    """Return the parameters and buffers of each seed, as of a stack of one. Buffers are views,
    which training updates in place.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    split = {name: torch.split(tensor, 1) for name, tensor in tensors.items()}
    return [dict(zip(split, of_seed, strict=True)) for of_seed in zip(*split.values(), strict=True)]


def is_convolutional(network: nn.Module) -> bool:
    """Whether a sample may have many activations: in convolutions, or in a module of any kind."""
    return any(
        isinstance(module, Members) or getattr(module, "shares_weights", False)
        for module in network.modules()
    )


class Members(nn.Module):
    """A module of torch.nn for each seed of a stack, whose weights have a leading axis of S.

    On a GPU the module is vectorised over seeds (``torch.func.vmap``), unless it cannot be: see
    ``obstacle``. Otherwise, and on a CPU, it is computed seed by seed. Random numbers of a module
    in training, such as those of dropout, come from a stream of each seed.

    Args:
        build: returns a module that maps inputs [B, *shape] to logits [B, outputs].
        shape: shape of a sample: channels, height and width of an image.
        generators: random generator of each seed, for the initial weights and for training.

    Attributes:
        obstacle: why the module cannot be vectorised over seeds; empty if it can.
    """

    def __init__(
        self,
        build: Callable[[tuple[int, ...], int], nn.Module],
        shape: tuple[int, ...],
        outputs: int,
        generators: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.shape, self.outputs = shape, outputs
        self.keys = [int(torch.randint(2**62, (1,), generator=g)) for g in generators]
        self.calls = 0  # in training
        members = [_built(build, shape, outputs, key) for key in self.keys]
        weights, buffers = stack_module_state(members)
        self.module = members[0]
        for name, tensor in (weights | buffers).items():
            _replace(self.module, name, tensor)
        dense = [name for name, m in self.module.named_modules() if type(m) is nn.Linear]
        self.last = dense[-1] if dense else None  # by name, as the module must be registered once
        self.obstacle = self._obstacle()

    # -- logits and features

    def forward(self, inputs: Tensor) -> Tensor:
        return self._run(self.logits_of, inputs)

    def features(self, inputs: Tensor) -> Tensor:
        """Return the inputs of the last ``nn.Linear``, [S, B, width]."""
        return self._run(self._features, inputs)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits [S, B, outputs] of features."""
        last = self._last()
        logits = features @ last.weight.mT
        return logits if last.bias is None else logits + last.bias.unsqueeze(1)

    @property
    def width(self) -> int:
        """Number of features."""
        return self._last().in_features

    def _last(self) -> nn.Linear:
        if self.last is None:
            raise InputError(
                f"{type(self.module).__name__} has no nn.Linear, whose inputs are the features "
                "that this method needs: end the module with one"
            )
        return self.module.get_submodule(self.last)  # type: ignore[return-value]

    def logits_of(self, state: State, inputs: Tensor) -> Tensor:
        """Return the logits [B, outputs] of samples [B, *shape] with the weights of one seed."""
        logits: Tensor = functional_call(self.module, state, inputs)
        return logits

    def _features(self, state: State, inputs: Tensor) -> Tensor:
        found: list[Tensor] = []
        handle = self._last().register_forward_pre_hook(lambda _, given: found.append(given[0]))
        functional_call(self.module, state, inputs)
        handle.remove()
        return found[-1]

    # -- seeds

    def state(self) -> State:
        """Return the parameters and buffers of the module, each [S, ...]."""
        return {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}

    def shaped(self, inputs: Tensor) -> Tensor:
        """Return samples [S, B, H * W * C] in the shape that the module takes, [S, B, *shape]."""
        if len(self.shape) == 1:
            return inputs
        channels, *sides = self.shape
        return inputs.view(*inputs.shape[:2], *sides, channels).movedim(-1, 2).contiguous()

    def _run(self, function: Callable[[State, Tensor], Tensor], inputs: Tensor) -> Tensor:
        samples = self.shaped(inputs)
        if self.training:
            self.calls += 1
        if inputs.is_cuda and not self.obstacle:
            return vmap(function)(self.state(), samples)
        split = {name: tensor.unbind() for name, tensor in self.state().items()}
        results = []
        for seed, key in enumerate(self.keys):
            member = {name: tensors[seed] for name, tensors in split.items()}
            with _drawing(key + self.calls, inputs.device, self.training):
                results.append(function(member, samples[seed]))
        return torch.stack(results)

    def _obstacle(self) -> str:
        """Try the module; return why it cannot be vectorised.

        Raises:
            InputError: if the module does not return logits [B, outputs].
        """
        samples = torch.zeros(len(self.keys), 2, *self.shape)
        with torch.no_grad(), _drawing(self.keys[0], samples.device):
            copied = {name: t.clone() for name, t in self.state().items()}
            found = self.logits_of({name: t[0] for name, t in copied.items()}, samples[0])
            if found.shape != (2, self.outputs):
                raise InputError(
                    f"{type(self.module).__name__} returns {list(found.shape)} for inputs of shape "
                    f"{[2, *self.shape]}; required are logits of shape {[2, self.outputs]}"
                )
            try:
                vmap(self.logits_of)(copied, samples)
            except Exception as error:  # whatever the module does
                return (str(error).strip().splitlines() or [type(error).__name__])[0]
        return ""

    def get_extra_state(self) -> Any:
        return self.calls

    def set_extra_state(self, state: Any) -> None:
        self.calls = state


def _built(
    build: Callable[[tuple[int, ...], int], nn.Module],
    shape: tuple[int, ...],
    outputs: int,
    key: int,
) -> nn.Module:
    with _drawing(key, torch.device("cpu")):
        module = build(shape, outputs)
    if not isinstance(module, nn.Module):
        raise InputError(f"it returned {type(module).__name__}, which is no torch.nn.Module")
    for part in module.modules():  # what is not trained is kept like the statistics of a norm
        for name, weight in [*part.named_parameters(recurse=False)]:
            if not weight.requires_grad:
                delattr(part, name)
                part.register_buffer(name, weight.detach())
    return module


def _replace(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a stacked tensor in the place of a parameter or buffer."""
    place, _, last = name.rpartition(".")
    part = module.get_submodule(place)
    if last in part._parameters:
        part._parameters[last] = nn.Parameter(tensor.detach())
    else:
        part._buffers[last] = tensor.detach()


@contextlib.contextmanager
def _drawing(key: int, device: torch.device, different: bool = True) -> Iterator[None]:
    """Let torch's global random numbers follow from a key, and leave them as they were."""
    if not different:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(key)
        yield
