"""The context that all trials of one run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.console import Console
from study.design import method_of
from study.ledger import Entry
from study.run.foundations import Foundations
from study.run.schedule import Node
from study.run.source import StackSettings, TrialSettings
from study.state import Study

# Seeds in a stack until the pilot of a method has ended. On a GPU a step takes as long for 20 seeds
# as for one (NVIDIA H200, 784-400-400-10, batch 128: 535 seed-steps a second alone, 10,700 in 20).
DEFAULT_STACK = {"cpu": 5, "gpu": 20}


class Stacks:
    """The number of seeds that a trial trains at once: given, found by a pilot, or a default.

    Args:
        models: models of the cluster's devices.
    """

    def __init__(self, study: Study, models: set[str]) -> None:
        self.given, self.models = study.spec.resources.seeds_per_stack, models
        self.study, self.folder = study, study.folder
        self.without_pilot: set[str] = set()  # methods whose pilot failed

    def is_known(self, method: str) -> bool:
        """Whether a pilot has found the size on a device of the cluster."""
        kept = self.folder.facts.stacks.get(method)
        return kept is not None and kept.device in self.models

    def size(self, method: str) -> int:
        """Return the size that a trial of a method most likely has."""
        settings = self.settings(method)
        sizes = [size for model, size in settings["stacks"].items() if model in self.models]
        return sizes[0] if sizes else settings["stack"]

    def settings(self, method: str) -> StackSettings:
        """Return the sizes by model of the device, and the size on other devices."""
        name = method_of(method)
        if isinstance(self.given, int):
            return {"stack": self.given, "stacks": {}}
        if name in self.without_pilot:
            return {"stack": 1, "stacks": {}}
        kept = self.folder.facts.stacks.get(name)
        known = {kept.device: kept.size} if kept else {}
        device = "gpu" if self.study.request(name).gpus else "cpu"
        return {"stack": DEFAULT_STACK[device], "stacks": known}


@dataclass(frozen=True)
class RunContext:
    """A study, its console, and the cluster and data of its trials.

    Attributes:
        nodes: returns the machines of the cluster.
        stacks: the number of seeds that a trial trains at once.
        data: references to the data by phase, and for pilots.
        foundations: of the first tasks that trials have in common.
        unfinished: trials that an earlier run has begun.
    """

    study: Study
    console: Console
    nodes: Callable[[], Sequence[Node]]
    stacks: Stacks
    data: Mapping[str, Any]
    foundations: Foundations
    unfinished: Sequence[Entry] = ()

    @property
    def storage(self) -> Path:
        """The folder of the checkpoints."""
        return self.study.folder.storage / "trials"

    def settings(self, phase: str) -> TrialSettings:
        """Return the settings of the trials of a phase, before those of their methods."""
        return {
            "data": [self.data[phase]],
            "objectives": self.study.spec.objectives,
            "storage": str(self.storage),
        }
