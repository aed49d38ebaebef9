"""The one-page report in Markdown; it arranges an `Analysis` and computes nothing."""

from __future__ import annotations

import re

from analysis import tables, wording
from analysis.results import Analysis, Comparison
from analysis.tables import Table

_METACHARACTERS = re.compile(r"([\\|*_`\[\]])")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def markdown(analysis: Analysis) -> str:
    """The report of a study: question, verdicts, evidence, power, seeds, fairness, provenance."""
    sections = [
        _question(analysis),
        _verdicts(analysis),
        _section(tables.method_table(analysis)),
        _section(tables.comparison_table(analysis)),
        _notes(analysis),
        _seeds(analysis),
        _section(tables.tuning_table(analysis)),
        _section(tables.configuration_table(analysis)),
        _section(tables.failure_table(analysis), "No confirmation seed failed."),
        _section(tables.footprint_table(analysis)),
        _section(tables.secondary_table(analysis)),
        _provenance(analysis),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def escape(text: str) -> str:
    """The text with Markdown's metacharacters escaped, on one line."""
    return _TAG.sub("&lt;", _METACHARACTERS.sub(r"\\\1", " ".join(text.split())))


def _question(analysis: Analysis) -> str:
    record = analysis.record
    others = [row.method for row in analysis.methods if not row.is_reference]
    margin = f"{record.margin:g}" if record.margin > 0 else "none set"
    facts = [
        f"Question: which methods do better or worse than {record.reference} on {record.stream} "
        f"({record.scenario} scenario)?",
        f"Primary metric: {analysis.metric.name}. {analysis.metric.description} "
        f"Chance level: {wording.number(record.chance)}.",
        f"Family, fixed beforehand: {', '.join(others) or 'no other method'} against "
        f"{record.reference}; {wording.count(len(others), 'comparison')}, Holm at alpha = "
        f"{record.alpha:g}; practical margin: {margin}.",
        f"Phase: {record.phase}. Failed seeds: rule {record.failed_rule}.",
    ]
    return f"# {escape(record.study)}\n\n" + "\n".join(f"- {escape(fact)}" for fact in facts)


def _verdicts(analysis: Analysis) -> str:
    if not analysis.comparisons:
        return "## Verdicts\n\nNothing was compared."
    lines = [f"- {escape(sentence)}" for sentence in verdict_sentences(analysis)]
    return "## Verdicts\n\n" + "\n".join(lines)


def verdict_sentences(analysis: Analysis) -> list[str]:
    """Each comparison's verdict, difference, interval and reason, in a sentence or two."""
    return [_sentence(comparison, analysis) for comparison in analysis.comparisons]


def _sentence(c: Comparison, analysis: Analysis) -> str:
    measured = ""
    if c.difference is not None:
        level = wording.percent(analysis.rules.confidence)
        spread = ""
        if c.ci_low is not None:
            spread = f", {level} CI {wording.interval(c.ci_low, c.ci_high)}"
        seeds = wording.count(c.n, "seed")
        measured = f" Difference {wording.number(c.difference)}{spread}, {seeds}."
    return f"{c.method} against {c.reference}: {c.verdict}.{measured} Reason: {c.reason}."


def _notes(analysis: Analysis) -> str:
    if not analysis.notes:
        return ""
    return "## Notes\n\n" + "\n".join(f"- {escape(note)}" for note in analysis.notes)


def _seeds(analysis: Analysis) -> str:
    record = analysis.record
    run = {seed for method in record.methods for seed in method.attempted}
    lines = [
        f"- tuning: {wording.seed_list(record.tune_seeds)}",
        f"- confirmation, planned: {wording.seed_list(record.planned_seeds)}",
        f"- confirmation, run: {wording.seed_list(run)}",
    ]
    raw = tables.seed_table(analysis)
    return "\n\n".join(["## Seeds", "\n".join(lines), *([_body(raw)] if raw.rows else [])])


def _section(table: Table, if_empty: str = "") -> str:
    if not table.rows:
        return f"## {table.title}\n\n{if_empty}" if if_empty else ""
    return f"## {table.title}\n\n{_body(table)}"


def _body(table: Table) -> str:
    head, *rows = [_line(tuple(map(escape, row))) for row in (table.columns, *table.rows)]
    lines = [head, _line(("---",) * len(table.columns)), *rows]
    caption = f"\n\n{escape(table.caption)}" if table.caption else ""
    return "\n".join(lines) + caption


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _provenance(analysis: Analysis) -> str:
    provenance = dict(analysis.record.provenance)
    command = provenance.pop("command", None)
    parts = ["## Provenance"]
    if provenance:
        parts.append("\n".join(f"- {escape(k)}: {escape(v)}" for k, v in provenance.items()))
    if command:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
        parts.append(f"{fence}sh\n{command}\n{fence}")
    return "\n\n".join(parts) if len(parts) > 1 else ""
