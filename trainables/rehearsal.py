"""What learners that keep samples of the past have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor

from trainables.learner import Learner
from trainables.memory import Memory, Remembering
from trainables.streams import StreamInfo


class Held(Protocol):
    """A memory as far as a learner has to know it to count and save it."""

    def footprint(self) -> int: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: Mapping[str, Any]) -> None: ...


class Keeping(Learner):
    """A learner with a ``memory``, which it counts and saves."""

    memory: Held

    def footprint(self) -> dict[str, int]:
        return super().footprint() | {"memory": self.memory.footprint()}

    def state(self) -> dict[str, Any]:
        return super().state() | {"memory": self.memory.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.memory.load(state["memory"])


class Rehearsal(Keeping):
    """A dense learner with a memory of samples; reports what it holds of each class."""

    diagnostics: ClassVar = {"memory_classes": ("Samples held of each class", "samples")}
    memory: Memory

    class Config(Remembering):
        """Options of a learner with a memory."""

    @classmethod
    def bytes_besides_samples(cls, config: Any, stream: StreamInfo) -> int:
        """Bytes of past data that are kept besides samples: they come off a budget of bytes."""
        return 0

    def diagnose(self) -> dict[str, dict[str, Tensor]]:
        counts = self.memory.class_counts(self.stream.outputs)
        return {"memory_classes": {f"class {c}": n for c, n in enumerate(counts.unbind(1))}}
