"""The plain sentences that stand beside the numbers: what the seeds could and could not show."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from analysis import wording
from analysis.one_study import pairing, searches
from analysis.one_study.verdicts import FEWEST_FOR_TEST, FEWEST_FOR_VERDICT, Comparison, Rules
from analysis.records import StudyRecord
from analysis.statistics import paired

UNEQUAL_BUDGET = 0.1  # relative difference from which budgets are called unequal


def write(record: StudyRecord, comparisons: Sequence[Comparison], rules: Rules) -> list[str]:
    """Every note of the study, the most important first."""
    return [
        *_changes(record),
        *_unfinished(record),
        *_nothing_to_compare(record),
        *_units(record),
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


def _changes(record: StudyRecord) -> list[str]:
    if not record.changes:
        return []
    return [
        f"The question was changed after the first confirmation ({'; '.join(record.changes)}): the "
        "verdicts below were not fixed beforehand."
    ]


def _unfinished(record: StudyRecord) -> list[str]:
    """What the page lacks, and `run` adds."""
    found = []
    short = [(m.method, m.tuning) for m in record.methods if m.tuning.trials < m.tuning.asked]
    if short:
        counts = ", ".join(f"{name} {of.trials} of {of.asked} trials" for name, of in short)
        found.append(f"Sweeps that have not ended: {counts}. What is confirmed may change.")
    if record.damaged:
        found.append(
            f"{wording.count(len(record.damaged), 'ledger entry')} cannot be read and "
            f"{'is' if len(record.damaged) == 1 else 'are'} left out ({'; '.join(record.damaged)})."
            " `run` mends that."
        )
    return found


def _no_space(record: StudyRecord) -> list[str]:
    """Which methods were not searched at all, whatever their budget."""
    fixed = [
        m.method for m in record.methods if m.tuning.history and not searches.searched(m.tuning)
    ]
    if not fixed:
        return []
    return [
        f"Without a search space: {', '.join(fixed)}. All trials of each are one configuration."
    ]


def _nothing_to_compare(record: StudyRecord) -> list[str]:
    found = []
    names = [m.method for m in record.methods]
    if not any(m.attempted for m in record.methods):
        fresh = f"fresh {wording.plural(record.unit)}"
        found.append(f"There are {pairing.NO_SCORES}: nothing is compared before {fresh} ran.")
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
    """What is paired where it is not seeds, and what of it tuning may share."""
    if not record.unit_seeds:
        return []
    units = wording.plural(record.unit)
    few, many = (of(map(len, record.unit_seeds.values())) for of in (min, max))
    size = f"{few} to {many} seeds" if few < many else wording.count(few, "seed")
    said = (
        f"Each {record.unit} is the mean of {size}; the tests pair {units} and not seeds, so n is "
        f"the number of {units}."
    )
    shared = (
        f" Tuning may have met the same {units}, with other seeds and other samples to score "
        "(validation, not test)."
    )
    return [said + shared if record.tune_seeds else said]


def _floors(comparisons: Sequence[Comparison], rules: Rules) -> list[str]:
    """What the exact test could reach, for each number of seeds that cannot reach alpha."""
    few = sorted({c.n for c in comparisons if not c.refusal and rules.capped(c.n)})
    return [_floor(n, rules) for n in few]


def _floor(n: int, rules: Rules) -> str:
    family = wording.count(rules.comparisons, "comparison")
    needed = paired.seeds_for_exact_test(rules.comparisons, rules.alpha)
    advice = f"Run {max(needed, FEWEST_FOR_VERDICT)} or more {rules.units} for {family}."
    if n < 3:
        those = wording.count(n, rules.unit)
        return f"With {those} there is neither interval nor test: the scores are listed. {advice}"
    if n < FEWEST_FOR_TEST:
        return f"With {n} {rules.units} there is an interval and no test. {advice}"
    floor = paired.exact_floor(n)
    fewer = int(rules.alpha / floor)
    if n >= FEWEST_FOR_VERDICT and fewer:
        advice += f" {n} are enough for {wording.count(fewer, 'comparison')} fixed beforehand."
    return (
        f"The exact paired test cannot go below p = {floor:.4g} with {n} {rules.units}, before "
        f"Holm over {family}; the t test assumes normal differences, so a verdict is at most "
        f"suggestive. {advice}"
    )


def _smallest_differences(comparisons: Sequence[Comparison], rules: Rules) -> list[str]:
    known = [(c.mde, c.n) for c in comparisons if c.mde is not None]
    if not known:
        return []
    (low, first), (high, last) = min(known), max(known)
    size = wording.number(low) if low == high else wording.interval(low, high)
    few, many = sorted((first, last))
    counted = f"{few}" if few == many else f"{few} to {many}"
    return [
        f"Power: with {counted} {rules.units} the smallest true difference seen 80 % of the time "
        f"is {size} (at {rules.alpha:g}/{rules.comparisons}, from the spread seen)."
    ]


def _kept_seeds(record: StudyRecord) -> list[str]:
    """Why there are more seeds than the study file asks for."""
    kept, asked = record.kept_seeds, record.asked_seeds
    if not kept:
        return []
    return [
        f"The study file now asks for {wording.count(len(asked), 'confirmation seed')}, and this "
        f"page is about {len({*kept, *asked})}. Seeds planned before the first confirmation stay, "
        f"here {wording.seed_list(kept)}: leaving some out after looking would bias the verdicts. "
        "Ask for them again to run those that have not; for fewer seeds, give the study another "
        "name (--set study.name=...)."
    ]


def _added_seeds(record: StudyRecord) -> list[str]:
    planned = set(record.planned_seeds)
    run = set[int]().union(*(m.attempted for m in record.methods))
    later, counted = run - planned, f"; planned {len(planned)}, run {len(run)}"
    if record.unit_seeds:
        later, counted = set(record.added_seeds), ""
    if not later or not planned:
        return []
    return [
        f"{wording.begin(pairing.seeds_noun(record))} were added after looking "
        f"({wording.seed_list(later)}{counted}): p-values are too small then, a true null is "
        "rejected in 16 to 23 % of studies that look again and again."
    ]


def _reused_seeds(record: StudyRecord) -> list[str]:
    both = record.tuned_on & {s for m in record.methods for s in m.attempted}
    if not both:
        return []
    return [
        f"{wording.begin(pairing.seeds_noun(record))} {wording.seed_list(both)} served tuning and "
        "confirmation; nothing is judged on them. Give the study fresh confirmation "
        f"{pairing.seeds_noun(record)}."
    ]


def _failed_seeds(record: StudyRecord) -> list[str]:
    failed = sum(len(m.failed_seeds) for m in record.methods)
    if not failed:
        return []
    lost = f"{wording.count(failed, record.unit)} failed in the confirmation"
    if record.failed_rule == "worst":
        value = wording.number(pairing.worst_score(record))
        return [f'{lost}; each counts as {value} (failed = "worst").']
    return [f'{lost}; the methods concerned have no mean and no verdict (failed = "error").']


def _budgets(record: StudyRecord) -> list[str]:
    budgets = {
        "trials": {m.method: m.tuning.trials for m in record.methods},
        "seeds per trial": {m.method: m.tuning.seeds_per_trial for m in record.methods},
        "samples": {m.method: m.tuning.samples for m in record.methods},
    }
    return [
        f"Tuning budgets differ by more than {UNEQUAL_BUDGET:.0%} in {kind}: "
        f"{min(of, key=of.__getitem__)} {min(of.values()):,}, "
        f"{max(of, key=of.__getitem__)} {max(of.values()):,}."
        for kind, of in budgets.items()
        if of and max(of.values()) - min(of.values()) > UNEQUAL_BUDGET * max(of.values())
    ]


def _unused_trials(record: StudyRecord) -> list[str]:
    """Trials that were run and that nothing here counts."""
    unused = [(m.method, m.tuning) for m in record.methods if m.tuning.left_out]
    if not unused:
        return []
    counts = ", ".join(f"{name} {of.left_out} beyond {of.asked}" for name, of in unused)
    return [
        f"Trials that were run and are no longer asked for: {counts}. They are in no table and "
        "chose no configuration."
    ]


def _scope(record: StudyRecord, comparisons: Sequence[Comparison]) -> list[str]:
    if not comparisons:
        return []
    return [
        f"Verdicts are about {record.stream} over {wording.plural(record.unit)}; one stream "
        "supports no ranking of methods across streams."
    ]
