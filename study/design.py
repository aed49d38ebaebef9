"""A study file with every name in it resolved: methods, streams, assignments.

Nothing here depends on what has been run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.metrics import PRIMARY
from analysis.one_study.verdicts import Rules, rules_of
from analysis.records import against_reference
from search_spaces.space import Space, decoded, values_within
from study.spec import Spec, expand
from trainables import Learner, find_learner, find_stream
from trainables.engine.assignment import Assignment
from trainables.engine.outcome import OBJECTIVES_IN_BYTES, OBJECTIVES_IN_DIAGNOSTICS
from trainables.streams import Stream, StreamInfo, StreamOptions
from trainables.streams.datasets import Dataset, Split

Direction = Literal["minimize", "maximize"]

FRESH_PHASES = ("confirm", "recheck")  # the best configuration on fresh seeds
PHASES = ("tune", *FRESH_PHASES)
MOST_RECHECKED = 10  # seeds; with more, the few tuning seeds still limit what a recheck can tell
NEXT_SWEEP = 1_000_000  # from the seeds of a sweep to those of the next one of the same method
# besides the metrics
OBJECTIVES: dict[str, Direction] = dict.fromkeys(
    [*OBJECTIVES_IN_BYTES, *OBJECTIVES_IN_DIAGNOSTICS], "minimize"
)


def data_phase(phase: str) -> str:
    """Return the phase whose data the trials of a phase read: a recheck has those of the sweep."""
    return "tune" if phase == "recheck" else phase


def method_of(name: str) -> str:
    """Return the method of a sweep in the study file.

    >>> method_of("ewc"), method_of("ewc@2")
    ('ewc', 'ewc')
    """
    return name.partition("@")[0]  # no name in a study file holds this sign


@dataclass(frozen=True)
class Method:
    """One method of a study, with one of its sweeps: ``ewc@2`` is ``ewc`` with its second sweep.

    Attributes:
        repeat: number of the sweep, from 0.
    """

    name: str
    learner: str
    defaults: dict[str, Any]  # published values, with the values that the study file fixes
    fixed: dict[str, Any]
    space: Space  # searched by the sweep
    repeat: int = 0

    @property
    def kind(self) -> type[Learner]:
        """The class of the method's learner."""
        return find_learner(self.learner)

    def configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole configuration of a trial from the parameters that are searched."""
        config = self.kind.Config
        values = {name: decoded(value, config.kinds().get(name)) for name, value in params.items()}
        return config.parse({**self.defaults, **values}, f"methods.{self.name}").plain()

    @property
    def first_params(self) -> dict[str, Any]:
        """The published values that lie in the search space: those of the sweep's first trial."""
        return values_within(self.space, self.configuration({}))


def with_repeats(methods: Mapping[str, Method], repeats: int) -> dict[str, Method]:
    """Return the methods once for each of their sweeps, the first sweeps of all methods first."""
    further = [
        dataclasses.replace(method, name=f"{name}@{repeat + 1}", repeat=repeat)
        for repeat in range(1, repeats)
        for name, method in methods.items()
    ]
    return {**methods, **{method.name: method for method in further}}


@dataclass(frozen=True)
class PhaseStream:
    """The stream that a phase of a study learns.

    Attributes:
        task_limit: number of tasks that are learnt; None: all.
    """

    kind: type[Stream]
    scenario: str
    options: StreamOptions
    task_limit: int | None = None

    @classmethod
    def of(cls, spec: Spec, phase: str) -> PhaseStream:
        """Return the stream of a phase.

        A held-out stream takes those options of the study's stream that it has too.
        """
        kind = find_stream(spec.study.stream)
        options = kind.Options.parse(spec.stream, "stream")
        tune, on_tuning_data = spec.tune, data_phase(phase) == "tune"
        if on_tuning_data and tune.protocol == "held_out_stream" and tune.stream:
            kind = find_stream(tune.stream)
            shared = {k: v for k, v in spec.stream.items() if k in kind.Options.fields()}
            options = kind.Options.parse(shared, "stream")
        limited = on_tuning_data and tune.protocol == "first_tasks"
        return cls(kind, spec.study.scenario, options, tune.tasks if limited else None)

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def title(self) -> str:
        """Name of the stream in reports."""
        return self.kind.title(self.options)

    @property
    def data_set(self) -> Dataset:
        """The stream's data set."""
        return self.kind.data_set(self.options)

    @property
    def dataset(self) -> str:
        """Name of the stream's data set."""
        return self.data_set.name

    @property
    def tasks(self) -> int:
        """Number of tasks that are learnt."""
        return self.task_limit or self.length

    @property
    def length(self) -> int:
        """Number of tasks in the whole stream."""
        return self.kind.length(self.options)

    @property
    def unit(self) -> str:
        """Unit that the statistical tests pair: the seed in most streams, else class or speaker."""
        return self.kind.unit(self.options)

    def unit_of(self, seed: int) -> int:
        """Return the unit of a seed: the seed itself in most streams."""
        return self.kind.unit_of(seed, self.options)

    @functools.cached_property
    def info(self) -> StreamInfo:
        """The facts about the stream that a learner gets, without data."""
        return self.kind.describe(self.scenario, self.options)

    def prepare(self, data: Mapping[str, Split]) -> dict[str, Split]:
        """Return data in the form that the stream keeps: computed once for all trials."""
        return self.kind.prepare(dict(data), self.options)

    def build(self, data: Mapping[str, Split], seeds: Sequence[int], phase: str) -> Stream:
        """Return the stream of the given seeds."""
        return self.kind(dict(data), self.scenario, seeds, phase, self.options)


