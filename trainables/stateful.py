"""What outlives a task: named once, and saved, restored and counted from then on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainables.errors import InputError, unknown

BYTES = ("parameters", "memory", "auxiliary")  # the kinds of bytes that a footprint tells


class Stateful:
    """An object of S seeds with a state: the attributes that it has named to :meth:`keep`.

    Such an attribute is a tensor [S, ...], which may grow or be replaced; a number, a word or None;
    a list or a dictionary of these; a network or an optimiser; or another stateful object, as a
    memory and a random stream are.

    >>> class Anchors(Stateful):
    ...     def __init__(self, stack):
    ...         super().__init__(stack, "cpu")
    ...         self.weights = {"last": torch.zeros(stack, 3)}
    ...         self.keep("weights", kind="auxiliary")
    >>> Anchors(2).footprint()
    {'parameters': 0, 'memory': 0, 'auxiliary': 12}

    Args:
        stack: number of seeds, S.
        device: where a restored tensor goes.
    """

    def __init__(self, stack: int, device: torch.device | str) -> None:
        self.stack, self.device = stack, torch.device(device)
        self.kept: dict[str, str] = {}  # attributes that are state, and the kind of their tensors

    def keep(self, *names: str, kind: str = "auxiliary") -> None:
        """Make attributes part of the state; each has a value by now, if only None or ``{}``.

        Args:
            names: of the attributes.
            kind: what their tensors count as: ``memory`` where they are of past data, and
                ``auxiliary`` otherwise. Networks count as ``parameters``, whatever the kind.
        """
        if kind not in BYTES:
            raise InputError(f"{type(self).__name__}.keep: {unknown('kind', kind, BYTES)}")
        for name in names:
            getattr(self, name)  # a name that is misspelled raises here
            self.kept[name] = kind

    def state(self) -> dict[str, Any]:
        """Return everything needed to continue after a task, as plain tensors and numbers."""
        return {name: _saved(getattr(self, name)) for name in self.kept}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        for name in self.kept:
            value = getattr(self, name)
            if isinstance(value, Stateful):
                value.load(state[name])
            elif isinstance(value, nn.Module | Optimizer):
                value.load_state_dict(state[name])
            else:
                setattr(self, name, _copied(state[name], self.device))

    def footprint(self) -> dict[str, int]:
        """Bytes one seed holds: live ``parameters``, ``memory`` of past data, ``auxiliary`` tensors
        of the method.
        """
        held = dict.fromkeys(BYTES, 0)
        for name, kind in self.kept.items():
            value = getattr(self, name)
            if isinstance(value, Stateful):
                for part, count in value.footprint().items():
                    held[part] += count
            elif isinstance(value, nn.Module):
                held["parameters"] += _bytes(list(value.parameters())) // self.stack
            else:
                held[kind] += _bytes(value) // self.stack
        return held


def _saved(value: Any) -> Any:
    if isinstance(value, Stateful):
        return value.state()
    return value.state_dict() if isinstance(value, nn.Module | Optimizer) else value


def _copied(value: Any, device: torch.device) -> Any:
    """Copy what was saved, so that neither changes with the other."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item, device) for item in value)
    return value


def _bytes(value: Any) -> int:
    """Count the bytes of the tensors in a value."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
