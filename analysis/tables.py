"""Renderings of an `Analysis` as data (JSON, CSV) and as neutral tables of strings.

A `Table` is what Markdown, a terminal and later formats draw: nothing in it is escaped or styled.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis import wording
from analysis.results import Analysis, Comparison, MethodRow

SEED_VARIES = (
    "a seed varies everything random (class order or permutation, initial weights, batches, "
    "memory, spikes)"
)
METHOD_FIELDS = ("method", "n", "mean", "sd", "ci_low", "ci_high", "configuration", "footprint")
COMPARISON_FIELDS = (
    "method",
    "reference",
    "difference",
    "ci_low",
    "ci_high",
    "p_exact",
    "p_holm",
    "p_t",
    "hedges_g",
    "p_win",
    "verdict",
)
TUNING_FIELDS = ("method", "trials", "failed", "pruned", "seconds", "samples")


@dataclass(frozen=True)
class Table:
    """Columns and rows of strings, with a caption that says what the numbers are."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


def to_json(analysis: Analysis) -> str:
    """The study as JSON: `methods`, `comparisons`, `tuning`, and notes; null where undefined."""
    record = analysis.record
    document = {
        "study": record.study,
        "metric": record.metric,
        "phase": record.phase,
        "methods": [_fields(row, METHOD_FIELDS) for row in analysis.methods],
        "comparisons": [_comparison_fields(c) for c in analysis.comparisons],
        "tuning": [_fields(row, TUNING_FIELDS) for row in analysis.tuning],
        "reference": record.reference,
        "margin": record.margin,
        "alpha": record.alpha,
        "reasons": {c.method: c.reason for c in analysis.comparisons},
        "notes": list(analysis.notes),
    }
    return json.dumps(_plain(document), indent=2, allow_nan=False) + "\n"


def to_csv(analysis: Analysis) -> dict[str, str]:
    """The texts of `methods.csv` and `comparisons.csv`, by file name; empty where undefined."""
    methods = [_fields(row, METHOD_FIELDS) for row in analysis.methods]
    comparisons = [
        _comparison_fields(c) | {"n": c.n, "reason": c.reason} for c in analysis.comparisons
    ]
    return {
        "methods.csv": _csv(METHOD_FIELDS, methods),
        "comparisons.csv": _csv((*COMPARISON_FIELDS, "n", "reason"), comparisons),
    }


def method_table(analysis: Analysis) -> Table:
    """Each method's primary metric over its confirmation seeds."""
    level = wording.percent(analysis.rules.confidence)
    direction = "higher" if analysis.metric.higher_is_better else "lower"
    return Table(
        "Methods",
        ("method", "n", "failed", f"{analysis.metric.name} (mean ± sd)", f"{level} CI of the mean"),
        tuple(
            (
                row.method + (" (reference)" if row.is_reference else ""),
                str(row.n),
                str(row.failed),
                plus_minus(row.mean, row.sd),
                wording.interval(row.ci_low, row.ci_high),
            )
            for row in analysis.methods
        ),
        f"± is the sample standard deviation (ddof 1) over n confirmation seeds; {SEED_VARIES}. "
        f"The interval is the t-interval of the mean. {direction.capitalize()} is better. "
        + _protocol(analysis),
    )


def comparison_table(analysis: Analysis) -> Table:
    """The pre-set family: each method against the reference."""
    level = wording.percent(analysis.rules.confidence)
    m = analysis.rules.comparisons
    return Table(
        "Comparisons",
        (
            "method",
            "reference",
            "n",
            "difference",
            f"{level} CI",
            "p exact",
            f"p exact, Holm (m = {m})",
            "t (assumes normal differences)",
            f"Hedges g_z ({level} CI)",
            f"P(win) ({level} CI)",
            "won / tied / lost",
            "rho",
            "MDE",
            "verdict",
        ),
        tuple(_comparison_row(c) for c in analysis.comparisons),
        "Differences are method - reference over shared seeds, with the paired t-interval. "
        "p exact: sign-flip permutation test on the mean. P(win): paired probability of "
        "outperforming the reference (ties count half), Wilson interval; meaningful where that "
        "excludes 0.5 and reaches beyond 0.75. rho: correlation of the paired scores. MDE: "
        "smallest true difference seen with 80 % power by the paired t test, from the spread seen. "
        + _protocol(analysis),
    )


