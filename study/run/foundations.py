"""The foundations of first tasks, for the trials that begin with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from study.ledger import PRETRAINING, Entry, Ledger
from trainables.engine.assignment import Assignment, foundation_key, seedless_key
from trainables.engine.foundation import joined


class Foundations:
    """References to the foundations of first tasks.

    Args:
        share: puts an object in Ray's object store; returns a reference.
    """

    def __init__(self, ledger: Ledger, share: Callable[[Any], Any]) -> None:
        self.ledger, self.share = ledger, share
        self._shared: dict[tuple[str, ...], Any] = {}  # by folders of the pre-trainings

    def of(self, entry: Entry) -> list[Any]:
        """Return a list of a reference to the foundation of a trial, empty if there is none."""
        work = Assignment(**entry.work)
        key = foundation_key(work)
        if key is None:
            return []
        found = [
            each
            for each in self.ledger.entries(work.phase, PRETRAINING)
            if each.foundation
            and {*each.seeds} & {*work.seeds}
            and seedless_key(each.work, each.versions) == key
        ]
        names = tuple(each.folder for each in found)
        if found and names not in self._shared:
            self._shared[names] = self.share(joined([self.ledger.foundation(e) for e in found]))
        return [self._shared[names]] if found else []
