"""What a study asks of Ray: where it runs, and on which devices."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import ray
import torch
from factory import Run, Tune, make_confirmation, make_spec

import study
import trainables
from study.cluster import check, connected, slots
from study.ledger import Ledger
from study.spec import ResourcesSection
from trainables.errors import InputError

# a cluster that says it has a GPU, and a torch that knows better
FALSE_GPU = """
import ray
from study.cluster import QUIET, check, check_device
from study.spec import ResourcesSection
from trainables import InputError
import os
os.environ.update(QUIET)
ray.init(num_cpus=1, num_gpus=1, include_dashboard=False, log_to_driver=False,
         object_store_memory=100 * 1024**2)
check_device(ResourcesSection())
resources = ResourcesSection(gpus_per_trial=0.5)
check(resources, ray.cluster_resources())
try:
    check_device(resources)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("address", ["ray://host:10001", "ray://", "https://host"])
def test_rays_client_is_refused_before_anything_is_tried(address):
    with pytest.raises(InputError, match=rf'resources.address = "{address}": .* use \'auto\''):
        make_spec({"resources.address": address})


def test_an_address_without_a_cluster_is_answered_with_those_that_may_be_given(monkeypatch):
    def refuse(**options):
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "init", refuse)
    with (
        pytest.raises(InputError, match=r"nobody there.*'local', 'auto'.*'HOST:PORT'") as caught,
        connected(ResourcesSection(address="host:6379")),
    ):
        pass
    assert "ray://" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_gpus_that_torch_cannot_use_are_refused():
    found = subprocess.run(
        [sys.executable, "-c", FALSE_GPU], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("resources.gpus_per_trial = 0.5, but torch sees no GPU")
    assert found.stdout.rstrip().endswith("set it to 0.")


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"cpus_per_trial": 3}, "resources.cpus_per_trial = 3, but the cluster has 2 CPUs"),
        ({"gpus_per_trial": 0.5}, "resources.gpus_per_trial = 0.5, but the cluster has 0 GPUs"),
    ],
)
def test_more_than_the_cluster_has_is_refused_with_both_numbers(asked, wanted):
    with pytest.raises(InputError) as caught:
        check(ResourcesSection(**asked), {"CPU": 2.0})
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 8),
        ({"cpus_per_trial": 0.5}, 16),
        ({"cpus_per_trial": 3}, 2),
        ({"gpus_per_trial": 0.25}, 4),
        ({"gpus_per_trial": 1, "cpus_per_trial": 8}, 1),
    ],
)
def test_a_cluster_runs_as_many_trials_as_fit(asked, count):
    assert slots(ResourcesSection(**asked), {"CPU": 8.0, "GPU": 1.0}) == count


def test_an_outcome_that_cannot_be_read_is_a_failed_trial_with_the_reason(tmp_path):
    spec, ledger = make_spec({"tune.trials": 0}), Ledger(tmp_path)
    source = make_confirmation(spec, ledger, slots=1)
    tune = Tune(source)
    trial = tune.ask()
    work = tune.asked[trial]["work"]
    *_, last = Run().reports(work, ["average_accuracy"])
    source.on_trial_complete(trial, {**last, "outcome": b"no HDF5"})
    (entry,) = ledger.entries()
    assert (entry.state, entry.digest) == ("failed", "")
    assert entry.reason.startswith("unreadable outcome (OSError: ")
    assert entry.failure.startswith("Traceback")
    assert Ledger(tmp_path).entries() == [entry]


def test_the_software_of_a_trial_has_the_package_of_its_learner_and_the_commit(monkeypatch):
    dist = SimpleNamespace(name="rv-plug", version="0.1")
    point = SimpleNamespace(dist=dist)
    monkeypatch.setattr(
        trainables, "plugins", lambda group: {"odd": (point,)} if "learners" in group else {}
    )
    monkeypatch.setattr(study, "commit", lambda: "abc")
    assert study.software("odd") == {**study.software(), "rv-plug": "0.1"}
    assert study.software()["git"] == "abc"
    monkeypatch.setattr(study, "commit", lambda: "")
    assert "git" not in study.software()


def test_the_commit_is_known_in_a_checkout_only(tmp_path, monkeypatch):
    study.commit.cache_clear()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x"]
    monkeypatch.setattr(study, "__file__", str(tmp_path / "study" / "__init__.py"))
    assert study.commit() == ""
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    study.commit.cache_clear()
    assert re.fullmatch("[0-9a-f]{12}", study.commit())
    (tmp_path / "new.py").touch()
    study.commit.cache_clear()
    assert study.commit().endswith(" with uncommitted changes")
    study.commit.cache_clear()
