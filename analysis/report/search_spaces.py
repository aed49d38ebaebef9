"""The search space of each method: searched options, fixed options, and chosen values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from analysis import numbers
from analysis.one_study.analyse import Analysis
from analysis.records import OptionRecord
from analysis.report.blocks import Table
from analysis.report.columns import Column

FILE_KEYS = ("kind", "low", "high", "log", "step", "choices")  # attributes of `OptionRecord`


@dataclass(frozen=True)
class OptionRow:
    """An option of a method, and the value in the best trial."""

    method: str
    option: OptionRecord
    chosen: Any


def search_space_table(analysis: Analysis) -> Table:
    """Return the searched options of each method, in the order of sampling, and the fixed options.

    The table is meant for a paper's appendix; it has no rows if no method was tuned.
    """
    return Table(
        "Search spaces",
        (
            Column("method", "method"),
            Column("option", "option", attrgetter("option.option")),
            *(Column(key, value=attrgetter(f"option.{key}")) for key in FILE_KEYS),
            Column("", "range", attrgetter("option"), _range),
            Column("", "scale", attrgetter("option"), _scale),
            Column("chosen", "chosen", format=_value),
        ),
        tuple(
            OptionRow(method.method, option, method.configuration.get(option.option))
            for method in analysis.record.methods
            for option in method.tuning.space
        ),
        "The options of each sweep, as set by the study file and this version of the program. "
        "fixed: by the study file; an option that is not listed has its default, the published "
        "value or, if the method has none, that of the stream (see the configurations). chosen: "
        "the value of the best trial, which is confirmed (-: there is no best trial).",
        "search_spaces",
    )


def _range(option: OptionRecord) -> str:
    if option.choices is not None:
        return ", ".join(map(_value, option.choices))
    ends = f"{_value(option.low)} to {_value(option.high)}"
    return ends if option.step is None else f"{ends} in steps of {_value(option.step)}"


def _scale(option: OptionRecord) -> str:
    if option.choices is not None:
        return "fixed" if option.kind == "fixed" else "choices"
    scale = "log" if option.log else "linear"
    return f"{scale}, whole numbers" if option.kind == "int" else scale


def _value(value: Any) -> str:
    if value is None:
        return numbers.MISSING
    if isinstance(value, float):
        return f"{value:.3g}"
    return json.dumps(value) if isinstance(value, list) else str(value)
