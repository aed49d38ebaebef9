"""What learners that keep samples of the past have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from trainables.learner import Learner
from trainables.memory import Memory, Remembering


class Rehearsal(Learner):
    """A learner with a ``memory``: reports what it holds, counts it, saves it."""

    diagnostics: ClassVar = {"memory_classes": ("Samples held of each class", "samples")}
    memory: Memory

    class Config(Remembering):
        """Options of a learner with a memory."""

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        counts = self.memory.class_counts(self.stream.outputs)
        return {"memory_classes": {f"class {c}": n for c, n in enumerate(counts.unbind(1))}}

    def footprint(self) -> dict[str, int]:
        return super().footprint() | {"memory": self.memory.footprint()}

    def state(self) -> dict[str, Any]:
        return super().state() | {"memory": self.memory.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.memory.load(state["memory"])
