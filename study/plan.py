"""Resolving a study: every name, value and range checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.metrics import METRICS
from search_spaces import find_space
from study.search import Direction, SpaceTrial, new_study
from study.spec import Range, Spec
from trainables import find_learner, find_stream
from trainables.course import Assignment
from trainables.errors import InputError, unknown
from trainables.learner import Training
from trainables.streams import SCENARIOS, StreamInfo, StreamOptions
from trainables.streams.datasets import DATASETS

OBJECTIVES: dict[str, Direction] = {"memory_bytes": "minimize"}


@dataclass(frozen=True)
class Method:
    """One method of a study, resolved."""

    name: str
    learner: str
    defaults: dict[str, Any]  # published values, with what the study file fixes
    fixed: dict[str, Any]
    space: dict[str, Range]


def resolve(spec: Spec, source: str) -> dict[str, Method]:
    """Check everything a study file names and return its methods.

    Raises:
        InputError: with the file, the key, what is allowed and the nearest valid name.
    """
    try:
        _check_study(spec)
        _check_tune(spec)
        _check_seeds(spec)
        return {name: _method(spec, name) for name in spec.methods}
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def stream_info(spec: Spec, stream: str | None = None) -> StreamInfo:
    """Return what a learner of this study is told about its stream, without loading data."""
    kind = find_stream(stream or spec.study.stream)
    dataset = DATASETS[kind.dataset]
    free = spec.study.scenario == "task_free"
    outputs = dataset.classes // kind.tasks if spec.study.scenario == "domain" else dataset.classes
    return StreamInfo(
        kind.name,
        spec.study.scenario,
        dataset.features,
        outputs,
        dataset.scale,
        None if free else kind.tasks,
    )


def tune_stream(spec: Spec) -> str:
    """Name of the stream a sweep learns."""
    return (
        spec.tune.stream
        if spec.tune.protocol == "held_out_stream" and spec.tune.stream
        else spec.study.stream
    )


def direction(objective: str) -> Direction:
    """Return ``maximize`` or ``minimize``."""
    if objective in OBJECTIVES:
        return OBJECTIVES[objective]
    return "maximize" if METRICS[objective].higher_is_better else "minimize"


def assignment(
    spec: Spec, method: Method, configuration: Mapping[str, Any], phase: str, seeds: tuple[int, ...]
) -> Assignment:
    """Return what a trial of a method has to compute."""
    tuning = phase == "tune"
    first = spec.tune.tasks if tuning and spec.tune.protocol == "first_tasks" else None
    return Assignment(
        learner=method.learner,
        configuration=dict(configuration),
        stream=tune_stream(spec) if tuning else spec.study.stream,
        scenario=spec.study.scenario,
        options=dict(spec.stream),
        phase=phase,
        seeds=seeds,
        tasks=first,
        evaluate_every=0 if tuning else spec.confirm.evaluate_every,
    )


def configuration(method: Method, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole configuration of a trial from the values its search gave."""
    config = find_learner(method.learner).Config.parse(
        {**method.defaults, **params}, f"methods.{method.name}"
    )
    return config.plain()


def _check_study(spec: Spec) -> None:
    study = spec.study
    stream = find_stream(study.stream)
    if study.scenario not in SCENARIOS:
        raise InputError(f"study.scenario: {unknown('scenario', study.scenario, SCENARIOS)}")
    if study.scenario not in stream.scenarios:
        raise InputError(
            f"study.scenario: stream '{stream.name}' has no scenario '{study.scenario}'. "
            f"Allowed: {', '.join(stream.scenarios)}."
        )
    if study.metric not in METRICS:
        raise InputError(f"study.metric: {unknown('metric', study.metric, METRICS)}")
    if study.reference not in spec.methods:
        raise InputError(f"study.reference: {unknown('method', study.reference, spec.methods)}")
    StreamOptions.parse(spec.stream, "stream")


