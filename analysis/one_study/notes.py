"""The notes of a report: sentences on what the seeds could and could not show."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from analysis import numbers
from analysis.one_study import pairing, sweeps
from analysis.one_study.verdicts import (
    FEWEST_FOR_TEST,
    FEWEST_FOR_VERDICT,
    INCONCLUSIVE,
    NO_VERDICT,
    Comparison,
    Rules,
)
from analysis.records import DECIDED, StudyRecord
from analysis.statistics import paired

UNEQUAL_BUDGET = 0.1  # relative difference; beyond, budgets are called unequal


def notes_of(record: StudyRecord, comparisons: Sequence[Comparison], rules: Rules) -> list[str]:
    """Return the notes of a study, the most important first."""
    return [
        *_unfinished(record),
        *_nothing_to_compare(record),
        *_units(record),
        *_stopping(record, comparisons, rules),
        *_floors(comparisons, rules),
        *_smallest_differences(comparisons, rules),
        *_kept_seeds(record),
        *_added_seeds(record),
        *_reused_seeds(record),
        *_failed_seeds(record),
        *record.circumstances,
        *_budgets(record),
        *_unused_trials(record),
        *_no_space(record),
        *_scope(record, comparisons),
    ]


def _unfinished(record: StudyRecord) -> list[str]:
    """Return notes on unfinished sweeps and damaged ledger entries, which `run` completes."""
    found = []
    unfinished = [m for m in record.methods if m.tuning.trials < m.tuning.asked_trials]
    if unfinished:
        counts = ", ".join(
            f"{m.method} {m.tuning.trials} of {m.tuning.asked_trials} trials" for m in unfinished
        )
        found.append(f"Unfinished sweeps: {counts}. The confirmed configurations may change.")
    if record.damaged:
        found.append(
            f"{numbers.count(len(record.damaged), 'ledger entry')} cannot be read and "
            f"{'is' if len(record.damaged) == 1 else 'are'} left out ({'; '.join(record.damaged)})."
            " `run` repairs the ledger."
        )
    return found


def _no_space(record: StudyRecord) -> list[str]:
    """Return a note on the methods whose trials all have one configuration."""
    fixed = [
        m.method
        for m in record.methods
        if m.tuning.history and not sweeps.has_search_space(m.tuning)
    ]
    if not fixed:
        return []
    return [
        f"Without a search space: {', '.join(fixed)}. All trials of each have one configuration."
    ]


def _nothing_to_compare(record: StudyRecord) -> list[str]:
    found = []
    names = [m.method for m in record.methods]
    if not any(m.attempted_seeds for m in record.methods):
        fresh = f"fresh {numbers.plural(record.unit)}"
        found.append(f"There are {pairing.NO_SCORES}: nothing is compared before {fresh} have run.")
    if record.reference not in names:
        near = difflib.get_close_matches(record.reference, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        found.append(
            f"The reference {record.reference} is not among the methods "
            f"({', '.join(names) or 'there are none'}), so nothing is compared.{hint}"
        )
    elif len(names) == 1:
        found.append("There is one method only, so nothing is compared.")
    return found


def _units(record: StudyRecord) -> list[str]:
    """Return a note on pairing by units other than seeds, and on units met in tuning."""
    if not record.unit_seeds:
        return []
    units = numbers.plural(record.unit)
    counts = [len(seeds) for seeds in record.unit_seeds.values()]
    few, many = min(counts), max(counts)
    size = f"{few} to {many} seeds" if few < many else numbers.count(few, "seed")
    paired_units = (
        f"Each {record.unit} is the mean of {size}; the tests pair {units} and not seeds, so n is "
        f"the number of {units}."
    )
    tuned_units = (
        f" Tuning may have used the same {units}, with other seeds and scored on other samples "
        "(validation, not test)."
    )
    same_units = record.tune_seeds and record.protocol != "held_out_stream"
    return [paired_units + tuned_units if same_units else paired_units]


def _stopping(record: StudyRecord, comparisons: Sequence[Comparison], rules: Rules) -> list[str]:
    """Return a note on seeds that are added until every comparison is decided."""
    if not rules.is_anytime or not comparisons:
        return []
    most = len({*record.planned_seeds, *record.asked_seeds})
    undecided = [c for c in comparisons if c.verdict in (INCONCLUSIVE, NO_VERDICT)]
    open_ = ", ".join(f"{c.method} against {c.reference} ({c.n} seeds)" for c in undecided)
    found = [
        f"Seeds are added in a fixed order until each comparison is decided or has {most}: "
        "verdicts, p adjusted and simultaneous intervals are anytime-valid and allow for this. The "
        "methods' means, sd and t-intervals, the effect sizes, P(win) and q are computed as if the "
        "number of seeds had been fixed beforehand."
    ]
    return [*found, f"Not decided: {open_}."] if undecided else found


def _floors(comparisons: Sequence[Comparison], rules: Rules) -> list[str]:
    """Return a note for each number of seeds with which the exact test cannot reach alpha."""
    if rules.is_anytime:
        return []
    counts = sorted({c.n for c in comparisons if not c.refusal and rules.capped(c.n)})
    return [_floor(n, rules) for n in counts]


def _floor(n: int, rules: Rules) -> str:
    family = numbers.count(rules.family_size, "comparison")
    advice = f"Run {rules.fewest_seeds} or more {rules.units} for {family}."
    if n < 3:
        amount = numbers.count(n, rules.unit)
        return f"With {amount} there is neither interval nor test: the scores are listed. {advice}"
    if n < FEWEST_FOR_TEST:
        return (
            f"With {n} {rules.units} there is an interval, which assumes normal differences, and "
            f"no test; a verdict is at most suggestive. {advice}"
        )
    floor = paired.exact_floor(n)
    fewer = int(rules.alpha / floor)
    if n >= FEWEST_FOR_VERDICT and fewer:
        advice += f" {n} are enough for {numbers.count(fewer, 'comparison')} fixed beforehand."
    return (
        f"The exact paired test cannot go below p = {floor:.4g} with {n} {rules.units}, for "
        f"one of {family}; the t test assumes normal differences, so a verdict is at most "
        f"suggestive. {advice}"
    )


def _smallest_differences(comparisons: Sequence[Comparison], rules: Rules) -> list[str]:
    known = [(c.mde, c.n) for c in comparisons if c.mde is not None]
    if not known:
        return []
    (low, first), (high, last) = min(known), max(known)
    form = rules.form
    size = form.points(low) if low == high else f"{form.value(low)} to {form.points(high)}"
    few, many = sorted((first, last))
    counted = f"{few}" if few == many else f"{few} to {many}"
    return [
        f"Power: with {counted} {rules.units} the smallest true difference seen 80 % of the time "
        f"is {size} (at {rules.alpha:g}/{rules.family_size}, given the observed spread)."
    ]


def _kept_seeds(record: StudyRecord) -> list[str]:
    """Return a note on planned seeds that the study file no longer asks for."""
    kept, asked = record.kept_seeds, record.asked_seeds
    if not kept or record.stop == DECIDED:
        return []
    return [
        f"The study file now asks for {numbers.count(len(asked), 'confirmation seed')}, and this "
        f"report covers {len({*kept, *asked})}. Seeds planned before the first confirmation stay "
        f"({numbers.seed_list(kept)}): leaving seeds out after looking would bias the verdicts. "
        "To run the missing ones, ask for these seeds again; for fewer seeds, give the study "
        "another name (--set study.name=...)."
    ]


def _added_seeds(record: StudyRecord) -> list[str]:
    if record.stop == DECIDED:
        return []
    planned = set(record.planned_seeds)
    run = set[int]().union(*(m.attempted_seeds for m in record.methods))
    added, counts = run - planned, f"; planned {len(planned)}, run {len(run)}"
    if record.unit_seeds:
        added, counts = set(record.added_seeds), ""
    if not added or not planned:
        return []
    return [
        f"{numbers.begin(pairing.seeds_noun(record))} were added after looking "
        f"({numbers.seed_list(added)}{counts}): p-values are too small then; studies that "
        "look repeatedly reject a true null hypothesis in 16 to 23 % of cases."
    ]


def _reused_seeds(record: StudyRecord) -> list[str]:
    both = record.tuned_on & {s for m in record.methods for s in m.attempted_seeds}
    if not both:
        return []
    return [
        f"{numbers.begin(pairing.seeds_noun(record))} {numbers.seed_list(both)} served tuning and "
        "confirmation; nothing is judged on them. Give the study fresh confirmation "
        f"{pairing.seeds_noun(record)}."
    ]


def _failed_seeds(record: StudyRecord) -> list[str]:
    failed = [m for m in record.methods if m.failed_seeds]
    if not failed:
        return []
    counts = ", ".join(
        f"{m.method} {len(m.failed_seeds)} of {len(m.attempted_seeds)}" for m in failed
    )
    lost = f"{numbers.begin(numbers.plural(record.unit))} that failed in the confirmation: {counts}"
    if record.failed_rule == "worst":
        value = record.form.with_unit(pairing.worst_score(record))
        consequence = (
            f'each counts as {value} (failed = "worst"), so these methods are ranked and tested, '
            "without sd, interval or effect size"
        )
    else:
        consequence = 'these methods have no mean and no verdict (failed = "error")'
    advice = numbers.begin(pairing.remedy(failed, record.unit))
    return [f"{lost}; {consequence}. {advice}."]


def _budgets(record: StudyRecord) -> list[str]:
    budgets = {
        "trials": {m.method: m.tuning.trials for m in record.methods},
        "seeds per trial": {m.method: m.tuning.seeds_per_trial for m in record.methods},
        "samples": {m.method: m.tuning.samples for m in record.methods},
    }
    return [
        f"Tuning budgets differ by more than {UNEQUAL_BUDGET:.0%} in {kind}: "
        f"{min(amounts, key=amounts.__getitem__)} {min(amounts.values()):,}, "
        f"{max(amounts, key=amounts.__getitem__)} {max(amounts.values()):,}."
        for kind, amounts in budgets.items()
        if amounts and _is_unequal(amounts.values())
    ]


def _is_unequal(amounts: Collection[int]) -> bool:
    return max(amounts) - min(amounts) > UNEQUAL_BUDGET * max(amounts)


def _unused_trials(record: StudyRecord) -> list[str]:
    """Return a note on trials that ran and that the study file no longer asks for."""
    unused = [m for m in record.methods if m.tuning.unused_trials]
    if not unused:
        return []
    counts = ", ".join(
        f"{m.method} {m.tuning.unused_trials} beyond {m.tuning.asked_trials}" for m in unused
    )
    return [
        f"Trials that ran and are no longer asked for: {counts}. No table shows these trials, and "
        "the choice of configurations ignores them."
    ]


def _scope(record: StudyRecord, comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    trials = {m.tuning.trials for m in record.methods if m.tuning.trials}
    found = ""
    if trials:
        few, many = min(trials), max(trials)
        counted = f"{few} to {many}" if few < many else f"{few}"
        found = f", and about the configurations that {counted} trials of each method found"
    return [
        f"Verdicts are about {record.stream} over {numbers.plural(record.unit)}{found}; one stream "
        "supports no ranking of methods across streams."
    ]
