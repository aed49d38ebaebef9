"""The report of a study before any format: what it says, in the order in which a reader asks.

Every format draws these sections and nothing else, so all say the same. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis import wording
from analysis.one_study.analyse import Analysis, Comparison, StudyRecord
from analysis.report import captions, comparison_tables, search_spaces, tables, tuning_tables
from analysis.report.blocks import Block, Bullets, Code, Paragraph, Picture, Section, Table

FEW = 6  # comparisons up to which their sentences need no summary
_FRONT = (
    Paragraph("Chosen on tuning seeds and validation data. A study of its own confirms a front:"),
    Code("python -m study front DIR > front.toml"),
)
DIAGNOSTICS = ("diagnostics-", "maps-")  # how the names of a method's own pictures begin


def sections(analysis: Analysis, pictures: Sequence[Picture] = ()) -> tuple[Section, ...]:
    """The report of a study: question, verdicts, evidence, cost, fairness, provenance.

    Pictures go where their name belongs; one with a name of its own comes before the provenance.
    Sections without content do not appear.
    """
    shelf = Shelf(pictures)
    found = [
        _question(analysis),
        _verdicts(analysis),
        *_evidence(analysis, shelf),
        *_along_the_stream(analysis, shelf),
        section(
            "Memory and accuracy",
            *shelf.take("memory-accuracy"),
            *filled(tables.memory_table(analysis)),
        ),
        section("Notes", *bullets(analysis.notes)),
        _seeds(analysis),
        _tuning(analysis, shelf),
        _fronts(analysis, shelf),
        section(
            "Hyper-parameters",
            *shelf.take("importance", "slices"),
            *filled(tuning_tables.importance_table(analysis)),
        ),
        section("Search spaces", *filled(search_spaces.search_space_table(analysis))),
        section(
            "Method diagnostics",
            *(picture for prefix in DIAGNOSTICS for picture in shelf.take_all(prefix)),
            *filled(tables.diagnostic_table(analysis)),
        ),
        _secondary(analysis),
        section("Configurations", *filled(tables.configuration_table(analysis))),
        section("Footprint", *filled(tables.footprint_table(analysis))),
        _failures(analysis),
        section("Published against measured", *filled(tables.published_table(analysis))),
        section("Further figures", *shelf.take_all("")),
        _provenance(analysis),
    ]
    return tuple(part for part in found if part.blocks)


class Shelf:
    """Pictures by name, each taken once."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._left = {picture.name: picture for picture in pictures}

    def take(self, *names: str) -> tuple[Picture, ...]:
        """Those of the named pictures that there are."""
        return tuple(self._left.pop(name) for name in names if name in self._left)

    def take_all(self, prefix: str) -> tuple[Picture, ...]:
        """Every picture left whose name begins so."""
        return self.take(*[name for name in self._left if name.startswith(prefix)])


def section(title: str, *blocks: Block) -> Section:
    """A section of these blocks."""
    return Section(title, blocks)


def filled(*given: Table) -> tuple[Table, ...]:
    """The tables with rows, wide ones in parts."""
    return tuple(part for table in given if table.rows for part in table.parts())


def bullets(lines: Sequence[str]) -> tuple[Bullets, ...]:
    """A list, where there is something to list."""
    return (Bullets(tuple(lines)),) if lines else ()


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
        seeds = wording.count(c.n, analysis.record.unit)
        measured = f" Difference {wording.number(c.difference)}{spread}, {seeds}."
    return f"{c.method} against {c.reference}: {c.verdict}.{measured} Reason: {c.reason}."


def _question(analysis: Analysis) -> Section:
    record = analysis.record
    others = [row.method for row in analysis.methods if not row.is_reference]
    margin = f"{record.margin:g}" if record.margin > 0 else "none set"
    fixed = ", CHANGED after the first confirmation (see Notes)" if record.changes else ""
    return section(
        "Question",
        Paragraph(
            f"Which methods do better or worse than {record.reference} on {record.stream} "
            f"({record.scenario} scenario)?"
        ),
        Bullets(
            (
                f"Primary metric: {analysis.metric.name}. {analysis.metric.description} "
                f"Chance level: {wording.number(record.chance)}.",
                f"Family{fixed}: {', '.join(others) or 'no other method'} against "
                f"{record.reference}; {wording.count(len(others), 'comparison')}, Holm at alpha = "
                f"{record.alpha:g}; practical margin: {margin}.",
                f"Phase: {record.phase}. Failed {captions.units(analysis)}: rule "
                f"{record.failed_rule}.",
            )
        ),
    )


def _verdicts(analysis: Analysis) -> Section:
    if not analysis.comparisons:
        return section("Verdicts", Paragraph("Nothing was compared."))
    if len(analysis.comparisons) <= FEW:
        return section("Verdicts", *bullets(verdict_sentences(analysis)))
    words = dict.fromkeys(c.verdict for c in analysis.comparisons)
    listed = [_alike(word, analysis) for word in words]
    one_by_one = Paragraph("One by one:")
    return section("Verdicts", *bullets(listed), one_by_one, *bullets(verdict_sentences(analysis)))


