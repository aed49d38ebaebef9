"""What to know before believing a study: weak points of its question, training, tuning and seeds,
by fixed rules.

Each caution has a remedy. No caution changes a verdict: a verdict is about the networks that were
trained, and a caution says why other networks could give another one.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis import numbers
from analysis.one_study.verdicts import INCONCLUSIVE, Comparison, Rules
from analysis.records import MethodRecord, OptionRecord, StudyRecord
from analysis.statistics.estimates import Array

_BARE = re.compile(r"[A-Za-z0-9_-]+")  # a TOML key that needs no quotes
TRIALS_PER_OPTION = 10
FEWEST_STEPS = 50  # of a task
FEWEST_VALIDATION_SAMPLES = 100  # of a task: one more right answer is one point of accuracy
SHARE_OF_BOUND = 0.8  # of the offline bound's accuracy, to be reached right after learning a task
SHARE_OF_RANGE = 0.05  # from an end of a range; nearer, the best value may lie beyond


@dataclass(frozen=True)
class Caution:
    """A reason for doubt, in a few words and in full, what to do about it, and a setting of the
    study file that does it.
    """

    doubt: str
    text: str
    remedy: str
    setting: str = ""  # on the command line, such as `--set tune.trials=20`


def cautions_of(
    record: StudyRecord, comparisons: Sequence[Comparison], rules: Rules
) -> tuple[Caution, ...]:
    """Return the cautions of a study: on its question, training, tuning and number of seeds."""
    checks = (
        _changed,
        _never_learnt,
        _far_from_bound,
        _few_steps,
        _at_an_end,
        _few_trials,
        _seeds_disagree,
        _few_validation_samples,
        _requirement_not_met,
    )
    found = (caution for check in checks for caution in check(record))
    return (*found, *_few_seeds(comparisons, rules))


def _changed(record: StudyRecord) -> Iterator[Caution]:
    """Yield a caution if the question was changed after results could be seen."""
    if record.changes:
        yield Caution(
            "a question that was changed after the first confirmation",
            f"The question was changed after the first confirmation ({'; '.join(record.changes)}), "
            "so that the verdicts were not fixed beforehand.",
            "Ask again on fresh seeds, in a study of another name.",
        )


def learning_accuracies(method: MethodRecord) -> Array:
    """Return the accuracy on each task right after learning the task, [seeds, T]."""
    return np.array([np.diagonal(matrix) for matrix in method.matrices.values()])


def _competitors(record: StudyRecord) -> list[MethodRecord]:
    return [m for m in record.methods if not m.offline and m.matrices]


def _never_learnt(record: StudyRecord) -> Iterator[Caution]:
    """Yield a caution if any network is at or below chance right after learning a task."""
    found = []
    for method in _competitors(record):
        accuracies = learning_accuracies(method)
        failed = (accuracies <= record.chance) & np.isfinite(accuracies)
        if failed.any():
            seeds = f"{failed.any(axis=1).sum()} of {numbers.count(len(failed), record.unit)}"
            tasks = _tasks([bool(each) for each in np.any(failed, axis=0)])
            found.append(f"{method.method} {tasks} ({seeds})")
    if found:
        yield Caution(
            "tasks that were not learnt",
            f"Tasks that were not learnt, at or below chance "
            f"({record.form.with_unit(record.chance)}) right after training: {'; '.join(found)}.",
            "Train longer, search larger learning rates, or let tuning require learning, in a "
            "study of another name.",
            "--set 'tune.require={ learning_accuracy = 0.8 }'",
        )


def _tasks(failed: Sequence[bool]) -> str:
    """Return the marked tasks in words."""
    if len(failed) > 1 and all(failed):
        return f"all {len(failed)} tasks"
    tasks = [str(task) for task, has_failed in enumerate(failed, 1) if has_failed]
    return f"task{'' if len(tasks) == 1 else 's'} {', '.join(tasks)}"


def _far_from_bound(record: StudyRecord) -> Iterator[Caution]:
    """Yield a caution if networks learn new tasks far worse than joint training does."""
    bounds = [m for m in record.methods if m.bound == "upper" and m.matrices]
    if not bounds:
        return
    bound = float(np.nanmean([matrix[-1] for matrix in bounds[0].matrices.values()]))
    learnt = {m.method: float(np.nanmean(learning_accuracies(m))) for m in _competitors(record)}
    form = record.form_of("learning_accuracy")
    low = [f"{m} {form.with_unit(x)}" for m, x in learnt.items() if x < SHARE_OF_BOUND * bound]
    if low:
        yield Caution(
            "methods that learn far less than joint training",
            f"Learning accuracy (on each task right after learning it) far below the "
            f"{form.with_unit(bound)} of {bounds[0].method}: {', '.join(low)}. What is never "
            "learnt cannot be forgotten.",
            "Train longer, or search weaker penalties and larger learning rates.",
        )


def _few_steps(record: StudyRecord) -> Iterator[Caution]:
    steps = {m.method: m.fewest_steps for m in record.methods if m.fewest_steps is not None}
    few = [f"{name} {count}" for name, count in steps.items() if count < FEWEST_STEPS]
    if few:
        yield Caution(
            "few training steps in a task",
            f"Fewer than {FEWEST_STEPS} steps in a task: {', '.join(few)}.",
            "More epochs or smaller batches (options epochs and batch_size).",
        )


def _at_an_end(record: StudyRecord) -> Iterator[Caution]:
    """Yield a caution on the chosen values near an end of their range that could be widened."""
    found, settings = [], []
    for method in record.methods:
        for option in method.tuning.space:
            value = method.configuration.get(option.option)
            wider = _wider(option, value) if isinstance(value, int | float) else None
            if wider is not None:
                of_range = f"{_shown(option.low)} to {_shown(option.high)}"
                found.append(f"{method.method} {option.option} = {_shown(value)} ({of_range})")
                name = method.method if _BARE.fullmatch(method.method) else f'"{method.method}"'
                settings.append(f"--set 'methods.{name}.space.{option.option}={wider}'")
    if found:
        yield Caution(
            "chosen values at an end of their range",
            f"Chosen at an end of the range, so that the best value may lie beyond: "
            f"{', '.join(found)}.",
            "Search wider ranges, in a study of another name.",
            " ".join(settings),
        )


def _shown(value: float | None) -> str:
    """Return a value of an option: a whole number in full, others with three digits."""
    whole = value is not None and float(value).is_integer()
    return f"{value:,.0f}" if whole else f"{value:.3g}"


def _wider(option: OptionRecord, value: float) -> str | None:
    """Return a wider range, in TOML, if a value lies near an end that could move; else None."""
    low, high = option.low, option.high
    if low is None or high is None or not low < high:
        return None
    if option.log:
        place, reach = math.log(value / low) / math.log(high / low), 10.0
        ends = low / reach, high * reach
    else:
        place, reach = (value - low) / (high - low), (high - low) / 2
        ends = low - reach, high + reach
    least, most = option.limits
    below = place <= SHARE_OF_RANGE and (least is None or low > least)
    above = place >= 1 - SHARE_OF_RANGE and (most is None or high < most)
    if not below and not above:
        return None
    lowest = low if not below else ends[0] if least is None else max(ends[0], least)
    if option.kind == "int" and option.log:
        lowest = max(lowest, 1.0)
    highest = high if not above else ends[1] if most is None else min(ends[1], most)
    shown = [f"{end:.0f}" if option.kind == "int" else f"{end:.4g}" for end in (lowest, highest)]
    log = ", log = true" if option.log else ""
    return f"{{ low = {shown[0]}, high = {shown[1]}{log} }}"


def _few_trials(record: StudyRecord) -> Iterator[Caution]:
    searched = {
        m.method: (m.tuning.trials, sum(o.kind != "fixed" for o in m.tuning.space))
        for m in record.methods
        if m.tuning.trials
    }
    few = {
        name: (trials, options)
        for name, (trials, options) in searched.items()
        if trials < TRIALS_PER_OPTION * options
    }
    if few:
        named: dict[tuple[int, int], list[str]] = {}  # methods by trials and options
        for name, counts in few.items():
            named.setdefault(counts, []).append(name)
        listed = "; ".join(f"{t} for {o} ({', '.join(names)})" for (t, o), names in named.items())
        most = max(options for _, options in few.values())
        yield Caution(
            "few tuning trials",
            f"Fewer than {TRIALS_PER_OPTION} trials for each searched option: {listed}.",
            "More trials, or fix options of little importance.",
            f"--set tune.trials={TRIALS_PER_OPTION * most}",
        )


def _seeds_disagree(record: StudyRecord) -> Iterator[Caution]:
    """Yield a caution if most tuning seeds would have chosen another trial."""
    found = []
    for method in record.methods:
        favourites, best = method.tuning.favourites, method.tuning.best_number
        agreeing = Counter(favourites.values())[best] if best is not None else 0
        if len(favourites) > 1 and 2 * agreeing <= len(favourites):
            found.append(f"{method.method} on {agreeing} of {len(favourites)} seeds")
    if found:
        yield Caution(
            "tuning seeds that disagree",
            "On half of the tuning seeds or more, another of the best five trials is better than "
            f"the chosen one, which is the best for {', '.join(found)}.",
            "More tuning seeds, in a study of another name.",
            f"--set 'tune.seeds={_more_seeds(record)}'",
        )


def _more_seeds(record: StudyRecord) -> list[int]:
    """Return twice as many tuning seeds, none of which confirms."""
    taken = {*record.planned_seeds, *record.asked_seeds, *record.tune_seeds}
    fresh = (seed for seed in itertools.count() if seed not in taken)
    return [*record.tune_seeds, *itertools.islice(fresh, len(record.tune_seeds))]


def _few_validation_samples(record: StudyRecord) -> Iterator[Caution]:
    counts = [m.tuning.validation_samples for m in record.methods if m.tuning.validation_samples]
    if counts and min(counts) < FEWEST_VALIDATION_SAMPLES:
        yield Caution(
            "few validation samples",
            f"Tuning is scored on {min(counts)} validation samples of a task: one of them is "
            f"{100 / min(counts):.1f} points of the task's accuracy.",
            "More tuning seeds; differences between good trials are noise.",
        )


def _requirement_not_met(record: StudyRecord) -> Iterator[Caution]:
    unmet = [m.method for m in record.methods if m.tuning.unmet]
    if unmet:
        yield Caution(
            "a requirement of tuning that no trial met",
            f"No trial met tune.require ({_requirement(record.required)}): {', '.join(unmet)}. The "
            "trial that came nearest was confirmed.",
            "More trials, a wider search space, or a weaker requirement.",
        )


def _requirement(required: Mapping[str, float]) -> str:
    return json.dumps(dict(required)).strip("{}").replace('"', "")


def _few_seeds(comparisons: Sequence[Comparison], rules: Rules) -> Iterator[Caution]:
    """Yield a caution if comparisons may be inconclusive only because of few seeds."""
    form = rules.form
    unseen = [
        f"{form.points(c.mde)} for {c.method} against {c.reference}"
        for c in comparisons
        if c.verdict == INCONCLUSIVE and c.mde is not None and c.mde > rules.margin > 0
    ]
    if unseen:
        yield Caution(
            f"too few {rules.units} to see the margin",
            f"Inconclusive is not equal: with these {rules.units} a true difference of the margin, "
            f"{form.points(rules.margin)}, would often not be seen. Seen 4 times in 5 are: "
            f"{', '.join(unseen)}.",
            f"More {rules.units}, in a study of another name. The command plan says how many see a "
            "difference of the margin; to show that two methods are equivalent takes more.",
        )
