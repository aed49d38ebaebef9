"""What is exported, as pandas and Optuna read it, against the ledger."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from factory import Run, add, admit, build_study, make_entry, make_outcome, make_spec
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from study.export import ACCURACIES, JOURNAL, export_study
from study.record import analyse_folder
from study.report import write_report
from study.state import Study
from trainables.engine.outcome import Outcome
from trainables.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "results_in_python.md"
TASKS = 5


def random_accuracies(seeds, rows=TASKS):
    rng = np.random.default_rng(seeds[0] + rows)
    return rng.integers(0, 1001, (len(seeds), rows, TASKS)) / 1000


def random_outcome(seeds, rows=TASKS, diverged=()):
    return make_outcome(seeds, random_accuracies(seeds, rows), rows, diverged)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study with trials and seeds that ended in every way."""
    place = tmp_path_factory.mktemp("export") / "small"
    _, spec, ledger = admit(place)
    outcomes = {
        "complete": random_outcome([0, 1]),
        "pruned": random_outcome([0, 1], rows=2),
        "diverged": random_outcome([0, 1], rows=3, diverged=[1]),
        "failed": None,
    }
    for number, (state, outcome) in enumerate(outcomes.items()):
        entry = make_entry(
            spec, "replay", "tune", number=number, params={"lr": 1e-3 / (1 + number)}
        )
        rows = outcome.seconds.size if outcome else 0
        values = [0.5 if state != "diverged" else math.nan]
        entry = replace(
            entry,
            state=state,
            values=values if outcome else [],
            steps={str(task): 0.1 * task for task in range(1, rows + 1)},
            reason="" if outcome else "no luck",
        )
        ledger.finish(entry, outcome.to_bytes() if outcome else b"")
    best = {"params": {"lr": 1e-3}}
    add(ledger, spec, "replay", seeds=[100, 101], outcome=random_outcome([100, 101]), **best)
    outcome = random_outcome([102, 103], diverged=[103])
    add(ledger, spec, "replay", seeds=[102, 103], outcome=outcome, state="diverged", **best)
    return place


@pytest.fixture(scope="module")
def exported(place):
    """The folder of the export."""
    out = place.parent / "out"
    export_study(place, out)
    return out


def frame_of(out):
    return pd.read_parquet(out / ACCURACIES)


def storage_of(out):
    return optuna.storages.JournalStorage(JournalFileBackend(str(out / JOURNAL)))


# -- the table


def test_every_accuracy_in_the_ledger_is_a_row(place, exported):
    rows = frame_of(exported).set_index(["entry", "seed", "readout", "after_task", "on_task"])
    assert rows.index.is_unique
    ledger, expected = Study.open(place).ledger, {}
    for entry in ledger.entries():
        if entry.state == "failed":
            continue
        outcome = ledger.outcome(entry)
        for (at, after, on), _ in np.ndenumerate(outcome.counts["main"][..., 0, 0]):
            counts = outcome.counts["main"][at, after, on]
            share = np.trace(counts) / counts.sum()
            seed, finite = outcome.seeds[at], outcome.finite[at, : after + 1].all()
            key = (entry.folder, seed, "main", after + 1, on + 1)
            expected[key] = share if finite else math.nan
    measured = rows[rows.state != "failed"].value
    found = measured.sort_index().to_dict()
    assert [*found] == sorted(expected)
    np.testing.assert_array_equal([*found.values()], [expected[key] for key in found])


def test_a_row_names_study_phase_method_and_trial(exported):
    rows = frame_of(exported)
    assert {*rows.study} == {"small"}
    assert {*rows.method} == {"replay"}
    assert rows.groupby("phase").trial.unique().map(list).to_dict() == {
        "tune": [0, 1, 2, 3],
        "confirm": [0],  # whose configuration is confirmed
    }
    assert rows.primary.all()
    assert rows.current.all()


