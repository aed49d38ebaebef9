"""A table is about one set of data and one version of a method's code, whatever was run before."""

from __future__ import annotations

import importlib
import linecache
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from factory import Silent, make_entry, make_spec
from without_ray import without_ray

from analysis.one_study.analyse import analyse
from study.check import resolve
from study.folder import Folder
from study.ledger import Ledger
from study.record import analyse_folder, study_record
from study.run.whole import _run_trials
from study.state import Study
from study.status import status
from trainables import LEARNERS
from trainables.engine.assignment import Assignment
from trainables.engine.plugin_code import code_digest
from trainables.errors import InputError

QUICK = {"hidden": [8], "epochs": 1, "batch_size": 32}
STUDY = {
    "study.stream": "split_mnist",
    "study.reference": "finetune",
    "methods": {"finetune": {"fixed": QUICK}},
    "tune": {"trials": 2, "seeds": [0], "sampler": "random"},
    "resources": {"seeds_per_stack": 1},
}


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    without_ray(monkeypatch)


def mnist(root: Path, seed: int) -> Path:
    """Write a data set under MNIST's name: noise around an image for each class."""
    draws = np.random.default_rng(seed)
    means = draws.integers(0, 200, (10, 28, 28))
    root.mkdir()
    with h5py.File(root / "mnist.h5", "w") as file:
        for split, each in (("train", 40), ("test", 10)):
            labels = np.tile(np.arange(10, dtype=np.uint8), each)
            noise = draws.integers(0, 56, (len(labels), 28, 28))
            file[f"{split}/images"] = (means[labels] + noise).astype(np.uint8)
            file[f"{split}/labels"] = labels
    return root


def run(place, root, changes=None):
    """Run what a study lacks; return what it said."""
    spec, console = make_spec({**STUDY, **(changes or {})}), Silent()
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(console.say, repair=True)
        folder.admit(spec, "x", ledger)
        study = Study(resolve(spec, "x"), folder, ledger)
        _run_trials(study, root, console, SimpleNamespace(poke=lambda running: None))
        analysis = analyse(study_record(study))
    return analysis, console.said


def scores(analysis):
    return analysis.record.methods[0].scores


def test_results_on_other_data_are_not_mixed_and_are_not_lost(tmp_path):
    first, second = mnist(tmp_path / "a", 1), mnist(tmp_path / "b", 2)
    place = tmp_path / "small"
    on_first, said = run(place, first, {"confirm.seeds": [100, 101, 102]})
    assert not any("other data" in line for line in said)
    entries = {e.folder for e in Ledger(place / "ledger").entries()}
    more = {"confirm.seeds": [100, 101, 102, 103, 104]}
    on_second, said = run(place, second, more)
    (told,) = (line for line in said if "other data" in line)
    assert told.startswith(
        f"{len(entries)} trials in the ledger learnt other data than the current ones"
    )
    assert sorted(scores(on_second)) == [100, 101, 102, 103, 104]
    alone, _ = run(tmp_path / "alone", second, more)
    assert scores(on_second) == scores(alone)
    assert entries < {e.folder for e in Ledger(place / "ledger").entries()}
    shown = analyse_folder(place)
    assert scores(shown) == scores(on_second)
    assert any("other data" in note for note in shown.notes)
    # the first data again: nothing has to run, and the first table is back
    again, said = run(place, first, {"confirm.seeds": [100, 101, 102]})
    assert "all trials of finetune are in the ledger" in said
    assert scores(again) == scores(on_first)


def test_a_sweep_on_other_data_starts_anew(tmp_path):
    place = tmp_path / "small"
    run(place, mnist(tmp_path / "a", 1))
    assert [row["tuned"] for row in status(place)] == ["2/2"]
    other = mnist(tmp_path / "b", 2)
    run(place, other)
    tuned = Ledger(place / "ledger").entries("tune")
    assert sorted(e.number for e in tuned) == [0, 0, 1, 1]
    assert len({e.data for e in tuned}) == 2
    assert [row["tuned"] for row in status(place)] == ["2/2"]


def test_data_that_are_gone_are_missed_though_nothing_has_to_run(tmp_path):
    root = mnist(tmp_path / "a", 1)
    run(tmp_path / "small", root)
    (root / "mnist.h5").unlink()
    (root / "mnist.h5").write_text("no data")
    with pytest.raises(InputError, match=r"mnist.h5 is damaged"):
        run(tmp_path / "small", root)


# -- the code of plug-ins

PLUG_IN = '''
"""A method."""
from trainables.methods.finetune import Finetune

class Odd(Finetune):
    """Learns {speed}."""

    name = "odd"
    reference = "made up"
    {body}
'''


