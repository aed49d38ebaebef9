"""What more or fewer seeds would show: a table for each method, from the spread seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis import wording
from analysis.blocks import Table
from analysis.planning import Plan, plan_seeds
from analysis.results import Analysis


def plans(analysis: Analysis, pilots: Mapping[str, Sequence[float]]) -> dict[str, Plan]:
    """Plan each comparison of a study, with paired differences of a pilot by method, and the
    margin as the difference that matters.
    """
    planned = len(analysis.record.planned_seeds)
    rules = analysis.rules
    return {
        c.method: plan_seeds(
            planned,
            rules.comparisons,
            pilot=pilots.get(c.method, ()),
            differences=margins(rules.margin),
            alpha=rules.alpha,
        )
        for c in analysis.comparisons
    }


def margins(margin: float) -> Sequence[float]:
    """The difference that matters, where one is set."""
    return (margin,) if margin > 0 else ()


def power_table(method: str, plan: Plan) -> Table:
    """The smallest difference that n seeds show, for several n."""
    return Table(
        f"Seeds for {method}",
        ("seeds", "in sd", "difference", "at the upper limit of the spread", "verdict possible"),
        tuple(
            (
                f"{row.n} (planned)" if row.planned else str(row.n),
                wording.number(row.size, 2),
                wording.number(row.difference),
                wording.number(row.difference_upper),
                "yes" if row.attainable else "suggestion only",
            )
            for row in plan.detectable
        ),
        f"Smallest true difference to the reference that is seen with {plan.power:.0%} power at "
        f"{plan.alpha:g}/{plan.comparisons}. sd: standard deviation of the paired differences.",
        f"power-{method}",
    )
