"""The MLflow mirror: the tree of runs, the numbers of the ledger, and nothing written twice."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import forked
import numpy as np
import pytest
from factory import Run, Tune, add, admit, build_study, make_outcome, make_spec, make_sweep

from analysis.metrics import PRIMARY, ReadoutMetric
from analysis.one_study.analyse import analyse
from study.console import shell
from study.folder import Folder
from study.ledger import Ledger
from study.mlflow import store
from study.mlflow.mirror import Mirror
from study.mlflow.names import metric_name, scored
from study.mlflow.pages import ui_command
from study.mlflow.store import (
    check_uri,
    chosen_uri,
    damage,
    default_uri,
    printable_uri,
)
from study.mlflow.summaries import origin_of_trial
from study.mlflow.writer import RunningTrial, Writer, rebuild
from study.record import study_record
from study.report import write_report
from study.state import Study
from trainables.errors import InputError

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.usefixtures("undrawn")

NOWHERE = "http://127.0.0.1:9"
ODD = "a%20b?c#d e'f\"g\u00e9"
CHANGES = {"tune.trials": 4, "tune.pruner": "asha", "study.name": "tracked"}


def learn(work):
    """Trials of every state; seeds with scores of their own."""
    if work["phase"] == "confirm":
        accuracy = [np.full((5, 5), 0.5 + 0.001 * (seed - 100)) for seed in work["seeds"]]
        return Run(np.stack(accuracy), diverged=(103,) if 103 in work["seeds"] else ())
    if work["learner"] == "finetune":
        return Run(0.4)
    if work["seeds"][0] >= 100:  # the recheck
        return Run(0.65)
    kind = learn.calls = learn.calls + 1
    return [Run(0.7), Run(0.6, rows=2), Run(diverged=(1,)), Run(failure="Traceback\nboom")][kind]


def client(uri):
    return mlflow.MlflowClient(tracking_uri=uri)


def runs_of(uri, name="tracked"):
    """All runs of an experiment."""
    api = client(uri)
    experiment = api.get_experiment_by_name(name)
    return list(api.search_runs([experiment.experiment_id], max_results=1000))


def by_key(uri):
    return {run.data.tags["study.key"]: run for run in runs_of(uri)}


def everything(uri, times=list):
    """All that a database holds, run ids and times of writing left out.

    ``times`` is a set where it does not matter how often a number was written.
    """
    api, runs = client(uri), runs_of(uri)
    names = {run.info.run_id: run.data.tags["study.key"] for run in runs}
    found = {}
    for run in runs:
        tags = {k: v for k, v in run.data.tags.items() if k in ("role", "study.state", "verdict")}
        history = {
            metric: times(
                (m.step, str(m.value)) for m in api.get_metric_history(run.info.run_id, metric)
            )
            for metric in run.data.metrics
        }
        parent = names.get(run.data.tags.get("mlflow.parentRunId", ""))
        found[run.data.tags["study.key"]] = (
            parent,
            run.info.status,
            run.info.run_name,
            tags,
            dict(run.data.params),
            history,
        )
    assert len(found) == len(runs)
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study and its mirror, written once."""
    place = tmp_path_factory.mktemp("tracking") / "tracked"
    spec = make_spec(CHANGES)
    learn.calls = -1
    ledger = build_study(place, spec, learn)
    shown = Study.open(place)
    analysis = analyse(study_record(shown))
    write_report(analysis, place / "report")
    Writer(shown, default_uri(place)).write(analysis)
    return SimpleNamespace(
        place=place, spec=spec, ledger=ledger, analysis=analysis, uri=default_uri(place)
    )


@pytest.fixture(autouse=True)
def forgetful():
    """Copies of a study share run ids, and MLflow keeps in a process where a run's files went."""
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    _artifact_repos_cache.clear()


@pytest.fixture
def shared(study, tmp_path):
    """A database elsewhere that has the study."""
    (tmp_path / "server").mkdir()
    shutil.copy(study.place / "mlflow.db", tmp_path / "server")
    return f"sqlite:///{tmp_path}/server/mlflow.db"


@contextlib.contextmanager
def port():
    """A port of this machine that somebody else listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def command(*arguments, code=0, **variables):
    """Run a command in a process of its own; return what it printed, where."""
    words = [*map(str, arguments)]
    done = forked.study(words, Path.cwd(), os.environ | variables)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def reports(uri, name="tracked"):
    """The artifacts of the study's run: where they are, and their names."""
    [run] = [r for r in runs_of(uri, name) if r.data.tags["study.key"] == "study"]
    files = client(uri).list_artifacts(run.info.run_id, "report")
    return run.info.artifact_uri, {Path(f.path).name for f in files}


def test_the_database_is_in_the_studys_folder(study):
    assert (study.place / "mlflow.db").exists()
    assert study.uri == f"sqlite:///{study.place}/mlflow.db"


def test_runs_form_the_tree_study_method_trial_seed(study):
    runs = by_key(study.uri)
    parents = {key: run.data.tags.get("mlflow.parentRunId") for key, run in runs.items()}
    ids = {key: run.info.run_id for key, run in runs.items()}
    assert parents["study"] is None
    for name in ("finetune", "replay"):
        assert parents[f"method/{name}"] == ids["study"]
    for entry in study.ledger.entries():
        assert parents[entry.folder] == ids[f"method/{entry.method}"]
        if entry.phase == "confirm":
            for seed in entry.seeds:
                assert parents[f"{entry.folder}/seed{seed}"] == ids[entry.folder]
    roles = [run.data.tags["role"] for run in runs.values()]
    counts = {role: roles.count(role) for role in set(roles)}
    # finetune and replay: 4 trials each, 4 seeds each in one trial, and the same once more
    trials = {"tune-trial": 8, "confirm-trial": 2, "recheck-trial": 2}
    assert counts == {"study": 1, "method": 2, **trials, "seed": 8}


def test_seeds_have_runs_in_the_confirmation_only(study):
    phases = {key.split("/")[0] for key in by_key(study.uri) if "/seed" in key.rpartition("-")[2]}
    assert phases == {"confirm"}


