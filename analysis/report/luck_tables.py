"""Tables on tuning luck: other configurations of a sweep, and independent sweeps."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from analysis import numbers
from analysis.one_study.analyse import Analysis
from analysis.one_study.luck import Choice
from analysis.report.blocks import Table
from analysis.report.captions import out_of_range, units
from analysis.report.columns import Column, merged, number_column

MOST_CHOICES = 60  # rows of a page; with more, the page shows those that change a verdict
_WHICH = {2: "the second best trial", 3: "the second or third best trial"}


def choice_table(analysis: Analysis) -> Table:
    """Return what other configurations of the sweeps would have changed."""
    choices, level = analysis.luck.choices, numbers.percent(analysis.rules.confidence)
    show_all, form = len(choices) <= MOST_CHOICES, analysis.form
    return Table(
        "Other choices of the sweep",
        (
            Column("", "method", lambda row: analysis.label(row.comparison)),
            *(_of_comparison(key) for key in ("method", "reference")),
            Column("other", value=attrgetter("method")),
            Column("trial"),
            Column("", "configuration", _configuration),
            number_column("value", f"tuning value{form.unit}", format=form.value),
            _of_comparison("n"),
            _of_comparison("difference", f"difference{form.unit_of_differences}", form.value),
            *map(_of_comparison, ("ci_low", "ci_high")),
            number_column(
                "",
                f"simultaneous {level} interval",
                attrgetter("comparison.ci_low", "comparison.ci_high"),
                form.interval,
            ),
            Column("verdict", "verdict", attrgetter("comparison.verdict")),
            Column("changed"),
        ),
        tuple(row for row in choices if show_all or row.changed),
        "Exploratory: only the rows of the chosen configurations belong to the family. Each other "
        "row has another configuration of one of the two methods, confirmed on the same "
        f"{units(analysis)}: one of the next best trials of its sweep, with its mean over the "
        "tuning seeds. The verdict is what the verdict would have been, by the same rules."
        + (_NOT_CARRIED_ON if analysis.rules.is_anytime else "")
        + ("" if show_all else f" Only what changes a verdict; all {len(choices)} rows: CSV."),
        "choices",
        file_rows=choices,
    )


_NOT_CARRIED_ON = (
    " Others ran as many seeds as the chosen one: inconclusive means not decided yet, and is "
    "not counted as another verdict."
)


def split_table(analysis: Analysis) -> Table:
    """Return the scores of independent sweeps, split into tuning and seeds."""
    level, unit = numbers.percent(analysis.rules.confidence), analysis.record.unit
    form = analysis.form
    ends = [end for row in analysis.luck.splits for end in (row.ci_low, row.ci_high)]
    return Table(
        "How much is tuning luck",
        (
            Column("method", "method"),
            number_column("sweeps", "sweeps", format=str),
            *map(Column, ("seeds", "failed", "means")),
            number_column("mean", f"mean{form.unit}", format=form.value),
            *merged(f"{level} CI", form.interval, "ci_low", "ci_high"),
            number_column("sd_sweeps", "sd of tuning", format=form.value),
            number_column("sd_seeds", f"sd of {units(analysis)}", format=form.value),
            number_column("share", "share of tuning", format=_whole_percent),
        ),
        analysis.luck.splits,
        f"{numbers.begin(form.heading)} of independent sweeps, each with its own tuning seeds, "
        "sampler and confirmation seeds. The mean is that of the sweeps, with its t-interval, "
        "whose unit is the sweep. sd of tuning: between the configurations that sweeps find, "
        f"without what the {units(analysis)} explain (one-way random effects, ANOVA; a negative "
        f"variance counts as 0). sd of {units(analysis)}: within a sweep. share of tuning: of the "
        f"variance of the score of one {unit}. With few sweeps both the sd of tuning and its share "
        f"are rough. No numbers where a sweep or a {unit} of it failed. "
        f"{out_of_range(analysis, ends)}",
        "tuning_luck",
    )


def repeated_table(analysis: Analysis) -> Table:
    """Return each comparison over independent sweeps."""
    level = numbers.percent(analysis.rules.confidence)
    against, form = analysis.common_reference is None, analysis.form
    return Table(
        "Comparisons over sweeps",
        (
            Column("method", "method"),
            Column("reference", "against" if against else ""),
            number_column("sweeps", "sweeps", format=str),
            number_column("difference", f"difference{form.unit_of_differences}", format=form.value),
            *merged(f"{level} CI", form.interval, "ci_low", "ci_high"),
            Column("", "verdicts", attrgetter("counts")),
            Column("verdicts"),
        ),
        analysis.luck.comparisons,
        f"Exploratory. Differences are method - {analysis.common_reference or 'the other method'}, "
        "as the mean over sweeps, with the t-interval of each comparison by itself, whose unit is "
        "the sweep: the first sweep of a method is compared with the first one of the other, and "
        "so on. verdicts: what each sweep by itself says, by the same rules; the verdict of the "
        "study is that of the first.",
        "repeated_comparisons",
    )


def choice_sentence(analysis: Analysis) -> str:
    """Return how many verdicts another choice would have changed; empty without other choices."""
    others: dict[str, list[str]] = {}
    for row in analysis.luck.choices:
        if row.changed:
            others.setdefault(analysis.label(row.comparison), []).append(row.comparison.verdict)
    if not analysis.luck.choices:
        return ""
    confirmed = 1 + max(len(method.alternatives) for method in analysis.record.methods)
    which = _WHICH.get(confirmed, f"another of the {confirmed} best trials")
    verdicts = {analysis.label(c): c.verdict for c in analysis.comparisons}
    changes = [
        f"{label} ({' or '.join(dict.fromkeys(words))} instead of {verdicts[label]})"
        for label, words in others.items()
    ]
    count = f"{len(changes) or 'None'} of {numbers.count(len(verdicts), 'verdict')}"
    listed = f": {', '.join(changes)}" if changes else ""
    return f"{count} would have been another with {which} of one of the methods{listed}."


def _of_comparison(
    key: str, heading: str = "", format: Callable[[Any], str | None] = str
) -> Column[Choice]:
    return number_column(key, heading, _comparison_value(key), format)


def _comparison_value(key: str) -> Callable[[Choice], Any]:
    return attrgetter(f"comparison.{key}")


def _whole_percent(share: float) -> str:
    return numbers.percent(round(share, 2))


def _configuration(row: Choice) -> str:
    return f"trial {row.trial} of {row.method}" if row.method else "chosen"
