"""What the analysis reads: one study's confirmation and tuning, as filled from the ledger.

Shape legend: T tasks, I tasks learnt (rows), K values of a diagnostic, R x C cells of a map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from analysis.metrics import ReadoutMetric
from analysis.statistics.estimates import Array
from analysis.statistics.pareto import Direction


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a sweep: what it tried, and the objectives of a complete one."""

    number: int
    state: str  # complete, pruned, diverged or failed
    params: dict[str, Any]
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class OptionRecord:
    """One option of a method's search space, or one that its study file fixes."""

    option: str
    kind: str  # float, int, categorical or fixed
    low: float | None = None
    high: float | None = None
    log: bool | None = None  # whether it is searched on a logarithmic scale
    step: float | None = None  # between the numbers of a range; None: any, or every whole one
    choices: list[Any] | None = None  # of a categorical option; the one value of a fixed one


@dataclass(frozen=True)
class TuningRecord:
    """One method's sweep.

    `values` holds each trial's first objective by trial number (None: failed or pruned); the
    published defaults are trial 0. The first objective is the study's primary metric.
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
    # relative, for reaching the best trials; sums to 1
    importance: dict[str, float] = field(default_factory=dict)
    has_default: bool = True  # whether trial 0 has the published defaults, all of them
    asked: int = 0  # trials that the study asks for
    left_out: int = 0  # trials that have run, of a study that asked for more than it does now
    space: tuple[
        OptionRecord, ...
    ] = ()  # as the study file has it now; none where nothing is tuned


@dataclass(frozen=True)
class DiagnosticRecord:
    """What a method measured about itself after each task, such as spikes of each layer."""

    name: str
    title: str
    unit: str
    labels: tuple[str, ...]  # of the K values
    values: dict[int, Array]  # seed -> [I, K]


@dataclass(frozen=True)
class MapRecord:
    """A matrix that a method measured about itself after each task, in panels, such as the activity
    of each layer by class.
    """

    name: str
    title: str
    unit: str
    rows: str  # what a row is; numbered from 1
    columns: str  # what a column is; numbered from 1, classes from 0
    averaged: bool  # whether a mean over seeds has a meaning
    panels: dict[str, dict[int, Array]]  # label -> seed -> [I, R, C], NaN where there is no value

    @property
    def first_column(self) -> int:
        """The number of the first column."""
        return 0 if self.columns == "class" else 1


@dataclass(frozen=True)
class PublishedRecord:
    """A published figure to set beside ours; `metric` names its definition."""

    method: str
    metric: ReadoutMetric
    mean: float
    sd: float | None
    n: int | None  # what sd is over
    source: str
    incomparable: str  # why it cannot be compared; empty where it can


@dataclass(frozen=True)
class MethodRecord:
    """One method's confirmation: what was measured on which seed, and what failed."""

    method: str
    learner: str
    configuration: dict[str, Any]
    scores: dict[int, float]  # seed -> primary metric on confirmation data; NaN: diverged
    failures: dict[int, str] = field(default_factory=dict)  # seed -> reason
    other_metrics: dict[ReadoutMetric, dict[int, float]] = field(default_factory=dict)
    footprint: dict[str, int] = field(default_factory=dict)  # bytes by kind
    tuning: TuningRecord = field(default_factory=TuningRecord)
    matrices: dict[int, Array] = field(default_factory=dict)  # seed -> accuracy matrix [I, T]
    diagnostics: tuple[DiagnosticRecord, ...] = ()
    maps: tuple[MapRecord, ...] = ()
    unconfirmed: str = ""  # why there is nothing to confirm; empty where there is
    offline: bool = False  # given all tasks at once: an offline bound
    bound: str | None = None  # "upper" or "lower": the metric `cl_gap` is the way between them
    readouts: tuple[str, ...] = ()  # the first is the primary one

    @property
    def failed_seeds(self) -> dict[int, str]:
        """Reason of every seed without a usable score, the diverged ones included."""
        diverged = {s: "diverged" for s, x in self.scores.items() if not math.isfinite(x)}
        return dict(sorted((diverged | self.failures).items()))

    @property
    def attempted(self) -> set[int]:
        """Seeds that ran, well or badly."""
        return set(self.scores) | set(self.failures)


@dataclass(frozen=True)
class StudyRecord:
    """One study: what was fixed before it ran, and what its methods measured."""

    study: str
    stream: str
    scenario: str
    metric: str
    reference: str
    margin: float  # practical margin, in metric units; 0: none set
    alpha: float
    failed_rule: str  # "error": no verdict; "worst": a failed seed counts as the worst value
    protocol: str
    phase: str
    planned_seeds: list[int]  # before anything was confirmed
    tune_seeds: list[int]
    chance: float
    methods: list[MethodRecord]
    provenance: dict[str, str] = field(default_factory=dict)
    objectives: tuple[str, ...] = ()  # of the sweeps; the first is the primary metric
    directions: tuple[Direction, ...] = ()  # of the objectives
    published: tuple[PublishedRecord, ...] = ()
    planned_methods: tuple[str, ...] = ()  # before anything was confirmed, or confirmed since
    changes: tuple[str, ...] = ()  # of the question, since something was confirmed
    asked_seeds: tuple[int, ...] = ()  # that the study file names now
    kept_seeds: tuple[int, ...] = ()  # planned ones that it names no longer: no table drops them
    damaged: tuple[str, ...] = ()  # ledger entries that are left out, and why
    circumstances: tuple[str, ...] = ()  # sentences on how trials ran: what differed, what was lost
    unit: str = "seed"  # what is paired: a seed, a speaker, a class
    unit_seeds: dict[int, tuple[int, ...]] = field(
        default_factory=dict
    )  # seeds that a unit is the mean of; none where seeds are paired
    added_seeds: tuple[int, ...] = ()  # of the units, after the first confirmation
    dataset: str = ""  # what the stream is made from
    sample_bytes: int = 0  # of a raw sample with its label; 0: unknown

    @property
    def tuned_on(self) -> set[int]:
        """Seeds that served tuning, or units of which a seed did.

        A unit may serve both phases with seeds of its own in each: unit numbers tell nothing here.
        """
        tuning = set(self.tune_seeds)
        if not self.unit_seeds:
            return tuning
        return {unit for unit, seeds in self.unit_seeds.items() if tuning & set(seeds)}
