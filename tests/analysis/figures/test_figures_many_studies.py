"""Figures of several streams."""

from __future__ import annotations

import numpy as np
import pytest
from figures_factory import line, lines

from analysis.figures import across_pictures
from analysis.many_studies.compare import StreamScores, compare_streams

pytestmark = pytest.mark.filterwarnings("error")


def across(streams=5, methods=4, seeds=6):
    rng = np.random.default_rng(0)
    scores = [
        {f"m{i}": dict(enumerate((0.4 + 0.1 * i + rng.normal(0, 0.05, seeds)).tolist()))
         for i in range(methods)}
        for _ in range(streams)
    ]  # fmt: skip
    return compare_streams(
        [StreamScores(f"s{b}", 0.1, 0.01, True, "m0", of) for b, of in enumerate(scores)],
        resamples=200,
    )


def test_figures_of_several_streams():
    found = across()
    iqm, wins, ranks = across_pictures(found)
    (axes,) = iqm.draw().axes
    for standing in found.standings:
        assert line(axes, standing.method).get_xdata().tolist() == [standing.iqm.value]
        ends = [list(x.get_xdata()) for x in axes.get_lines()]
        assert [standing.iqm.low, standing.iqm.high] in ends
    (axes,) = wins.draw().axes
    shown = [line(axes, c.method).get_xdata()[0] for c in found.contrasts]
    assert shown == [c.p_win.value for c in found.contrasts]
    (axes,) = ranks.draw().axes
    assert {
        x.get_label(): x.get_xdata()[0] for x in axes.get_lines() if len(x.get_xdata()) == 3
    } == (dict(zip(found.ranking.methods, found.ranking.ranks, strict=True)))
    bars = [list(bar.get_xdata()) for bar in lines(axes, "group")]
    ranks_of = dict(zip(found.ranking.methods, found.ranking.ranks, strict=True))
    assert bars == [[ranks_of[g[0]], ranks_of[g[-1]]] for g in found.ranking.groups]
    assert "6 seeds" in iqm.caption


def test_few_streams_and_seeds():
    found = across(streams=2, methods=2, seeds=2)
    shown = across_pictures(found)
    assert [p.name for p in shown] == ["iqm", "p-win"]
    assert all("no interval" in p.caption for p in shown)
    assert all(x.get_markerfacecolor() == "none" for x in lines(shown[0].draw().axes[0], "m1"))
    assert across_pictures(across(streams=1)) == ()
