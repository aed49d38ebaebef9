"""The form of a metric's values for readers: in percent, or as fractions."""

from __future__ import annotations

from dataclasses import dataclass

from analysis import numbers
from analysis.metrics import METRICS

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Form:
    """How the values of one metric are written.

    In percent, means over seeds have one decimal and other values two; as fractions, all have four.

    >>> percent, fraction = Form("average_accuracy", True), Form("average_accuracy", False)
    >>> percent.heading, percent.value(0.8544), percent.difference(0.0104)
    ('average accuracy (%)', '85.44', '+1.0')
    >>> fraction.heading, fraction.value(0.8544), fraction.difference(0.0104)
    ('average accuracy', '0.8544', '+0.0104')
    """

    metric: str
    in_percent: bool

    @property
    def scale(self) -> float:
        """What a value is multiplied by to be written."""
        return 100.0 if self.in_percent else 1.0

    @property
    def name(self) -> str:
        """The name of the metric in words."""
        return self.metric.replace("_", " ")

    @property
    def heading(self) -> str:
        """The name of the metric in words, with its unit."""
        return self.name + self.unit

    @property
    def unit(self) -> str:
        """The unit of values, for a heading; empty for fractions."""
        return " (%)" if self.in_percent else ""

    @property
    def unit_of_differences(self) -> str:
        """The unit of differences, for a heading; empty for fractions."""
        return " (points)" if self.in_percent else ""

    def mean(self, amount: float | None) -> str:
        """Return a mean over seeds, or what is as uncertain."""
        return self._text(amount, 1)

    def value(self, amount: float | None) -> str:
        """Return a single value."""
        return self._text(amount, 2)

    def _text(self, amount: float | None, decimals: int) -> str:
        if amount is None or not self.in_percent:
            return numbers.number(amount)
        return numbers.number(100 * amount, decimals)

    def with_unit(self, amount: float | None) -> str:
        """Return a mean with its unit: `85.4 %`, or the number alone."""
        return self.mean(amount) + (" %" if self.in_percent else "")

    def points(self, amount: float) -> str:
        """Return the size of a difference, with three significant digits, and its unit:
        `0.5 points`, or the number alone.
        """
        text = f"{self.scale * amount:.3g}"
        if not self.in_percent:
            return text
        return f"{text} point{'' if text == '1' else 's'}"

    def plus_minus(self, pair: Ends) -> str | None:
        """Return `mean ± sd` of a pair, the mean alone for one seed; None without a mean."""
        mean, sd = pair
        if mean is None:
            return None
        return self.mean(mean) + ("" if sd is None else f" ± {self.mean(sd)}")

    def with_error(self, pair: Ends) -> str | None:
        """Return `value (standard error)` of a pair; only the value without an error."""
        value, error = pair
        if value is None:
            return None
        return self.value(value) + ("" if error is None else f" ({self.value(error)})")

    def interval(self, ends: Ends) -> str | None:
        """Return `low to high` of a pair; None for a missing end."""
        low, high = ends
        return None if low is None or high is None else f"{self.value(low)} to {self.value(high)}"

    def difference(self, amount: float | None) -> str | None:
        """Return a mean difference with its sign; None without one."""
        if amount is None:
            return None
        text = self.mean(amount)
        return text if text.startswith("-") else f"+{text}"

    def interval_of_difference(self, ends: Ends, margin: float) -> str | None:
        """Return the interval of a difference, with as many decimals as show on which side of 0 and
        of the margin its ends lie; None for a missing end.
        """
        if ends[0] is None or ends[1] is None:
            return None
        low, high = (self.scale * end for end in ends if end is not None)
        edges = (-self.scale * margin, 0.0, self.scale * margin)
        fewest = 1 if self.in_percent else 4
        for decimals in range(fewest, fewest + 4):
            texts = numbers.number(low, decimals), numbers.number(high, decimals)
            if all(map(_on_the_same_side, texts, (low, high), (edges, edges))):
                break
        return " to ".join(texts)


FRACTION = Form("", in_percent=False)


def form_of(metric: str, number: str) -> Form:
    """Return the form of a metric that a study file asks for: `percent` or `fraction`.

    Only shares can be in percent.
    """
    return Form(metric, number == "percent" and METRICS[metric].is_share)


def _on_the_same_side(text: str, value: float, edges: tuple[float, ...]) -> bool:
    """Return whether a rounded number lies on the same side of each edge as the number."""
    return all((float(text) > edge) == (value > edge) for edge in edges) and all(
        (float(text) < edge) == (value < edge) for edge in edges
    )
