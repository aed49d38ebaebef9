"""Typed, documented options of a learner.

A subclass of :class:`Options` is a frozen dataclass whose fields are declared with :func:`option`:
a default, a help text, and limits. Only the standard library is used, so that a learner runs
wherever torch does.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Self, dataclass_transform

from trainables.errors import InputError, unknown

# Upper limits that options share, far above all published values. A larger value is most likely a
# typing error, and would exhaust the memory, never finish, or overflow.
WIDTH = 16_384  # units per layer
LAYERS = 32  # hidden layers
LEARNING_RATE = 100.0
FACTOR = 1e6  # weight of a loss, limit of a norm, scale of a current
EPOCHS = 10_000  # passes over the same data
SAMPLES = 1_000_000  # samples in a batch, a task or a memory; no data set here has as many
BYTES = 10**12  # bytes of a memory
STEPS = 2_000  # time steps per sample: the data sets time spikes to a millisecond

FLOAT32 = (2.0**-126, (2 - 2.0**-23) * 2.0**127)  # smallest normal and largest number
INT64 = 2**63 - 1


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    longest: int | None = None,
    odd: bool = False,
) -> Any:
    """Declare an option by its published default, its meaning and its allowed values.

    >>> class Config(Options):
    ...     lr: float = option(1e-3, "learning rate", low=0.0, high=1.0)
    >>> Config(lr=0.1)
    Config(lr=0.1)

    Args:
        help: meaning of the option, for the user.
        low, high: inclusive limits of a number, or of each number in a list.
        choices: allowed words.
        longest: largest length of a list.
        odd: whether only odd numbers are allowed.
    """
    limits = {"low": low, "high": high, "choices": choices, "longest": longest, "odd": odd or None}
    return dataclasses.field(default=default, metadata={"help": help, **limits})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
class Options:
    """Base of every configuration: frozen, keyword-only, validated when built."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for name, kind in self.kinds().items():
            meta = self.fields()[name].metadata
            value = checked(name, getattr(self, name), kind, meta)
            object.__setattr__(self, name, value)

    @classmethod
    @functools.cache
    def fields(cls) -> dict[str, dataclasses.Field[Any]]:
        """Return the declared fields by name."""
        return {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    @classmethod
    @functools.cache  # resolving the annotations takes most of the time of building an instance
    def kinds(cls) -> dict[str, Any]:
        """Return the annotated type of each field by name."""
        hints = typing.get_type_hints(cls)
        return {name: hints[name] for name in cls.fields()}

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Build an instance from the plain values of a study file.

        Args:
            where: start of an error message, such as the method's name.

        Raises:
            InputError: a key is unknown, or a value has the wrong type or is outside its limits.
        """
        prefix = f"{where}: " if where else ""
        for name in values:
            if name not in cls.fields():
                raise InputError(f"{prefix}{unknown('option', name, cls.fields())}")
        try:
            return cls(**values)
        except InputError as error:
            raise InputError(f"{prefix}{error}") from None

    def plain(self) -> dict[str, Any]:
        """Return the values by name as JSON has them: tuples become lists."""
        values = {name: getattr(self, name) for name in self.fields()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def checked(name: str, value: Any, kind: Any, meta: Mapping[str, Any]) -> Any:
    """Return a value in its declared type.

    Args:
        kind: the declared type.
        meta: limits of the option, as :func:`option` stores them.

    Raises:
        InputError: the value has another type or is not allowed.
    """
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if value is None:
            return None
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is tuple:
        return _checked_tuple(name, value, typing.get_args(kind)[0], meta)
    if kind is float:
        value = _as_float(name, value, meta)
    if type(value) is not kind:
        raise InputError(f"{name} = {value!r} is not {_kind_text(kind)}{_limits(meta)}")
    _check_limits(name, value, meta)
    _check_representable(name, value)
    return value


def _as_float(name: str, value: Any, meta: Mapping[str, Any]) -> Any:
    """Convert a number to a float; return a value of another type unchanged.

    Raises:
        InputError: the number is not finite, or too large for a float.
    """
    if type(value) not in (int, float):
        return value
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number above the largest float
        pass
    raise InputError(f"{name} = {value!r} is not a finite number{_limits(meta)}")


def _checked_tuple(
    name: str, value: Any, kind: type, meta: Mapping[str, Any]
) -> tuple[int | float | str, ...]:
    things = "words" if kind is str else "numbers"
    if kind is float and isinstance(value, list | tuple):
        value = [_as_float(name, item, meta) for item in value]
    if not isinstance(value, list | tuple) or any(type(item) is not kind for item in value):
        whole = "whole " if kind is int else ""
        raise InputError(f"{name} = {value!r} is not a list of {whole}{things}")
    longest = meta.get("longest")
    if longest is not None and len(value) > longest:
        raise InputError(f"{name} is a list of {len(value)} {things}; allowed: at most {longest}")
    for item in value:
        _check_limits(name, item, meta)
        _check_representable(name, item)
    return tuple(value)


def _check_limits(name: str, value: Any, meta: Mapping[str, Any]) -> None:
    low, high, choices = meta.get("low"), meta.get("high"), meta.get("choices")
    if choices is not None and value not in choices:
        raise InputError(f"{name}: {unknown('value', value, choices)}")
    if (low is not None and value < low) or (high is not None and value > high):
        raise InputError(f"{name} = {value!r} is out of range{_limits(meta)}")
    if meta.get("odd") and value % 2 == 0:
        raise InputError(f"{name} = {value!r}: give an odd number")


def _check_representable(name: str, value: Any) -> None:
    """Raise :class:`InputError` for a number that no int64 or float32 tensor represents."""
    if type(value) is int and abs(value) > INT64:
        raise InputError(f"{name} = {value!r} is out of range; allowed: {-INT64} to {INT64}")
    smallest, largest = FLOAT32
    if type(value) is float and value and not smallest <= abs(value) <= largest:
        raise InputError(
            f"{name} = {value!r} is not representable in float32; allowed: 0 and magnitudes from "
            f"{smallest:.2g} to {largest:.2g}"
        )


def _limits(meta: Mapping[str, Any]) -> str:
    low, high, choices = meta.get("low"), meta.get("high"), meta.get("choices")
    if choices:
        return f"; allowed: {', '.join(choices)}"
    if low is not None and high is not None:
        return f"; allowed: {_limit_text(low)} to {_limit_text(high)}"
    if low is not None:
        return f"; allowed: {_limit_text(low)} or more"
    return f"; allowed: at most {_limit_text(high)}" if high is not None else ""


def _limit_text(limit: float) -> str:
    """Return a limit in short notation: 1e+15 instead of sixteen digits and a point."""
    return f"{limit:g}" if isinstance(limit, float) and abs(limit) >= FACTOR else str(limit)


def _kind_text(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return names.get(kind, str(kind))
