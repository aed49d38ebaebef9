"""Metrics on pages: accuracies in percent, unless the study file asks for fractions."""

from __future__ import annotations

from analysis import numbers
from analysis.metrics import Metric
from analysis.one_study.analyse import Analysis, Comparison, Gap


def is_in_percent(analysis: Analysis, metric: Metric | None = None) -> bool:
    """Return whether a metric, by default the primary one, is shown in percent."""
    return analysis.record.number == "percent" and (metric or analysis.metric).is_share


def scale_of(analysis: Analysis) -> float:
    """Return what a value of the primary metric is multiplied by to be shown."""
    return 100.0 if is_in_percent(analysis) else 1.0


def value(analysis: Analysis, amount: float | None, metric: Metric | None = None) -> str:
    """Return a value of a metric, with one decimal in percent, else four."""
    if amount is None or not is_in_percent(analysis, metric):
        return numbers.number(amount)
    return numbers.number(100 * amount, 1)


def plus_minus(
    analysis: Analysis, mean: float | None, sd: float | None, metric: Metric | None = None
) -> str | None:
    """Return `mean ± sd` of a metric, or the mean alone; None without a mean."""
    if mean is None:
        return None
    error = "" if sd is None else f" ± {value(analysis, sd, metric)}"
    return value(analysis, mean, metric) + error


def heading(analysis: Analysis, metric: Metric | None = None) -> str:
    """Return the name of a metric in words, with its unit: `average accuracy (%)`."""
    unit = " (%)" if is_in_percent(analysis, metric) else ""
    return (metric or analysis.metric).name.replace("_", " ") + unit


def difference(analysis: Analysis, compared: Comparison | Gap) -> str | None:
    """Return a difference with its sign; None without one."""
    if compared.difference is None:
        return None
    text = value(analysis, compared.difference)
    return text if text.startswith("-") else f"+{text}"


def interval(analysis: Analysis, compared: Comparison | Gap) -> str | None:
    """Return the interval of a difference, with as many decimals as show on which side of 0 and of
    the margin its ends lie.
    """
    if compared.ci_low is None or compared.ci_high is None:
        return None
    scale, margin = scale_of(analysis), analysis.rules.margin
    fewest = 1 if is_in_percent(analysis) else 4
    low, high = scale * compared.ci_low, scale * compared.ci_high
    edges = (-scale * margin, 0.0, scale * margin)
    for decimals in range(fewest, fewest + 4):
        texts = numbers.number(low, decimals), numbers.number(high, decimals)
        if all(map(_on_the_same_side, texts, (low, high), (edges, edges))):
            break
    return " to ".join(texts)


def _on_the_same_side(text: str, value: float, edges: tuple[float, ...]) -> bool:
    """Return whether a rounded number lies on the same side of each edge as the number."""
    return all((float(text) > edge) == (value > edge) for edge in edges) and all(
        (float(text) < edge) == (value < edge) for edge in edges
    )


def with_unit(analysis: Analysis, amount: float | None) -> str:
    """Return a value with its unit: `85.4 %`, or the number alone."""
    return value(analysis, amount) + (" %" if is_in_percent(analysis) else "")


def margin(analysis: Analysis) -> str:
    """Return the practical margin: `1 point`, `0.5 points`, or the number alone."""
    amount = f"{scale_of(analysis) * analysis.rules.margin:g}"
    if not is_in_percent(analysis):
        return amount
    return f"{amount} point" if amount == "1" else f"{amount} points"
