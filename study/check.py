"""Resolve a study file: check every name, value and range before anything runs."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from analysis import numbers
from analysis.metrics import PRIMARY
from analysis.records import DECIDED, methods_of
from search_spaces import method_space, space_on
from search_spaces.space import Distribution, Space, ends_or_choices, one_of
from study.design import (
    NEXT_SWEEP,
    OBJECTIVES,
    PHASES,
    Design,
    Method,
    PhaseStream,
    seeds_of_sweep,
    with_repeats,
)
from study.search import SweepSearch
from study.spec import (
    MOST_OF_A_METRIC,
    SEED_LIMIT,
    MethodSection,
    Range,
    SeedRange,
    Spec,
    expand,
)
from trainables import LEARNERS, Learner, find_learner, find_stream
from trainables.engine.outcome import OBJECTIVES_IN_DIAGNOSTICS
from trainables.errors import InputError, unknown
from trainables.learner import Training
from trainables.networks import OPTIONS
from trainables.options import Options, checked
from trainables.streams import SCENARIOS, Stream, StreamInfo


def resolve(spec: Spec, source: str) -> Design:
    """Return a study file with every name in it resolved.

    Args:
        source: name of the study file, for errors.

    Raises:
        InputError: with the file, the key, the allowed values and the nearest valid name.
    """
    try:
        _check_study(spec)
        _check_tune(spec)
        _check_seeds(spec)
        _check_repeats(spec)
        _check_published(spec)
        streams = {phase: PhaseStream.of(spec, phase) for phase in PHASES}
        methods = {name: _method(spec, streams, name) for name in spec.methods}
        design = Design(spec, with_repeats(methods, spec.tune.repeats), streams)
        _check_stop(design)
        return design
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def try_sweeps(design: Design, source: str) -> None:
    """Refuse a sweep in which the learner refuses the configuration of every trial.

    Such a sweep is known in advance: a sampler does not adapt before a trial has a score.

    Raises:
        InputError: with the learner's reason for refusing the first trial.
    """
    trials, stream = design.spec.tune.trials, design.streams["tune"]
    for method in design.of_sweep(0).values():
        reasons = (_refusal(design, method, number) for number in range(trials))
        refusals = [*itertools.takewhile(bool, reasons)]
        if trials and len(refusals) == trials:
            raise InputError(
                f"{source}: methods.{method.name}: '{method.learner}' cannot learn '{stream.name}' "
                f"with any of the {trials} configurations of its sweep. The first: "
                f"{refusals[0]}."
            )


def _refusal(design: Design, method: Method, number: int) -> str:
    """Return why a learner refuses the configuration of a trial; empty if the learner accepts."""
    params = method.first_params if number == 0 else None
    trial = SweepSearch.of(design, method).ask(number, params)
    config = method.kind.Config.parse(method.configuration(trial.params))
    try:
        method.kind.admit(config, design.streams["tune"].info)
    except InputError as error:
        return str(error)
    return ""


def _check_study(spec: Spec) -> None:
    study = spec.study
    if study.scenario not in SCENARIOS:
        raise InputError(f"study.scenario: {unknown('scenario', study.scenario, SCENARIOS)}")
    _stream(study.stream, study.scenario, "study.stream", "study.scenario")
    if study.metric not in PRIMARY:
        raise InputError(f"study.metric: {unknown('metric', study.metric, PRIMARY)}")
    if study.reference not in spec.methods:
        raise InputError(f"study.reference: {unknown('method', study.reference, spec.methods)}")
    if find_learner(spec.learner_of(study.reference)).offline and not study.comparisons:
        raise InputError(
            f"study.reference: {study.reference} is an offline bound, from which methods have a "
            "distance and no test. Name a method, or the pairs to test in study.comparisons."
        )
    _check_comparisons(spec)
    options = PhaseStream.of(spec, "confirm").options
    if options.active_classes != "all" and study.scenario != "class":
        raise InputError(
            f"stream.active_classes: only for the scenario 'class'; in '{study.scenario}' the "
            "scenario decides which outputs compete. Remove the key."
        )


def _check_comparisons(spec: Spec) -> None:
    pairs = spec.study.comparisons
    for method, other in pairs:
        shown = json.dumps([method, other])
        sides = [methods_of(side) for side in (method, other)]
        for name in itertools.chain(*sides):
            if name not in spec.methods:
                text = unknown("method", name, spec.methods)
                raise InputError(f"study.comparisons: {shown}: {text}")
        if method == other:
            raise InputError(f"study.comparisons: {shown} compares a method with itself.")
        if {*map(len, sides)} not in ({1}, {2}):
            raise InputError(
                f"study.comparisons: {shown}: name two methods, such as "
                '["replay", "ewc"], or two differences of two methods, such as '
                '["replay - ewc", "der - si"].'
            )
        if any(len(set(side)) < len(side) for side in sides):
            raise InputError(f"study.comparisons: {shown} subtracts a method from itself.")
        if pairs.count([method, other]) + pairs.count([other, method]) > 1:
            raise InputError(f"study.comparisons: {shown} is listed twice.")


def _stream(name: str, scenario: str, key: str, scenario_key: str) -> type[Stream]:
    try:
        stream = find_stream(name)
    except InputError as error:
        raise InputError(f"{key}: {error}") from None
    if scenario not in stream.scenarios:
        raise InputError(
            f"{scenario_key}: stream '{name}' has no scenario '{scenario}'. "
            f"Allowed: {', '.join(stream.scenarios)}."
        )
    return stream


def _check_diagnostics(spec: Spec) -> None:
    """Raise for an objective that is a diagnostic which a method does not have."""
    for objective in set(spec.objectives) & {*OBJECTIVES_IN_DIAGNOSTICS}:
        for method in spec.methods:
            if objective not in find_learner(spec.learner_of(method)).diagnostics:
                having = [n for n in LEARNERS if objective in LEARNERS[n].diagnostics]
                raise InputError(
                    f"tune.objectives: '{objective}' is not measured by the learner "
                    f"'{spec.learner_of(method)}' of methods.{method}; learners that measure it: "
                    f"{', '.join(having)}."
                )


def _check_tune(spec: Spec) -> None:
    tune = spec.tune
    if tune.trials == 0 and tune.pruner != "none":
        raise InputError(
            "tune.pruner: nothing is tuned with tune.trials = 0. Set tune.pruner = 'none'."
        )
    for name in spec.objectives:
        if name not in PRIMARY and name not in OBJECTIVES:
            raise InputError(
                f"tune.objectives: {unknown('objective', name, [*PRIMARY, *OBJECTIVES])}"
            )
    if spec.objectives[0] != spec.study.metric:
        raise InputError(
            f"tune.objectives: the first must be the primary metric, '{spec.study.metric}', which "
            "chooses the configuration that is confirmed."
        )
    _check_diagnostics(spec)
    _check_required(spec)
    if len(spec.objectives) > 1 and tune.pruner == "asha":
        raise InputError("tune.pruner: asha needs a single objective. Set tune.pruner = 'none'.")
    if tune.racing and (reason := _why_no_race(spec)):
        raise InputError(f"tune.racing: {reason}. Set tune.racing = false.")
    undefined = [name for name in spec.objectives if name in PRIMARY and _needs_two_tasks(name)]
    if tune.protocol == "first_tasks" and tune.tasks == 1 and undefined:
        raise InputError(f"tune.tasks = 1: {undefined[0]} needs at least two tasks.")
    if (tune.protocol == "held_out_stream") != (tune.stream is not None):
        raise InputError(
            "tune.stream: for tune.protocol = 'held_out_stream' only, which needs this key."
        )
    if tune.stream is not None:
        held_out = _stream(tune.stream, spec.study.scenario, "tune.stream", "tune.stream")
        if held_out.name == "split_file":
            raise InputError(
                "tune.stream: 'split_file' cannot be held out, because the table [stream] is about "
                "the stream of the study. Put your data into study.stream, and hold out another."
            )
        if held_out.name == spec.study.stream:
            raise InputError(
                "tune.stream: a held-out stream must not be the stream of the study itself."
            )
    if tune.protocol == "first_tasks" and tune.tasks > PhaseStream.of(spec, "confirm").length:
        raise InputError(
            f"tune.tasks = {tune.tasks}: stream '{spec.study.stream}' has fewer tasks."
        )


def _why_no_race(spec: Spec) -> str:
    """Return why configurations cannot race over the tuning seeds; empty if they can."""
    tune = spec.tune
    if not tune.trials:
        return "nothing is tuned with tune.trials = 0"
    if len(spec.tune_seeds) < 2:
        return "a race needs at least two tuning seeds (tune.seeds)"
    if len(spec.objectives) > 1:
        return "a race needs a single objective (tune.objectives)"
    if tune.pruner != "none":
        return "configurations are stopped between seeds, or between tasks (tune.pruner), not both"
    return "a race is by score alone, whatever tune.require says" if tune.require else ""


def _check_repeats(spec: Spec) -> None:
    repeats, trials = spec.tune.repeats, spec.tune.trials
    if repeats > 1 and not trials:
        raise InputError(
            "tune.repeats: nothing is tuned with tune.trials = 0. Set tune.repeats = 1."
        )
    tuning, confirming = (
        {seed for repeat in range(repeats) for seed in seeds_of_sweep(seeds, repeat)}
        for seeds in (spec.tune_seeds, spec.confirm_seeds)
    )
    shift = f"each sweep of tune.repeats adds {NEXT_SWEEP} to all seeds of the one before"
    if common := sorted(tuning & confirming) if trials else ():
        raise InputError(
            f"confirm.seeds: {shift}. Then {_enumerated(common)} among the seeds that tune a sweep "
            "and among those that confirm one. Use seeds below "
            f"{NEXT_SWEEP} in tune.seeds and confirm.seeds."
        )
    if max(tuning | confirming) >= SEED_LIMIT:
        raise InputError(f"tune.repeats: {shift}, and all must be below {SEED_LIMIT}.")


def _check_required(spec: Spec) -> None:
    tune = spec.tune
    for name, limit in tune.require.items():
        if name not in PRIMARY:
            raise InputError(f"tune.require: {unknown('metric', name, PRIMARY)}")
        if abs(limit) > MOST_OF_A_METRIC:
            raise InputError(
                f"tune.require.{name} = {limit:g}: metrics are fractions here; write 0.8 for 80 %."
            )
        if tune.protocol == "first_tasks" and tune.tasks == 1 and _needs_two_tasks(name):
            raise InputError(f"tune.require.{name}: needs at least two tasks, tune.tasks is 1.")
    if tune.require and tune.pruner == "asha":
        raise InputError(
            "tune.pruner: asha stops trials by their score alone, before it is known whether they "
            "keep tune.require. Set tune.pruner = 'none'."
        )


def _needs_two_tasks(metric: str) -> bool:
    return bool(np.isnan(PRIMARY[metric](np.ones((1, 1, 1, 1, 1))))[0])


def _check_seeds(spec: Spec) -> None:
    tuning, confirming = spec.tune_seeds, spec.confirm_seeds
    for key, seeds in (("tune.seeds", tuning), ("confirm.seeds", confirming)):
        if len(set(seeds)) < len(seeds):
            raise InputError(f"{key}: a seed is listed twice.")
        if not seeds and (key == "confirm.seeds" or spec.tune.trials):
            raise InputError(f"{key}: give at least one seed.")
    choosing = {
        "tune.seeds": tuning if spec.tune.trials else (),
        "confirm.chosen_on": expand(spec.confirm.chosen_on),
    }
    for key, seeds in choosing.items():
        if common := sorted(set(seeds) & set(confirming)):
            raise InputError(
                f"confirm.seeds: {_enumerated(common)} also in {key}. A seed that helped to choose "
                "a configuration cannot test it: use other seeds in one of the two."
            )


def _check_stop(design: Design) -> None:
    """Refuse a rule for the end of the confirmation that its seeds, or the study, cannot follow."""
    spec, unit = design.spec, design.stream.unit
    seeds, is_open = spec.confirm.seeds, spec.confirm.stop == DECIDED
    if isinstance(spec.tune.seeds, SeedRange) and spec.tune.seeds.up_to:
        raise InputError("tune.seeds.up_to: for confirm.seeds only. Give count.")
    if is_open != bool(isinstance(seeds, SeedRange) and seeds.up_to):
        raise InputError(
            "confirm.stop = 'decided' and confirm.seeds = { first = 100, up_to = 30 } need each "
            "other: seeds are added in their order until every comparison is decided."
        )
    if not is_open:
        return
    if spec.study.failed != "error":
        raise InputError(
            f"study.failed = '{spec.study.failed}': a failed seed counts as the lowest score in "
            "the study, which later seeds may change; with confirm.stop = 'decided' nothing may "
            "change in hindsight. Set study.failed = 'error'."
        )
    if unit != "seed":
        raise InputError(
            f"confirm.stop = 'decided': '{design.stream.name}' pairs {numbers.plural(unit)}, "
            "whose means change with each further seed. Set confirm.stop = 'planned'."
        )
    fewest = design.rules().fewest_seeds
    if len(spec.confirm_seeds) < fewest:
        family = numbers.count(len(design.comparisons), "comparison")
        raise InputError(
            f"confirm.seeds.up_to = {len(spec.confirm_seeds)}: {family} need {fewest} seeds or "
            "more, even if all agree."
        )


def _check_published(spec: Spec) -> None:
    for method, figures in spec.published.items():
        where = f"published.{method}"
        if method not in spec.methods:
            raise InputError(f"{where}: {unknown('method', method, spec.methods)}")
        readouts = find_learner(spec.learner_of(method)).readouts
        for metric, readings in figures.items():
            if metric not in PRIMARY:
                raise InputError(f"{where}: {unknown('metric', metric, PRIMARY)}")
            named = [figure.readout or readouts[0] for figure in readings]
            for readout in named:
                if readout not in readouts:
                    text = unknown("readout", readout, readouts)
                    raise InputError(f"{where}.{metric}.readout: {text}")
                if named.count(readout) > 1:
                    raise InputError(f"{where}.{metric}: two figures for the readout '{readout}'.")


def _method(spec: Spec, streams: Mapping[str, PhaseStream], name: str) -> Method:
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
    info = streams["confirm"].info
    defaults = (
        learner.published(info)
        | _single_epoch(learner.Config, section.fixed, scenario, where)
        | section.fixed
    )
    config = learner.Config.parse(defaults, f"{where}.fixed")
    ranges = _ranges(section, learner.Config, scenario, where)
    if not {"network", *OPTIONS["conv"]} & set(ranges):
        try:
            learner.admit(config, info)
        except InputError as error:
            raise InputError(f"{where}.fixed: {error}.") from None
    _check_networks(ranges, learner, defaults, info, where)
    space = method_space(_space(streams["tune"].info, learner, where), ranges, section.fixed)
    return Method(name, learner.name, defaults, dict(section.fixed), space)


def _check_networks(
    ranges: Space,
    learner: type[Learner],
    defaults: Mapping[str, Any],
    info: StreamInfo,
    where: str,
) -> None:
    """Refuse a search for networks, or for an option of networks, one choice of which the learner
    refuses. Every choice of an option is tried with every choice of the network.
    """
    kinds = learner.Config.kinds()
    searched = [name for name in ("network", *OPTIONS["conv"]) if name in ranges]
    choices = {name: ends_or_choices(ranges[name], kinds[name]) for name in searched}
    networks = choices.pop("network", [defaults.get("network", "mlp")]) if searched else []
    cases = [{name: value} for name, values in choices.items() for value in values]
    for network, case in itertools.product(networks, cases or [{}]):
        try:
            learner.admit(learner.Config.parse({**defaults, "network": network, **case}), info)
        except InputError as error:
            shown = ", ".join(f"{k} = {v!r}" for k, v in {"network": network, **case}.items())
            raise InputError(f"{where}.space: with {shown}: {error}.") from None


def _single_epoch(
    config: type, fixed: Mapping[str, Any], scenario: str, where: str
) -> dict[str, Any]:
    """Return the option that limits training on a task-free stream to one epoch; else nothing."""
    if scenario != "task_free" or not issubclass(config, Training):
        return {}
    if fixed.get("epochs", 1) != 1:
        raise InputError(
            f"{where}.fixed.epochs: a task-free stream is learnt in one epoch. Remove the option "
            "or set it to 1."
        )
    return {"epochs": 1}


def _ranges(section: MethodSection, config: type[Options], scenario: str, where: str) -> Space:
    """Return the ranges that a study file gives for a method's options, as Optuna distributions."""
    ranges: Space = {}
    for name, range_ in section.space.items():
        if name not in config.fields():
            raise InputError(f"{where}.space: {unknown('option', name, config.fields())}")
        if name in section.fixed:
            raise InputError(
                f"{where}.space.{name}: the option is fixed too. Choose one of the two."
            )
        if name == "epochs" and scenario == "task_free":
            raise InputError(
                f"{where}.space.epochs: a task-free stream is learnt in one epoch. Remove the "
                "option."
            )
        try:
            odd = bool(config.fields()[name].metadata.get("odd"))
            ranges[name] = _distribution(range_, config.kinds()[name], odd)
            _check_limits(name, range_.choices or ends_or_choices(ranges[name], None), config)
        except InputError as error:
            raise InputError(f"{where}.space.{name}: {error}.") from None
    return ranges