def test_what_failed_diverged_or_was_stopped_can_be_told(exported):
    rows = frame_of(exported)
    states = rows.groupby(["phase", "trial", "seed"]).state.unique().map(list)
    assert states["tune"].to_dict() == {
        **{(0, seed): ["complete"] for seed in (0, 1)},
        **{(1, seed): ["pruned"] for seed in (0, 1)},
        **{(2, 0): ["pruned"], (2, 1): ["diverged"]},
        **{(3, seed): ["failed"] for seed in (0, 1)},
    }
    assert states["confirm"].to_dict() == {
        **{(0, seed): ["complete"] for seed in (100, 101, 102)},
        (0, 103): ["diverged"],
    }
    failed = rows[rows.state == "failed"]
    assert len(failed) == 2
    assert failed[["readout", "after_task", "on_task", "value"]].isna().all(axis=None)
    diverged = rows[rows.seed == 103]
    assert diverged[diverged.value.isna()].after_task.unique().tolist() == [TASKS]


def test_each_readout_has_rows_and_the_first_is_the_primary_one(tmp_path):
    _, spec, ledger = admit(tmp_path / "small", {"tune.trials": 0})
    outcome = make_outcome([100, 101], 0.75)
    slow = {"slow": outcome.counts["main"], "fast": make_outcome([100, 101], 0.5).counts["main"]}
    add(ledger, spec, "replay", seeds=[100, 101], outcome=replace(outcome, counts=slow))
    export_study(tmp_path / "small", tmp_path / "out")
    rows = frame_of(tmp_path / "out")
    found = rows.groupby(["readout", "primary"]).value.agg(["unique", "size"])
    assert found["unique"].map(list).to_dict() == {("slow", True): [0.75], ("fast", False): [0.5]}
    assert {*found["size"]} == {2 * TASKS * TASKS}
    assert rows.trial.isna().all()  # nothing was tuned


def test_a_task_that_was_not_evaluated_has_no_row(tmp_path):
    _, spec, ledger = admit(tmp_path / "small", {"tune.trials": 0})
    outcome = make_outcome([100], 0.75)
    for after in range(TASKS):
        outcome.counts["main"][:, after, after + 1 :] = 0
    add(ledger, spec, "replay", seeds=[100], outcome=outcome)
    export_study(tmp_path / "small", tmp_path / "out")
    rows = frame_of(tmp_path / "out")
    assert len(rows) == TASKS * (TASKS + 1) / 2
    assert (rows.on_task <= rows.after_task).all()


def test_a_trial_that_the_study_no_longer_asks_for_is_marked(tmp_path):
    place = tmp_path / "small"
    _, spec, ledger = admit(place, {"tune.trials": 1})
    add(ledger, spec, "replay", "tune", number=0, values=[0.5])
    add(ledger, spec, "replay", params={"lr": 5e-3})  # not the configuration of trial 0
    add(ledger, spec, "finetune", "tune", number=0, values=[0.5])
    admit(place, {"tune.trials": 1, "methods": {"replay": {}, "ewc": {}}})
    export_study(place, tmp_path / "out")
    rows = frame_of(tmp_path / "out")
    found = rows.groupby(["method", "phase"]).current.unique().map(list).to_dict()
    assert found == {
        ("finetune", "tune"): [False],
        ("replay", "confirm"): [False],
        ("replay", "tune"): [True],
    }
    assert rows[rows.phase == "confirm"].trial.isna().all()


def test_a_stopped_race_has_the_seeds_that_ran(tmp_path):
    _, spec, ledger = admit(tmp_path / "small")
    entry = replace(make_entry(spec, "replay", "tune", number=0), state="pruned", values=[0.5])
    ledger.finish(entry, random_outcome([0]).to_bytes())
    export_study(tmp_path / "small", tmp_path / "out")
    rows = frame_of(tmp_path / "out")
    assert entry.seeds == (0, 1)
    assert rows.seed.unique().tolist() == [0]


# -- the journal


def test_optuna_reads_the_trials_of_each_sweep(place, exported):
    study, storage = Study.open(place), storage_of(exported)
    names = optuna.study.get_all_study_names(storage)
    assert names == ["small/finetune", "small/replay"]
    assert optuna.load_study(study_name="small/finetune", storage=storage).trials == []
    found = optuna.load_study(study_name="small/replay", storage=storage)
    assert found.metric_names == ["average_accuracy"]
    assert found.direction == optuna.study.StudyDirection.MAXIMIZE
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL]
    assert [trial.state for trial in found.trials] == states
    entries = study.ledger.entries("tune", "replay")
    for trial, entry in zip(found.trials, entries, strict=True):
        assert trial.number == trial.user_attrs["trial"] == entry.number
        assert trial.params == entry.params
        assert {
            name: json.loads(optuna.distributions.distribution_to_json(kind))
            for name, kind in trial.distributions.items()
        } == {name: json.loads(text) for name, text in entry.distributions.items()}
        assert {str(k): v for k, v in trial.intermediate_values.items()} == entry.steps
        assert trial.user_attrs["state"] == entry.state
        assert trial.user_attrs["reason"] == entry.reason
        assert trial.datetime_complete.timestamp() == pytest.approx(entry.ended, abs=1e-3)
    assert found.best_trial.values == entries[0].values
    assert found.best_params == study.sweep("replay").best.params


