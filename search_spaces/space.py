"""What a search space is: Optuna's distribution of each option that is searched, in the order in
which a trial is asked for them.

Optuna holds plain values only, so a list goes there as JSON text.
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
    """Return the distribution of an option that takes one of some values, lists among them.

    >>> one_of([[64, 64], [128, 128]])
    CategoricalDistribution(choices=('[64, 64]', '[128, 128]'))
    """
    return CategoricalDistribution(tuple(dict.fromkeys(map(encoded, choices))))


def encoded(value: Any) -> Any:
    """Return the value of an option as Optuna holds it."""
    return json.dumps(value) if isinstance(value, list) else value


def decoded(value: Any, kind: Any) -> Any:
    """Return what Optuna holds as the value of an option of a type.

    >>> decoded("[64, 64]", tuple[int, ...])
    [64, 64]
    """
    if isinstance(value, str) and kind not in (str, str | None):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def ends_or_choices(distribution: Distribution, kind: Any) -> list[Any]:
    """Return the two ends of a range, or all choices, as values of an option of a type."""
    if isinstance(distribution, CategoricalDistribution):
        return [decoded(choice, kind) for choice in distribution.choices]
    return [distribution.low, distribution.high]


def listed(distribution: Distribution, kind: Any) -> dict[str, Any]:
    """Return the distribution of an option of a type as plain values.

    >>> listed(IntDistribution(1, 50, log=True), int)
    {'kind': 'int', 'low': 1, 'high': 50, 'log': True}
    >>> listed(one_of([[64, 64], [128, 128]]), tuple[int, ...])
    {'kind': 'categorical', 'choices': [[64, 64], [128, 128]]}
    """
    if isinstance(distribution, CategoricalDistribution):
        return {"kind": "categorical", "choices": ends_or_choices(distribution, kind)}
    kind, usual_step = ("int", 1) if isinstance(distribution, IntDistribution) else ("float", None)
    low, high, step = distribution.low, distribution.high, distribution.step
    found = {"kind": kind, "low": low, "high": high, "log": distribution.log}
    return found if step == usual_step else found | {"step": step}


def values_within(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some values that lie in a space, as Optuna holds them.

    >>> from search_spaces.plain import EWC
    >>> values_within(EWC, {"lr": 1.0, "lam": 1e4, "epochs": 4})
    {'lam': 10000.0}
    """
    known = {name: encoded(values[name]) for name in space if name in values}
    return {name: value for name, value in known.items() if _contains(space[name], value)}


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