def test_states_and_statuses_are_those_of_the_ledger(study):
    runs = by_key(study.uri)
    seen = set()
    for entry in study.ledger.entries():
        run = runs[entry.folder]
        status = {"complete": "FINISHED", "pruned": "KILLED"}.get(entry.state, "FAILED")
        assert (run.data.tags["study.state"], run.info.status) == (entry.state, status)
        assert run.data.tags["phase"] == entry.phase
        assert run.info.end_time == int(entry.ended * 1000)
        assert run.info.start_time == int((entry.ended - entry.seconds) * 1000)
        seen.add(entry.state)
    assert seen == {"complete", "pruned", "diverged", "failed"}
    assert {runs[key].info.status for key in ("study", "method/replay")} == {"FINISHED"}


def test_numbers_are_those_of_the_ledger(study):
    runs = by_key(study.uri)
    for entry in study.ledger.entries():
        data = runs[entry.folder].data
        assert data.metrics["seconds"] == entry.seconds
        assert data.metrics["samples"] == entry.samples
        if entry.state == "failed":
            continue
        outcome = study.ledger.outcome(entry)
        assert data.metrics["bytes.memory"] == outcome.footprint["memory"][0, -1]
        counts = outcome.counts["main"][:, :, : outcome.rows]
        measured_on = "test" if entry.phase == "confirm" else "val"
        assert not any(
            name.startswith({"test": "val/", "val": "test/"}[measured_on]) for name in data.metrics
        )
        for name, metric in PRIMARY.items():
            of_seeds = metric(counts) if outcome.finite.all() else np.full(2, np.nan)
            expected = {name: of_seeds.mean(), f"{name}_sd": of_seeds.std(ddof=1)}
            for each, value in expected.items():
                assert data.metrics[f"{measured_on}/{each}"] == pytest.approx(value, nan_ok=True)
        assert data.params["lr"] == str(entry.work["configuration"]["lr"])
        assert data.params["seeds"] == ", ".join(map(str, entry.seeds))


def test_each_seed_has_its_own_numbers_and_a_diverged_one_has_none(study):
    runs = by_key(study.uri)
    for entry in study.ledger.entries("confirm"):
        for seed in entry.seeds:
            run = runs[f"{entry.folder}/seed{seed}"]
            value = run.data.metrics["test/average_accuracy"]
            expected = np.nan if seed == 103 else 0.5 + 0.001 * (seed - 100)
            assert value == pytest.approx(expected, nan_ok=True)
            assert run.data.params["seed"] == str(seed)


def test_a_seed_that_did_not_diverge_is_not_marked_as_failed(study):
    runs = by_key(study.uri)
    for entry in study.ledger.entries("confirm"):
        for seed in entry.seeds:
            run = runs[f"{entry.folder}/seed{seed}"]
            assert run.info.status == ("FAILED" if seed == 103 else "FINISHED")


def test_curves_have_a_point_a_task(study):
    runs = by_key(study.uri)
    for entry in study.ledger.entries():
        if entry.state in ("failed", "diverged"):
            continue
        measured_on = "test" if entry.phase == "confirm" else "val"
        rows = study.ledger.outcome(entry).rows
        points = history(study.uri, runs[entry.folder], f"{measured_on}/average_accuracy")
        assert [step for step, _ in points] == list(range(1, rows + 1))


def history(uri, run, metric):
    """The points of a metric: steps and values."""
    points = client(uri).get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def test_each_task_has_its_accuracy_from_its_learning_on(tmp_path):
    matrix = np.linspace(0.5, 0.98, 25).reshape(5, 5)
    place = tmp_path / "small"
    ledger = build_study(place, make_spec({"tune.trials": 0}), lambda work: Run(matrix))
    Writer(Study.open(place), default_uri(place)).write(None)
    runs = {run.data.tags["study.key"]: run for run in runs_of(default_uri(place), "small")}
    [entry] = ledger.entries("confirm", "replay")
    for run in (runs[entry.folder], runs[f"{entry.folder}/seed{entry.seeds[0]}"]):
        for task in range(1, 6):
            points = history(default_uri(place), run, f"test/accuracy_task_{task}")
            assert [step for step, _ in points] == list(range(task, 6))
            values = [value for _, value in points]
            assert values == pytest.approx(matrix[task - 1 :, task - 1], abs=0.01)
    means = [matrix[i, : i + 1].mean() for i in range(5)]
    points = history(default_uri(place), run, "test/average_accuracy")
    assert [value for _, value in points] == pytest.approx(means, abs=0.01)


def test_parents_carry_sortable_summaries_and_verdicts(study):
    runs = by_key(study.uri)
    for row, tuning in zip(study.analysis.methods, study.analysis.tuning, strict=True):
        data = runs[f"method/{row.method}"].data
        assert data.metrics["confirm_seeds"] == row.n
        assert ("test/average_accuracy" in data.metrics) == (row.mean is not None)
        assert data.metrics["val/average_accuracy"] == pytest.approx(tuning.best_value)
        assert data.metrics["tune_trials"] == 4
        assert data.metrics["selection"] == pytest.approx(tuning.selection)
    assert runs["method/replay"].data.metrics["selection"] == pytest.approx(0.7 - 0.65)
    assert "shift" not in runs["method/replay"].data.metrics  # a seed of the confirmation diverged
    assert runs["method/replay"].data.metrics["tune_failed"] == 2
    assert runs["method/replay"].data.metrics["tune_pruned"] == 1
    [comparison] = study.analysis.comparisons
    assert runs["method/finetune"].data.tags["verdict"] == f"{comparison.verdict} (against replay)"
    assert "verdict" not in runs["method/replay"].data.tags


def test_a_method_shows_its_difference_and_the_configuration_that_was_confirmed(study):
    runs = by_key(study.uri)
    [comparison] = study.analysis.comparisons
    data = runs["method/finetune"].data
    shown = {
        name: data.metrics.get(f"test/difference/replay{name}") for name in ("", "_low", "_high")
    }
    ends = {"_low": comparison.ci_low, "_high": comparison.ci_high}
    assert shown == {"": comparison.difference, **ends}
    for name in ("finetune", "replay"):
        [confirmed, *_] = study.ledger.entries("confirm", name)
        configuration = {k: str(v) for k, v in confirmed.work["configuration"].items()}
        assert runs[f"method/{name}"].data.params == configuration


def test_the_studys_run_says_what_was_asked_and_answered(study):
    run = by_key(study.uri)["study"]
    asked = {"stream": "split_digits", "scenario": "class", "metric": "average_accuracy"}
    assert run.data.params == asked
    tags = run.data.tags
    assert float(tags["margin"]) == study.spec.study.margin
    assert "2.9" in tags["version.torch"].split(", ")
    note = tags["mlflow.note.content"]
    assert "### Comparisons with replay" in note
    [comparison] = study.analysis.comparisons
    assert f"| {comparison.verdict} |" in note.splitlines()[-1]


