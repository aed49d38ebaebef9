"""The context that all trials of one run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.console import Console
from study.data import Data
from study.run.driver import Source, TrialSettings, fit
from study.state import Study
from trainables.engine.foundation import Foundation


@dataclass(frozen=True)
class RunContext:
    """A study, its console, and the resources of its trials.

    Attributes:
        slots: number of trials that run at once.
        stacks: number of seeds that a trial trains at once, by method.
    """

    study: Study
    console: Console
    slots: int
    stacks: Mapping[str, int]

    def settings(self, name: str) -> TrialSettings:
        """Return the settings of the trials of a source; ``name``: folder that they share."""
        spec = self.study.spec
        return {
            "objectives": spec.objectives,
            "gpus": spec.resources.gpus_per_trial,
            "storage": str(self.study.folder.storage / name),
        }

    def fit(
        self, source: Source, name: str, data: Data, foundations: Mapping[str, Foundation]
    ) -> None:
        """Run the trials of a source to their end."""
        resources = self.study.spec.resources
        fit(source, name, data, foundations, resources, self.study.folder.storage)