def _check_tune(spec: Spec) -> None:
    tune = spec.tune
    if tune.trials == 0 and tune.pruner != "none":
        raise InputError(
            "tune.pruner: there is nothing to prune with tune.trials = 0. Set tune.pruner = 'none'."
        )
    for name in spec.objectives:
        if name not in METRICS and name not in OBJECTIVES:
            raise InputError(
                f"tune.objectives: {unknown('objective', name, [*METRICS, *OBJECTIVES])}"
            )
    if spec.objectives[0] != spec.study.metric:
        raise InputError(
            f"tune.objectives: the first one must be the primary metric, '{spec.study.metric}': "
            "it chooses the configuration that is confirmed."
        )
    if len(spec.objectives) > 1 and tune.pruner == "asha":
        raise InputError(
            "tune.pruner: asha compares one objective and cannot serve several. Set it to 'none'."
        )
    if (tune.protocol == "held_out_stream") != (tune.stream is not None):
        raise InputError(
            "tune.stream: give it with tune.protocol = 'held_out_stream', and only then."
        )
    if tune.stream is not None:
        held_out = find_stream(tune.stream)
        if held_out.name == spec.study.stream:
            raise InputError(
                "tune.stream: a held-out stream must not be the stream of the study itself."
            )
    if tune.protocol == "first_tasks" and tune.tasks > find_stream(spec.study.stream).tasks:
        raise InputError(
            f"tune.tasks = {tune.tasks}: stream '{spec.study.stream}' has fewer tasks."
        )


def _check_seeds(spec: Spec) -> None:
    tuning, confirming = spec.tune_seeds, spec.confirm_seeds
    for key, seeds in (("tune.seeds", tuning), ("confirm.seeds", confirming)):
        if len(set(seeds)) < len(seeds):
            raise InputError(f"{key}: a seed is named twice.")
        if not seeds and (key == "confirm.seeds" or spec.tune.trials):
            raise InputError(f"{key}: name at least one seed.")
    both = sorted(set(tuning) & set(confirming))
    if both and spec.tune.trials:
        raise InputError(
            f"confirm.seeds: {_list(both)} also in tune.seeds. "
            "A seed that chose a configuration cannot judge it: use other seeds in one of the two."
        )


def _method(spec: Spec, name: str) -> Method:
    section, where = spec.methods[name], f"methods.{name}"
    try:
        learner = find_learner(spec.learner_of(name))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    scenario = spec.study.scenario
    if scenario not in learner.scenarios:
        raise InputError(
            f"{where}: '{learner.name}' does not support the scenario '{scenario}'. "
            f"It supports: {', '.join(learner.scenarios)}."
        )
    info = stream_info(spec)
    defaults = (
        learner.published(info)
        | _one_pass(learner.Config, section.fixed, scenario, where)
        | section.fixed
    )
    method = Method(name, learner.name, defaults, dict(section.fixed), dict(section.space))
    learner.Config.parse(defaults, f"{where}.fixed")
    for key in section.space:
        if key not in learner.Config.fields():
            raise InputError(f"{where}.space: {unknown('option', key, learner.Config.fields())}")
        if key in section.fixed:
            raise InputError(f"{where}.space.{key}: it is fixed too. Choose one of the two.")
    if spec.tune.trials:
        _try_space(method, info)
    return method


def _one_pass(config: type, fixed: Mapping[str, Any], scenario: str, where: str) -> dict[str, Any]:
    """A task-free stream is seen once."""
    if scenario != "task_free" or not issubclass(config, Training):
        return {}
    if fixed.get("epochs", 1) != 1:
        raise InputError(
            f"{where}.fixed.epochs: a task-free stream is seen once. Remove it or set it to 1."
        )
    return {"epochs": 1}


def _try_space(method: Method, info: StreamInfo) -> None:
    """Draw one configuration, so that what is wrong with a space shows before anything runs."""
    study = new_study()
    trial = SpaceTrial(
        study.ask(), method.fixed, method.space, method.learner, f"methods.{method.name}.space"
    )
    configuration(method, trial.sample(find_space(method.learner), info))


def _list(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:5]))
    return f"{shown}{', …' if len(values) > 5 else ''} {'is' if len(values) == 1 else 'are'}"