def test_a_comparison_of_two_differences_is_told_with_the_study_and_no_method(tmp_path):
    place = tmp_path / "small"
    pair = ["replay - finetune", "der - finetune"]
    methods = {"finetune": {}, "replay": {}, "der": {}}
    changes = {"methods": methods, "study.comparisons": [pair], "tune.trials": 0}
    build_study(place, make_spec(changes))
    rebuild(place, default_uri(place))
    runs = {run.data.tags["study.key"]: run for run in runs_of(default_uri(place), "small")}
    assert "| replay - finetune |" in runs["study"].data.tags["mlflow.note.content"]
    for name in methods:
        data = runs[f"method/{name}"].data
        assert "verdict" not in data.tags
        assert not any("difference" in metric for metric in data.metrics)


def test_runs_say_who_ran_which_command(study):
    facts = Folder.open(study.place)[0].facts
    for run in runs_of(study.uri):
        assert run.data.tags["mlflow.user"] == study.place.owner()
        assert run.data.tags["mlflow.source.name"] == facts.command


@pytest.mark.parametrize(
    ("git", "expected"),
    [
        ("0123456789ab", {"commit": "0123456789ab"}),
        ("0123456789ab with uncommitted changes", {"commit": "0123456789ab", "dirty": "true"}),
        ("unknown: git is not installed", {}),
        ("", {}),
    ],
)
def test_a_run_has_the_commit_of_its_trial_if_it_is_known(study, git, expected):
    opened = Study.open(study.place)
    entry = dataclasses.replace(opened.ledger.entries()[0], software={"git": git})
    found = origin_of_trial(opened, entry)
    start = "mlflow.source.git."
    assert {n.removeprefix(start): t for n, t in found.items() if n.startswith(start)} == expected


def test_names_of_runs_say_method_trial_and_seed(study):
    names = {run.info.run_name for run in runs_of(study.uri)}
    trials = {f"{m} · trial {n}" for m in ("finetune", "replay") for n in range(4)}
    seeds = {f"{m} · seed {n}" for m in ("finetune", "replay") for n in range(100, 104)}
    stacks = {
        f"{m}{kind} · seeds 100-103" for m in ("finetune", "replay") for kind in ("", " · recheck")
    }
    assert names == {"tracked", "finetune", "replay"} | trials | seeds | stacks


def test_the_chosen_trial_of_each_sweep_is_marked(study):
    chosen = {key for key, run in by_key(study.uri).items() if "chosen" in run.data.tags}
    for name in ("finetune", "replay"):
        [confirmed, *_] = study.ledger.entries("confirm", name)
        [key] = [key for key in chosen if key.startswith(f"tune/{name}/")]
        [entry] = [entry for entry in study.ledger.entries("tune", name) if entry.folder == key]
        assert entry.work["configuration"] == confirmed.work["configuration"]
    assert len(chosen) == 2


def test_the_report_is_an_artifact_of_the_studys_run(study):
    run = by_key(study.uri)["study"]
    names = {Path(f.path).name for f in client(study.uri).list_artifacts(run.info.run_id, "report")}
    assert names == {path.name for path in (study.place / "report").iterdir()}


def test_a_second_writing_changes_nothing(study):
    before = everything(study.uri)
    rebuild(study.place, study.uri)
    assert everything(study.uri) == before


def test_an_empty_database_gets_the_same_tree(study, tmp_path):
    uri = f"sqlite:///{tmp_path}/other.db"
    rebuild(study.place, uri)
    assert everything(uri, set) == everything(study.uri, set)


def test_a_failed_trial_that_later_succeeded_updates_its_run(study):
    [failed] = [e for e in study.ledger.entries() if e.state == "failed"]
    before = by_key(study.uri)
    folder, spec = Folder.open(study.place)
    ledger = folder.ledger()
    again = add(
        ledger, spec, "replay", "tune", number=failed.number, values=[0.8], params=failed.params
    )
    assert again.folder == failed.folder
    rebuild(study.place, study.uri)
    after = by_key(study.uri)
    assert set(after) == set(before)
    run = after[failed.folder]
    assert run.info.run_id == before[failed.folder].info.run_id
    assert (run.info.status, run.data.tags["study.state"]) == ("FINISHED", "complete")
    assert run.data.metrics["val/average_accuracy"] == pytest.approx(0.8)
    assert after["method/replay"].data.metrics["tune_failed"] == 1


def test_another_folder_of_the_same_name_keeps_its_own_runs(study, shared, tmp_path):
    spec = make_spec({**CHANGES, "tune.trials": 0, "tune.pruner": "none"})
    build_study(tmp_path / "tracked", spec)
    before = runs_of_folder(shared, study.place)
    rebuild(tmp_path / "tracked", shared)
    assert runs_of_folder(shared, study.place) == before
    assert len(runs_of_folder(shared, tmp_path / "tracked")) == 1 + 2 + 2 + 8
    assert len(runs_of(shared)) == len(before) + 13
    roots = [run for run in runs_of(shared) if run.data.tags["role"] == "study"]
    places = {str(study.place), str(tmp_path / "tracked")}
    assert {run.data.tags["study.folder"] for run in roots} == places


def runs_of_folder(uri, place):
    identity = Folder.open(place)[0].facts.id
    return {
        run.info.run_id: (run.info.status, run.data.metrics.keys())
        for run in runs_of(uri)
        if run.data.tags["study.id"] == identity
    }


