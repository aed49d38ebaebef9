"""What several of these tests need."""

from __future__ import annotations

import pytest

from trainables import STREAMS
from trainables.streams import SplitStream


class Halves(SplitStream):
    """The digits in two tasks: another stream that needs no download."""

    name, dataset, reference, tasks = "halves", "digits", "made up", 2


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> type[SplitStream]:
    """A second stream, to tune on."""
    monkeypatch.setitem(STREAMS, "halves", Halves)
    return Halves


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out of reports that are written here: most of a report's seconds."""
    monkeypatch.setattr("analysis.figures.pictures", lambda analysis: ())
