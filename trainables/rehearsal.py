"""Base class of learners with a replay memory."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from typing_extensions import TypeVar

from trainables.learner import Learner
from trainables.memory import Memory, Remembering

MemoryConfigT = TypeVar("MemoryConfigT", bound=Remembering, default=Any)


class Rehearsal(Learner[MemoryConfigT]):
    """A dense learner with a memory of samples. Its diagnostic is the number of samples held per
    class.
    """

    diagnostics: ClassVar = {"memory_classes": ("Samples held per class", "samples")}
    memory: Memory

    class Config(Remembering):
        """Options of a learner with a memory."""

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        counts = self.memory.class_counts(self.stream.outputs)
        return {"memory_classes": {f"class {c}": n for c, n in enumerate(counts.unbind(1))}}
