"""Run-time checks of what a learner's methods return: shapes, types and ranges, at no cost.

A breach of the contract raises an :class:`InputError` that names the class, the method, the value
returned and the value required; the trial fails with that message as its reason. S seeds, B batch,
C outputs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainables.errors import InputError, unknown
from trainables.options import Options
from trainables.stateful import BYTE_KINDS
from trainables.streams.scenario import SCENARIOS

if TYPE_CHECKING:
    from trainables.learner import Learner
    from trainables.streams import Stream

# the types that torch loads from a checkpoint with weights_only
PLAIN = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device)
MAPPINGS, SEQUENCES = (dict, OrderedDict), (list, tuple, set, torch.Size)


def misdeclared(kind: type[Learner]) -> str:
    """Return the fault in the class attributes of a learner; empty if there is none."""
    if fault := _scenarios_fault(kind) or _names_fault(kind, "readouts", '("main",)'):
        return fault
    if not _is_whole(kind.version):
        return f"{kind.__name__}.version = {kind.version!r} is not a whole number"
    if kind.max_stack is not None and not (_is_whole(kind.max_stack) and kind.max_stack > 0):
        return f"{kind.__name__}.max_stack = {kind.max_stack!r} is neither None nor at least 1"
    if not (isinstance(kind.Config, type) and issubclass(kind.Config, Options)):
        return f"{kind.__name__}.Config is not a subclass of trainables.options.Options"
    return _missing(kind)


def misdeclared_stream(kind: type[Stream]) -> str:
    """Return the fault in the class attributes of a stream; empty if there is none."""
    if fault := _scenarios_fault(kind):
        return fault
    for attribute in ("version", "tasks"):
        if not _is_whole(value := getattr(kind, attribute, None)):
            return f"{kind.__name__}.{attribute} = {value!r} is not a whole number"
    from trainables.streams import StreamOptions

    if not (isinstance(kind.Options, type) and issubclass(kind.Options, StreamOptions)):
        return f"{kind.__name__}.Options is not a subclass of trainables.streams.StreamOptions"
    return _missing(kind)


def _scenarios_fault(kind: type[Learner] | type[Stream]) -> str:
    """Return the fault in the scenarios of a class; empty if there is none."""
    if fault := _names_fault(kind, "scenarios", '("task", "class")'):
        return fault
    for name in kind.scenarios:
        if name not in SCENARIOS:
            return f"{kind.__name__}.scenarios: {unknown('scenario', name, SCENARIOS)}"
    return ""


def _names_fault(kind: type[Learner] | type[Stream], attribute: str, example: str) -> str:
    names = getattr(kind, attribute, None)
    if isinstance(names, tuple | list) and names and all(type(n) is str for n in names):
        return ""
    return f"{kind.__name__}.{attribute} = {names!r} is not a tuple of names, such as {example}"


def _missing(kind: type[Learner] | type[Stream]) -> str:
    missing = ", ".join(sorted(kind.__abstractmethods__))
    return f"{kind.__name__} does not define {missing}" if missing else ""


def check_losses(learner: Learner, losses: Any, source: str) -> None:
    """Raise unless the losses are one number per seed, [S]: a scalar would broadcast silently.

    Args:
        source: start of the error message: the method and a verb, such as "observe returned".
    """
    stack = len(learner.seeds)
    if not _is_floating(losses, (stack,)):
        raise broken(
            learner,
            f"{source} {described(losses)}; losses are floating-point numbers of shape [{stack}], "
            "one per seed: average over the samples of a seed, as in losses.mean(1), never over "
            "seeds",
        )


def check_step(learner: Learner, losses: Any) -> None:
    """Raise unless ``observe`` returned one number per seed, [S], detached from the graph."""
    check_losses(learner, losses, "observe returned")
    if losses.requires_grad:
        raise broken(
            learner,
            "observe returned losses attached to their graph, which would keep the graphs of all "
            "steps alive; return the result of `descend`, or losses.detach()",
        )


def check_learnt(learner: Learner, trained: int) -> None:
    """Raise unless ``learn`` left losses [S] and a valid count of samples trained on.

    Args:
        trained: ``learner.trained`` before the task.
    """
    check_losses(learner, learner.losses, "learn set `losses` to")
    if not _is_whole(learner.trained) or learner.trained < trained:
        raise broken(
            learner,
            f"learn set `trained` to {described(learner.trained)}; `trained` counts the samples "
            f"that a seed has trained on, {trained} before this task",
        )


def check_logits(learner: Learner, answers: Any, inputs: Tensor, outputs: int) -> None:
    """Raise unless ``readout_logits`` returned logits [S, B, C] for each readout."""
    names = learner.readouts
    if not isinstance(answers, Mapping) or set(answers) != set(names):
        raise broken(
            learner,
            f"readout_logits returned {described(answers)}; required is a dictionary with the "
            f"logits of each readout named in `readouts`: {', '.join(names)}",
        )
    shape = (*inputs.shape[:2], outputs)
    for name, logits in answers.items():
        if not _is_floating(logits, shape):
            source = f"readout_logits, for '{name}'," if len(names) > 1 else "predict"
            raise broken(
                learner,
                f"{source} returned {described(logits)}; logits are floating-point numbers of "
                f"shape {list(shape)}: seeds, samples, outputs",
            )


def check_footprint(learner: Learner, footprint: Any) -> None:
    """Raise unless a footprint has the bytes of each kind, within the memory budget: a number, or
    one for each seed, [S].
    """
    if not isinstance(footprint, Mapping) or set(footprint) != set(BYTE_KINDS):
        raise broken(
            learner,
            f"footprint returned {described(footprint)}; required is a dictionary with the bytes "
            f"per seed of each kind: {', '.join(BYTE_KINDS)}",
        )
    for kind, held in footprint.items():
        for count in _each(held, len(learner.seeds)):
            if not _is_whole(count) or count < 0:
                raise broken(
                    learner,
                    f"footprint returned {described(held)} for '{kind}'; bytes are whole numbers, "
                    "0 or more: one number, or a list with one for each seed",
                )
    budget = getattr(learner.config, "memory_bytes", None)
    most = max(_each(footprint["memory"], len(learner.seeds)))
    if budget is not None and most > budget:
        raise broken(
            learner,
            f"footprint returned {most} bytes of memory, above the budget of "
            f"memory_bytes = {budget}: everything kept of past data counts",
        )


def _each(held: Any, stack: int) -> list[Any]:
    """Return the bytes of each seed; anything else than a list with one number for each is one."""
    return held if isinstance(held, list) and len(held) == stack else [held]


def check_state(learner: Learner, state: Any) -> None:
    """Raise for a state that can be saved but not loaded: the trial would restart from its first
    task, unnoticed.
    """
    if not isinstance(state, Mapping):
        raise broken(learner, f"state returned {described(state)}; required is a dictionary")
    for name, value in state.items():
        _check_saved(learner, value, str(name))


def _check_saved(learner: Learner, value: Any, place: str) -> None:
    if isinstance(value, Tensor) or type(value) in PLAIN:
        return
    parts: Iterable[tuple[Any, Any]]
    if type(value) in MAPPINGS:
        parts = value.items()
    elif type(value) in SEQUENCES:
        parts = enumerate(value)
    else:
        raise broken(
            learner,
            f"state returned {described(value)} as '{place}', which a checkpoint cannot restore: "
            "return tensors, numbers and strings, and lists and dictionaries of these",
        )
    for key, part in parts:
        _check_saved(learner, part, f"{place}/{key}")


def check_diagnosis(learner: Learner, diagnosis: Any) -> None:
    """Raise unless diagnostics are one number per seed, [S], and maps one matrix per seed, [S, R,
    C].
    """
    if not isinstance(diagnosis, Mapping) or not all(
        isinstance(tensors, Mapping) for tensors in diagnosis.values()
    ):
        raise broken(
            learner,
            f"diagnose returned {described(diagnosis)}; required is a dictionary by name of "
            "dictionaries of tensors by label",
        )
    for name, tensors in diagnosis.items():
        if ": " in name:
            raise InputError(
                f"diagnostic '{name}': a name must not contain ': '; a label may contain it."
            )
        for label, values in tensors.items():
            _check_diagnostic(learner, f"{name}: {label}", values, name in learner.maps)


def _check_diagnostic(learner: Learner, name: str, values: Any, is_map: bool) -> None:
    stack, axes = len(learner.seeds), 3 if is_map else 1
    if not _is_of_seeds(values, stack) or values.dim() != axes:
        required = f"[{stack}, rows, columns], as of a map" if is_map else f"[{stack}]"
        raise InputError(
            f"diagnostic '{name}' of {learner.name}: {_of_shape(values)}; required is {required}. "
            "The names in the learner's `maps` are maps."
        )


def check_foundation(learner: Learner, foundation: Any) -> None:
    """Raise unless a foundation is a dictionary of tensors with an axis of seeds, [S, ...]."""
    if not isinstance(foundation, Mapping) or not foundation:
        raise InputError(
            f"foundation of {learner.name}: empty; return the tensors that the first task leaves "
            "behind, or let `pretraining` return None."
        )
    for label, tensor in foundation.items():
        if not _is_of_seeds(tensor, len(learner.seeds)):
            raise InputError(
                f"foundation '{label}' of {learner.name}: {_of_shape(tensor)}; the first axis must "
                f"be that of the {len(learner.seeds)} seeds."
            )


def broken(learner: Learner, breach: str) -> InputError:
    """Return the error for a breach of the contract.

    Args:
        breach: the method's name, then the breach, such as "observe returned 0.5".
    """
    return InputError(f"{type(learner).__name__}.{breach}.")


def described(value: Any) -> str:
    """Describe a value in a few words, for an error message."""
    if isinstance(value, Tensor):
        kind = "" if value.is_floating_point() else f" of {value.dtype}"
        return f"a tensor of shape {list(value.shape)}{kind}"
    if isinstance(value, Mapping):
        return f"a dictionary of {', '.join(map(str, value)) or 'nothing'}"
    if value is None or type(value) in (bool, int, float):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _of_shape(value: Any) -> str:
    return described(value).removeprefix("a tensor ")


def _is_floating(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, Tensor) and value.shape == shape and value.is_floating_point()


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_of_seeds(value: Any, stack: int) -> bool:
    return isinstance(value, Tensor) and value.shape[:1] == (stack,)