def _distribution(range_: Range, kind: Any, odd: bool = False) -> Distribution:
    """Return the range of an option of type ``kind`` as Optuna's distribution.

    Args:
        odd: whether the option takes only odd numbers.

    Raises:
        InputError: if the range is incomplete, empty, or does not suit the type.
    """
    low, high, log = range_.low, range_.high, range_.log
    is_integer = kind in (int, int | None)
    if range_.choices is not None:
        if not range_.choices or (low, high) != (None, None):
            raise InputError("give either low and high, or choices = [...] with at least one value")
        return one_of(range_.choices)
    if not is_integer and kind not in (float, float | None):
        raise InputError("the option is not a number: give choices = [...]")
    if low is None or high is None:
        raise InputError("give low and high, or choices = [...]")
    if is_integer and not (low.is_integer() and high.is_integer()):
        raise InputError("the ends of a range of whole numbers must be whole numbers")
    if not low < high < math.inf or (log and low <= 0):
        order = "0 < low < high with log = true" if log else "low < high"
        raise InputError(f"low = {low}, high = {high}; needed: {order}")
    if odd and log:
        raise InputError("the option takes odd numbers, which have no range with log = true")
    if is_integer:
        step = 2 if odd else 1
        return IntDistribution(int(low), int(high - (high - low) % step), log=log, step=step)
    return FloatDistribution(low, high, log=log)


def _check_limits(name: str, values: Iterable[Any], config: type[Options]) -> None:
    """Refuse values outside the limits of their option."""
    kind, limits = config.kinds()[name], config.fields()[name].metadata
    for value in values:
        checked(name, value, kind, limits)


def _space(stream: StreamInfo, learner: type[Learner], where: str) -> Space:
    """Return a learner's search space on the stream of the sweep.

    Raises:
        InputError: if the space of a plug-in has an option or a value unknown to the learner.
    """
    space = space_on(learner.name, stream)
    kinds = learner.Config.kinds()
    try:
        for name, distribution in space.items():
            if name not in kinds:
                raise unknown("option", name, kinds)
            _check_limits(name, ends_or_choices(distribution, kinds[name]), learner.Config)
    except InputError as error:
        raise InputError(f"{where}: the search space of '{learner.name}': {error}") from None
    return space


def _enumerated(values: list[int]) -> str:
    shown = ", ".join(map(str, values[:5]))
    return f"{shown}{', …' if len(values) > 5 else ''} {'is' if len(values) == 1 else 'are'}"