@pytest.mark.parametrize("name", ["100%", "what?", "a#b", "it's", ODD])
def test_a_database_is_found_in_folders_of_any_name(study, tmp_path, name):
    place = tmp_path / name / "tracked"
    shutil.copytree(study.place, place)
    before = set(by_key(study.uri))
    rebuild(place, default_uri(place))
    assert set(by_key(default_uri(place))) == before
    where, files = reports(default_uri(place))
    assert where.startswith((place / "mlflow_artifacts").as_uri())
    assert files == {path.name for path in (place / "report").iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_relative_folder_is_the_same_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for relative in ("studies/own", "../here/studies/own"):
        assert default_uri(Path(relative)) == default_uri(tmp_path / "here/studies/own")


def test_a_moved_folder_keeps_its_runs_and_takes_its_artifacts_along(study, tmp_path):
    before = {key: run.info.run_id for key, run in by_key(study.uri).items()}
    first, second = tmp_path / "first" / "tracked", tmp_path / "second" / "tracked"
    shutil.copytree(study.place, first)
    second.parent.mkdir()
    first.rename(second)
    report = study.place / "mlflow_artifacts" / before["study"] / "artifacts/report/report.md"
    report.write_text("untouched")
    rebuild(second, default_uri(second))
    after = {key: run.info.run_id for key, run in by_key(default_uri(second)).items()}
    assert after == before
    where, files = reports(default_uri(second))
    assert where.startswith((second / "mlflow_artifacts").as_uri())
    assert "report.md" in files
    assert report.read_text() == "untouched"
    assert not first.exists()


def test_a_moved_folder_keeps_its_runs_on_a_server(study, shared, tmp_path):
    before = everything(shared)
    shutil.copytree(study.place, tmp_path / "it's" / "tracked")
    rebuild(tmp_path / "it's" / "tracked", shared)
    assert everything(shared) == before


def test_a_study_that_is_being_run_is_not_written_by_another_process(study):
    before = everything(study.uri)
    with (
        Folder(study.place).claim(),
        pytest.raises(InputError, match="being run by another process"),
    ):
        rebuild(study.place, study.uri)
    assert everything(study.uri) == before


def test_a_deleted_experiment_is_restored(study):
    before, api = everything(study.uri), client(study.uri)
    api.delete_experiment(api.get_experiment_by_name("tracked").experiment_id)
    rebuild(study.place, study.uri)
    assert everything(study.uri) == before


@pytest.mark.parametrize("role", ["study", "method", "tune-trial", "seed"])
def test_deleted_runs_are_restored(study, role):
    before = everything(study.uri)
    for run in runs_of(study.uri):
        if run.data.tags["role"] == role:
            client(study.uri).delete_run(run.info.run_id)
    assert everything(study.uri).keys() < before.keys()
    rebuild(study.place, study.uri)
    assert everything(study.uri) == before


def test_what_is_deleted_while_a_study_runs_comes_back(study):
    before, api, told = everything(study.uri), client(study.uri), []
    writer = Writer(Study.open(study.place), study.uri)
    writer.write(None)
    api.delete_run(by_key(study.uri)["method/replay"].info.run_id)
    api.delete_experiment(api.get_experiment_by_name("tracked").experiment_id)
    writer.write(study.analysis)
    assert everything(study.uri).keys() == before.keys()
    assert told == []


def test_a_mirror_writes_while_the_study_runs(study):
    told = []
    with Mirror(Study.open(study.place), study.uri, told.append) as mirror:
        mirror.poke()
        mirror.finish(study.analysis)
    assert told == []


# -- while trials run


@pytest.fixture
def begun(tmp_path):
    """A study with a trial that has learnt two of its five tasks."""
    _, spec, ledger = admit(tmp_path / "small", {"tune.trials": 2})
    tune = Tune(make_sweep(spec, "replay", ledger))
    trial = tune.ask()
    reports = list(Run(RISING).reports(tune.asked[trial]["work"], ["average_accuracy"]))
    for report in reports[:2]:
        tune.driver.on_trial_result(trial, report)
    return SimpleNamespace(place=tmp_path / "small", tune=tune, trial=trial, reports=reports)


RISING = np.linspace(0.1, 0.5, 5)[:, None]


def running(begun):
    return [RunningTrial(r.entry, dict(r.steps)) for r in begun.tune.driver.trials.values()]


def shown(begun):
    """What MLflow shows of the trials of a sweep: status, state and the points of the curve."""
    uri, found = default_uri(begun.place), {}
    for run in runs_of(uri, "small"):
        if run.data.tags["role"] == "tune-trial":
            state = run.data.tags.get("study.state")
            points = history(uri, run, "val/average_accuracy")
            points = [(step, round(value, 6)) for step, value in points]
            found[run.info.run_name] = (run.info.status, state, points)
    return found


POINTS = [(task, task / 10) for task in range(1, 6)]


def test_a_running_trial_shows_its_tasks_and_no_task_twice(begun):
    writer = Writer(begun.tune.driver.run.study, default_uri(begun.place))
    for _ in range(2):
        writer.update(running(begun))
        assert shown(begun) == {"replay · trial 0": ("RUNNING", "running", POINTS[:2])}
    begun.tune.driver.on_trial_result(begun.trial, begun.reports[3])
    writer.update(running(begun))
    assert shown(begun) == {"replay · trial 0": ("RUNNING", "running", POINTS[:4])}
    begun.tune.driver.on_trial_complete(begun.trial, begun.reports[4])
    writer.update(running(begun))
    assert shown(begun) == {"replay · trial 0": ("FINISHED", "complete", POINTS)}
    found = runs_of(default_uri(begun.place), "small")
    assert {run.data.params["lr"] for run in found if "lr" in run.data.params} == {"0.001"}


def test_the_methods_are_sorted_by_validation_data_until_they_are_tested(begun):
    study, uri = begun.tune.driver.run.study, default_uri(begun.place)
    Writer(study, uri).update(running(begun))
    found = client(uri).get_experiment_by_name("small")
    view = json.loads(found.tags[f"mlflow.sharedViewState.{study.folder.facts.id}"])
    assert view["orderByKey"] == "metrics.`val/average_accuracy`"


def test_an_interrupted_trial_is_marked_and_goes_on_without_a_task_twice(begun):
    uri = default_uri(begun.place)
    Writer(begun.tune.driver.run.study, uri).update([])  # makes the database
    mirror = Mirror(begun.tune.driver.run.study, uri, print)
    with contextlib.suppress(KeyboardInterrupt), mirror:
        mirror.poke(running(begun))
        wait(lambda: shown(begun) == {"replay · trial 0": ("RUNNING", "running", POINTS[:2])})
        raise KeyboardInterrupt
    assert shown(begun) == {"replay · trial 0": ("KILLED", "interrupted", POINTS[:2])}
    again = Writer(begun.tune.driver.run.study, uri)
    begun.tune.driver.on_trial_result(begun.trial, begun.reports[2])
    again.update(running(begun))
    assert shown(begun) == {"replay · trial 0": ("RUNNING", "running", POINTS[:3])}


def test_a_trial_that_ended_since_the_running_ones_were_listed_has_ended(begun):
    writer = Writer(begun.tune.driver.run.study, default_uri(begun.place))
    listed = running(begun)
    begun.tune.driver.on_trial_complete(begun.trial, begun.reports[4])
    for _ in range(2):
        writer.update(listed if not writer._taken else [])
        assert shown(begun) == {"replay · trial 0": ("FINISHED", "complete", POINTS)}


def test_a_task_whose_writing_was_not_answered_is_not_written_twice(begun, monkeypatch):
    writer = Writer(begun.tune.driver.run.study, default_uri(begun.place))
    writer.update(running(begun))
    begun.tune.driver.on_trial_result(begun.trial, begun.reports[2])
    log = writer._runs._client.log_batch

    def unanswered(*given, **named):
        log(*given, **named)
        raise ConnectionError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(writer._runs._client, "log_batch", unanswered)
        with pytest.raises(ConnectionError):
            writer.update(running(begun))
    begun.tune.driver.on_trial_result(begun.trial, begun.reports[3])
    writer.update(running(begun))
    assert shown(begun) == {"replay · trial 0": ("RUNNING", "running", POINTS[:4])}


def test_a_trial_of_a_killed_run_that_nobody_asks_for_again_does_not_run_for_ever(begun):
    study, uri = begun.tune.driver.run.study, default_uri(begun.place)
    Writer(study, uri).update(running(begun))
    Writer(study, uri).write(None)  # of a later run
    assert shown(begun) == {"replay · trial 0": ("KILLED", "interrupted", POINTS[:2])}


def test_an_update_takes_only_what_is_new(begun, monkeypatch):
    writer, looked = Writer(begun.tune.driver.run.study, default_uri(begun.place)), []
    monkeypatch.setattr(writer._runs, "_recognise", lambda: looked.append(1))
    begun.tune.driver.on_trial_complete(begun.trial, begun.reports[4])
    written, write = [], writer._write_trial
    monkeypatch.setattr(writer, "_write_trial", lambda e: written.append(e.number) or write(e))
    for _ in range(3):
        writer.update([])
    begun.tune.run()
    writer.update([])
    assert written == [0, 1]
    assert looked == [1]


# -- a server that is down


@pytest.fixture
def small(tmp_path):
    build_study(tmp_path / "small", make_spec({"tune.trials": 0}))
    return tmp_path / "small"


@contextlib.contextmanager
def mirrored(place, uri, told):
    """The mirror of a study, and the study's analysis."""
    study = Study.open(place)
    analysis = analyse(study_record(study))
    write_report(analysis, place / "report")
    with Mirror(study, uri, told.append) as mirror:
        yield mirror, analysis


def wait(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    assert condition()


def test_a_server_that_is_down_is_told_and_never_raises(small):
    told = []
    with mirrored(small, NOWHERE, told) as (mirror, analysis):
        wait(lambda: told)
        mirror.poke()
        mirror.finish(analysis)
    assert told == [
        f"MLflow at {NOWHERE} could not be written (Connection refused); the study continues.",
        f"MLflow at {NOWHERE} could not be written (Connection refused). The study itself is "
        f"complete; `{shell('track', str(small), '--tracking-uri', NOWHERE)}` writes the mirror "
        "later.",
    ]


def test_a_server_that_does_not_answer_delays_a_study_by_seconds(small, monkeypatch):
    assert store.PATIENCE * 2 < 15
    monkeypatch.setattr(store, "PATIENCE", 0.5)
    told = []
    with (
        port() as silent,
        mirrored(small, f"http://127.0.0.1:{silent}", told) as (mirror, analysis),
    ):
        wait(lambda: told)
        mirror.finish(analysis)
    assert [text.count("no answer in time") for text in told] == [1, 1]


def test_the_way_to_mend_the_default_mirror_names_no_server(small):
    (small / "mlflow.db").mkdir()
    told = []
    with mirrored(small, None, told) as (mirror, analysis):
        mirror.finish(analysis)
    assert f"`{shell('track', str(small))}`" in told[-1]


def test_a_mirror_that_can_be_written_again_is(small):
    (small / "mlflow.db").mkdir()
    told = []
    with mirrored(small, None, told) as (mirror, analysis):
        wait(lambda: told)
        (small / "mlflow.db").rmdir()
        mirror.poke()
        wait((small / "mlflow.db").is_file)
        mirror.finish(analysis)
    assert len(told) == 1
    assert "report.md" in reports(default_uri(small), "small")[1]


def test_a_database_that_cannot_be_opened_is_not_tried_for_minutes(small, monkeypatch):
    (small / "mlflow.db").mkdir()
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(InputError, match=r"could not be written \(unable to open"):
        rebuild(small, default_uri(small))
    assert sum(pauses) < 10  # as it would wait


@pytest.mark.parametrize("problem", ["database", "server"])
def test_a_failure_to_write_is_one_line(small, problem, tmp_path):
    (tmp_path / "mine.db").write_text("no database")
    uri = NOWHERE if problem == "server" else f"sqlite:///{tmp_path}/mine.db"
    out, err = command("track", small, "--tracking-uri", uri, code=2)
    assert out == ""
    assert err.startswith(f"error: MLflow at {uri} could not be written (")
    assert err.count("\n") == 1


def test_a_place_for_artifacts_that_cannot_be_written_is_an_input_error(study, tmp_path):
    place = tmp_path / "tracked"
    shutil.copytree(study.place, place, ignore=shutil.ignore_patterns("mlflow_artifacts"))
    (place / "mlflow_artifacts").write_text("no folder")
    with pytest.raises(InputError, match=rf"could not be written \(Not a directory: {place}"):
        rebuild(place, default_uri(place))


def test_a_tracking_uri_that_mlflow_does_not_know_is_an_input_error(small):
    with pytest.raises(InputError, match=r"^MLflow at ftp://far could not be written \(.*\)\.$"):
        rebuild(small, "ftp://far")


# -- a damaged database


def as_text(whole):
    return b"no database"


def as_zeros(whole):
    return bytes(len(whole))


def cut_short(whole):
    return whole[: len(whole) // 2]


def overwritten(whole):
    middle = len(whole) // 2
    return whole[: middle - 200_000] + b"\xa5" * 400_000 + whole[middle + 200_000 :]


DAMAGES = (as_text, as_zeros, cut_short, overwritten)


@pytest.mark.parametrize("damaged", DAMAGES)
def test_a_damaged_database_is_recognised(study, tmp_path, damaged):
    file = tmp_path / "mlflow.db"
    assert damage(file) == ""  # there is none
    file.write_bytes((study.place / "mlflow.db").read_bytes())
    assert damage(file) == ""
    file.write_bytes(damaged(file.read_bytes()))
    assert "\n" not in damage(file)
    assert damage(file)


def test_a_database_whose_tables_a_full_disk_left_half_made_is_recognised(study, tmp_path):
    file = shutil.copy(study.place / "mlflow.db", tmp_path)
    with contextlib.closing(sqlite3.connect(file)) as half:
        half.execute("CREATE TABLE _alembic_tmp_experiments (x)")
    assert damage(tmp_path / "mlflow.db") == "some of its tables are missing"


def test_a_database_that_is_locked_is_not_taken_for_damaged(study, tmp_path, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda file, timeout: connect(file, timeout=0.1))
    shutil.copy(study.place / "mlflow.db", tmp_path)
    with contextlib.closing(connect(tmp_path / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert damage(tmp_path / "mlflow.db") == ""


def test_the_command_that_the_message_names_repairs_a_damaged_database(study, tmp_path):
    place, told = tmp_path / "tracked", []
    shutil.copytree(study.place, place)
    content = cut_short((place / "mlflow.db").read_bytes())
    (place / "mlflow.db").write_bytes(content)
    with mirrored(place, None, told) as (mirror, analysis):
        mirror.finish(analysis)
    assert "database disk image is malformed" in told[-1]
    [named] = re.findall("`(.*)` writes the mirror later", told[-1])
    assert named == shell("track", str(place))
    _, err = command("track", place)
    [aside] = place.glob("mlflow_damaged-*.db")
    assert f"moved to {aside}, and written anew" in err
    assert aside.read_bytes() == content
    # by SQLite itself: in this process MLflow has the damaged file open
    with contextlib.closing(sqlite3.connect(place / "mlflow.db")) as written:
        keys = written.execute("SELECT value FROM tags WHERE key = 'study.key'").fetchall()
    assert sorted(key for (key,) in keys) == sorted(by_key(study.uri))


@pytest.mark.parametrize("damaged", DAMAGES[:2])
def test_a_damaged_database_of_somebody_else_is_left_alone(small, study, tmp_path, damaged):
    mine, told = tmp_path / "mine.db", []
    content = damaged((study.place / "mlflow.db").read_bytes())
    mine.write_bytes(content)
    wanted = f"{mine} is damaged and not in the study's folder: repair the file, or move it away."
    with pytest.raises(InputError, match=re.escape(wanted)):
        rebuild(small, f"sqlite:///{mine}")
    with mirrored(small, f"sqlite:///{mine}", told) as (mirror, analysis):
        mirror.finish(analysis)
    assert wanted in told[-1]
    assert mine.read_bytes() == content
    assert not list(tmp_path.rglob("mlflow_damaged-*"))


def test_a_folder_in_the_place_of_the_database_is_told(small):
    (small / "mlflow.db").mkdir()
    with pytest.raises(InputError, match=r"mlflow\.db is a folder: move the folder away\."):
        rebuild(small, default_uri(small))


def test_pages_of_a_damaged_database_are_not_opened(small):
    (small / "mlflow.db").write_text("no database")
    with pytest.raises(InputError, match=r"mlflow\.db is damaged \(file is not a") as raised:
        ui_command(small, 5000)
    assert f"`{shell('track', str(small))}` moves it away" in str(raised.value)


# -- where MLflow is


def test_mlflow_is_in_the_studys_folder_unless_told_otherwise(capsys, monkeypatch):
    assert chosen_uri(None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert chosen_uri(None) is None
    assert capsys.readouterr() == ("", "")


def test_mlflows_own_variable_says_where_it_is_and_that_is_told(capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@far.example/mlflow")
    assert chosen_uri(None) == "https://me:secret@far.example/mlflow"
    told = "MLflow is at https://me:***@far.example/mlflow, as MLFLOW_TRACKING_URI says.\n"
    assert capsys.readouterr() == ("", told)
    assert chosen_uri("sqlite:////tmp/own.db") == "sqlite:////tmp/own.db"
    assert capsys.readouterr() == ("", "")


def test_track_and_ui_go_where_mlflows_own_variable_says(small, tmp_path):
    uri = f"sqlite:///{tmp_path}/mine.db"
    out, err = command("track", small, MLFLOW_TRACKING_URI=uri)
    assert out == f"MLflow at {uri} is up to date.\n"
    assert err == f"MLflow is at {uri}, as MLFLOW_TRACKING_URI says.\n"
    assert len(runs_of(uri, "small")) == 13
    assert not (small / "mlflow.db").exists()
    assert uri in ui_command(small, free_port(), uri)
    assert command("ui", small, MLFLOW_TRACKING_URI=NOWHERE) == (
        f"{NOWHERE}\n",
        f"MLflow is at {NOWHERE}, as MLFLOW_TRACKING_URI says.\n",
    )


def test_the_way_to_mend_names_no_place_that_the_variable_names(small, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    told = []
    with mirrored(small, NOWHERE, told) as (mirror, analysis):
        mirror.finish(analysis)
    assert f"`{shell('track', str(small))}`" in told[-1]


UNKNOWN = {
    "foo://x": "'foo:' is unknown",
    "sqlit:///x.db": "'sqlit:' is unknown",
    "localhost:5000": "'localhost:' is unknown",
    "http://": "the address has no host",
    "http://[::1": "Invalid IPv6 URL",
    "sqlite:/x.db": "Could not parse",
    "sqlite+nodriver:///x.db": "nodriver",
    "mysql+nodriver://me:secret@far/base": "nodriver",
    "mlruns": "MLFLOW_ALLOW_FILE_STORE=true",
    "file:///mlruns": "MLFLOW_ALLOW_FILE_STORE=true",
}


@pytest.mark.parametrize("uri", UNKNOWN)
def test_a_place_of_no_known_kind_is_refused_at_once(uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(
        InputError, match=rf"^--tracking-uri = .*cannot write.*{UNKNOWN[uri]}"
    ) as caught:
        chosen_uri(uri)
    assert "http://HOST:PORT" in str(caught.value)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI = "):
        chosen_uri(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri", [NOWHERE, "https://me:x@far/mlflow", "sqlite:///x.db", "sqlite://", "databricks"]
)
def test_a_place_of_a_known_kind_is_not_asked_for_anything(uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    check_uri(uri, "--tracking-uri")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://me:se@cret@far:5000/a:b@c", "http://me:***@far:5000/a:b@c"),
        ("postgresql://me:secret@far/base", "postgresql://me:***@far/base"),
        ("http://far:5000/a@b", "http://far:5000/a@b"),
        ("sqlite:////tmp/a:b@c/mlflow.db", "sqlite:////tmp/a:b@c/mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_passwords_are_not_shown(uri, said):
    assert printable_uri(uri) == said


def test_an_error_of_the_study_passes_through_the_mirror(small):
    with (
        pytest.raises(ZeroDivisionError),
        Mirror(Study.open(small), NOWHERE, lambda text: None),
    ):
        raise ZeroDivisionError


def test_rebuilding_on_a_server_that_is_down_is_an_input_error(small):
    with pytest.raises(InputError, match=rf"{NOWHERE} could not be written"):
        rebuild(small, NOWHERE)


def test_rebuilding_needs_the_folder_of_a_study(tmp_path):
    with pytest.raises(InputError, match="not the folder of a study"):
        rebuild(tmp_path, "sqlite://")


# -- MLflow's pages


def free_port():
    with port() as free:
        return free


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of a study in a folder of an odd name, served: folder, address, what was said."""
    place = tmp_path_factory.mktemp("pages") / ODD / "small"
    build_study(place, make_spec({"tune.trials": 0}))
    said, free = command("track", place), free_port()
    address = f"http://127.0.0.1:{free}"
    words = [sys.executable, "-m", "study", "ui", str(place), "--port", str(free)]
    with open(place / "ui.log", "wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        wait(lambda: answers(address) and address in (place / "ui.log").read_text(), 240)
        yield SimpleNamespace(place=place, address=address, said=said)
    finally:
        server.terminate()
        server.wait()


def answers(address):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"{address}/health", timeout=1).status == 200
    return False


def test_a_database_is_made_in_a_folder_of_any_name(pages):
    assert pages.said == (f"MLflow at {default_uri(pages.place)} is up to date.\n", "")
    assert (pages.place / "mlflow.db").exists()
    assert [path.name for path in pages.place.parent.parent.iterdir()] == [ODD]


def test_the_pages_show_the_studys_database_and_its_report(pages):
    assert by_keys(pages.address) == by_keys(default_uri(pages.place))
    assert "report.md" in reports(pages.address, "small")[1]


def by_keys(uri):
    return {(run.info.run_id, run.data.tags["study.key"]) for run in runs_of(uri, "small")}


def test_writing_to_a_server_prints_nothing_of_mlflows(pages, tmp_path):
    build_study(tmp_path / "small", make_spec({"tune.trials": 0}))
    before = len(runs_of(pages.address, "small"))
    said = command("track", tmp_path / "small", "--tracking-uri", pages.address)
    assert said == (f"MLflow at {pages.address} is up to date.\n", "")
    assert len(runs_of(pages.address, "small")) == before + 13


def test_the_address_opens_the_methods_sorted_by_the_metric(pages):
    log = (pages.place / "ui.log").read_text()
    [address] = re.findall(rf"^{pages.address}/#/experiments/(\d+)/runs\?(.+)$", log, re.MULTILINE)
    experiment, query = address
    facts = Folder.open(pages.place)[0].facts
    assert f"viewStateShareKey={facts.id}" in query
    found = client(pages.address).get_experiment(experiment)
    view = json.loads(found.tags[f"mlflow.sharedViewState.{facts.id}"])
    order = [f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"]
    runs = client(pages.address).search_runs([experiment], view["searchFilter"], order_by=order)
    scores = [run.data.metrics["test/average_accuracy"] for run in runs]
    assert scores == sorted(scores, reverse=True)
    assert {run.data.tags["role"] for run in runs} == {"method"}


@pytest.mark.parametrize(("name", "times"), [("SIGINT", 1), ("SIGTERM", 1), ("SIGTERM", 2)])
def test_the_server_ends_with_the_command(pages, tmp_path, name, times):
    free = free_port()
    words = [sys.executable, "-m", "study", "ui", str(pages.place), "--port", str(free)]
    with open(tmp_path / "log", "wb") as log:
        command = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        wait(lambda: answers(f"http://127.0.0.1:{free}"), 180)
        running = processes_with(free)
    finally:
        for _ in range(times):
            command.send_signal(signal.Signals[name])
    assert len(running) >= 3  # the command, MLflow, and its worker
    assert command.wait(60) == 128 + signal.Signals[name]
    wait(lambda: not processes_with(free), 20)


def processes_with(port):
    """The command lines on this machine that name a port."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if str(port) in line]


def test_pages_need_a_port_that_is_free(study):
    with port() as taken:
        _, err = command("ui", study.place, "--port", taken, code=2)
    assert err == f"error: port {taken}: address already in use. Choose another with --port.\n"


def test_pages_need_a_database(small):
    with pytest.raises(InputError, match=rf"{small} has no mlflow\.db\. Give") as raised:
        ui_command(small, 5000)
    assert shell("track", str(small)) in str(raised.value)


def test_metrics_of_further_readouts_are_mirrored(tmp_path):
    place, spec = tmp_path / "small", make_spec({"tune.trials": 0})
    ledger = build_study(place, spec)
    for entry in ledger.entries():
        outcome = ledger.outcome(entry)
        slow = make_outcome(entry.seeds, 0.6).counts["main"]
        counts = {"fast": outcome.counts["main"], "slow": slow, "a/b & <c> [x]": slow}
        ledger.finish(entry, dataclasses.replace(outcome, counts=counts).to_bytes())
    uri = default_uri(place)
    Writer(Study.open(place), uri).write(None)
    seeds = [run for run in runs_of(uri, "small") if run.data.tags["role"] == "seed"]
    assert len(seeds) == 8
    for run in seeds:
        assert run.data.metrics["test/average_accuracy/slow"] == pytest.approx(0.6)
        assert run.data.metrics["test/average_accuracy/a_b _ _c_ _x_"] == pytest.approx(0.6)


def test_what_a_method_measures_itself_is_a_curve_over_the_seeds_that_have_it(tmp_path):
    place, spec = tmp_path / "small", make_spec({"tune.trials": 0})
    ledger = build_study(place, spec)
    for entry in ledger.entries():
        outcome, size = ledger.outcome(entry), len(entry.seeds)
        units = np.tile(np.arange(1.0, outcome.rows + 1), (size, 1))
        grown = np.full((size, outcome.rows), np.nan)
        grown[0, 1:] = 0.5  # the first seed from the second task on
        extras = {
            "units: dense 1": units,
            "asked: task 2, growth 1": grown,
            "a map: layer": np.ones((size, outcome.rows, 2, 2)),
        }
        ledger.finish(entry, dataclasses.replace(outcome, extras=extras).to_bytes())
    uri = default_uri(place)
    Writer(Study.open(place), uri).write(None)
    api = client(uri)
    for run in (r for r in runs_of(uri, "small") if r.data.tags["role"] == "confirm-trial"):
        points = {
            name: [(p.step, p.value) for p in api.get_metric_history(run.info.run_id, name)]
            for name in ("units.dense 1", "asked.task 2_ growth 1")
        }
        assert points["units.dense 1"] == [(n, float(n)) for n in range(1, 6)]
        assert points["asked.task 2_ growth 1"] == [(n, 0.5) for n in range(2, 6)]
        assert not any("map" in name for name in run.data.metrics)


def test_alternatives_and_further_sweeps_do_not_count_as_the_chosen_configuration(tmp_path):
    place = tmp_path / "small"
    build_study(place, make_spec({"tune.repeats": 2, "confirm.top": 2}))
    study, uri = Study.open(place), default_uri(place)
    analysis = analyse(study_record(study))
    write_report(analysis, place / "report")
    Writer(study, uri).write(analysis)
    runs = {run.data.tags["study.key"]: run for run in runs_of(uri, "small")}
    found = {}
    for run in runs.values():
        key = (run.data.tags.get("method"), run.data.tags["role"])
        found[key] = found.get(key, 0) + 1
    for name in ("finetune", "replay"):
        assert (found[name, "seed"], found[name, "alternative-seed"]) == (4, 4)
        assert found[name, "alternative-trial"] == found[name, "confirm-trial"] == 1
        assert found[f"{name}@2", "seed"] == 4
        assert (f"{name}@2", "alternative-seed") not in found
        assert "test/average_accuracy" not in runs[f"method/{name}@2"].data.metrics
    assert all(run.info.status != "RUNNING" for run in runs.values())
    row = next(row for row in analysis.methods if row.method == "replay")
    of_seeds = [
        run.data.metrics["test/average_accuracy"]
        for run in runs.values()
        if (run.data.tags.get("method"), run.data.tags["role"]) == ("replay", "seed")
    ]
    assert np.mean(of_seeds) == pytest.approx(row.mean)


def test_a_trial_changes_its_role_where_another_one_becomes_the_best(tmp_path):
    place = tmp_path / "small"
    changes = {"methods": {"replay": {}}, "tune.trials": 2, "confirm.top": 2}

    def better_later(work):
        return Run(0.9 if work["configuration"]["lr"] == 0.002 else 0.5)

    build_study(place, make_spec(changes), better_later)
    uri = default_uri(place)
    Writer(Study.open(place), uri).write(None)
    before = {key: run.data.tags["role"] for key, run in roles_of(uri).items()}
    spec = make_spec({**changes, "tune.trials": 3})
    ledger = Ledger(place / "ledger")
    add(ledger, spec, "replay", "tune", number=2, values=[0.9], params={"lr": 0.002})
    build_study(place, spec, better_later)
    Writer(Study.open(place), uri).write(None)
    after = {key: run.data.tags["role"] for key, run in roles_of(uri).items()}
    was_chosen = [key for key, role in before.items() if role in ("confirm-trial", "seed")]
    assert was_chosen
    assert all(after[key].startswith("alternative") for key in was_chosen)
    assert [role for role in after.values() if role == "seed"] == ["seed"] * 4


def test_a_method_with_another_configuration_keeps_its_trials(tmp_path):
    place, uri = tmp_path / "small", default_uri(tmp_path / "small")
    changes = {"methods": {"replay": {}}, "tune.trials": 2}
    build_study(place, make_spec(changes), lambda work: Run(0.5))
    rebuild(place, uri)
    before = roles_and_parents(uri)
    spec = make_spec({**changes, "tune.trials": 3})
    best = {"values": [0.9], "params": {"lr": 0.002}}
    add(Ledger(place / "ledger"), spec, "replay", "tune", number=2, **best)
    build_study(place, spec, lambda work: Run(0.5))
    rebuild(place, uri)
    runs = roles_of(uri)
    assert runs["method/replay"].data.params["lr"] == "0.002"
    assert [key for key, run in runs.items() if "chosen" in run.data.tags] == [
        key for key in runs if key.startswith("tune/replay/0002")
    ]
    assert before.items() <= roles_and_parents(uri).items()


def roles_and_parents(uri):
    """The role of each run, and the key of the run above it."""
    runs = roles_of(uri)
    keys = {run.info.run_id: key for key, run in runs.items()}
    return {
        key: (run.data.tags["role"], keys.get(run.data.tags.get("mlflow.parentRunId", "")))
        for key, run in runs.items()
        if not key.startswith("confirm/")
    }


def test_runs_of_an_earlier_layout_are_replaced_and_there_is_none_twice(study, shared):
    before, api = everything(shared), client(shared)
    for run in runs_of(shared):
        api.delete_tag(run.info.run_id, "study.layout")
        api.log_metric(run.info.run_id, "average_accuracy", 0.5)
    for _ in range(2):
        rebuild(study.place, shared)
        assert {key: found[:4] for key, found in everything(shared).items()} == {
            key: found[:4] for key, found in before.items()
        }
        assert not any("average_accuracy" in run.data.metrics for run in runs_of(shared))


def test_a_number_that_is_no_longer_defined_is_not_shown(study, shared):
    runs = by_key(shared)
    client(shared).log_metric(runs["method/replay"].info.run_id, "test/forgetting/old", 0.5)
    rebuild(study.place, shared)
    assert np.isnan(by_key(shared)["method/replay"].data.metrics["test/forgetting/old"])


def roles_of(uri):
    return {run.data.tags["study.key"]: run for run in runs_of(uri, "small")}


@pytest.mark.parametrize(
    ("name", "mirrored"),
    [
        (metric_name("bytes.memory"), "bytes.memory"),
        (metric_name("bytes.a/b"), "bytes.a_b"),
        (scored("val", *ReadoutMetric("forgetting")), "val/forgetting"),
        (scored("test", *ReadoutMetric("forgetting", "slow")), "test/forgetting/slow"),
        (scored("test", *ReadoutMetric("forgetting", "..")), "test/forgetting/_"),
        (scored("test", *ReadoutMetric("forgetting", "a//b")), "test/forgetting/a__b"),
    ],
)
def test_names_that_mlflow_takes(name, mirrored):
    assert name == mirrored
