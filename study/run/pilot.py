"""Choose how many seeds to train at once, by pilots that run beside the first trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from study.design import Design, Method
from study.folder import StackSize
from study.ledger import PILOT, Entry, entry_for
from study.run.context import RunContext
from study.run.source import Room, Source, TrialSettings, Urgency
from study.spec import Request
from trainables.engine.assignment import Assignment
from trainables.engine.pilot import Pilot
from trainables.options import Options

SIZES = (1, 2, 5, 10, 20, 30, 50, 100)


def pilot_work(design: Design, method: Method, phase: str = "confirm") -> Assignment:
    """Return the assignment of a pilot: the published defaults on a phase's stream, with
    validation data in place of test data.
    """
    seeds = design.spec.tune_seeds or design.spec.confirm_seeds
    work = design.assignment(method, method.configuration({}), phase, seeds)
    return dataclasses.replace(work, phase="tune", tasks=None, evaluate_every=0)


def stack_sizes(design: Design, method: Method) -> list[int]:
    """Return the stack sizes worth timing for a method of a study."""
    spec = design.spec
    fixed = spec.resources.seeds_per_stack
    if isinstance(fixed, int):
        return [fixed]
    seeds = max(len(spec.tune_seeds), len(spec.confirm_seeds))
    limit = min(seeds, method.kind.max_stack or seeds)
    return sorted({size for size in SIZES if size < limit} | {limit})


class PilotRun(Source):
    """The pilot of methods that train alike."""

    after_loss = "begins anew"

    def __init__(self, run: RunContext, methods: list[Method]) -> None:
        super().__init__(run, tasks=1)
        self.methods, self.has_begun = methods, False

    @property
    def urgency(self) -> tuple[int, int]:
        return Urgency.PILOT, 0

    @property
    def request(self) -> Request:
        return self.study.request(self.methods[0].name)

    @property
    def left(self) -> int:
        return int(not self.has_begun)

    def next(self, room: Room) -> Entry | None:
        self.has_begun = True
        return entry_for(pilot_work(self.study.design, self.methods[0]), PILOT, None)

    def settings(self, entry: Entry) -> TrialSettings:
        sizes = stack_sizes(self.study.design, self.methods[0])
        return {**self.run.settings("pilot"), "pilot": sizes}

    def label(self, entry: Entry) -> str:
        return f"pilot of {', '.join(method.name for method in self.methods)}"

    def is_replaceable(self, entry: Entry) -> bool:
        return True  # by one seed at a time

    def begin(self, entry: Entry) -> None:
        """Leave no record: an interrupted pilot begins anew."""

    def end(self, entry: Entry, result: Mapping[str, Any]) -> None:
        """Keep the stack size that the pilot found."""
        del self.running[entry.folder]
        failed = "failure" in result
        self._keep(Pilot({}, result["reason"]) if failed else Pilot.decoded(result["pilot"]))

    def give_up(self, entry: Entry, reason: str) -> None:
        """Train one seed at a time."""
        del self.running[entry.folder]
        self._keep(Pilot({}, reason))

    def _keep(self, pilot: Pilot) -> None:
        for method in self.methods:
            if not pilot.rates:
                self.run.stacks.without_pilot.add(method.name)
                self.run.console.say(f"methods.{method.name}: its pilot failed ({pilot.problem})")
            else:
                self.study.folder.keep_stack(method.name, stack_size(pilot))


def stack_size(pilot: Pilot) -> StackSize:
    """Return the stack size that a pilot found, as it is kept in the folder of a study."""
    return StackSize(
        size=pilot.fastest,
        device=pilot.device,
        seed_steps_per_second=pilot.rates,
        peak_bytes=pilot.peak_bytes.get(pilot.fastest),
    )


def pilots(run: RunContext) -> list[PilotRun]:
    """Return the pilots that a study needs: one for all methods that train alike."""
    if isinstance(run.study.spec.resources.seeds_per_stack, int):
        return []
    methods = run.study.design.of_sweep(0).values()
    unknown = [method for method in methods if not run.stacks.is_known(method.name)]
    return [PilotRun(run, alike) for alike in trained_alike(run.study.design, unknown)]


def _sizes(config: Options) -> dict[str, Any]:
    """Return the options that set the size of batches and of the memory."""
    options = config.plain()
    return {name: x for name, x in options.items() if name.startswith(("batch_size", "memory"))}


def trained_alike(design: Design, methods: Iterable[Method]) -> list[list[Method]]:
    """Group the methods with the same learner, shapes of weights, batch size, memory and
    resources.
    """
    groups: dict[Any, list[Method]] = {}
    for method in methods:
        kind, info = method.kind, design.stream.info
        try:
            config = kind.Config.parse(method.configuration({}))
            learner = kind(config, info, (0,), "cpu")
            shapes = [tuple(weight.shape) for weight in learner.network.parameters()]
            alike: Any = (method.learner, str(shapes), str(_sizes(config)))
        except Exception:  # of a plug-in; its pilot will show the problem
            alike = method.name
        groups.setdefault((alike, design.spec.request(method.name)), []).append(method)
    return list(groups.values())