def plugged(place, monkeypatch, body, speed="slowly"):
    """Import a plug-in's module as it is now."""
    (place / "odd_one.py").write_text(PLUG_IN.format(body=body, speed=speed), encoding="utf-8")
    monkeypatch.syspath_prepend(place)
    sys.modules.pop("odd_one", None)
    importlib.invalidate_caches()
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        kind = importlib.import_module("odd_one").Odd
    finally:
        sys.dont_write_bytecode = before
    monkeypatch.setitem(LEARNERS, "odd", kind)
    return kind


def test_the_code_of_our_own_learners_is_known_by_their_versions():
    assert {code_digest(kind) for kind in LEARNERS.values()} == {""}


def test_the_code_of_a_plug_in_counts_and_what_is_said_of_it_does_not(tmp_path, monkeypatch):
    first = code_digest(plugged(tmp_path, monkeypatch, "pass"))
    spoken = code_digest(plugged(tmp_path, monkeypatch, "pass  # really", "fast"))
    other = code_digest(plugged(tmp_path, monkeypatch, "held = 3"))
    assert first
    assert first == spoken
    assert other not in (first, "")


def test_the_code_that_names_a_partial_function_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for width in (8, 8, 16):
        (tmp_path / "odd_part.py").write_text(
            f"from functools import partial\nnet = partial(dict, width={width})\n"
        )
        sys.modules.pop("odd_part", None)
        linecache.checkcache()
        importlib.invalidate_caches()
        found.append(code_digest(importlib.import_module("odd_part").net, "odd_part"))
    assert found[0] == found[1]
    assert len({"", *found}) == 3


def test_the_code_of_a_users_network_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for body in ("return None", "return None  # yet", "return 3"):
        (tmp_path / "odd_net.py").write_text(f"def net(shape, outputs):\n    {body}\n")
        sys.modules.pop("odd_net", None)
        linecache.checkcache()
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        entry = make_entry(make_spec({"methods": {"replay": {}}}), "replay")
        own = {**entry.work, "configuration": {"network": "odd_net:net"}}
        found.append(Assignment(**own).versions())
    assert found[0] == found[1] != found[2]
    assert "network code" not in entry.versions


def test_a_plug_in_that_was_changed_between_two_runs_runs_again(tmp_path, monkeypatch):
    odd = {"methods": {"odd": {"fixed": QUICK}}, "study.reference": "odd", "tune.trials": 0}
    digits = {**odd, "study.stream": "split_digits", "confirm.seeds": [100, 101]}
    plugged(tmp_path, monkeypatch, "pass")
    before, _ = run(tmp_path / "small", tmp_path, digits)
    plugged(tmp_path, monkeypatch, "pass  # a remark")
    _, said = run(tmp_path / "small", tmp_path, digits)
    assert "all trials of odd are in the ledger" in said
    lazy = "def observe(self, batch):\n        return super().observe(batch).mul(0)\n"
    plugged(tmp_path, monkeypatch, lazy)
    after, said = run(tmp_path / "small", tmp_path, {**digits, "confirm.seeds": [100, 101, 102]})
    assert "all trials of odd are in the ledger" not in said
    assert sorted(scores(after)) == [100, 101, 102]
    assert len(Ledger(tmp_path / "small" / "ledger").entries()) > len(scores(before))
    assert any("odd" in note and "code" in note for note in after.notes)


def test_a_learner_that_is_no_longer_there_does_not_stop_the_report(tmp_path, monkeypatch):
    mine = {"fixed": QUICK, "learner": "odd"}
    digits = {"study.stream": "split_digits", "tune.trials": 0, "confirm.seeds": [100, 101]}
    with monkeypatch.context() as patch:
        plugged(tmp_path, patch, "pass")
        methods = {"mine": mine, "finetune": {"fixed": QUICK}}
        run(tmp_path / "small", tmp_path, {**digits, "methods": methods})
    place = tmp_path / "small" / "ledger" / "confirm"
    (place / "mine").rename(place / "moved")
    ours = {"mine": {"fixed": QUICK, "learner": "finetune"}, "finetune": {"fixed": QUICK}}
    run(tmp_path / "other", tmp_path, {**digits, "methods": ours})
    (place / "moved").rename(tmp_path / "other" / "ledger" / "confirm" / "mine_before")
    target = tmp_path / "other" / "ledger" / "confirm"
    for entry in (target / "mine_before").iterdir():
        entry.rename(target / "mine" / entry.name)
    (target / "mine_before").rmdir()
    assert sorted(analyse_folder(tmp_path / "other").record.methods[0].scores) == [100, 101]
