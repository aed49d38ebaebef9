"""The input of the analysis: one study's confirmation and tuning, read from the ledger.

Shape legend: T tasks, I tasks learnt (rows), K values of a diagnostic, R x C cells of a map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.forms import Form, form_of
from analysis.metrics import ReadoutMetric
from analysis.statistics.estimates import Array
from analysis.statistics.pareto import Direction

DECIDED = "decided"  # seeds are added in a fixed order until every comparison is decided
MINUS = " - "  # between two methods whose difference is one side of a comparison


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a sweep: the searched values, and the objectives of a complete trial."""

    number: int
    state: str  # complete, pruned, diverged or failed
    params: dict[str, Any]
    values: tuple[float, ...] = ()  # of the objectives
    feasible: bool = True  # whether the trial keeps what the study file requires


@dataclass(frozen=True)
class OptionRecord:
    """One option of a method: searched, or fixed by the study file."""

    option: str
    kind: str  # float, int, categorical or fixed
    low: float | None = None
    high: float | None = None
    log: bool | None = None  # whether the scale of the search is logarithmic
    step: float | None = None  # of a range; None: every number, or every whole number
    choices: list[Any] | None = None  # of a categorical option; the single value of a fixed one
    limits: tuple[float | None, float | None] = (None, None)  # of the option, whatever the range


@dataclass(frozen=True)
class TuningRecord:
    """One method's sweep.

    `values` holds the first objective, the study's primary metric, by trial number; None for a
    trial that failed or was pruned. Trial 0 has the published defaults.
    """

    trials: int = 0
    failed: int = 0
    pruned: int = 0
    seconds: float = 0.0
    samples: int = 0
    seeds_per_trial: int = 0
    values: list[float | None] = field(default_factory=list)
    best_number: int | None = None
    sampler: str = ""
    history: tuple[TrialRecord, ...] = ()
    # option -> share of the importance for reaching the best trials; sums to 1
    importance: dict[str, float] = field(default_factory=dict)
    has_default: bool = True  # whether trial 0 has all published defaults
    asked_trials: int = 0  # trials that the study file asks for now
    unused_trials: int = 0  # trials that ran while the study file asked for more
    space: tuple[OptionRecord, ...] = ()  # of the study file now; empty without tuning
    favourites: dict[int, int] = field(default_factory=dict)  # seed -> its best of the top trials
    validation_samples: int = 0  # of the task with the fewest; 0: unknown
    unmet: bool = False  # whether the confirmed trial misses what the study file requires
    # fresh seed -> first objective of the best configuration, trained and scored as in the sweep;
    # NaN: failed
    recheck: dict[int, float] = field(default_factory=dict)
    # the same seeds in the confirmation; NaN: failed
    rechecked: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DiagnosticRecord:
    """A measurement by the method itself after each task, such as the spikes of each layer."""

    name: str
    title: str
    unit: str
    labels: tuple[str, ...]  # of the K values
    values: dict[int, Array]  # seed -> [I, K]


@dataclass(frozen=True)
class MapRecord:
    """A matrix measured by the method itself after each task, in panels, such as the activity of
    each layer by class.
    """

    name: str
    title: str
    unit: str
    rows: str  # the noun for a row; rows are numbered from 1
    columns: str  # the noun for a column; columns are numbered from 1, classes from 0
    averaged: bool  # whether a mean over seeds is meaningful
    panels: dict[str, dict[int, Array]]  # label -> seed -> [I, R, C], NaN without a value

    @property
    def first_column(self) -> int:
        """The number of the first column."""
        return 0 if self.columns == "class" else 1


@dataclass(frozen=True)
class PublishedRecord:
    """A published result to compare with the measured one."""

    method: str
    metric: ReadoutMetric
    mean: float
    sd: float | None
    n: int | None  # runs behind mean and sd
    source: str
    incomparable: str  # the reason against a comparison; empty for a comparable result


@dataclass(frozen=True)
class AlternativeRecord:
    """Another configuration of a method's sweep, confirmed on the seeds of the chosen one."""

    trial: int  # number in the sweep
    value: float  # first objective in the sweep
    configuration: dict[str, Any]
    scores: dict[int, float]  # seed -> primary metric; NaN: diverged
    failures: dict[int, str] = field(default_factory=dict)  # seed -> reason of a crash


@dataclass(frozen=True)
class MethodRecord:
    """One method's confirmation: measurements and failures by seed."""

    method: str
    learner: str
    configuration: dict[str, Any]
    scores: dict[int, float]  # seed -> primary metric on confirmation data; NaN: diverged
    failures: dict[int, str] = field(default_factory=dict)  # seed -> reason of a crash
    diverged: dict[int, str] = field(default_factory=dict)  # seed -> "diverged on task 3"
    other_metrics: dict[ReadoutMetric, dict[int, float]] = field(default_factory=dict)
    footprint: dict[str, int] = field(default_factory=dict)  # bytes by kind
    seconds: float | None = None  # of training, for each confirmation seed
    tuning: TuningRecord = field(default_factory=TuningRecord)
    matrices: dict[int, Array] = field(default_factory=dict)  # seed -> accuracy matrix [I, T]
    diagnostics: tuple[DiagnosticRecord, ...] = ()
    maps: tuple[MapRecord, ...] = ()
    unconfirmed: str = ""  # the reason for a missing confirmation; empty otherwise
    offline: bool = False  # an offline bound: trained on all tasks at once
    bound: str | None = None  # "upper" or "lower" end of the metric `cl_gap`
    readouts: tuple[str, ...] = ()  # the primary readout first
    fewest_steps: int | None = None  # of a task; None: the method has no mini-batches
    alternatives: tuple[AlternativeRecord, ...] = ()  # the next best ones of the sweep, in order

    @property
    def failed_seeds(self) -> dict[int, str]:
        """The reason by seed, for every seed that failed or diverged."""
        diverged = {s: "diverged" for s, x in self.scores.items() if not math.isfinite(x)}
        return dict(sorted((diverged | self.diverged | self.failures).items()))

    @property
    def attempted_seeds(self) -> set[int]:
        """The seeds that ran, failed seeds included."""
        return set(self.scores) | set(self.diverged) | set(self.failures)


