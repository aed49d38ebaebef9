"""Networks of single seeds: how a stack is computed seed by seed, and modules of any kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.parameter import UninitializedParameter

from trainables.errors import InputError
from trainables.rng import generator

State = dict[str, Tensor]


def one_by_one(network: nn.Module, inputs: Tensor, **options: Any) -> Tensor:
    """Apply a network of stacked layers to inputs [S, ...], seed by seed as stacks of one.

    For convolutions on a CPU: a stack of four trains as fast as four networks without a stack, with
    a loop over seeds in each layer at 0.6 to 0.9 of that speed, and with groups at 0.5.
    """
    parts = zip(states_of_seeds(network), torch.split(inputs, 1), strict=True)
    return torch.cat([functional_call(network, state, part, options) for state, part in parts])


def is_faster_one_by_one(inputs: Tensor) -> bool:
    """Whether to compute convolutions of inputs [S, ...] seed by seed: several, on a CPU."""
    return inputs.device.type == "cpu" and len(inputs) > 1


def tensors_of(network: nn.Module) -> State:
    """Return all parameters and buffers by name."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def states_of_seeds(network: nn.Module) -> list[State]:
    """Return the parameters and buffers of each seed, as of a stack of one. Buffers are views,
    which training updates in place.
    """
    tensors = tensors_of(network)
    split = {name: torch.split(tensor, 1) for name, tensor in tensors.items()}
    return [dict(zip(split, of_seed, strict=True)) for of_seed in zip(*split.values(), strict=True)]


