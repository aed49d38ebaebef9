"""The report of a study before any format: sections in the order of a reader's questions.

Every format renders these sections and nothing else, so that all formats have the same content. The
module computes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from analysis import numbers
from analysis.one_study.analyse import Analysis, Comparison, StudyRecord
from analysis.one_study.verdicts import NO_VERDICT
from analysis.report import (
    captions,
    comparison_tables,
    luck_tables,
    search_spaces,
    tables,
    tuning_tables,
)
from analysis.report.blocks import Block, Bullets, Code, Paragraph, Picture, Section, Table
from analysis.report.headline import CAUTIONS, headline
from analysis.report.results import page_table

MOST_WITHOUT_SUMMARY = 6  # comparisons that need no summary of the verdicts
_FRONT = (
    Paragraph(
        "The fronts rest on tuning seeds and validation data. This command writes a study file "
        "that confirms them:"
    ),
    Code("python -m study front DIR > front.toml"),
)
DIAGNOSTICS = ("diagnostics-", "maps-")  # first part of the names of the diagnostics' pictures


def sections(analysis: Analysis, pictures: Sequence[Picture] = ()) -> tuple[Section, ...]:
    """Return the report of a study: the answer, then learning, tuning, evidence and provenance.

    The name of a picture decides its section; pictures with other names come before the provenance.
    Sections without content are left out.
    """
    shelf = Shelf(pictures)
    parts = {
        "": _beginning(analysis, shelf),
        "Learning": _learning(analysis, shelf),
        "Tuning": _about_tuning(analysis, shelf),
        "Evidence": _evidence(analysis, shelf),
        "Provenance": [
            section("Further figures", *shelf.take_all("")),
            _provenance(analysis),
        ],
    }
    return tuple(
        replace(each, part=part) for part, all_of in parts.items() for each in all_of if each.blocks
    )


def _beginning(analysis: Analysis, shelf: Shelf) -> list[Section]:
    first, *others = headline(analysis)
    is_confirmed = any(row.n or row.failed for row in analysis.methods)
    return [
        section("Answer", Paragraph(first), *bullets(others), *shelf.take("answer")),
        section(CAUTIONS, *_cautions(analysis)),
        section("Results", *with_rows(page_table(analysis)) if is_confirmed else ()),
        _fronts(analysis, shelf),
        section("Published against measured", *with_rows(tables.published_table(analysis))),
    ]


def _learning(analysis: Analysis, shelf: Shelf) -> list[Section]:
    diagnostics = (picture for prefix in DIAGNOSTICS for picture in shelf.take_all(prefix))
    return [
        section("Accuracy after each task", *shelf.take("accuracy-after-each-task")),
        section("Accuracy matrix", *shelf.take("accuracy-matrix")),
        section("Single tasks", *with_rows(tables.per_task_table(analysis))),
        _secondary(analysis),
        section(
            "Bytes held and accuracy",
            *shelf.take("held-accuracy", "memory-accuracy"),
            *with_rows(tables.memory_table(analysis)),
        ),
        section("Footprint", *with_rows(tables.footprint_table(analysis))),
        section("Method diagnostics", *diagnostics, *with_rows(tables.diagnostic_table(analysis))),
    ]


def _about_tuning(analysis: Analysis, shelf: Shelf) -> list[Section]:
    return [
        _tuning(analysis, shelf),
        section(
            "Hyper-parameters",
            *shelf.take("importance", "slices"),
            *with_rows(tuning_tables.importance_table(analysis)),
        ),
        section("Search spaces", *with_rows(search_spaces.search_space_table(analysis))),
        section("Configurations", *with_rows(tables.configuration_table(analysis))),
    ]


def _evidence(analysis: Analysis, shelf: Shelf) -> list[Section]:
    return [
        _question(analysis),
        _verdicts(analysis),
        _comparisons(analysis),
        section(f"Paired {captions.units(analysis)}", *shelf.take("paired-seeds")),
        section("Differences", *shelf.take("forest")),
        _seeds(analysis),
        _failures(analysis),
        section("Notes", *bullets(analysis.notes)),
    ]


class Shelf:
    """Pictures by name; each can be taken once."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = {picture.name: picture for picture in pictures}

    def take(self, *names: str) -> tuple[Picture, ...]:
        """Take the pictures of these names; a name without a picture is ignored."""
        return tuple(self._pictures.pop(name) for name in names if name in self._pictures)

    def take_all(self, prefix: str) -> tuple[Picture, ...]:
        """Take every picture with a name that starts with the prefix."""
        return self.take(*[name for name in self._pictures if name.startswith(prefix)])


def section(title: str, *blocks: Block) -> Section:
    """Return a section with these blocks."""
    return Section(title, blocks)


def with_rows(*tables: Table) -> tuple[Table, ...]:
    """Return the tables that have rows, wide tables in parts."""
    return tuple(part for table in tables if table.rows for part in table.parts())


