"""What all trials of one run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from study.console import Console
from study.data import Data
from study.run.driver import Source, fit
from study.state import Study
from trainables.engine.foundation import Foundation


@dataclass(frozen=True)
class RunContext:
    """A study and what runs it.

    Attributes:
        slots: how many trials run at once.
        stacks: how many seeds each method trains at once.
    """

    study: Study
    console: Console
    slots: int
    stacks: Mapping[str, int]

    def settings(self, name: str, **more: Any) -> dict[str, Any]:
        """Return what a trial is told besides its work; ``name`` is of the folder that it shares
        with the other trials of its source.
        """
        spec = self.study.spec
        storage = str(self.study.folder.storage / name)
        known = {"objectives": spec.objectives, "gpus": spec.resources.gpus_per_trial}
        return {**known, "storage": storage, **more}

    def fit(
        self, source: Source, name: str, data: Data, first_tasks: Mapping[str, Foundation]
    ) -> None:
        """Run the trials of a source to their end."""
        resources = self.study.spec.resources
        fit(source, name, data, first_tasks, resources, self.study.folder.storage)