def has_many_activations(network: nn.Module) -> bool:
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

    What differs between seeds has to be a parameter or a buffer, and a buffer has to be updated in
    place, as those of batch normalisation are.

    Args:
        build: returns a module that maps inputs [B, *shape] to logits [B, outputs].
        shape: shape of a sample: channels, height and width of an image.
        generators: random generator of each seed, for the initial weights and for training.

    Attributes:
        obstacle: why the module cannot be vectorised over seeds; empty if it can.

    Raises:
        InputError: if the module does not return logits, or cannot be stacked.
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
        members = [_built(build, shape, outputs, key).eval() for key in self.keys]
        samples = torch.randn(len(members), 2, *shape, generator=generator(0, "samples"))
        pairs = zip(members, samples, strict=True)
        expected = [_logits(member, part, outputs) for member, part in pairs]
        self.module = _stacked(members)
        dense = [name for name, m in self.module.named_modules() if isinstance(m, nn.Linear)]
        self.last = dense[-1] if dense else None  # by name, as the module must be registered once
        self._check_stacking(samples, torch.stack(expected))
        self.obstacle = self._obstacle(samples)

    # -- logits and features

    def forward(self, inputs: Tensor) -> Tensor:
        return self._run(self.logits_of, self.shaped(inputs))

    def features(self, inputs: Tensor) -> Tensor:
        """Return the inputs of the last ``nn.Linear``, [S, B, width]."""
        return self._run(self._features_of, self.shaped(inputs))

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
                f"{type(self.module).__name__} does not end with an nn.Linear, whose inputs are "
                "the features that this method needs: end the module with one"
            )
        return self.module.get_submodule(self.last)  # type: ignore[return-value]

    def logits_of(self, state: State, samples: Tensor) -> Tensor:
        """Return the logits [B, outputs] of samples [B, *shape] with the weights of one seed."""
        logits: Tensor = functional_call(self.module, state, samples)
        return logits

    def _features_of(self, state: State, samples: Tensor) -> Tensor:
        found: list[Tensor] = []
        handle = self._last().register_forward_pre_hook(lambda _, given: found.append(given[0]))
        functional_call(self.module, state, samples)
        handle.remove()
        return found[-1]

    # -- seeds

    def state(self) -> State:
        """Return the parameters and buffers of the module, each [S, ...]."""
        return tensors_of(self.module)

    def shaped(self, inputs: Tensor) -> Tensor:
        """Return samples [S, B, H * W * C] in the shape that the module takes, [S, B, *shape]."""
        if len(self.shape) == 1:
            return inputs
        channels, *sides = self.shape
        return inputs.view(*inputs.shape[:2], *sides, channels).movedim(-1, 2).contiguous()

    def _run(self, function: Callable[[State, Tensor], Tensor], samples: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        if samples.is_cuda and not self.obstacle:
            return vmap(function)(self.state(), samples)
        split = {name: tensor.unbind() for name, tensor in self.state().items()}
        results = []
        for seed, key in enumerate(self.keys):
            member = {name: tensors[seed] for name, tensors in split.items()}
            draws = _drawing(key + self.calls, samples.device)
            with draws if self.training else contextlib.nullcontext():
                # a copy, which the module may change
                results.append(function(member, samples[seed].clone()))
        return torch.stack(results)

    # -- what a module has to keep to

    def _check_stacking(self, samples: Tensor, expected: Tensor) -> None:
        """Raise unless each seed gives the logits of its own module; see whether features do."""
        with torch.no_grad(), self._trial(training=False):
            found = self._run(self.logits_of, samples)
            if not torch.allclose(found, expected, rtol=1e-3, atol=1e-5):
                raise InputError(
                    f"{type(self.module).__name__} has something that differs between seeds and is "
                    "no parameter or buffer: register it with register_buffer"
                )
            if self.last is not None:
                logits = self.classify(self._run(self._features_of, samples))
                if logits.shape != found.shape or not torch.allclose(logits, found, atol=1e-5):
                    self.last = None
        with torch.no_grad(), self._trial(training=True):
            state = self.state()
            member = {name: tensor[0] for name, tensor in state.items()}
            given = dict(member)
            self.logits_of(member, samples[0])
            replaced = [name for name, tensor in member.items() if tensor is not given[name]]
        if replaced:
            raise InputError(
                f"{type(self.module).__name__} replaces its buffer '{replaced[0]}' in training: "
                "update it in place, as with copy_"
            )

    def _obstacle(self, samples: Tensor) -> str:
        """Return why the module cannot be vectorised over seeds, in training or evaluation."""
        for training in (True, False):
            with self._trial(training):
                try:
                    logits = vmap(self.logits_of)(self.state(), samples)
                    torch.autograd.grad(logits.sum(), [*self.parameters()], allow_unused=True)
                except Exception as error:  # whatever the module does
                    return (str(error).strip().splitlines() or [type(error).__name__])[0]
        return ""

    @contextlib.contextmanager
    def _trial(self, training: bool) -> Iterator[None]:
        """Leave no trace: of statistics, gradients, calls or random numbers."""
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        with _drawing(self.keys[0], torch.device("cpu")):
            self.train(training)
            try:
                yield
            finally:
                self.eval()
                self.calls = 0
                for name, buffer in self.module.named_buffers():
                    buffer.copy_(buffers[name])

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
    """Return the module of a seed; what is not trained becomes a buffer."""
    with _drawing(key, torch.device("cpu")):
        module = build(shape, outputs)
    if not isinstance(module, nn.Module):
        raise InputError(f"it returned {type(module).__name__}, which is no torch.nn.Module")
    name = type(module).__name__
    if any(isinstance(weight, UninitializedParameter) for weight in module.parameters()):
        raise InputError(f"{name} has lazy layers: give their sizes")
    if any(weight.dtype != torch.float32 for weight in module.parameters()):
        raise InputError(f"{name} has weights that are not float32: convert them with .float()")
    if len([*module.parameters()]) < len([*module.named_parameters(remove_duplicate=False)]):
        raise InputError(f"{name} uses a parameter in two places: give each its own")
    for part in module.modules():
        part._non_persistent_buffers_set.clear()  # all of them are part of a checkpoint
        for place, weight in [*part.named_parameters(recurse=False)]:
            if not weight.requires_grad:
                delattr(part, place)
                part.register_buffer(place, weight.detach())
    if not [*module.parameters()]:
        raise InputError(f"{name} has no parameter to train")
    return module


@torch.no_grad()
def _logits(module: nn.Module, samples: Tensor, outputs: int) -> Tensor:
    """Return what a module of one seed gives for samples.

    Raises:
        InputError: unless these are logits [B, outputs].
    """
    found = module(samples.clone())
    what = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
    if not isinstance(found, Tensor) or found.shape != (len(samples), outputs):
        raise InputError(
            f"{type(module).__name__} returns {what} for inputs of shape {list(samples.shape)}; "
            f"required are logits of shape {[len(samples), outputs]}"
        )
    return found


def _stacked(members: Sequence[nn.Module]) -> nn.Module:
    """Return the first module with the parameters and buffers of all, each [S, ...]."""
    tensors = [tensors_of(member) for member in members]
    module = members[0]
    for name in tensors[0]:
        together = torch.stack([each[name].detach() for each in tensors])
        place, _, last = name.rpartition(".")
        part = module.get_submodule(place)
        if last in part._parameters:
            part._parameters[last] = nn.Parameter(together)
        else:
            part._buffers[last] = together
    return module


@contextlib.contextmanager
def _drawing(key: int, device: torch.device) -> Iterator[None]:
    """Let torch's global random numbers follow from a key, and leave them as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(key)
        yield