@dataclass(frozen=True)
class Design:
    """A study file with every name in it resolved.

    Attributes:
        methods: by name, once for each sweep.
        streams: by phase.
    """

    spec: Spec
    methods: dict[str, Method]
    streams: dict[str, PhaseStream]

    def of_sweep(self, repeat: int) -> dict[str, Method]:
        """Return the methods with one of their sweeps; the verdicts are about sweep 0."""
        return {name: m for name, m in self.methods.items() if m.repeat == repeat}

    @property
    def stream(self) -> PhaseStream:
        """The stream of the confirmation: the subject of the study."""
        return self.streams["confirm"]

    @property
    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """The comparisons that are tested: (method, method to compare with)."""
        study = self.spec.study
        named = tuple((method, other) for method, other in study.comparisons)
        offline = {name: method.kind.offline for name, method in self.of_sweep(0).items()}
        return named or against_reference(study.reference, offline)

    def rules(self, further: Sequence[tuple[str, str]] = ()) -> Rules:
        """Return the rules of the verdicts; ``further``: comparisons that were asked for before."""
        study = self.spec.study
        return rules_of(
            study.metric,
            {*self.comparisons, *further},
            margin=study.margin,
            alpha=study.alpha,
            stop=self.spec.confirm.stop,
            unit=self.stream.unit,
        )

    @property
    def directions(self) -> list[Direction]:
        """``maximize`` or ``minimize``, for each objective."""
        return [direction(name) for name in self.spec.objectives]

    @property
    def chosen_on(self) -> list[int]:
        """The seeds that help to choose configurations, in this study or an earlier one."""
        tuning = self.spec.tune_seeds if self.spec.tune.trials else ()
        return sorted({*tuning, *expand(self.spec.confirm.chosen_on)})

    def seeds(self, phase: str, repeat: int = 0) -> tuple[int, ...]:
        """Return the seeds of a phase, for one of the sweeps of each method.

        A recheck repeats the first seeds of the confirmation, so that both can be paired. It is for
        the first sweep only.
        """
        if phase == "recheck":
            rechecked = self.spec.tune.trials and not repeat
            return self.spec.confirm_seeds[:MOST_RECHECKED] if rechecked else ()
        seeds = self.spec.tune_seeds if phase == "tune" else self.spec.confirm_seeds
        return seeds_of_sweep(seeds, repeat)

    def configurations(self, method: Method, phase: str) -> int:
        """Return how many configurations of a sweep run on fresh seeds: the best, and the next
        ones in the confirmation of the first sweep.
        """
        several = phase == "confirm" and not method.repeat
        return max(min(self.spec.confirm.top, self.spec.tune.trials), 1) if several else 1

    def assignment(
        self,
        method: Method,
        configuration: Mapping[str, Any],
        phase: str,
        seeds: Sequence[int] | None = None,
    ) -> Assignment:
        """Return the assignment of a trial; ``seeds``: default, all seeds of the phase."""
        stream = self.streams[phase]
        return Assignment(
            learner=method.learner,
            configuration=dict(configuration),
            stream=stream.name,
            scenario=stream.scenario,
            options=stream.options.plain(),
            phase=data_phase(phase),
            seeds=tuple(self.seeds(phase, method.repeat) if seeds is None else seeds),
            tasks=stream.task_limit,
            evaluate_every=self.spec.confirm.evaluate_every if phase == "confirm" else 0,
        )


def seeds_of_sweep(seeds: Iterable[int], repeat: int) -> tuple[int, ...]:
    """Return the seeds of a sweep from those of the first one.

    The distance does not depend on the seeds: seeds that are added later move no others.

    >>> seeds_of_sweep([100, 101], repeat=1)
    (1000100, 1000101)
    """
    return tuple(seed + repeat * NEXT_SWEEP for seed in seeds)


def direction(objective: str) -> Direction:
    """Return whether an objective is maximised or minimised."""
    if objective in OBJECTIVES:
        return OBJECTIVES[objective]
    return "maximize" if PRIMARY[objective].higher_is_better else "minimize"
