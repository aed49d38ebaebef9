"""What a learner hands over, looked at where it comes in: shapes, kinds and ranges, which cost
nothing to ask for.

What breaks the contract is an :class:`InputError` that names the class and the method, what came,
and what is needed. It ends the trial and is its reason. S seeds, B batch, C outputs.
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
from trainables.stateful import BYTES
from trainables.streams.scenario import SCENARIOS

if TYPE_CHECKING:
    from trainables.learner import Learner

# what a checkpoint gives back: nothing else can be loaded from one
PLAIN = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device)
MAPPINGS, SEQUENCES = (dict, OrderedDict), (list, tuple, set, torch.Size)


def misdeclared(kind: type[Learner]) -> str:
    """Say what is wrong with the attributes of a class of learners; nothing where all is well."""
    for attribute, example in (("scenarios", '("task", "class")'), ("readouts", '("main",)')):
        names = getattr(kind, attribute)
        if not (isinstance(names, tuple | list) and names and all(type(n) is str for n in names)):
            return f"{kind.__name__}.{attribute} = {names!r} is not a tuple of names as {example}"
    for name in kind.scenarios:
        if name not in SCENARIOS:
            return f"{kind.__name__}.scenarios: {unknown('scenario', name, SCENARIOS)}"
    if not _is_whole(kind.version):
        return f"{kind.__name__}.version = {kind.version!r} is not a whole number"
    if kind.max_stack is not None and not (_is_whole(kind.max_stack) and kind.max_stack > 0):
        return f"{kind.__name__}.max_stack = {kind.max_stack!r} is neither None nor 1 or more"
    if not (isinstance(kind.Config, type) and issubclass(kind.Config, Options)):
        return f"{kind.__name__}.Config is not a subclass of trainables.options.Options"
    missing = ", ".join(sorted(kind.__abstractmethods__))
    return f"{kind.__name__} does not define {missing}" if missing else ""


def check_losses(learner: Learner, losses: Any, source: str) -> None:
    """Refuse losses that are not one number a seed, [S]: a single one would count for each.

    Args:
        source: the method, and what it did with them.
    """
    stack = len(learner.seeds)
    if not _is_floating(losses, (stack,)):
        raise broken(
            learner,
            f"{source} {described(losses)}; losses are floating-point numbers of shape [{stack}], "
            "one a seed: average over the samples of a seed, as losses.mean(1) does, and never "
            "over seeds",
        )


def check_step(learner: Learner, losses: Any) -> None:
    """Refuse what ``observe`` returned unless it is one number a seed, [S], without a graph."""
    check_losses(learner, losses, "observe returned")
    if losses.requires_grad:
        raise broken(
            learner,
            "observe returned losses with their graph, and the graphs of all steps would be kept; "
            "return what `descend` returns, or losses.detach()",
        )


def check_learnt(learner: Learner, trained: int) -> None:
    """Refuse a task learnt without losses [S], or with a wrong count of samples trained on.

    Args:
        trained: the count before the task.
    """
    check_losses(learner, learner.losses, "learn left")
    if not _is_whole(learner.trained) or learner.trained < trained:
        raise broken(
            learner,
            f"learn left {described(learner.trained)} for `trained`; it counts the samples that a "
            f"seed has trained on, {trained} before this task",
        )


def check_logits(learner: Learner, found: Any, inputs: Tensor, outputs: int) -> None:
    """Refuse the answers of a test unless there are logits of each readout, [S, B, C]."""
    names = learner.readouts
    if not isinstance(found, Mapping) or set(found) != set(names):
        raise broken(
            learner,
            f"readout_logits returned {described(found)}; it returns a dictionary with the logits "
            f"of each readout that the class names in `readouts`: {', '.join(names)}",
        )
    shape = (*inputs.shape[:2], outputs)
    for name, logits in found.items():
        if not _is_floating(logits, shape):
            source = f"readout_logits, for '{name}'," if len(names) > 1 else "predict"
            raise broken(
                learner,
                f"{source} returned {described(logits)}; logits are floating-point numbers of "
                f"shape {list(shape)}: seeds, samples, outputs",
            )


def check_footprint(learner: Learner, found: Any) -> None:
    """Refuse a footprint that is not a number of bytes of each kind, or is over the budget."""
    if not isinstance(found, Mapping) or set(found) != set(BYTES):
        raise broken(
            learner,
            f"footprint returned {described(found)}; it returns a dictionary with the bytes that "
            f"one seed holds of each kind: {', '.join(BYTES)}",
        )
    for kind, held in found.items():
        if not _is_whole(held) or held < 0:
            raise broken(
                learner,
                f"footprint returned {described(held)} for '{kind}'; bytes are whole numbers, 0 or "
                "more",
            )
    allowed = getattr(learner.config, "memory_bytes", None)
    if allowed is not None and found["memory"] > allowed:
        raise broken(
            learner,
            f"footprint returned {found['memory']} bytes of memory, and memory_bytes = {allowed} "
            "allows no more than that: all that is kept of past data counts",
        )


def check_state(learner: Learner, state: Any) -> None:
    """Refuse a state that can be saved and not be loaded: a trial would begin again unnoticed."""
    if not isinstance(state, Mapping):
        raise broken(learner, f"state returned {described(state)}; it returns a dictionary")
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
            f"state returned {described(value)} as '{place}'; no trial can go on from that: give "
            "tensors, numbers and words, and lists and dictionaries of these",
        )
    for key, part in parts:
        _check_saved(learner, part, f"{place}/{key}")


def check_diagnosis(learner: Learner, found: Any) -> None:
    """Refuse what a learner tells of itself unless it is of every seed: numbers, [S], and of a map
    matrices, [S, R, C].
    """
    if not isinstance(found, Mapping) or not all(isinstance(of, Mapping) for of in found.values()):
        raise broken(
            learner,
            f"diagnose returned {described(found)}; it returns a dictionary that has, for each "
            "name, a dictionary of tensors by label",
        )
    for name, labels in found.items():
        if ": " in name:
            raise InputError(f"diagnostic '{name}': a name must not hold ': '; labels may.")
        for label, values in labels.items():
            _check_diagnostic(learner, f"{name}: {label}", values, name in learner.maps)


def _check_diagnostic(learner: Learner, name: str, values: Any, is_map: bool) -> None:
    stack, axes = len(learner.seeds), 3 if is_map else 1
    if not _is_of_seeds(values, stack) or values.dim() != axes:
        wanted = f"[{stack}, rows, columns], as of a map" if is_map else f"[{stack}]"
        raise InputError(
            f"diagnostic '{name}' of {learner.name}: {_of_shape(values)}; it must be {wanted}. "
            "A name is of a map where the learner's `maps` has it."
        )


def check_foundation(learner: Learner, found: Any) -> None:
    """Refuse what a first task left behind unless it is tensors of every seed, [S, ...]."""
    if not isinstance(found, Mapping) or not found:
        raise InputError(
            f"foundation of {learner.name}: empty; return what its first task leaves behind, or "
            "let `pretraining` return None."
        )
    for label, tensor in found.items():
        if not _is_of_seeds(tensor, len(learner.seeds)):
            raise InputError(
                f"foundation '{label}' of {learner.name}: {_of_shape(tensor)}; its first axis must "
                f"be that of the {len(learner.seeds)} seeds."
            )


def broken(learner: Learner, how: str) -> InputError:
    """Return the error for a class whose method broke the contract."""
    return InputError(f"{type(learner).__name__}.{how}.")


def described(value: Any) -> str:
    """Say what came, in a few words."""
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