def test_sweeps_with_several_objectives_keep_both(tmp_path):
    place = tmp_path / "small"
    objectives = ["average_accuracy", "memory_bytes"]
    _, spec, ledger = admit(place, {"tune.objectives": objectives})
    points = [[0.9, 500.0], [0.8, 20.0], [0.7, 600.0]]
    for number, values in enumerate(points):
        params = {"lr": 1e-3 / (1 + number)}
        add(ledger, spec, "replay", "tune", number=number, values=values, params=params)
    export_study(place, tmp_path / "out")
    found = optuna.load_study(study_name="small/replay", storage=storage_of(tmp_path / "out"))
    assert found.metric_names == objectives
    assert [trial.values for trial in found.trials] == points
    assert sorted(trial.number for trial in found.best_trials) == [0, 1]


def test_every_repeated_sweep_is_a_study_of_optuna(tmp_path):
    spec = make_spec({"tune.repeats": 2, "tune.trials": 2})
    build_study(tmp_path / "small", spec)
    export_study(tmp_path / "small", tmp_path / "out")
    storage = storage_of(tmp_path / "out")
    sizes = {s.study_name: len(s.trials) for s in map(storage_study(storage), names_of(storage))}
    names = ("finetune", "replay", "finetune@2", "replay@2")
    assert sizes == {f"small/{name}": 2 for name in names}
    assert {*frame_of(tmp_path / "out").method} == {*names}


def names_of(storage):
    return optuna.study.get_all_study_names(storage)


def storage_study(storage):
    return lambda name: optuna.load_study(study_name=name, storage=storage)


# -- the folder


def test_an_export_written_again_replaces_the_old_one(place, tmp_path):
    first = export_study(place, tmp_path)
    before = frame_of(tmp_path)
    assert export_study(place, tmp_path) == first
    pd.testing.assert_frame_equal(frame_of(tmp_path), before)
    assert {path.name for path in tmp_path.iterdir()} == {ACCURACIES, JOURNAL}
    assert len(names_of(storage_of(tmp_path))) == 2


def test_files_of_others_are_left_alone(place, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds files that are not an export, such as thesis.tex"):
        export_study(place, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match=r"thesis.tex is a file where a folder should be"):
        export_study(place, tmp_path / "thesis.tex")


def test_an_empty_study_has_an_empty_table(tmp_path):
    admit(tmp_path / "small")
    export_study(tmp_path / "small", tmp_path / "out")
    rows = frame_of(tmp_path / "out")
    assert len(rows) == 0
    assert {"method", "seed", "value"} <= {*rows.columns}


def test_fields_read_alone_are_those_of_the_whole_outcome():
    outcome = random_outcome([3, 4])
    found = Outcome.fields_from(outcome.to_bytes(), "finite", "counts")
    assert [*found] == ["finite", "counts"]
    assert np.array_equal(found["finite"], outcome.finite)
    assert np.array_equal(found["counts"]["main"], outcome.counts["main"])


# -- the documentation


def test_the_lines_of_the_documentation_run(tmp_path, monkeypatch, undrawn):
    def learn(work):
        return Run(random_accuracies(work["seeds"]))

    place = tmp_path / "studies" / "digits"
    build_study(place, make_spec({"study.name": "digits"}), learn)
    export_study(place, place / "export")
    analysis = analyse_folder(place)
    write_report(analysis, place / "report")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in blocks[0].splitlines() if line]) == 5
    names: dict[str, object] = {}
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(block, names)
        assert out.getvalue()
    final = names["final"].groupby(["method", "seed"]).value.mean()
    for row in analysis.methods:
        assert final[row.method].to_dict() == pytest.approx(row.scores)
    assert len(names["sweep"].trials) == 4
    assert {row["method"] for row in names["report"]["tables"]["comparisons"]} == {"finetune"}
