"""The MLflow mirror: the tree of runs, the numbers of the ledger, and nothing written twice."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from factory import Run, add, build_study, make_spec

from analysis.metrics import METRICS, accuracy_matrix
from analysis.results import analyse
from study import plan
from study.folder import Folder
from study.results import study_record, write_report
from study.tracking import Mirror, Writer, default_uri, rebuild
from trainables.errors import InputError

mlflow = pytest.importorskip("mlflow")

NOWHERE = "http://127.0.0.1:9"
CHANGES = {"tune.trials": 4, "tune.pruner": "asha", "study.name": "tracked"}


def learn(work):
    """Trials of every state; seeds with scores of their own."""
    if work["phase"] == "confirm":
        accuracy = [np.full((5, 5), 0.5 + 0.001 * (seed - 100)) for seed in work["seeds"]]
        return Run(np.stack(accuracy), diverged=(103,) if 103 in work["seeds"] else ())
    if work["learner"] == "finetune":
        return Run(0.4)
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
    folder, _ = Folder.open(place)
    methods = plan.resolve(spec, "x")
    analysis = analyse(study_record(spec, methods, ledger, folder))
    write_report(analysis, place / "report")
    Writer(folder, spec, methods, ledger, default_uri(place)).write(analysis)
    return SimpleNamespace(
        place=place, spec=spec, ledger=ledger, analysis=analysis, uri=default_uri(place)
    )


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
    # finetune and replay: 4 trials each, 4 seeds each in one trial
    wanted = {"study": 1, "method": 2, "tune-trial": 8, "confirm-trial": 2, "seed": 8}
    assert counts == wanted


def test_seeds_have_runs_in_the_confirmation_only(study):
    assert not any("/seed" in key for key in by_key(study.uri) if key.startswith("tune"))


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
        assert data.metrics["bytes.memory"] == outcome.footprint["memory"][-1]
        matrix = accuracy_matrix(outcome.counts["main"])[:, :, : outcome.rows]
        for name, metric in METRICS.items():
            expected = metric.function(matrix).mean() if outcome.finite.all() else np.nan
            assert data.metrics[name] == pytest.approx(expected, nan_ok=True)
        assert data.params["lr"] == str(entry.work["configuration"]["lr"])
        assert data.params["seeds"] == ", ".join(map(str, entry.seeds))


def test_each_seed_has_its_own_numbers_and_a_diverged_one_has_none(study):
    runs = by_key(study.uri)
    for entry in study.ledger.entries("confirm"):
        for seed in entry.seeds:
            run = runs[f"{entry.folder}/seed{seed}"]
            value = run.data.metrics["average_accuracy"]
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
    api, runs = client(study.uri), by_key(study.uri)
    for entry in study.ledger.entries():
        if entry.state == "failed":
            continue
        points = api.get_metric_history(runs[entry.folder].info.run_id, "accuracy_so_far")
        rows = study.ledger.outcome(entry).rows
        assert [p.step for p in points] == list(range(1, rows + 1))


def test_parents_carry_sortable_summaries_and_verdicts(study):
    runs = by_key(study.uri)
    for row, tuning in zip(study.analysis.methods, study.analysis.tuning, strict=True):
        data = runs[f"method/{row.method}"].data
        assert data.metrics["confirm_seeds"] == row.n
        assert ("confirm_mean" in data.metrics) == (row.mean is not None)
        assert data.metrics["tune_best"] == pytest.approx(tuning.best_value)
        assert data.metrics["tune_trials"] == 4
    assert runs["method/replay"].data.metrics["tune_failed"] == 2
    assert runs["method/replay"].data.metrics["tune_pruned"] == 1
    [comparison] = study.analysis.comparisons
    assert runs["method/finetune"].data.tags["verdict"] == comparison.verdict
    assert "verdict" not in runs["method/replay"].data.tags


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
    assert run.data.metrics["average_accuracy"] == pytest.approx(0.8)
    assert after["method/replay"].data.metrics["tune_failed"] == 1


def test_another_folder_of_the_same_name_keeps_its_own_runs(study, tmp_path):
    spec = make_spec({**CHANGES, "tune.trials": 0, "tune.pruner": "none"})
    build_study(tmp_path / "tracked", spec)
    before = everything_of_folder(study.uri, study.place)
    rebuild(tmp_path / "tracked", study.uri)
    assert everything_of_folder(study.uri, study.place) == before
    assert len(everything_of_folder(study.uri, tmp_path / "tracked")) == 1 + 2 + 2 + 8


def everything_of_folder(uri, place):
    return {
        run.info.run_id: (run.info.status, run.data.metrics.keys())
        for run in runs_of(uri)
        if run.data.tags["study.folder"] == str(place)
    }


def test_a_mirror_writes_while_the_study_runs(study):
    folder, spec = Folder.open(study.place)
    told = []
    with Mirror(
        folder, spec, plan.resolve(spec, "x"), folder.ledger(), study.uri, told.append
    ) as mirror:
        mirror.poke()
        mirror.finish(study.analysis)
    assert told == []


# -- a server that is down


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spec = make_spec({"tune.trials": 0})
    build_study(tmp_path / "small", spec)
    return tmp_path / "small"


def test_a_server_that_is_down_is_told_and_never_raises(unreachable):
    folder, spec = Folder.open(unreachable)
    methods, ledger, told = plan.resolve(spec, "x"), folder.ledger(), []
    analysis = analyse(study_record(spec, methods, ledger, folder))
    with Mirror(folder, spec, methods, ledger, NOWHERE, told.append) as mirror:
        until = time.monotonic() + 60
        while not told and time.monotonic() < until:
            time.sleep(0.02)
        mirror.poke()
        mirror.finish(analysis)
    assert len(told) == 2
    for message in told:
        assert NOWHERE in message
        assert "\n" not in message
    assert "goes on" in told[0]
    assert "python -m study track" in told[1]


def test_an_error_of_the_study_passes_through_the_mirror(unreachable):
    folder, spec = Folder.open(unreachable)
    methods, ledger = plan.resolve(spec, "x"), folder.ledger()
    with (
        pytest.raises(ZeroDivisionError),
        Mirror(folder, spec, methods, ledger, NOWHERE, lambda text: None),
    ):
        raise ZeroDivisionError


def test_rebuilding_on_a_server_that_is_down_is_an_input_error(unreachable):
    with pytest.raises(InputError, match=rf"{NOWHERE} could not be written"):
        rebuild(unreachable, NOWHERE)


def test_rebuilding_needs_the_folder_of_a_study(tmp_path):
    with pytest.raises(InputError, match="not the folder of a study"):
        rebuild(tmp_path, "sqlite://")
