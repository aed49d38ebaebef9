"""The search space of each method: what its sweep searched, what was fixed, what was chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from analysis import wording
from analysis.one_study.analyse import Analysis
from analysis.records import OptionRecord
from analysis.report.blocks import Table
from analysis.report.columns import Column

PARTS = ("kind", "low", "high", "log", "step", "choices")  # of an option, one by one in files


@dataclass(frozen=True)
class OptionRow:
    """An option of a method, and the value that its best trial has."""

    method: str
    option: OptionRecord
    chosen: Any


def search_space_table(analysis: Analysis) -> Table:
    """Each option that a method searches, in the order of asking, and each that it fixes, as an
    appendix has them; without rows where no method was tuned.
    """
    return Table(
        "Search spaces",
        (
            Column("method", "method"),
            Column("option", "option", attrgetter("option.option")),
            *(Column(key, value=attrgetter(f"option.{key}")) for key in PARTS),
            Column("", "range", attrgetter("option"), _range),
            Column("", "scale", attrgetter("option"), _scale),
            Column("chosen", "chosen", format=_value),
        ),
        tuple(
            OptionRow(method.method, option, method.configuration.get(option.option))
            for method in analysis.record.methods
            for option in method.tuning.space
        ),
        "What the study file and this version of the program let each sweep search. fixed: by the "
        "study file; an option that is not listed has its published value. chosen: of the best "
        "trial, which is confirmed (-: there is none).",
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
        return wording.MISSING
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, list) else str(value)
