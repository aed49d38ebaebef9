r"""What goes into a paper: a table of results, a macro for every number, and an appendix.

The tables have plain columns, and need no package but booktabs. `main.tex` shows their use, and
compiles in the folder of the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from analysis import numbers
from analysis.formats.latex import escape
from analysis.metrics import METRICS
from analysis.one_study.analyse import Analysis, Comparison, Gap, MethodRow
from analysis.one_study.leaders import leaders
from analysis.report import search_spaces, tables
from analysis.report.captions import name_of_test
from analysis.report.headline import answer
from analysis.report.results import Result, sorted_results

SECONDARY = ("forgetting", "learning_accuracy")  # metrics beside the primary one
MOST_ROWS = 42  # of one float of the appendix
MOST_COLUMNS = 6  # methods side by side in the appendix
SHORT = {"average_accuracy": "accuracy"}  # names of metrics in the heading of a column
# columns of the search spaces, where a list of choices may be long, and of the configurations
SPACES, CONFIGURATIONS = r"llp{.28\linewidth}ll", r"llp{.6\linewidth}"
Fact = tuple[str, str | None]  # words of the name of a macro, and its text
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def paper_files(analysis: Analysis) -> dict[str, str]:
    """Return the text of every file by name; nothing before the confirmation."""
    if not any(row.mean is not None for row in analysis.methods):
        return {}
    return {
        "main.tex": _main(analysis),
        "numbers.tex": _numbers(analysis),
        "results.tex": results_table(analysis),
        "appendix.tex": "\n".join(
            [
                *_space_tables(analysis),
                *_configuration_tables(analysis),
                *_seed_tables(analysis),
            ]
        ),
    }


# --- the table of results -------------------------------------------------------------------------


def results_table(analysis: Analysis) -> str:
    """Return methods by metrics, memory and time: mean ± sd, the best ones bold."""
    bold = leaders(analysis)
    metrics = [analysis.metric.name, *_measured(analysis)]
    headings = [
        "Method",
        *(_heading(name) for name in metrics),
        *(["Memory"] if any(row.held is not None for row in analysis.methods) else []),
        *(["Time"] if any(row.seconds is not None for row in analysis.methods) else []),
    ]
    results = sorted_results(analysis)
    rows = [_result_row(analysis, result, headings, bold) for result in results]
    bounds = sum(result.method.is_offline for result in results)
    first = len(rows) - bounds
    middle = [r"\midrule"] if 0 < first < len(rows) else []
    body = [*rows[:first], *middle, *rows[first:]]
    return _float("results", _caption(analysis, bool(bold)), headings, body)


def _heading(metric: str) -> str:
    """Return the name of a metric with an arrow to the better values."""
    name = numbers.begin(SHORT.get(metric, metric).replace("_", " "))
    return f"{name} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def _measured(analysis: Analysis) -> list[str]:
    """Return the secondary metrics that any method has."""
    return [
        name
        for name in SECONDARY
        if any(
            (row := analysis.score_of(m.method, name)) and row.mean is not None
            for m in analysis.methods
        )
    ]


def _result_row(
    analysis: Analysis, result: Result, headings: Sequence[str], bold: Sequence[str]
) -> str:
    row = result.method
    cells = [escape(row.method), _score(analysis, row, row.method in bold)]
    for name in _measured(analysis):
        found = analysis.score_of(row.method, name)
        text = found and analysis.record.form_of(name).plus_minus((found.mean, found.sd))
        cells.append(escape(text) if text else "--")
    if "Memory" in headings:
        cells.append("--" if row.held is None else escape(numbers.size(row.held)))
    if "Time" in headings:
        cells.append("--" if row.seconds is None else escape(numbers.duration(row.seconds)))
    return _row(cells)


def _score(analysis: Analysis, row: MethodRow, is_bold: bool) -> str:
    text = analysis.form.plus_minus((row.mean, row.sd))
    if text is None:
        return "--"
    return rf"\textbf{{{escape(text)}}}" if is_bold else escape(text)


def _caption(analysis: Analysis, has_bold: bool) -> str:
    record, rules = analysis.record, analysis.rules
    seeds = numbers.count(max(row.n for row in analysis.methods), record.unit)
    unit = ", metrics in percent" if record.number == "percent" else ""
    text = f"{record.stream}, {record.scenario} scenario: mean ± sd over {seeds}{unit}."
    if has_bold:
        level = numbers.percent(rules.confidence)
        text += f" Bold: not told apart from the best (simultaneous {level} intervals)."
    return text


# --- macros ---------------------------------------------------------------------------------------


def _numbers(analysis: Analysis) -> str:
    r"""Return a macro for every number: `\resReplayMean`."""
    names: set[str] = set()
    lines = [r"% Numbers of the study, for the text: \resReplayMean and so on."]
    for words, text in _facts(analysis):
        name = _macro(words, names)
        names.add(name)
        lines.append(rf"\newcommand{{\{name}}}{{{escape(text)}}}")
    return "\n".join(lines) + "\n"


def _facts(analysis: Analysis) -> Iterator[tuple[str, str]]:
    record = analysis.record
    yield "Seeds", str(max(row.n for row in analysis.methods))
    yield "Margin", analysis.form.points(analysis.rules.margin)
    yield "Comparisons", str(analysis.rules.family_size)
    yield "Alpha", f"{analysis.rules.alpha:g}"
    yield "Trials", str(max(m.tuning.trials for m in record.methods))
    for row in analysis.methods:
        for name, text in _facts_of_method(analysis, row):
            if text is not None:
                yield f"{row.method} {name}", text
    for c in analysis.comparisons:
        label = c.method if analysis.common_reference else f"{c.method} {c.reference}"
        for name, text in _facts_of_comparison(analysis, c):
            if text is not None:
                yield f"{label} {name}", text
    for gap in analysis.gaps:
        if gap.method == analysis.common_reference:
            for name, text in _facts_of_difference(analysis, gap):
                if text is not None:
                    yield f"{gap.bound} {name}", text


def _facts_of_method(analysis: Analysis, row: MethodRow) -> Iterator[Fact]:
    yield "Mean", None if row.mean is None else analysis.form.mean(row.mean)
    yield "Sd", None if row.sd is None else analysis.form.mean(row.sd)
    for name in _measured(analysis):
        found = analysis.score_of(row.method, name)
        if found and found.mean is not None:
            yield name, analysis.record.form_of(name).mean(found.mean)
        if found and found.sd is not None:
            yield f"{name} Sd", analysis.record.form_of(name).mean(found.sd)
    yield "Memory", None if row.held is None else numbers.size(row.held)
    yield "Time", None if row.seconds is None else numbers.duration(row.seconds)


def _facts_of_difference(analysis: Analysis, c: Comparison | Gap) -> Iterator[Fact]:
    yield "Difference", analysis.form.difference(c.difference)
    ends = (c.ci_low, c.ci_high)
    yield "Interval", analysis.form.interval_of_difference(ends, analysis.rules.margin)


def _facts_of_comparison(analysis: Analysis, c: Comparison) -> Iterator[Fact]:
    yield from _facts_of_difference(analysis, c)
    yield "Detectable", None if c.mde is None else analysis.form.points(c.mde)
    p = c.p_t_adjusted if analysis.rules.capped(c.n) else c.p_adjusted
    yield "P", None if p is None else numbers.p_clause(p)
    yield "Verdict", c.verdict


def _macro(words: str, taken: Iterable[str]) -> str:
    r"""Return the name of a macro, which has letters only.

    >>> _macro("replay_10 Mean", [])
    'resReplayOneZeroMean'
    """
    spelt = re.sub(r"\d", lambda digit: f" {DIGITS[int(digit[0])]} ", words)
    parts = re.findall(r"[A-Za-z]+", spelt)
    name = "res" + "".join(numbers.begin(part) for part in parts)
    while name in taken:
        name += "X"
    return name


# --- the appendix ---------------------------------------------------------------------------------


def _space_tables(analysis: Analysis) -> Iterator[str]:
    table = search_spaces.search_space_table(analysis)
    caption = "Search spaces: the options of each sweep, and the values of the confirmed trial."
    yield from _tables("spaces", caption, table.headings, table.texts, SPACES)


def _configuration_tables(analysis: Analysis) -> Iterator[str]:
    """Yield every option of the confirmed configurations, which the search spaces do not list."""
    table = tables.configuration_table(analysis)
    caption = "Configurations: every option that has a value, fractions with four digits."
    yield from _tables("configurations", caption, table.headings, table.texts, CONFIGURATIONS)


def _seed_tables(analysis: Analysis) -> Iterator[str]:
    """Yield the score of every seed: a row for each seed, a column for each method."""
    rows = [row for row in analysis.methods if row.scores]
    seeds = sorted({seed for row in rows for seed in row.scores})
    unit, heading = analysis.record.unit, analysis.form.heading
    for start in range(0, len(rows), MOST_COLUMNS):
        shown = rows[start : start + MOST_COLUMNS]
        caption = f"{numbers.begin(heading)} of each {unit}"
        if len(rows) > len(shown):
            caption += f": methods {start + 1} to {start + len(shown)} of {len(rows)}"
        texts = [
            [str(seed), *(analysis.form.value(row.scores.get(seed)) for row in shown)]
            for seed in seeds
        ]
        name = f"seeds-of-{start + 1}" if start else "seeds"
        yield from _tables(name, f"{caption}.", [unit, *(row.method for row in shown)], texts)


def _tables(
    name: str,
    caption: str,
    headings: Sequence[str],
    texts: Sequence[Sequence[str]],
    columns: str = "",
) -> Iterator[str]:
    """Yield one float, or several of a long table."""
    for start in range(0, len(texts), MOST_ROWS):
        rows = [_row(map(escape, row)) for row in texts[start : start + MOST_ROWS]]
        of_part = f"{caption} Continued." if start else caption
        part = f"{name}-{start // MOST_ROWS + 1}" if start else name
        yield _float(part, of_part, headings, rows, columns)


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _float(
    name: str, caption: str, headings: Sequence[str], rows: Sequence[str], columns: str = ""
) -> str:
    columns = columns or "l" + "r" * (len(headings) - 1)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{tab:{name}}}\vspace{{.4em}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _row(map(escape, headings)),
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


# --- an example -----------------------------------------------------------------------------------


def _main(analysis: Analysis) -> str:
    return "\n".join(
        [
            "% Written anew by each report: copy the folder before you change anything.",
            r"\documentclass{article}",
            r"\usepackage{booktabs}",
            r"\input{numbers}",
            r"\begin{document}",
            r"\section{Results}",
            f"{escape(_protocol(analysis))} " + r"Table~\ref{tab:results} has the results.",
            escape(" ".join([*answer(analysis), *_costs(analysis)])),
            *_limitations(analysis),
            r"\input{results}",
            r"\clearpage",
            r"\appendix",
            r"\section{Search spaces and seeds}",
            r"\input{appendix}",
            r"\end{document}",
            "",
        ]
    )


def _costs(analysis: Analysis) -> list[str]:
    """Return what the columns of the costs are."""
    columns = {
        "Memory is what a method holds beside its network.": attrgetter("held"),
        "Time is that of training one seed.": attrgetter("seconds"),
    }
    return [
        text
        for text, cost in columns.items()
        if any(cost(row) is not None for row in analysis.methods)
    ]


def _limitations(analysis: Analysis) -> list[str]:
    """Return a paragraph on the reasons for doubt; nothing without any."""
    if not analysis.cautions:
        return []
    texts = " ".join(caution.text for caution in analysis.cautions)
    return [r"\paragraph{Limitations}", escape(texts)]


def _protocol(analysis: Analysis) -> str:
    """Return what a reader has to know about tuning, seeds and tests."""
    record, rules = analysis.record, analysis.rules
    units = numbers.plural(record.unit)
    trials = {m.tuning.trials for m in record.methods if m.tuning.trials}
    tuned = (
        f"Every method was tuned with {_range(trials)} trials on validation data. "
        if trials
        else "No method was tuned. "
    )
    seeds = numbers.count(max(row.n for row in analysis.methods), record.unit)
    text = f"{tuned}The configurations were confirmed on {seeds}, none of them used for tuning."
    if not analysis.comparisons:
        return text
    compared = numbers.count(rules.family_size, "comparison")
    test, level = name_of_test(analysis), numbers.percent(rules.confidence)
    margin = analysis.form.points(rules.margin)
    return (
        f"{text} Differences are paired by {record.unit} and tested by the {test}; the intervals "
        f"of {compared} hold together with {level} probability, where differences between {units} "
        f"are symmetric. The margin of practical interest is {margin}."
    )


def _range(counts: Iterable[int]) -> str:
    ordered = sorted(counts)
    return str(ordered[0]) if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
