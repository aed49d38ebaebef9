"""The results of a study, as MLflow shows them with the runs of the study and its methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis import numbers
from analysis.formats.markdown import escape, table_text
from analysis.metrics import find_metric
from analysis.one_study.analyse import Analysis, Comparison, MethodRow, TuningRow
from analysis.report.comparison_tables import verdict_table
from analysis.report.headline import headline
from study import NO_COMMIT
from study.ledger import Entry
from study.mlflow.names import SPREAD, TEST, VALIDATION, VERDICT, metric_name, scored
from study.state import Study

LONGEST_NOTE = 8000  # characters of a tag in MLflow
COLUMN_WIDTH = 200  # pixels in MLflow's pages: two headings may differ in their last letters only
COLUMN_WIDTHS = {f"tags.`{VERDICT}`": 320}


def method_metrics(analysis: Analysis, method: str) -> dict[str, float]:
    """Return the numbers of a method's run, by name; without those that are not defined."""
    metric = analysis.metric.name
    found: dict[str, float | None] = {}
    for row, tuning in zip(analysis.methods, analysis.tuning, strict=True):
        if row.method == method:
            found |= _confirmed(row, metric, analysis.record.unit) | _tuned(tuning, metric)
    for other in analysis.secondary:
        if other.method == method:
            name = scored(TEST, *other.metric)
            found |= {name: other.mean, f"{name}{SPREAD}": other.sd}
    for comparison in verdicts_of(analysis, method):
        found |= _difference(comparison)
    return {name: float(value) for name, value in found.items() if value is not None}


def _confirmed(row: MethodRow, metric: str, unit: str) -> dict[str, float | None]:
    name = scored(TEST, metric)
    error = row.sd / row.n**0.5 if row.sd is not None else None
    return {
        name: row.mean,
        f"{name}{SPREAD}": row.sd,
        f"{name}_standard_error": error,
        f"{name}_low": row.ci_low,
        f"{name}_high": row.ci_high,
        f"confirm_{numbers.plural(unit)}": row.n,
        "seconds_per_seed": row.seconds,
    } | {metric_name(f"bytes.{kind}"): size for kind, size in row.footprint.items()}


def _tuned(row: TuningRow, metric: str) -> dict[str, float | None]:
    name = scored(VALIDATION, metric)
    return {
        name: row.best_value,
        f"{name}_default": row.default_value,
        "tune_trials": row.trials,
        "tune_failed": row.failed,
        "tune_pruned": row.pruned,
        "tune_seconds": row.seconds,
        "selection": row.selection,
        "shift": row.shift,
    }


def _difference(comparison: Comparison) -> dict[str, float | None]:
    """Return the difference of a comparison on test data, with the ends of its interval."""
    name = scored(TEST, "difference", comparison.reference)
    return {
        name: comparison.difference,
        f"{name}_low": comparison.ci_low,
        f"{name}_high": comparison.ci_high,
    }


def verdicts_of(analysis: Analysis, method: str) -> list[Comparison]:
    """Return the comparisons of one method with another.

    A comparison of two differences of methods belongs to the study, and not to a method.
    """
    return [comparison for comparison in analysis.comparisons if comparison.method == method]


def verdict_text(analysis: Analysis, method: str) -> str | None:
    """Return the verdicts on a method; None if it is compared with nothing."""
    found = verdicts_of(analysis, method)
    return "; ".join(f"{c.verdict} (against {c.reference})" for c in found) or None


def study_params(study: Study) -> dict[str, str]:
    """Return the parameters of a study's run, which stay the same for the whole study."""
    settings, stream = study.spec.study, study.design.stream
    return {"stream": stream.title, "scenario": settings.scenario, "metric": settings.metric}


def study_tags(study: Study) -> dict[str, str]:
    """Return the tags of a study's run that are known from the beginning."""
    settings = study.spec.study
    versions = {
        f"version.{name}": ", ".join(found)
        for name, found in study.ledger.software().items()
        if name != "git"
    }
    return {
        "margin": f"{settings.margin:g}",
        "alpha": f"{settings.alpha:g}",
        "reference": settings.reference,
        "study.folder": str(study.folder.path.resolve()),
        **versions,
    }


