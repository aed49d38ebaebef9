"""Results as data: one JSON document, and one CSV text per table.

Numbers are unrounded. An undefined value is null in JSON and an empty cell in CSV, never NaN.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from analysis.many_studies.compare import ManyStudies
from analysis.many_studies.further import compare_further
from analysis.one_study.analyse import Analysis
from analysis.report import (
    comparison_tables,
    luck_tables,
    many_tables,
    search_spaces,
    tables,
    tuning_tables,
)
from analysis.report.blocks import Table
from analysis.report.columns import plain
from analysis.report.file_tables import file_tables
from analysis.report.results import page_table

ALWAYS = ("methods", "comparisons")  # tables that have a file even without rows
NOT_IN_TUNING = (  # columns of the tuning table that the key `tuning` of JSON lacks
    "sampler",
    "seeds_per_trial",
    "configurations",
    "default_value",
    "best_value",
    "selection",
    "selection_error",
    "shift",
    "shift_error",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\n")  # a spreadsheet takes a text with this start as one


def to_json(analysis: Analysis) -> str:
    """Return the study as JSON: `methods`, `comparisons`, `tuning`, `notes` and more.

    The key `tables` holds the rows of every CSV file, under the name of the file.

    >>> study = json.loads(to_json(analysis))  # doctest: +SKIP
    >>> [(row["method"], row["verdict"]) for row in study["comparisons"]]  # doctest: +SKIP
    [('ewc', 'worse by more than the margin'), ('finetune', 'worse by more than the margin')]
    """
    return _dumps(_document(analysis))


def across_to_json(across: ManyStudies, analyses: Sequence[Analysis]) -> str:
    """Return the comparison over streams as JSON, with the document of each study."""
    listed = _by_name(_across_tables(across, analyses))
    documents = [_document(analysis) for analysis in analyses]
    return _dumps(asdict(across) | {"tables": listed, "studies": documents})


def to_csv(analysis: Analysis) -> dict[str, str]:
    """Return CSV texts by file name: `methods.csv`, `comparisons.csv` and so on.

    Each table of the report has a file with the table's name, and the numbers of each figure have a
    file with the figure's name. Tables without rows are left out, except methods and comparisons.
    """
    return _texts(_tables(analysis))


def across_to_csv(across: ManyStudies, analyses: Sequence[Analysis]) -> dict[str, str]:
    """Return CSV texts by file name: `contrasts.csv` and so on, without empty tables."""
    return _texts(_across_tables(across, analyses))


def _tables(analysis: Analysis) -> list[Table]:
    """Return every table that has a CSV file and a place in JSON."""
    found = (
        page_table(analysis),
        tables.method_table(analysis),
        comparison_tables.comparison_table(analysis),
        comparison_tables.evidence_file_table(analysis),
        comparison_tables.gap_table(analysis),
        tables.memory_table(analysis),
        tuning_tables.tuning_table(analysis),
        tuning_tables.hypervolume_table(analysis),
        tuning_tables.pareto_table(analysis),
        tuning_tables.importance_table(analysis),
        luck_tables.choice_table(analysis),
        luck_tables.split_table(analysis),
        luck_tables.repeated_table(analysis),
        search_spaces.search_space_table(analysis),
        tables.configuration_table(analysis),
        tables.footprint_table(analysis),
        tables.failure_table(analysis),
        tables.published_table(analysis),
        *file_tables(analysis),
    )
    return [table for table in found if table.records or table.name in ALWAYS]


def _across_tables(across: ManyStudies, analyses: Sequence[Analysis]) -> list[Table]:
    """Return every table over streams that has a CSV file and a place in JSON."""
    form = many_tables.form_of(analyses)
    found = (
        many_tables.contrast_table(across, form),
        many_tables.standing_table(across),
        many_tables.verdict_table(across, analyses),
        many_tables.stream_table(across, form),
        *([many_tables.further_table(compare_further(analyses))] if analyses[1:] else []),
        *([many_tables.rank_table(across.ranking)] if across.ranking else []),
        many_tables.left_out_table(across),
    )
    return [table for table in found if table.records]


def csv_text(table: Table) -> str:
    """Return a header and one line per row; lists and dictionaries are written as JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_cell(column.key) for column in table.columns if column.key)
    for record in table.records:
        writer.writerow(_cell(plain(value)) for value in record.values())
    return text.getvalue()


def _document(analysis: Analysis) -> dict[str, Any]:
    record = analysis.record
    return {
        "study": record.study,
        "metric": record.metric,
        "phase": record.phase,
        "unit": record.unit,
        "unit_seeds": record.unit_seeds,
        "methods": _records(tables.method_table(analysis), "learner", "failed"),
        "comparisons": _records(comparison_tables.comparison_table(analysis), "n", "reason"),
        "tuning": _records(tuning_tables.tuning_table(analysis), *NOT_IN_TUNING),
        "reference": record.reference,
        "margin": record.margin,
        "alpha": record.alpha,
        "reasons": {analysis.label(c): c.reason for c in analysis.comparisons},
        "cautions": [asdict(caution) for caution in analysis.cautions],
        "notes": list(analysis.notes),
        "choices": _records(luck_tables.choice_table(analysis)),
        "tuning_luck": _records(luck_tables.split_table(analysis)),
        "repeated_comparisons": _records(luck_tables.repeated_table(analysis)),
        "published": _records(tables.published_table(analysis)),
        "fronts": [asdict(front) for front in analysis.fronts],
        "search_spaces": _records(search_spaces.search_space_table(analysis)),
        "provenance": record.provenance,
        "study_file": record.study_file,
        "tables": _by_name(_tables(analysis)),
    }


def _records(table: Table, *left_out: str) -> list[dict[str, Any]]:
    """Return the rows of a table's file, without the columns left out."""
    return [
        {key: value for key, value in record.items() if key not in left_out}
        for record in table.records
    ]


def _dumps(value: Any) -> str:
    """Return the value as JSON text, with null for NaN and infinity."""
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def _texts(all_tables: Iterable[Table]) -> dict[str, str]:
    return {f"{table.name}.csv": csv_text(table) for table in all_tables}


def _by_name(all_tables: Iterable[Table]) -> dict[str, list[dict[str, Any]]]:
    return {table.name: table.records for table in all_tables}


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    text = re.sub("\r\n?", "\n", value)  # csv does not quote a lone \r, which would end the row
    return f"'{text}" if text.startswith(_FORMULA) else text