def bullets(lines: Sequence[str]) -> tuple[Bullets, ...]:
    """Return a list of the lines; nothing for no lines."""
    return (Bullets(tuple(lines)),) if lines else ()


def _cautions(analysis: Analysis) -> tuple[Block, ...]:
    """Return each caution with its remedy, then the settings that remedies name."""
    lines = [f"{c.text} Remedy: {c.remedy}" for c in analysis.cautions]
    settings = " ".join(c.setting for c in analysis.cautions if c.setting)
    name = shlex.quote(f"study.name={analysis.record.study}_2")
    code = Code(lines_of(f"python -m study run FILE --set {name} {settings}"))
    said = Paragraph("The remedies as a command, with the study file or preset as FILE:")
    return (*bullets(lines), *((said, code) if settings else ()))


def lines_of(settings: str) -> str:
    """Return options of a command, one in a line, with the marks that join the lines."""
    return settings.replace(" --set ", " \\\n  --set ")


def verdict_sentences(analysis: Analysis) -> list[str]:
    """Return the verdict, difference, interval and reason of each comparison as text."""
    return [_sentence(comparison, analysis) for comparison in analysis.comparisons]


def refusals(analysis: Analysis) -> list[str]:
    """Return a sentence for each reason against a verdict, with the comparisons concerned."""
    labels_by_reason: dict[str, list[str]] = {}
    for comparison in analysis.comparisons:
        if comparison.verdict == NO_VERDICT:
            labels_by_reason.setdefault(comparison.reason, []).append(analysis.label(comparison))
    return [
        f"No verdict for {', '.join(labels)}: {reason}."
        for reason, labels in labels_by_reason.items()
    ]


def _sentence(c: Comparison, analysis: Analysis) -> str:
    difference = ""
    if c.difference is not None:
        level = numbers.percent(analysis.rules.confidence)
        interval = ""
        if c.ci_low is not None:
            ends = analysis.form.interval((c.ci_low, c.ci_high))
            interval = f", simultaneous {level} interval {ends}"
        seeds = numbers.count(c.n, analysis.record.unit)
        difference = f" Difference {analysis.form.points(c.difference)}{interval}, {seeds}."
    return f"{c.method} against {c.reference}: {c.verdict}.{difference} Reason: {c.reason}."


def _question(analysis: Analysis) -> Section:
    record = analysis.record
    margin = record.form.points(record.margin) if record.margin > 0 else "none set"
    changed = f", CHANGED after the first confirmation (see {CAUTIONS})" if record.changes else ""
    return section(
        "Question",
        Paragraph(
            f"Which methods do better or worse than {analysis.common_reference or 'others'} on "
            f"{record.stream} ({record.scenario} scenario)?"
        ),
        Bullets(
            (
                f"Primary metric: {analysis.metric.name}. {analysis.metric.description} "
                f"Chance level: {record.form.with_unit(record.chance)}.",
                f"Family{changed}: {_family(analysis)}{_guarantee(analysis)}; margin: {margin}.",
                f"Phase: {record.phase}. Failed {captions.units(analysis)}: rule "
                f"{record.failed_rule}.",
            )
        ),
    )


def _guarantee(analysis: Analysis) -> str:
    if not analysis.comparisons:
        return ""
    m = numbers.count(analysis.rules.family_size, "comparison")
    condition = (
        "after any number of seeds" if analysis.rules.is_anytime else "suggestive verdicts: normal"
    )
    return (
        f". Any false verdict among {m} has probability {analysis.record.alpha:g} at most, where "
        f"differences are symmetric ({condition})"
    )


def _family(analysis: Analysis) -> str:
    """Return the comparisons that are tested, in words."""
    if analysis.common_reference:
        methods = ", ".join(method for method, _ in analysis.record.family)
        return f"{methods} against {analysis.common_reference}"
    pairs = [f"{method} against {other}" for method, other in analysis.record.family]
    return ", ".join(pairs) or "no other method"


def _verdicts(analysis: Analysis) -> Section:
    if not analysis.comparisons:
        return section("Verdicts", Paragraph("Nothing was compared."))
    sentences = bullets(verdict_sentences(analysis))
    if len(analysis.comparisons) <= MOST_WITHOUT_SUMMARY:
        return section("Verdicts", *sentences)
    verdicts = dict.fromkeys(c.verdict for c in analysis.comparisons)
    summary = bullets([_methods_with(verdict, analysis) for verdict in verdicts])
    return section("Verdicts", *summary, Paragraph("Each comparison:"), *sentences)


def _methods_with(verdict: str, analysis: Analysis) -> str:
    names = [analysis.label(c) for c in analysis.comparisons if c.verdict == verdict]
    against = f"Against {analysis.common_reference}, " if analysis.common_reference else ""
    counted = f"({len(names)} of {len(analysis.comparisons)})"
    return f"{numbers.begin(f'{against}{verdict}')} {counted}: {', '.join(names)}."


