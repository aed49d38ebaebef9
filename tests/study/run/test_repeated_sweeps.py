"""A study of several sweeps and configurations from end to end: run, resumed, reported."""

from __future__ import annotations

import json

from runs import entries, run, sets, sums

SMALL = sets("tune.trials=2", "tune.repeats=2", "confirm.top=2", "confirm.seeds=[100, 101, 102]")


def test_several_sweeps_run_once_and_are_reported(tmp_path):
    first = run(tmp_path, *SMALL)
    assert first.returncode == 0, first.stderr
    confirmed = {
        name: sorted(
            seed for e in entries(tmp_path, "confirm") if e.method == name for seed in e.seeds
        )
        for name in ("replay", "replay@2")
    }
    assert confirmed == {
        "replay": [100, 100, 101, 101, 102, 102],
        "replay@2": [1000100, 1000101, 1000102],
    }
    before = sums(tmp_path)
    again = run(tmp_path, *SMALL)
    assert again.returncode == 0, again.stderr
    assert "all trials of finetune, replay are in the ledger" in again.stderr
    assert sums(tmp_path) == before
    report = tmp_path / "small" / "report"
    document = json.loads((report / "report.json").read_text())
    assert [(row["method"], row["sweeps"]) for row in document["tuning_luck"]] == [
        ("finetune", 2),
        ("replay", 2),
    ]
    assert all(len(row["verdicts"]) == 2 for row in document["repeated_comparisons"])
    assert {row["other"] for row in document["choices"]} == {None, "finetune", "replay"}
    text = (report / "report.md").read_text()
    for title in ("Other choices of the sweep", "How much is tuning luck"):
        assert title in text
