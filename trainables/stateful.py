"""State that outlives a task: registered once, then saved, restored and counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainables.errors import InputError, unknown

BYTE_KINDS = ("parameters", "memory", "auxiliary")  # keys of a footprint


class Stateful:
    """An object for S seeds whose state is the attributes registered with :meth:`keep`.

    Such an attribute is a tensor [S, ...], which may grow or be replaced; a number, a string or
    None; a list or dictionary of these; a network or an optimiser; or another stateful object, such
    as a memory or a random stream.

    >>> class Anchors(Stateful):
    ...     def __init__(self, stack):
    ...         super().__init__(stack, "cpu")
    ...         self.weights = {"last": torch.zeros(stack, 3)}
    ...         self.keep("weights", kind="auxiliary")
    >>> Anchors(2).footprint()
    {'parameters': 0, 'memory': 0, 'auxiliary': 12}

    Args:
        stack: number of seeds, S.
        device: device that restored tensors are moved to.
    """

    def __init__(self, stack: int, device: torch.device | str) -> None:
        self.stack, self.device = stack, torch.device(device)
        self.kept: dict[str, str] = {}  # registered attributes, and the kind of their bytes

    def keep(self, *names: str, kind: str = "auxiliary") -> None:
        """Register attributes as part of the state. Each must already have a value, if only None or
        ``{}``.

        Args:
            names: names of the attributes.
            kind: kind of bytes that the tensors count as in the footprint: ``memory`` for past
                data, ``auxiliary`` otherwise. Networks always count as ``parameters``, with the
                statistics of their normalisation.
        """
        if kind not in BYTE_KINDS:
            raise InputError(f"{type(self).__name__}.keep: {unknown('kind', kind, BYTE_KINDS)}")
        for name in names:
            getattr(self, name)  # raises for a misspelled name
            self.kept[name] = kind

    def state(self) -> dict[str, Any]:
        """Return all that is needed to continue after a task, as plain tensors and numbers."""
        return {name: _saved(getattr(self, name)) for name in self.kept}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state` returned."""
        for name in self.kept:
            value = getattr(self, name)
            if isinstance(value, Stateful):
                value.load(state[name])
            elif isinstance(value, nn.Module | Optimizer):
                value.load_state_dict(state[name])
            else:
                setattr(self, name, _copied(state[name], self.device))

    def footprint(self) -> dict[str, Any]:
        """Return the bytes per seed by kind: live ``parameters``, ``memory`` of past data, and
        ``auxiliary`` tensors of the method. Where seeds differ, a list with a number for each.
        """
        totals = dict.fromkeys(BYTE_KINDS, 0)
        for name, kind in self.kept.items():
            value = getattr(self, name)
            if isinstance(value, Stateful):
                for part_kind, count in value.footprint().items():
                    totals[part_kind] += count
            elif isinstance(value, nn.Module):
                held = [*value.parameters(), *value.buffers()]
                totals["parameters"] += _bytes(held) // self.stack
            else:
                totals[kind] += _bytes(value) // self.stack
        return totals


def _saved(value: Any) -> Any:
    if isinstance(value, Stateful):
        return value.state()
    return value.state_dict() if isinstance(value, nn.Module | Optimizer) else value


def _copied(value: Any, device: torch.device) -> Any:
    """Copy a saved value, so that the state and the object share no tensor."""
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