def _alike(verdict: str, analysis: Analysis) -> str:
    methods = [c.method for c in analysis.comparisons if c.verdict == verdict]
    return (
        f"Against {analysis.record.reference}, {verdict} ({len(methods)} of "
        f"{len(analysis.comparisons)}): {', '.join(methods)}."
    )


def _evidence(analysis: Analysis, shelf: Shelf) -> list[Section]:
    compared = [comparison_tables.verdict_table(analysis), tables.method_table(analysis)]
    if any(comparison.wins for comparison in analysis.comparisons):
        compared.append(comparison_tables.evidence_table(analysis))
    confirmed = any(row.n or row.failed for row in analysis.methods)
    return [
        section("Comparisons", *filled(*compared if confirmed else [])),
        section(f"Paired {captions.units(analysis)}", *shelf.take("paired-seeds")),
        section("Differences", *shelf.take("forest")),
    ]


def _along_the_stream(analysis: Analysis, shelf: Shelf) -> list[Section]:
    return [
        section("Accuracy after each task", *shelf.take("accuracy-after-each-task")),
        section("Accuracy matrix", *shelf.take("accuracy-matrix")),
        section("Single tasks", *filled(tables.per_task_table(analysis))),
    ]


def _seeds(analysis: Analysis) -> Section:
    record = analysis.record
    run = {seed for method in record.methods for seed in method.attempted}
    tuning = "tuning seeds" if record.unit_seeds else "tuning"
    lines = (
        f"{tuning}: {wording.seed_list(record.tune_seeds)}",
        f"confirmation, planned: {wording.seed_list(record.planned_seeds)}",
        f"confirmation, run: {wording.seed_list(run)}",
        *_asked_seeds(record),
        *_seeds_of_units(record),
    )
    title = wording.begin(captions.units(analysis))
    return section(title, Bullets(lines), *filled(tables.seed_table(analysis)))


def _asked_seeds(record: StudyRecord) -> list[str]:
    """The seeds that the study file names, where it has fewer than were planned."""
    if not record.kept_seeds:
        return []
    return [f"confirmation seeds, asked for now: {wording.seed_list(record.asked_seeds)}"]


def _seeds_of_units(record: StudyRecord) -> list[str]:
    return [
        f"seeds of {record.unit} {unit}: {wording.seed_list(seeds)}"
        for unit, seeds in record.unit_seeds.items()
    ]


def _tuning(analysis: Analysis, shelf: Shelf) -> Section:
    history = shelf.take("search-history")
    return section(
        "Tuning",
        *(filled(tuning_tables.tuning_table(analysis)) or (Paragraph(_not_tuned(analysis)),)),
        *history,
        *filled(tuning_tables.expected_best_table(analysis)),
        *bullets(_not_expected(analysis) if not history else []),  # its caption says so too
    )


def _not_tuned(analysis: Analysis) -> str:
    return (
        f"{captions.protocol(analysis)} Methods have their published values, but for what the "
        "study file fixes: see the configurations below."
    )


def _not_expected(analysis: Analysis) -> list[str]:
    """Why some sweeps have no expected-best curve, a sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for search in analysis.searches:
        if search.not_expected:
            reasons.setdefault(search.not_expected, []).append(search.method)
    return [f"{', '.join(methods)}: {reason}." for reason, methods in reasons.items()]


def _fronts(analysis: Analysis, shelf: Shelf) -> Section:
    if not analysis.fronts:
        return section("Pareto fronts", *shelf.take("pareto"))
    summary = tuning_tables.hypervolume_table(analysis)
    points = tuning_tables.pareto_table(analysis)
    return section(
        "Pareto fronts",
        *shelf.take("pareto"),
        *filled(summary, points),
        *(_FRONT if any(front.points for front in analysis.fronts) else ()),
    )


def _secondary(analysis: Analysis) -> Section:
    table = tables.secondary_table(analysis)
    metrics = captions.definitions(row.metric for row in analysis.secondary if row.n)
    return section("Secondary metrics", *filled(table), *bullets(metrics))


def _failures(analysis: Analysis) -> Section:
    table = tables.failure_table(analysis)
    if table.rows or not any(method.attempted for method in analysis.record.methods):
        return section("Failures", *filled(table))
    return section("Failures", Paragraph(f"No confirmation {analysis.record.unit} failed."))


def _provenance(analysis: Analysis) -> Section:
    known = dict(analysis.record.provenance)
    command = known.pop("command", None)
    blocks: list[Block] = list(bullets([f"{name}: {text}" for name, text in known.items()]))
    if command:
        blocks += [Paragraph("The same again:"), Code(command)]
    return section("Provenance", *blocks)
