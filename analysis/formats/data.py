"""Results as data: one JSON document, and a CSV text for each table and most figures.

Numbers are unrounded; what is undefined is null in JSON and empty in CSV, never NaN.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from analysis.many_studies.compare import Across
from analysis.one_study.analyse import Analysis
from analysis.report import comparison_tables, many_tables, search_spaces, tables, tuning_tables
from analysis.report.blocks import Table
from analysis.report.columns import plain
from analysis.report.file_tables import file_tables

ALWAYS = ("methods", "comparisons")  # tables that have a file without rows too
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def to_json(analysis: Analysis) -> str:
    """The study as JSON: `methods`, `comparisons`, `tuning`, and notes; null where undefined."""
    return _dumps(_document(analysis))


def across_to_json(across: Across, analyses: Sequence[Analysis]) -> str:
    """The comparison over streams and every study's own document."""
    return _dumps(asdict(across) | {"studies": [_document(analysis) for analysis in analyses]})


def to_csv(analysis: Analysis) -> dict[str, str]:
    """The texts of `methods.csv`, `comparisons.csv` and so on, by file name.

    One for every table of the report, under the table's name, and the numbers behind the figures,
    under the figure's. A table without rows is left out, but for methods and comparisons.
    """
    return _texts(
        tables.method_table(analysis),
        comparison_tables.comparison_table(analysis),
        comparison_tables.evidence_file(analysis),
        tables.memory_table(analysis),
        tuning_tables.tuning_table(analysis),
        tuning_tables.hypervolume_table(analysis),
        tuning_tables.pareto_table(analysis),
        tuning_tables.importance_table(analysis),
        search_spaces.search_space_table(analysis),
        tables.secondary_table(analysis),
        tables.configuration_table(analysis),
        tables.footprint_table(analysis),
        tables.failure_table(analysis),
        tables.published_table(analysis),
        *file_tables(analysis),
    )


def across_to_csv(across: Across, analyses: Sequence[Analysis]) -> dict[str, str]:
    """The texts of `contrasts.csv` and so on, by file name; a table without rows is left out."""
    return _texts(
        many_tables.contrast_table(across),
        many_tables.standing_table(across),
        many_tables.verdict_table(across, analyses),
        many_tables.stream_table(across),
        *([many_tables.rank_table(across.ranking)] if across.ranking else []),
        many_tables.left_out_table(across),
    )


def csv_text(table: Table) -> str:
    """A header and a line per row; cells that are not a plain value are JSON.

    A text that a spreadsheet would take for a formula, as a name or a source may be, begins with an
    apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_cell(column.key) for column in table.columns if column.key)
    for record in table.records:
        writer.writerow(_cell(plain(value)) for value in record.values())
    return text.getvalue()


def _document(analysis: Analysis) -> dict[str, Any]:
    record = analysis.record
    costs = tuning_tables.tuning_table(analysis)
    found = ("configurations", "default_value", "best_value", "optimism")
    return {
        "study": record.study,
        "metric": record.metric,
        "phase": record.phase,
        "unit": record.unit,
        "unit_seeds": record.unit_seeds,
        "methods": _records(tables.method_table(analysis), "learner", "failed"),
        "comparisons": _records(comparison_tables.comparison_table(analysis), "n", "reason"),
        "tuning": _records(costs, "sampler", "seeds_per_trial", *found),
        "reference": record.reference,
        "margin": record.margin,
        "alpha": record.alpha,
        "reasons": {c.method: c.reason for c in analysis.comparisons},
        "notes": list(analysis.notes),
        "published": _records(tables.published_table(analysis)),
        "fronts": [asdict(front) for front in analysis.fronts],
        "search_spaces": _records(search_spaces.search_space_table(analysis)),
    }


def _records(table: Table, *left_out: str) -> list[dict[str, Any]]:
    """The rows of a table's file, without some of its columns."""
    return [
        {key: value for key, value in record.items() if key not in left_out}
        for record in table.records
    ]


def _dumps(value: Any) -> str:
    """The value as JSON text, with null for what is not a finite number."""
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def _texts(*given: Table) -> dict[str, str]:
    written = (table for table in given if table.records or table.name in ALWAYS)
    return {f"{table.name}.csv": csv_text(table) for table in written}


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    text = re.sub("\r\n?", "\n", value)  # a lone return would not be quoted, and end the row
    return f"'{text}" if text.startswith(_FORMULA) else text