def note(analysis: Analysis) -> str:
    """Return the answer of a study and its table of verdicts in Markdown."""
    first, *others = map(escape, headline(analysis))
    answer = [first, *(f"- {sentence}" for sentence in others)]
    texts = ["\n".join([answer[0], "", *answer[1:]]).strip()]
    return "\n\n".join([*texts, *_verdicts(analysis, LONGEST_NOTE - len(texts[0]) - 200)])


def _verdicts(analysis: Analysis, room: int) -> Iterator[str]:
    """Yield the table of verdicts with as many rows as there is room for, and what is left out."""
    table = dataclasses.replace(verdict_table(analysis), caption="")
    rows, heading = table.rows, f"### {escape(table.title)}\n\n"
    for count in range(len(rows), 0, -1):
        text = heading + table_text(dataclasses.replace(table, rows=rows[:count]))
        if len(text) <= room:
            yield text
            if left_out := len(rows) - count:
                yield f"{numbers.count(left_out, 'further comparison')}: in report/report.md."
            return


def methods_view(study: Study, among_others: bool, is_judged: bool) -> dict[str, Any]:
    """Return the view of a study's methods in MLflow's pages: the best first, with their results.

    Args:
        among_others: whether the experiment may hold runs of other studies.
        is_judged: whether the methods have test results; without, validation results decide.
    """
    settings = study.spec.study
    name, tuned = scored(TEST, settings.metric), scored(VALIDATION, settings.metric)
    references = dict.fromkeys(other for _, other in study.design.comparisons)
    shown = [name, f"{name}{SPREAD}", VERDICT]
    shown += [scored(TEST, "difference", reference) for reference in references]
    shown += [f"confirm_{numbers.plural(study.design.stream.unit)}", tuned, "tune_trials"]
    columns = [f"{'tags' if each == VERDICT else 'metrics'}.`{each}`" for each in shown]
    widths = {column: COLUMN_WIDTHS.get(column, COLUMN_WIDTH) for column in columns}
    of_study = f" AND tags.study.id = '{study.folder.facts.id}'" if among_others else ""
    return {
        "searchFilter": f"tags.role = 'method'{of_study}",
        "orderByKey": f"metrics.`{name if is_judged else tuned}`",
        "orderByAsc": not find_metric(settings.metric).higher_is_better,
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": widths,
    }


def texts_of(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Return a configuration as parameters of MLflow."""
    return {option: str(value) for option, value in configuration.items()}


def origin_of_study(study: Study) -> dict[str, str]:
    """Return MLflow's tags for user, command and commit of a study."""
    commits = study.ledger.software().get("git", [])
    return _origin(study, commits[0] if len(commits) == 1 else "")


def origin_of_trial(study: Study, entry: Entry) -> dict[str, str]:
    """Return the tags of a trial's run that never change: its origin, its method and phase."""
    own = {"method": entry.method, "phase": entry.phase}
    return _origin(study, entry.software.get("git", "")) | own


def _origin(study: Study, commit: str) -> dict[str, str]:
    """Return MLflow's tags for user, command and commit, as far as they are known.

    Args:
        commit: with words after it if files were changed since; empty, or the reason, if it is not
            known.
    """
    known, _, changes = ("" if commit.startswith(NO_COMMIT) else commit).partition(" ")
    found = {
        "mlflow.user": _owner(study.folder.path),
        # of a job the pages show the whole name, of other sources what follows the last slash
        "mlflow.source.type": "JOB",
        "mlflow.source.name": study.folder.facts.command,
        "mlflow.source.git.commit": known,
        "mlflow.source.git.dirty": "true" if changes else "",
    }
    return {name: text for name, text in found.items() if text}


def _owner(place: Path) -> str:
    """Return the user who owns a study's folder; empty if the system does not tell."""
    try:
        return place.owner()
    except (KeyError, OSError, NotImplementedError):
        return ""
