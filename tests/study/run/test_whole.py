"""A whole study with real Ray and MLflow; asked for again and extended, without Ray."""

from __future__ import annotations

import json
import platform
from dataclasses import replace

import pytest
from factory import make_spec, make_study
from runs import entries, run, run_here, sets, sums, tables

from study.folder import Folder
from study.ledger import Ledger
from study.run.whole import _obstacles
from trainables.engine.machine import processor


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    done = run(place)
    return place, done, tables(place)


def test_a_study_ends_with_tables_verdicts_and_the_way_to_mlflow(whole):
    place, done, _ = whole
    assert done.returncode == 0, done.stderr
    for text in ("worse by more than the margin", "average accuracy (%)", "study ui"):
        assert text in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if "/" not in line] == [
        "loading libraries",
        "reading the data",
        "starting Ray",
        "writing the report",
        "bringing MLflow up to date",
    ]
    assert "tuned 8/8, confirmed 2/2, rechecked 2/2; best in validation: finetune 0." in done.stderr
    report = json.loads((place / "small" / "report" / "report.json").read_text())
    assert [row["n"] for row in report["methods"]] == [6, 6]
    assert [row["trials"] for row in report["tuning"]] == [4, 4]


def test_every_method_is_tuned_with_the_same_seeds_data_and_number_of_trials(whole):
    place, _, _ = whole
    tuned = entries(place, "tune")
    assert sorted((e.method, e.number) for e in tuned) == [
        (method, number) for method in ("finetune", "replay") for number in range(4)
    ]
    assert {(e.seeds, e.samples) for e in tuned} == {((0, 1), tuned[0].samples)}


def test_the_ledger_has_the_score_after_every_task(whole):
    place, _, _ = whole
    for entry in entries(place, "tune"):
        assert list(entry.steps) == ["1", "2", "3", "4", "5"]
        assert entry.steps["5"] == entry.values[0]


def test_the_ledger_says_where_and_with_what_each_trial_ran(whole):
    place, _, _ = whole
    for entry in entries(place):
        assert (entry.host, entry.processor) == (platform.node(), processor())
        assert entry.software["python"] == platform.python_version()
    facts = json.loads((place / "small" / "report" / "report.json").read_text())["provenance"]
    assert facts["host"] == platform.node()
    assert facts["wall time"].endswith((" s", " min"))


def test_the_confirmation_uses_the_best_configuration_on_every_fresh_seed(whole):
    place, _, _ = whole
    for method in ("finetune", "replay"):
        best = max(
            (e for e in entries(place, "tune") if e.method == method), key=lambda e: e.values[0]
        )
        confirmed = [e for e in entries(place, "confirm") if e.method == method]
        assert sorted(seed for e in confirmed for seed in e.seeds) == list(range(100, 106))
        assert all(e.work["configuration"] == best.work["configuration"] for e in confirmed)


def test_the_recheck_repeats_the_sweep_with_the_seeds_and_configuration_of_the_confirmation(whole):
    place, _, _ = whole
    for method in ("finetune", "replay"):
        confirmed = [e for e in entries(place, "confirm") if e.method == method]
        rechecked = [e for e in entries(place, "recheck") if e.method == method]
        assert sorted(seed for e in rechecked for seed in e.seeds) == list(range(100, 106))
        assert len({str(e.work["configuration"]) for e in confirmed + rechecked}) == 1
        tuned = [e for e in entries(place, "tune") if e.method == method]
        # as many samples a seed as in the sweep: the validation data are not learnt
        assert {e.samples // len(e.seeds) for e in rechecked} == {
            e.samples // len(e.seeds) for e in tuned
        }


def test_mlflow_shows_study_method_trial_and_seed(whole):
    from mlflow import MlflowClient

    place, _, _ = whole
    client = MlflowClient(tracking_uri=f"sqlite:///{place}/small/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parent = {r.info.run_id: r.data.tags.get("mlflow.parentRunId") for r in runs}
    trials = {f"{phase}-trial": 2 for phase in ("tune", "confirm", "recheck")}
    depth = {"study": 0, "method": 1, **trials, "seed": 3}
    counted = dict.fromkeys(depth, 0)
    for r in runs:
        role, above = r.data.tags["role"], 0
        counted[role] += 1
        current = parent[r.info.run_id]
        while current:
            above, current = above + 1, parent[current]
        assert above == depth[role]
    assert (counted["study"], counted["method"], counted["tune-trial"], counted["seed"]) == (
        1,
        2,
        8,
        12,
    )
    facts = Folder.open(place / "small")[0].facts
    for r in runs:
        inputs = [(i.dataset.name, i.dataset.digest) for i in r.inputs.dataset_inputs]
        assert inputs == ([] if r.data.tags["role"] == "seed" else [*facts.data.items()])


def test_running_again_runs_nothing_and_gives_the_same_tables(whole):
    place, _, _ = whole
    before, shown = sums(place), tables(place)
    ledger = Ledger(place / "small" / "ledger")
    # a killed run of an earlier version of the study had asked for this; nobody wants it now
    known = ledger.entries("confirm")[0]
    ledger.begin(replace(known, work={**known.work, "seeds": [7, 8]}, state="running"))
    again = run_here(place)
    assert again.returncode == 0, again.stderr
    assert sums(place) == before
    assert tables(place) == shown
    assert ledger.unfinished() == []


def test_more_seeds_and_trials_run_only_what_is_missing(whole):
    place, _, _ = whole
    before = sums(place)
    more = run_here(place, *sets("tune.trials=5", "confirm.seeds.count=8"))
    assert more.returncode == 0, more.stderr
    after = sums(place)
    assert before.items() <= after.items()
    assert len(entries(place, "tune")) == 10
    assert "added after" in (place / "small" / "report" / "report.md").read_text()


@pytest.mark.parametrize(("gpus", "told"), [(0.5, 1), (0, 0)])
def test_a_network_that_a_gpu_computes_seed_by_seed_is_told(gpus, told, tmp_path, monkeypatch):
    (tmp_path / "dropping_net.py").write_text(
        "import math\nfrom torch import nn\n\n"
        "def net(shape, outputs):\n"
        "    layer = nn.Linear(math.prod(shape), outputs)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Dropout(), layer)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = {"methods": {"replay": {"fixed": {"network": "dropping_net:net"}}, "finetune": {}}}
    spec = make_spec({**own, "resources.gpus_per_trial": gpus})
    found = [*_obstacles(make_study(spec, Ledger(tmp_path / "ledger")))]
    assert len(found) == told
    for text in found:
        assert text.startswith(
            "methods.replay: network 'dropping_net:net' is computed seed by seed"
        )
        assert "random" in text