def _comparisons(analysis: Analysis) -> Section:
    if not any(row.n or row.failed for row in analysis.methods):
        return section("Comparisons")
    compared = [comparison_tables.verdict_table(analysis), tables.method_table(analysis)]
    if any(comparison.wins for comparison in analysis.comparisons):
        compared.append(comparison_tables.evidence_table(analysis))
    compared.append(comparison_tables.gap_table(analysis))
    return section("Comparisons", *with_rows(*compared))


def _seeds(analysis: Analysis) -> Section:
    record = analysis.record
    run = {seed for method in record.methods for seed in method.attempted_seeds}
    tuning = "tuning seeds" if record.unit_seeds else "tuning"
    lines = (
        f"{tuning}: {numbers.seed_list(record.tune_seeds)}",
        f"confirmation, planned: {numbers.seed_list(record.planned_seeds)}",
        f"confirmation, run: {numbers.seed_list(run)}",
        *_asked_seeds(record),
        *_seeds_of_units(record),
    )
    title = numbers.begin(captions.units(analysis))
    return section(title, Bullets(lines), *with_rows(tables.seed_table(analysis)))


def _asked_seeds(record: StudyRecord) -> list[str]:
    """Return a line on the seeds of the study file, if fewer than the planned seeds."""
    if not record.kept_seeds:
        return []
    return [f"confirmation seeds, in the study file now: {numbers.seed_list(record.asked_seeds)}"]


def _seeds_of_units(record: StudyRecord) -> list[str]:
    return [
        f"seeds of {record.unit} {unit}: {numbers.seed_list(seeds)}"
        for unit, seeds in record.unit_seeds.items()
    ]


def _tuning(analysis: Analysis, shelf: Shelf) -> Section:
    history = shelf.take("search-history")
    return section(
        "Sweeps",
        *(with_rows(tuning_tables.tuning_table(analysis)) or (Paragraph(_not_tuned(analysis)),)),
        *history,
        *with_rows(tuning_tables.expected_best_table(analysis)),
        *bullets([] if history else _not_expected(analysis)),  # the caption of the picture has them
        *bullets([sentence] if (sentence := luck_tables.choice_sentence(analysis)) else []),
        *with_rows(
            luck_tables.choice_table(analysis),
            luck_tables.split_table(analysis),
            luck_tables.repeated_table(analysis),
        ),
    )


def _not_tuned(analysis: Analysis) -> str:
    return (
        f"{captions.protocol(analysis)} Methods have their defaults, except for options "
        "that the study file fixes: see the configurations below."
    )


def _not_expected(analysis: Analysis) -> list[str]:
    """Return a sentence for each reason against an expected-best curve, with the methods."""
    methods_by_reason: dict[str, list[str]] = {}
    for search in analysis.searches:
        if search.not_expected:
            methods_by_reason.setdefault(search.not_expected, []).append(search.method)
    return [f"{', '.join(methods)}: {reason}." for reason, methods in methods_by_reason.items()]


def _fronts(analysis: Analysis, shelf: Shelf) -> Section:
    if not analysis.fronts:
        return section("Pareto fronts", *shelf.take("pareto"))
    summary = tuning_tables.hypervolume_table(analysis)
    points = tuning_tables.pareto_table(analysis)
    return section(
        "Pareto fronts",
        *shelf.take("pareto"),
        *with_rows(summary, points),
        *(_FRONT if any(front.points for front in analysis.fronts) else ()),
    )


def _secondary(analysis: Analysis) -> Section:
    table = tables.secondary_table(analysis)
    metrics = captions.definitions(row.metric for row in analysis.secondary if row.n)
    return section("Secondary metrics", *with_rows(table), *bullets(metrics))


def _failures(analysis: Analysis) -> Section:
    table = tables.failure_table(analysis)
    if table.rows or not any(method.attempted_seeds for method in analysis.record.methods):
        return section("Failures", *with_rows(table))
    return section("Failures", Paragraph(f"No confirmation {analysis.record.unit} failed."))


def _provenance(analysis: Analysis) -> Section:
    return section("Software, machines, study file", *provenance_blocks(analysis.record))


def provenance_blocks(record: StudyRecord) -> tuple[Block, ...]:
    """Return where the results of a study come from, and its study file, to run it again."""
    facts = bullets([f"{name}: {text}" for name, text in record.provenance.items()])
    if not record.study_file:
        return facts
    name = shlex.quote(f"{record.study}.toml")
    return (
        *facts,
        Paragraph(f"To run the study again, save this study file as {name} and run the command:"),
        Code(record.study_file.rstrip(), "toml"),
        Code(f"python -m study run {name}"),
    )