def methods_of(side: str) -> tuple[str, ...]:
    """Return the methods of one side of a comparison: a method, or the difference of two.

    >>> methods_of("replay"), methods_of("replay - finetune")
    (('replay',), ('replay', 'finetune'))
    """
    return tuple(side.split(MINUS))


def scores_of(side: str, scores: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """Return the scores of one side of a comparison by seed; of a difference, on shared seeds.

    Args:
        scores: by method and seed.

    >>> scores_of("replay - finetune", {"replay": {1: 0.75, 2: 0.5}, "finetune": {1: 0.25}})
    {1: 0.5}
    """
    first, *others = (scores[method] for method in methods_of(side))
    if not others:
        return dict(first)
    [second] = others
    return {seed: x - second[seed] for seed, x in first.items() if seed in second}


def against_reference(reference: str, offline: Mapping[str, bool]) -> tuple[tuple[str, str], ...]:
    """Return each method paired with the reference, without offline bounds.

    An upper bound is no competitor: a comparison with it answers no question and costs power.

    Args:
        offline: by method, whether the method is an offline bound.

    >>> against_reference("replay", {"ewc": False, "replay": False, "joint": True})
    (('ewc', 'replay'),)
    """
    competitors = [name for name, is_bound in offline.items() if not is_bound]
    return tuple((name, reference) for name in competitors if name != reference)


@dataclass(frozen=True)
class StudyRecord:
    """One study: the question fixed beforehand, and the measurements of the methods."""

    study: str
    stream: str
    scenario: str
    metric: str
    reference: str
    margin: float  # practical margin, in metric units; 0: no margin
    alpha: float
    failed_rule: str  # "error": no verdict; "worst": a failed seed counts as the worst value
    protocol: str
    phase: str
    planned_seeds: list[int]  # before the first confirmation
    tune_seeds: list[int]
    chance: float
    methods: list[MethodRecord]
    provenance: dict[str, str] = field(default_factory=dict)
    study_file: str = ""  # with every key that has a value, as TOML
    objectives: tuple[str, ...] = ()  # of the sweeps; the primary metric first
    required: dict[str, float] = field(default_factory=dict)  # metric -> limit that trials have
    directions: tuple[Direction, ...] = ()  # of the objectives
    published: tuple[PublishedRecord, ...] = ()
    # (side, side to compare with) as the study file names them; empty: see `family`
    comparisons: tuple[tuple[str, str], ...] = ()
    # asked for since before the first confirmation; they stay in the family
    planned_comparisons: tuple[tuple[str, str], ...] = ()
    varied: tuple[str, ...] = ("initial weights", "batches")  # between seeds
    unvaried: tuple[str, ...] = ("data split",)  # the same for all seeds
    number: str = "percent"  # form of accuracies for readers, or "fraction"
    changes: tuple[str, ...] = ()  # of the question, after the first confirmation
    asked_seeds: tuple[int, ...] = ()  # confirmation seeds in the study file now
    kept_seeds: tuple[int, ...] = ()  # planned seeds no longer in the study file, still reported
    damaged: tuple[str, ...] = ()  # unreadable ledger entries, each with the reason
    circumstances: tuple[str, ...] = ()  # sentences on differences and losses between trials
    # when seeds stop: after those that are planned, or once all comparisons are DECIDED
    stop: str = "planned"
    unit: str = "seed"  # of pairing: a seed, a speaker, a class
    # seeds behind the mean of each unit; empty where seeds are paired
    unit_seeds: dict[int, tuple[int, ...]] = field(default_factory=dict)
    added_seeds: tuple[int, ...] = ()  # seeds of the units run beyond the planned seeds
    dataset: str = ""  # data set behind the stream
    sample_bytes: int = 0  # of a raw sample with the label; 0: unknown
    # what else two studies share if their seeds are pairs: options of the stream, and data
    conditions: Mapping[str, str] = field(default_factory=dict)
    # the same study with further sweeps of each method, each on other seeds
    repeats: tuple[StudyRecord, ...] = ()

    @property
    def form(self) -> Form:
        """How values of the primary metric are written."""
        return self.form_of(self.metric)

    @property
    def form_of_accuracy(self) -> Form:
        """How accuracies are written, whatever the primary metric is."""
        return self.form_of("average_accuracy")

    def form_of(self, metric: str) -> Form:
        """Return how values of a metric are written."""
        return form_of(metric, self.number)

    @property
    def family(self) -> tuple[tuple[str, str], ...]:
        """The comparisons to judge: those named, else each method against the reference."""
        offline = {m.method: m.offline for m in self.methods}
        return self.comparisons or against_reference(self.reference, offline)

    @property
    def common_reference(self) -> str | None:
        """The method that all comparisons have in common; None if there is none."""
        references = {reference for _, reference in self.family}
        methods = {method for reference in references for method in methods_of(reference)}
        return methods.pop() if len(methods) == 1 else None

    @property
    def tuned_on(self) -> set[int]:
        """The seeds used for tuning, or the units with a seed used for tuning.

        A unit may take part in both phases with different seeds: only the seeds decide.
        """
        tuning = set(self.tune_seeds)
        if not self.unit_seeds:
            return tuning
        return {unit for unit, seeds in self.unit_seeds.items() if tuning & set(seeds)}
