"""Search spaces: the Optuna distribution of each searched option, in the order of asking.

Optuna holds plain values only: a list is stored as JSON text.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

Distribution = FloatDistribution | IntDistribution | CategoricalDistribution
Space = dict[str, Distribution]


def one_of(choices: Iterable[Any]) -> CategoricalDistribution:
    """Return the distribution of an option with a set of choices, which may be lists.

    >>> one_of([[64, 64], [128, 128]])
    CategoricalDistribution(choices=('[64, 64]', '[128, 128]'))
    """
    return CategoricalDistribution(tuple(dict.fromkeys(map(encoded, choices))))


def encoded(value: Any) -> Any:
    """Return the value of an option in the form that Optuna holds."""
    return json.dumps(value) if isinstance(value, list) else value


def decoded(value: Any, kind: Any) -> Any:
    """Return the value of an option of type ``kind`` from the form that Optuna holds.

    >>> decoded("[64, 64]", tuple[int, ...])
    [64, 64]
    """
    if isinstance(value, str) and kind not in (str, str | None):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def ends_or_choices(distribution: Distribution, kind: Any) -> list[Any]:
    """Return the two ends of a range, or all choices, as values of an option of type ``kind``."""
    if isinstance(distribution, CategoricalDistribution):
        return [decoded(choice, kind) for choice in distribution.choices]
    return [distribution.low, distribution.high]


def as_plain(distribution: Distribution, kind: Any) -> dict[str, Any]:
    """Return the distribution of an option of type ``kind`` as plain values.

    >>> as_plain(IntDistribution(1, 50, log=True), int)
    {'kind': 'int', 'low': 1, 'high': 50, 'log': True}
    >>> as_plain(one_of([[64, 64], [128, 128]]), tuple[int, ...])
    {'kind': 'categorical', 'choices': [[64, 64], [128, 128]]}
    """
    if isinstance(distribution, CategoricalDistribution):
        return {"kind": "categorical", "choices": ends_or_choices(distribution, kind)}
    is_integer = isinstance(distribution, IntDistribution)
    plain = {
        "kind": "int" if is_integer else "float",
        "low": distribution.low,
        "high": distribution.high,
        "log": distribution.log,
    }
    default_step = 1 if is_integer else None
    return plain if distribution.step == default_step else plain | {"step": distribution.step}


def values_within(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that lie in a search space, in the form that Optuna holds.

    >>> from search_spaces.plain import EWC
    >>> values_within(EWC, {"lr": 1.0, "lam": 1e4, "epochs": 4})
    {'lam': 10000.0}
    """
    candidates = {name: encoded(values[name]) for name in space if name in values}
    return {name: value for name, value in candidates.items() if _contains(space[name], value)}


def _contains(distribution: Distribution, value: Any) -> bool:
    try:
        create_trial(
            state=TrialState.WAITING,
            params={"value": value},
            distributions={"value": distribution},
        )
    except ValueError:
        return False
    return True
