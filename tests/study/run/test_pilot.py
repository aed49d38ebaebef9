"""How many seeds to train at once: pilots as trials of a study, and what is made of them."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest
import torch
from factory import HELD_OUT, Silent, Tune, admit, make_design, make_method, make_run
from without_ray import Local, without_ray

from study.check import resolve
from study.data import StudyData
from study.folder import Folder, StackSize
from study.ledger import Ledger
from study.losses import MOST_LOSSES
from study.run.cluster import Cluster
from study.run.context import DEFAULT_STACK
from study.run.driver import Driver
from study.run.pilot import pilot_work, pilots, stack_size, stack_sizes, trained_alike
from study.run.schedule import Node
from study.run.whole import _context, _run_trials, sources
from study.state import Study
from trainables import LEARNERS, find_learner
from trainables.engine import pilot as timing
from trainables.engine.pilot import Pilot
from trainables.methods.replay import Replay
from trainables.streams.datasets import load

UNTIMED = DEFAULT_STACK["cpu"]
H100, H200 = "NVIDIA H100 80GB HBM3", "NVIDIA H200"


def quick(name="finetune", changes=None, **fixed):
    section = {"fixed": {"hidden": [8], **fixed}}
    return make_method({f"methods.{name}": section, **(changes or {})}, name)


# -- what a pilot times


@pytest.mark.parametrize(
    ("seeds", "limit", "worth"),
    [
        (1, None, [1]),
        (2, None, [1, 2]),
        (3, None, [1, 2, 3]),
        (10, None, [1, 2, 5, 10]),
        (12, None, [1, 2, 5, 10, 12]),
        (10, 1, [1]),
        (10, 4, [1, 2, 4]),
        (4, 100, [1, 2, 4]),
        (1000, None, [1, 2, 5, 10, 20, 30, 50, 100, 1000]),
    ],
)
@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_sizes_worth_timing(seeds, limit, worth, phase, monkeypatch):
    monkeypatch.setattr(find_learner("finetune"), "max_stack", limit)
    first = {"tune": 0, "confirm": 5000}
    counts = dict.fromkeys(first, 1) | {phase: seeds}
    changes = {f"{p}.seeds": {"first": first[p], "count": counts[p]} for p in first}
    assert stack_sizes(*quick(changes=changes)) == worth


def test_a_given_size_is_the_only_one_worth_timing():
    assert stack_sizes(*quick(changes={"resources.seeds_per_stack": 7})) == [7]


def test_a_pilot_times_the_published_defaults():
    design, method = quick(changes={"confirm.seeds": {"first": 100, "count": 7}})
    work = pilot_work(design, method)
    assert (work.phase, work.tasks, work.stream) == ("tune", None, "split_digits")
    assert work.configuration == method.configuration({})


FIRST = {"tune.protocol": "first_tasks", "tune.tasks": 1}


@pytest.mark.parametrize(
    ("changes", "tuned_on"), [({}, "split_digits"), (HELD_OUT, "halves"), (FIRST, "split_digits")]
)
def test_the_stream_of_the_study_is_timed_and_that_of_the_sweep_when_asked_for(
    changes, tuned_on, halves
):
    design, method = quick(changes=changes)
    timed = {phase: pilot_work(design, method, phase) for phase in ("tune", "confirm")}
    assert timed["confirm"] == pilot_work(design, method)
    assert timed["confirm"].stream == "split_digits"
    assert timed["tune"].stream == tuned_on
    assert {(work.phase, work.tasks) for work in timed.values()} == {("tune", None)}


def test_within_task_evaluations_are_not_timed():
    design, method = quick(changes={"confirm.evaluate_every": 10})
    assert pilot_work(design, method).evaluate_every == 0


# -- which methods share a pilot


def alike(methods, changes=None):
    """Return the names of the methods of each pilot."""
    design = make_design({"methods": methods, "study.reference": "base", **(changes or {})})
    return [[m.name for m in group] for group in trained_alike(design, design.methods.values())]


BASE = {"learner": "replay", "fixed": {"hidden": [8]}}


@pytest.mark.parametrize(
    "other",
    [
        BASE,
        {"learner": "replay", "fixed": {"hidden": [8], "lr": 0.1, "epochs": 3}},
        {**BASE, "resources": {"cpus": 1}},  # as the study has it
    ],
)
def test_methods_that_train_alike_share_a_pilot(other):
    assert alike({"base": BASE, "other": other}) == [["base", "other"]]


@pytest.mark.parametrize(
    "other",
    [
        {"learner": "finetune", "fixed": {"hidden": [8]}},
        {"learner": "replay", "fixed": {"hidden": [9]}},
        {"learner": "replay", "fixed": {"hidden": [8, 8]}},
        {"learner": "replay", "fixed": {"hidden": [8], "layer_norm": True}},
        {"learner": "replay", "fixed": {"hidden": [8], "batch_size": 17}},
        {"learner": "replay", "fixed": {"hidden": [8], "memory_total": 50}},
        {**BASE, "resources": {"cpus": 2}},
        {**BASE, "resources": {"gpus": 0.5}},
    ],
    ids=str,
)
def test_methods_that_train_otherwise_have_pilots_of_their_own(other):
    assert alike({"base": BASE, "other": other}) == [["base"], ["other"]]


def test_methods_between_others_find_the_pilot_of_their_kind():
    other = {"learner": "finetune"}
    methods = {"base": BASE, "a": other, "b": BASE, "c": {**BASE, "resources": {"cpus": 2}}}
    assert alike({**methods, "d": other}) == [["base", "b"], ["a", "d"], ["c"]]


def test_a_learner_that_cannot_be_built_here_has_a_pilot_of_its_own(monkeypatch):
    class Odd(Replay):
        name = "odd"

        def __init__(self, *given):
            raise ValueError("too hot")

    monkeypatch.setitem(LEARNERS, "odd", Odd)
    odd = {"learner": "odd", "fixed": {"hidden": [8]}}
    assert alike({"base": BASE, "x": odd, "y": odd}) == [["base"], ["x"], ["y"]]


# -- the pilots of a run

BOTH = {"finetune": Pilot({1: 1.0, 2: 3.0, 5: 2.0}), "replay": Pilot({1: 1.0, 2: 0.5})}


def a_run(place, changes=None, models=("cpu",), slots=2):
    """A run of a small study on devices of some models."""
    _, spec, ledger = admit(place, changes)
    run = make_run(spec, ledger, slots)
    run.stacks.given, run.stacks.models = spec.resources.seeds_per_stack, {*models}
    return run


def asking(run):
    """What asks for the pilots of a run."""
    return Tune(Driver(run, [*pilots(run)]))


def methods_of(tune, trial):
    """Return the methods of a pilot."""
    return [method.name for method in tune.driver.trials[trial].source.methods]


def end(tune, trial, pilot):
    result = {"done": True, "score": math.nan, "pilot": pilot.encoded()}
    tune.driver.on_trial_complete(trial, result)


def piloted(run, found):
    """End the pilots of a run with what is found for their first method; return their methods."""
    tune, timed = asking(run), []
    while (trial := tune.ask()) is not None:
        timed.append(methods_of(tune, trial))
        end(tune, trial, found[timed[-1][0]])
    assert tune.driver.exhausted
    return timed


def settings_of(run):
    return {name: run.stacks.settings(name) for name in run.study.methods}


def on_cpu(size):
    return {"stack": UNTIMED, "stacks": {"cpu": size}}


def given(size):
    return {"stack": size, "stacks": {}}


ONE_BY_ONE = given(1)


def test_what_a_pilot_finds_is_kept_and_not_timed_again(tmp_path):
    run = a_run(tmp_path)
    assert piloted(run, BOTH) == [["finetune"], ["replay"]]
    assert settings_of(run) == {"finetune": on_cpu(2), "replay": on_cpu(1)}
    kept = StackSize(size=2, device="cpu", seed_steps_per_second=BOTH["finetune"].rates)
    assert Folder.open(tmp_path)[0].facts.stacks["finetune"] == kept
    again = a_run(tmp_path)
    assert piloted(again, {}) == []
    assert settings_of(again) == settings_of(run)
    assert run.console.said == again.console.said == []


def test_what_is_kept_has_the_model_of_the_device_and_the_memory_of_the_size(tmp_path):
    found = Pilot({1: 1.0, 2: 3.0}, peak_bytes={1: 500, 2: 700}, device=H100)
    expected = StackSize(size=2, device=H100, seed_steps_per_second=found.rates, peak_bytes=700)
    assert stack_size(found) == expected
    run = a_run(tmp_path, models=[H100])
    piloted(run, {"finetune": found, "replay": found})
    assert Folder.open(tmp_path)[0].facts.stacks == {"finetune": expected, "replay": expected}
    assert settings_of(run)["replay"] == {"stack": UNTIMED, "stacks": {H100: 2}}


def test_a_given_size_is_taken_without_a_pilot(tmp_path):
    run = a_run(tmp_path, {"resources.seeds_per_stack": 3})
    assert piloted(run, {}) == []
    assert settings_of(run) == {"finetune": given(3), "replay": given(3)}
    assert run.study.folder.facts.stacks == {}


def test_a_given_size_comes_before_what_a_pilot_has_found(tmp_path):
    piloted(a_run(tmp_path), BOTH)
    run = a_run(tmp_path, {"resources.seeds_per_stack": 3})
    assert piloted(run, {}) == []
    assert settings_of(run) == {"finetune": given(3), "replay": given(3)}


def test_a_method_whose_pilot_failed_runs_one_seed_at_a_time_and_nothing_is_kept(tmp_path):
    run = a_run(tmp_path)
    piloted(run, {**BOTH, "replay": Pilot({}, "ValueError: too hot")})
    assert settings_of(run) == {"finetune": on_cpu(2), "replay": ONE_BY_ONE}
    assert run.console.said == ["methods.replay: its pilot failed (ValueError: too hot)"]
    assert list(run.study.folder.facts.stacks) == ["finetune"]
    assert piloted(a_run(tmp_path), BOTH) == [["replay"]]


def test_a_pilot_that_ended_with_a_size_too_large_keeps_what_it_timed(tmp_path, monkeypatch):
    def train(size):
        if size > 1:
            raise torch.OutOfMemoryError("full")
        return 0.1, 0.0, 3.0

    monkeypatch.setattr(timing, "Course", lambda work, seeds, data, device: len(seeds))
    monkeypatch.setattr(timing, "_time_training", train)
    run = a_run(tmp_path)
    found = timing.run_pilot(None, [1, 2, 5], {})
    piloted(run, dict.fromkeys(BOTH, found))
    assert settings_of(run) == {"finetune": on_cpu(1), "replay": on_cpu(1)}
    assert run.study.folder.facts.stacks["replay"].size == 1
    assert run.console.said == []


@pytest.mark.parametrize(("before", "now"), [("cpu", H100), (H100, H200), (H100, "cpu")])
def test_a_size_timed_on_another_model_of_a_device_is_timed_anew(before, now, tmp_path):
    first = a_run(tmp_path, models=[before])
    piloted(first, dict.fromkeys(BOTH, Pilot({1: 1.0, 2: 3.0}, device=before)))
    run = a_run(tmp_path, models=[now])
    old = {"stack": UNTIMED, "stacks": {before: 2}}  # for a machine that has that model
    assert settings_of(run) == {"finetune": old, "replay": old}
    assert run.stacks.size("replay") == UNTIMED
    found = Pilot({1: 1.0, 5: 9.0}, device=now)
    assert piloted(run, dict.fromkeys(BOTH, found)) == [["finetune"], ["replay"]]
    assert settings_of(run)["replay"] == {"stack": UNTIMED, "stacks": {now: 5}}
    assert Folder.open(tmp_path)[0].facts.stacks["replay"].device == now


def test_a_size_timed_on_one_of_the_models_of_a_cluster_is_known(tmp_path):
    piloted(a_run(tmp_path, models=[H100]), dict.fromkeys(BOTH, Pilot({2: 1.0}, device=H100)))
    run = a_run(tmp_path, models=[H100, "cpu"])
    assert piloted(run, {}) == []
    # on the other devices, the default
    assert settings_of(run)["replay"] == {"stack": UNTIMED, "stacks": {H100: 2}}


SHARED = {"methods": {"replay": {}, "slow": {"learner": "replay", "fixed": {"lr": 1e-5}}}}


def test_the_answer_of_a_pilot_is_that_of_all_methods_that_train_alike(tmp_path):
    run = a_run(tmp_path, SHARED)
    assert piloted(run, BOTH) == [["replay", "slow"]]
    assert settings_of(run) == {"replay": on_cpu(1), "slow": on_cpu(1)}
    assert sorted(run.study.folder.facts.stacks) == ["replay", "slow"]


def test_a_failed_pilot_fails_for_all_methods_that_train_alike(tmp_path):
    run = a_run(tmp_path, SHARED)
    piloted(run, {"replay": Pilot({}, "ValueError: too hot")})
    assert settings_of(run) == {"replay": ONE_BY_ONE, "slow": ONE_BY_ONE}
    told = "its pilot failed (ValueError: too hot)"
    assert run.console.said == [f"methods.replay: {told}", f"methods.slow: {told}"]


def test_a_trial_on_a_gpu_has_larger_stacks_until_it_is_known_better(tmp_path):
    gpu = {"resources": {"gpus": 0.5}}
    run = a_run(tmp_path, {"methods": {"finetune": {}, "replay": gpu}}, models=["cpu", H100])
    assert settings_of(run) == {"finetune": given(UNTIMED), "replay": given(DEFAULT_STACK["gpu"])}
    assert run.stacks.size("replay") == DEFAULT_STACK["gpu"] > UNTIMED
    run.stacks.without_pilot.add("replay")
    assert settings_of(run)["replay"] == ONE_BY_ONE


def test_a_method_that_joins_those_that_are_known_is_timed_alone(tmp_path):
    piloted(a_run(tmp_path, {"methods": {"replay": {}}}), BOTH)
    assert piloted(a_run(tmp_path, SHARED), {"slow": Pilot({2: 1.0})}) == [["slow"]]


def test_all_sweeps_of_a_method_have_the_size_of_one_pilot(tmp_path):
    run = a_run(tmp_path, {"tune.repeats": 2})
    assert sorted(run.study.methods) == ["finetune", "finetune@2", "replay", "replay@2"]
    assert piloted(run, BOTH) == [["finetune"], ["replay"]]
    assert settings_of(run)["finetune@2"] == on_cpu(2)
    failing = a_run(tmp_path / "failing", {"tune.repeats": 2})
    piloted(failing, dict.fromkeys(BOTH, Pilot({}, "ValueError: too hot")))
    assert settings_of(failing)["finetune@2"] == ONE_BY_ONE


def test_the_likely_size_of_a_trial_is_that_of_a_known_device(tmp_path):
    run = a_run(tmp_path)
    assert run.stacks.size("finetune") == UNTIMED
    piloted(run, {**BOTH, "replay": Pilot({}, "ValueError: too hot")})
    assert (run.stacks.size("finetune"), run.stacks.size("replay")) == (2, 1)
    run.stacks.given = 7
    assert run.stacks.size("replay") == 7


# -- a pilot as a trial


def test_a_worker_is_told_the_sizes_the_resources_and_data_without_a_test_set(tmp_path):
    run = a_run(tmp_path, {"methods.replay.resources": {"cpus": 2}, "confirm.seeds.count": 6})
    run.data["pilot"] = "the training data"
    tune = asking(run)
    trial = tune.ask()
    asked = tune.asked[trial]
    assert asked["work"]["learner"] == "finetune"
    assert asked["work"]["phase"] == "tune"
    assert asked["pilot"] == stack_sizes(run.study.design, run.study.methods["finetune"])
    assert (asked["data"], asked["cpus"], asked["gpus"]) == (["the training data"], 1, 0)
    assert asked["label"] == "pilot of finetune"
    assert tune.ask() is None  # one CPU is left
    end(tune, trial, BOTH["finetune"])
    asked = tune.asked[tune.ask()]
    assert (asked["label"], asked["cpus"]) == ("pilot of replay", 2)


def test_pilots_are_given_no_test_set(tmp_path):
    _, spec, ledger = admit(tmp_path)
    design = resolve(spec, "x")
    data = StudyData.load(design, tmp_path).prepared()
    cluster = Cluster(lambda: [Node(2)], {"cpu"}, share=lambda shared: shared)
    run = _context(Study(design, Folder.open(tmp_path)[0], ledger), Silent(), cluster, data)
    assert [*run.data["pilot"]] == ["train"]
    assert [*run.data["tune"]] == ["train"]
    assert sorted(run.data["confirm"]) == ["test", "train"]


def test_pilots_come_before_sweeps_and_free_slots_do_not_wait_for_them(tmp_path):
    run = a_run(tmp_path, slots=3)
    tune = Tune(Driver(run, sources(run)))
    started = [tune.asked[tune.ask()] for _ in range(3)]
    assert [asked["label"] for asked in started[:2]] == ["pilot of finetune", "pilot of replay"]
    assert "pilot" not in started[2]
    assert (started[2]["stack"], started[2]["stacks"]) == (UNTIMED, {})
    for trial in list(tune.driver.trials)[:2]:
        end(tune, trial, BOTH[methods_of(tune, trial)[0]])
    later = [tune.asked[tune.ask()] for _ in range(2)]
    assert {asked["work"]["learner"]: asked["stacks"] for asked in later} == {
        "finetune": {"cpu": 2},
        "replay": {"cpu": 1},
    }


def test_an_interrupted_pilot_leaves_no_record_and_begins_anew(tmp_path):
    tune = asking(a_run(tmp_path))
    trial = tune.ask()
    assert methods_of(tune, trial) == ["finetune"]
    assert Ledger(tmp_path / "ledger").unfinished() == []
    again = asking(a_run(tmp_path))
    assert tune.asked[trial] == again.asked[again.ask()]


KILLED = {"kind": "worker", "reason": "it was killed", "tasks": 0}


@pytest.mark.parametrize("kind", ["worker", "node", "memory"])
def test_a_pilot_that_loses_its_worker_again_and_again_has_failed(kind, tmp_path):
    run = a_run(tmp_path, {"methods": {"replay": {}}})
    tune = asking(run)
    tries = 0
    while trial := tune.ask():
        assert settings_of(run) == {"replay": given(UNTIMED)}
        tune.driver.handle_lost_worker(trial, {**KILLED, "kind": kind})
        tries += 1
    assert tune.driver.exhausted
    assert tries <= MOST_LOSSES
    assert settings_of(run) == {"replay": ONE_BY_ONE}
    *lost, failed = run.console.said
    assert len(lost) == tries - 1
    assert all(text.startswith("pilot of replay: it was killed; ") for text in lost)
    assert re.fullmatch(r"methods\.replay: its pilot failed \(lost.*: it was killed\)", failed)
    assert run.study.folder.facts.stacks == {}
    assert (run.study.ledger.entries(), run.study.ledger.unfinished()) == ([], [])
    assert not any((tmp_path / "ledger").rglob("*.json"))


def test_a_pilot_that_loses_its_worker_once_is_timed_by_another(tmp_path):
    run = a_run(tmp_path)
    tune = asking(run)
    first = tune.ask()
    tune.driver.handle_lost_worker(first, KILLED)
    again = tune.ask()
    assert tune.asked[again] == tune.asked[first]
    end(tune, again, BOTH["finetune"])
    assert settings_of(run)["finetune"] == on_cpu(2)


def test_a_pilot_that_fails_in_its_worker_has_failed(tmp_path):
    run = a_run(tmp_path, {"methods": {"replay": {}}})
    tune = asking(run)
    result = {"done": True, "score": math.nan, "failure": "Traceback", "reason": "OSError: full"}
    tune.driver.on_trial_complete(tune.ask(), result)
    assert settings_of(run) == {"replay": ONE_BY_ONE}
    assert run.console.said == ["methods.replay: its pilot failed (OSError: full)"]


def silent(place, minutes):
    """A pilot that has begun and does not end."""
    run = a_run(place, {"methods": {"replay": {}}, "resources.task_minutes": minutes})
    tune = asking(run)
    trial = tune.ask()
    running = tune.driver.trials[trial]
    running.actor, running.since = "worker", 1000.0
    return run, tune, trial


def test_a_pilot_that_does_not_end_is_spoken_of(tmp_path):
    run, tune, _ = silent(tmp_path, None)
    for now in (1599.0, 1601.0, 1700.0):
        tune.driver.check_silence(now)
    (told,) = run.console.said
    assert told.startswith("pilot of replay: no task has ended for 10 min.")


def test_a_pilot_that_exceeds_the_time_limit_of_a_task_is_stopped(tmp_path, monkeypatch):
    stopped = []
    monkeypatch.setattr("study.run.driver.ray.kill", stopped.append)
    run, tune, trial = silent(tmp_path, 2.0)
    tune.driver.check_silence(1119.0)
    assert stopped == []
    tune.driver.check_silence(1121.0)
    assert stopped == ["worker"]
    tune.driver.on_trial_complete(trial, error=True)
    reason = "lost: no task ended in 2 minutes (resources.task_minutes)"
    assert run.console.said == [f"methods.replay: its pilot failed ({reason})"]
    assert settings_of(run) == {"replay": ONE_BY_ONE}
    assert tune.ask() is None


def whole_run(place, stack):
    """Run a study here; return its folder, and the values of its trials."""
    methods = {"replay": {"fixed": {"hidden": [8]}}}
    changes = {"methods": methods, "tune.trials": 1, "confirm.seeds.count": 3}
    folder, spec, ledger = admit(place, {**changes, "resources.seeds_per_stack": stack})
    study, mirror = Study(resolve(spec, "x"), folder, ledger), SimpleNamespace(poke=lambda _: None)
    _run_trials(study, place, Silent(), mirror)
    assert study.complete
    return folder, [(e.work, e.values) for e in ledger.entries()]


def test_pilots_take_part_in_whole_runs_and_change_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.002)
    without_ray(monkeypatch)
    folder, values = whole_run(tmp_path / "timed", "auto")
    kept = folder.facts.stacks["replay"]
    assert (kept.device, kept.peak_bytes) == ("cpu", None)
    assert sorted(kept.seed_steps_per_second) == [1, 2, 3]
    folder, of_given_size = whole_run(tmp_path / "given", 1)
    assert folder.facts.stacks == {}
    assert values == of_given_size


def test_a_worker_times_what_a_run_asks_it_for(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.002)
    run = a_run(tmp_path, {"methods": {"replay": {"fixed": {"hidden": [8]}}}})
    run.data["pilot"] = {"train": load("digits", tmp_path)["train"]}
    tune = asking(run)
    trial = tune.ask()
    tune.driver.on_trial_complete(trial, Local(tune.asked[trial]).step())
    kept = run.study.folder.facts.stacks["replay"]
    assert sorted(kept.seed_steps_per_second) == [1, 2, 4]
    assert kept.size in (1, 2, 4)
    assert run.console.said == []