def tuning_table(analysis: Analysis) -> Table:
    """What each method's sweep cost and found."""
    return Table(
        "Tuning",
        (
            "method",
            "sampler",
            "trials",
            "seeds per trial",
            "failed",
            "pruned",
            "seconds",
            "samples",
            "defaults",
            "best",
            "selection optimism",
        ),
        tuple(
            (
                row.method,
                row.sampler or wording.MISSING,
                str(row.trials),
                str(row.seeds_per_trial),
                str(row.failed),
                str(row.pruned),
                f"{row.seconds:.0f}",
                f"{row.samples:,}",
                wording.number(row.default_value),
                wording.number(row.best_value),
                wording.number(row.optimism),
            )
            for row in analysis.tuning
        ),
        "defaults and best are means over the tuning seeds on validation data. Selection optimism: "
        "how much better the best tuning mean looked than the confirmation mean. "
        + _protocol(analysis),
    )


def secondary_table(analysis: Analysis) -> Table:
    """The other metrics: exploratory, without verdicts."""
    return Table(
        "Secondary metrics",
        ("method", "metric", "n", "mean ± sd", "difference", "q"),
        tuple(
            (
                row.method,
                row.metric,
                str(row.n),
                plus_minus(row.mean, row.sd),
                wording.number(row.difference),
                wording.p_value(row.q).replace("p <", "q <"),
            )
            for row in analysis.secondary
        ),
        f"Exploratory. ± is the sample standard deviation (ddof 1) over n confirmation seeds; "
        f"{SEED_VARIES}. q: exact paired p against the reference after Benjamini-Hochberg over "
        "this table.",
    )


def footprint_table(analysis: Analysis) -> Table:
    """Bytes each method holds, by kind."""
    kinds = list(dict.fromkeys(kind for row in analysis.methods for kind in row.footprint))
    return Table(
        "Footprint",
        ("method", *kinds),
        tuple(
            (row.method, *(_bytes(row, kind) for kind in kinds))
            for row in analysis.methods
            if row.footprint
        ),
        "Bytes held.",
    )


def configuration_table(analysis: Analysis) -> Table:
    """The configuration each method was confirmed with."""
    return Table(
        "Configurations",
        ("method", "learner", "configuration"),
        tuple(
            (row.method, row.learner, json.dumps(_plain(row.configuration)))
            for row in analysis.methods
        ),
    )


def failure_table(analysis: Analysis) -> Table:
    """Every confirmation seed that failed."""
    return Table(
        "Failures",
        ("method", "seed", "reason", "counted as"),
        tuple(
            (f.method, str(f.seed), f.reason, wording.number(f.counted_as))
            for f in analysis.failures
        ),
    )


def seed_table(analysis: Analysis) -> Table:
    """Every paired score: the raw seeds behind the means."""
    seeds = sorted({seed for row in analysis.methods for seed in row.scores})
    return Table(
        "Raw seeds",
        ("method", *(str(seed) for seed in seeds)),
        tuple(
            (row.method, *(wording.number(row.scores.get(seed)) for seed in seeds))
            for row in analysis.methods
            if row.scores
        ),
        f"{analysis.metric.name} of each confirmation seed; compare down a column.",
    )


def plus_minus(mean: float | None, sd: float | None) -> str:
    """`mean ± sd`; the mean alone for one seed."""
    if mean is None or sd is None:
        return wording.number(mean)
    return f"{wording.number(mean)} ± {wording.number(sd)}"


def _protocol(analysis: Analysis) -> str:
    return f"Tuning protocol: {analysis.record.protocol}."


def _comparison_row(c: Comparison) -> tuple[str, ...]:
    g = f"{wording.number(c.hedges_g, 2)} ({wording.interval(c.g_low, c.g_high, 2)})"
    wins = c.wins
    share = f"{wins.share:.2f} ({wording.interval(wins.low, wins.high, 2)})" if wins else ""
    if wins and wins.meaningful:
        share += ", meaningful"
    return (
        c.method,
        c.reference,
        str(c.n),
        wording.number(c.difference),
        wording.interval(c.ci_low, c.ci_high),
        wording.p_value(c.p_exact),
        wording.p_value(c.p_holm),
        wording.p_value(c.p_t),
        wording.MISSING if c.hedges_g is None else g,
        share or wording.MISSING,
        f"{wins.wins} / {wins.ties} / {wins.losses}" if wins else wording.MISSING,
        wording.number(c.rho, 2),
        wording.number(c.mde),
        c.verdict,
    )


def _comparison_fields(c: Comparison) -> dict[str, Any]:
    share = c.wins.share if c.wins else None
    return {name: share if name == "p_win" else getattr(c, name) for name in COMPARISON_FIELDS}


def _fields(row: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _bytes(row: MethodRow, kind: str) -> str:
    return f"{row.footprint[kind]:,}" if kind in row.footprint else wording.MISSING


def _csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(_cell(_plain(row[name])) for name in names)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _plain(value: Any) -> Any:
    """The value in what JSON knows: null for NaN and infinity, lists for tuples and arrays."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
