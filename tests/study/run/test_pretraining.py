"""A first task that trials have in common is learnt once, and changes nothing but time."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import founded
import numpy as np
import pytest
import torch
from factory import Run, Silent, Tune, make_run, make_spec, make_study
from founded import ENTRY_POINTS, SPACE, Founded
from plugged import describe, on_path
from ray.tune.search import Searcher
from runs import command, sets
from without_ray import fit_here, without_ray

from search_spaces import SPACES
from study.changes import changes
from study.check import resolve
from study.first_tasks import first_tasks_of_fresh_seeds, first_tasks_of_sweeps
from study.folder import Folder
from study.ledger import PRETRAINING, Ledger
from study.plan import plan
from study.record import study_record
from study.run import whole
from study.run.pretraining import PretrainingTrials
from study.run.whole import _run_trials
from study.spec import Spec
from study.state import Study
from study.status import status
from trainables import LEARNERS, InputError
from trainables.engine.assignment import Assignment, foundation_key, pretraining_of
from trainables.engine.course import Course
from trainables.engine.pilot import Pilot
from trainables.streams import Stream, datasets

QUICK = {"hidden": [16], "epochs": 1, "batch_size": 16}
STUDY = {
    "methods": {
        "founded": {"fixed": QUICK},
        "twice": {"learner": "founded", "fixed": {**QUICK, "epochs": 2}},
    },
    "study.reference": "founded",
    "stream": {"samples_per_task": 80},
    "tune.trials": 3,
    "confirm.seeds": {"first": 100, "count": 3},
    "resources": {"seeds_per_stack": 1},
}


class Alone(Founded):
    """The same, sharing nothing."""

    @classmethod
    def pretraining(cls, config):
        return None


class Faulty(Founded):
    """The same, but what it leaves behind cannot be kept."""

    def foundation(self):
        return {"weight": torch.zeros(len(self.seeds) + 1, 2)}


class Hot(Founded):
    """The same, but the second of the tuning seeds diverges in the first task."""

    def pretrain(self, task):
        super().pretrain(task)
        self.losses += torch.tensor([float("nan") if seed == 1 else 0.0 for seed in self.seeds])


@pytest.fixture(scope="module", autouse=True)
def _here():
    """Trials run in this process, one after the other; slots for two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LEARNERS, "founded", Founded)
        patch.setitem(SPACES, "founded", SPACE)
        without_ray(patch)
        yield


@dataclasses.dataclass
class Ran:
    """A study that has run, maybe not for the first time."""

    place: Path
    spec: Spec
    said: list[str]

    @property
    def ledger(self):
        return Ledger(self.place / "ledger")

    def pretrainings(self, phase):
        return self.ledger.entries(phase, PRETRAINING)

    def own(self, phase):
        """Of each method, how often a seed learnt the first task itself, and how often not."""
        found = {}
        for entry in self.ledger.entries(phase):
            if entry.work["learner"] == "founded":
                own = self.ledger.outcome(entry).extras["own: itself"][:, 0].tolist()
                found[entry.method] = sorted([*found.get(entry.method, []), *own])
        return found


def run(place, changes=None):
    spec, console = make_spec({**STUDY, **(changes or {})}), Silent()
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(console.say, repair=True)
        folder.admit(spec, "x", ledger)
        study = Study(resolve(spec, "x"), folder, ledger)
        _run_trials(study, Path(), console, SimpleNamespace(poke=lambda running: None))
        assert study.complete
    return Ran(place, spec, console.said)


def sums(place):
    return {path: path.read_bytes() for path in sorted(place.glob("ledger/*/*/*/*"))}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return run(tmp_path_factory.mktemp("once") / "small")


@pytest.fixture
def done(once, tmp_path):
    """A study that has run, in a folder of the test's own."""
    return dataclasses.replace(once, place=shutil.copytree(once.place, tmp_path / "small"))


# -- a whole study


def test_trials_of_a_sweep_and_methods_share_one_pretraining(done):
    found = done.pretrainings("tune")[:2]
    assert [entry.seeds for entry in found] == [(0,), (1,)]
    assert {entry.state for entry in found} == {"complete"}
    assert done.own("tune") == {"founded": [0.0] * 6, "twice": [0.0] * 6}


def test_the_confirmation_shares_another(done):
    found = done.pretrainings("confirm")
    assert [entry.seeds for entry in found] == [(100,), (101,), (102,)]  # a stack each
    assert done.own("confirm") == {"founded": [0.0] * 3, "twice": [0.0] * 3}
    assert {e.work["configuration"]["pretrain_epochs"] for e in found} == {2}
    assert {e.work["tasks"] for e in found} == {1}


def test_the_recheck_shares_a_third_on_the_data_of_the_sweep(done):
    found = done.pretrainings("tune")[2:]
    assert [entry.seeds for entry in found] == [(100,), (101,), (102,)]
    assert done.own("recheck") == {"founded": [0.0] * 3, "twice": [0.0] * 3}


def test_no_trial_begins_before_the_first_task_that_it_shares(done):
    ended = {entry.folder: entry.ended for entry in done.ledger.entries()}
    for phase, method in (("tune", "tune"), ("confirm", "confirm"), ("tune", "recheck")):
        seeds = {seed for e in done.ledger.entries(method) for seed in e.seeds}
        last = max(e.ended for e in done.pretrainings(phase) if {*e.seeds} <= seeds)
        own = [when for folder, when in ended.items() if folder.startswith(method)]
        assert last < min(own)


def test_results_are_those_of_trials_that_learn_the_first_task_themselves(
    done, tmp_path, monkeypatch
):
    monkeypatch.setitem(LEARNERS, "founded", Alone)
    alone = run(tmp_path / "alone")
    assert alone.own("tune") == {"founded": [1.0] * 6, "twice": [1.0] * 6}
    assert alone.ledger.entries(method=PRETRAINING) == []
    mine, theirs = done.ledger.entries(), alone.ledger.entries()
    # the code of a learner that is not ours is a part of its key, and this one's is another
    work = [(entry.method, entry.number, entry.work) for entry in mine]
    assert work == [(entry.method, entry.number, entry.work) for entry in theirs]
    for entry, other in zip(mine, theirs, strict=True):
        assert_same(done.ledger.outcome(entry), alone.ledger.outcome(other))
    assert [entry.values for entry in mine] == [entry.values for entry in theirs]


def assert_same(mine, theirs):
    for name in ("seeds", "finite", "samples", "trained"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    np.testing.assert_array_equal(mine.counts["main"], theirs.counts["main"])
    np.testing.assert_array_equal(mine.initial["main"], theirs.initial["main"])
    assert {k: v.tolist() for k, v in mine.footprint.items()} == {
        k: v.tolist() for k, v in theirs.footprint.items()
    }


def test_what_iterates_over_trials_does_not_see_it(done):
    study = Study.open(done.place)
    assert {entry.method for entry in study.ledger.entries()} == set(study.methods)
    assert changes(study) == []
    record = study_record(study)
    assert [method.method for method in record.methods] == list(study.methods)
    assert record.planned_comparisons == record.family == study.design.comparisons
    assert [row["tuned"] for row in status(done.place)] == ["3/3"] * 2


def test_how_far_a_study_is_tells_of_first_tasks_under_way(done):
    ledger = done.ledger
    entry = ledger.entries("confirm", PRETRAINING)[0]
    assert [row["method"] for row in status(done.place)] == ["founded", "twice"]
    ledger.begin(entry)
    *_, last = status(done.place)
    assert (last["method"], last["unfinished"]) == ("first tasks that trials share", 1)
    ledger.abandon(entry)


def test_a_pretraining_alone_settles_nothing_of_a_study(done):
    for entry in done.ledger.entries():
        shutil.rmtree(done.place / "ledger" / entry.folder)
    assert len(done.ledger.entries(method=PRETRAINING)) == 8
    changed = run(done.place, {"stream": {"samples_per_task": 70}})
    assert len(changed.pretrainings("tune")) == 10


# -- again


def test_a_finished_study_runs_nothing_again(done, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("nothing has to run")

    before = sums(done.place)
    monkeypatch.setattr(whole, "connected", refuse)
    run(done.place)
    assert sums(done.place) == before


def test_a_pretraining_that_is_lost_runs_again_for_what_is_missing_only(done):
    for path in (done.place / "ledger").glob(f"*/{PRETRAINING}"):
        shutil.rmtree(path)
    assert run(done.place).said[0] == "all trials of founded, twice are in the ledger"
    more = run(done.place, {"confirm.seeds": {"first": 100, "count": 4}})
    for phase in ("tune", "confirm"):  # in phase `tune`: of the recheck
        assert [entry.seeds for entry in more.pretrainings(phase)] == [(103,)]


def test_more_trials_take_the_pretraining_that_is_there(done):
    before = sums(done.place)
    again = run(done.place, {"tune.trials": 4})
    assert len(again.pretrainings("tune")) == len(done.pretrainings("tune"))
    assert again.own("tune") == {"founded": [0.0] * 8, "twice": [0.0] * 8}
    assert {path: content for path, content in sums(done.place).items() if path in before} == before


def test_more_seeds_are_pretrained_beside_those_that_are(done):
    again = run(done.place, {"confirm.seeds": {"first": 100, "count": 5}})
    kept = [entry.seeds for entry in again.pretrainings("confirm")]
    assert sorted(kept) == [(seed,) for seed in range(100, 105)]
    assert set(again.own("confirm")["twice"]) == {0.0}


def test_an_interrupted_pretraining_goes_on_with_the_seeds_it_lacks(tmp_path, monkeypatch):
    def killed(driver):
        real = driver.suggest
        driver.suggest = lambda label: real(label) if label == "0" else Searcher.FINISHED
        fit_here(driver)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(whole, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "small")
    kept = sums(tmp_path / "small")
    again = run(tmp_path / "small")
    assert [entry.seeds for entry in again.pretrainings("tune")][:2] == [(0,), (1,)]
    assert kept.items() <= sums(tmp_path / "small").items()
    assert again.ledger.unfinished() == []


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_foundation_is_set_aside_and_made_again(damage, done):
    first, *others = done.pretrainings("tune")
    file = done.place / "ledger" / first.folder / "foundation.h5"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-9] if damage == "cut" else content[:-1] + b"?")
    read_only = Ledger(done.place / "ledger", repair=False)
    assert read_only.entries("tune", PRETRAINING) == others
    assert read_only.damaged == []  # the report lacks nothing
    again = run(done.place, {"tune.trials": 4})
    assert any("foundation.h5" in line and "set aside" in line for line in again.said)
    made, *kept = again.pretrainings("tune")
    assert (made.folder, kept) == (first.folder, others)
    assert made.foundation == first.foundation
    assert again.own("tune")["founded"] == [0.0] * 8


# -- what leaves nothing


@pytest.mark.parametrize("kind", [Faulty, Hot])
def test_a_pretraining_that_fails_or_diverges_leaves_trials_to_themselves(
    kind, tmp_path, monkeypatch
):
    monkeypatch.setitem(LEARNERS, "founded", kind)
    ran = run(tmp_path / "small")
    states = {entry.seeds: entry.state for entry in ran.pretrainings("tune")[:2]}
    if kind is Faulty:
        assert states == {(0,): "failed", (1,): "failed"}
        assert "first axis must be that of the 1 seeds" in ran.pretrainings("tune")[0].reason
        assert {e.state for e in ran.ledger.entries("tune")} == {"complete"}
        assert set(ran.own("tune")["founded"] + ran.own("confirm")["founded"]) == {1.0}
    else:
        assert states == {(0,): "complete", (1,): "diverged"}
        assert ran.own("tune")["founded"] == [0.0] * 3 + [1.0] * 3
        assert {e.state for e in ran.ledger.entries("tune", "founded")} == {"diverged"}
        study = Study.open(ran.place)
        assert study.confirmation("founded").configuration is None
        assert study.failures_of("founded") != {}


def test_a_pretraining_that_is_searched_is_left_to_each_trial(tmp_path):
    searched = {"pretrain_lr": {"low": 1e-3, "high": 1e-2, "log": True}}
    methods = {
        "founded": {"fixed": QUICK},
        "searched": {"learner": "founded", "fixed": QUICK, "space": searched},
    }
    ran = run(tmp_path / "small", {"methods": methods})
    assert len(ran.pretrainings("tune")) == 2 + 3 * 2  # the best values may differ
    # its published values come first, and are those of the other
    assert ran.own("tune") == {"founded": [0.0] * 6, "searched": [0.0] * 2 + [1.0] * 4}
    assert set(ran.own("confirm")["searched"]) == {0.0}


def test_a_trial_that_is_tested_within_tasks_learns_the_first_itself(tmp_path):
    ran = run(tmp_path / "small", {"confirm.evaluate_every": 5})
    assert ran.pretrainings("confirm") == []
    assert ran.own("confirm")["founded"] == [1.0] * 3
    (entry, *_) = ran.ledger.entries("confirm", "founded")
    assert 0 in ran.ledger.outcome(entry).between["task"]


# -- what is wanted


def test_seeds_are_spread_over_the_slots_and_kept_by_the_stack(tmp_path):
    spec = make_spec({**STUDY, "tune.seeds": [0, 1, 2, 3, 4], "tune.trials": 1})
    cases = [(1, 9, [5]), (2, 9, [3, 2]), (4, 9, [2, 1, 1, 1]), (9, 9, [1] * 5)]
    cases += [(1, 5, [5]), (1, 4, [3, 2]), (2, 2, [2, 2, 1]), (1, 1, [1] * 5)]
    for number, (slots, stack, sizes) in enumerate(cases):
        asked = pretrained(spec, tmp_path / str(number), slots, stack)
        assert [len(settings["work"]["seeds"]) for settings in asked] == sizes
        assert sorted(seed for s in asked for seed in s["work"]["seeds"]) == [0, 1, 2, 3, 4]
        assert {settings["stack"] for settings in asked} == {stack}


def pretrained(spec, place, slots, stack=2):
    """Run the pre-trainings of the sweeps one by one; return the settings of each."""
    run = make_run(spec, Ledger(place), slots, stack)
    wanted = first_tasks_of_sweeps(run.study)
    tune = Tune(PretrainingTrials(run, "tune", lambda: wanted), lambda work: Run(rows=1))
    tune.run()
    return list(tune.asked.values())


@pytest.mark.parametrize(
    ("option", "given", "wanted"),
    [
        ("pretrain_lr", {"low": 1e-3, "high": 1e-2}, []),
        ("pretrain_epochs", {"choices": [1, 2]}, []),
        ("batch_size", {"low": 8, "high": 32}, []),
        ("epochs", {"low": 1, "high": 3}, ["founded"]),
        ("momentum", {"low": 0.0, "high": 0.9}, ["founded"]),
    ],
)
def test_a_sweep_shares_a_pretraining_that_does_not_depend_on_what_it_searches(
    option, given, wanted, tmp_path
):
    fixed = {name: value for name, value in QUICK.items() if name != option}
    methods = {"founded": {"fixed": fixed, "space": {option: given}}}
    spec = make_spec({**STUDY, "methods": methods})
    shared = first_tasks_of_sweeps(make_study(spec, Ledger(tmp_path)))
    assert [name for each in shared for name in each.methods] == wanted


def test_of_three_pretrainings_on_two_slots_the_last_is_cut(tmp_path):
    rates = {f"p{i}": {"learner": "founded", "fixed": {"pretrain_lr": 0.01 * i}} for i in (1, 2, 3)}
    changes = {"methods": rates, "study.reference": "p1", "tune.seeds": [0, 1], "tune.trials": 1}
    spec = make_spec({**STUDY, **changes})
    asked = pretrained(spec, tmp_path, slots=2)
    assert [settings["work"]["seeds"] for settings in asked] == [[0, 1], [0, 1], [0], [1]]


def test_a_plan_counts_a_shared_first_task_once(tmp_path, monkeypatch):
    """Tasks of five steps an epoch. Each trial: four of them, one epoch each or two; shared: two
    epochs of the first, for two tuning seeds, and for three seeds of confirmation and recheck.
    """
    asked = []

    def run_pilot(work, sizes, data, device):
        asked.append(work)
        return Pilot({1: 10.0 if work.tasks is None else 2.0})

    monkeypatch.setattr("study.plan.run_pilot", run_pilot)
    found = plan(make_spec(STUDY), "own.toml", tmp_path / "small", Path())
    assert [(row["method"], row["seconds"]) for row in found["methods"]] == [
        ("founded", (3 * 2 + 3 + 3) * 4 * 5 / 10.0),
        ("twice", (3 * 2 + 3 + 3) * 4 * 5 * 2 / 10.0),
        ("first task of founded, twice (tune)", 2 * 2 * 5 / 2.0),
        ("first task of founded, twice (confirm)", 3 * 2 * 5 / 2.0),
        ("first task of founded, twice (recheck)", 3 * 2 * 5 / 2.0),
    ]
    assert {work.phase for work in asked} == {"tune"}  # a pilot sees no test set
    monkeypatch.setitem(LEARNERS, "founded", Alone)
    alone = plan(make_spec(STUDY), "own.toml", tmp_path / "small", Path())
    assert [row["seconds"] for row in alone["methods"]] == [
        (3 * 2 + 3 + 3) * (4 * 5 * epochs + 2 * 5) / 10.0 for epochs in (1, 2)
    ]


def test_a_plan_leaves_first_tasks_to_a_method_that_searches_them(tmp_path, monkeypatch):
    """Six of its own in the sweep; the rest is planned as if published values were best."""
    monkeypatch.setattr("study.plan.run_pilot", lambda *given: Pilot({1: 10.0}))
    space = {"pretrain_lr": {"low": 1e-3, "high": 1e-2, "log": True}}
    methods = {
        "founded": {"fixed": QUICK},
        "searched": {"learner": "founded", "fixed": QUICK, "space": space},
    }
    spec = make_spec({**STUDY, "methods": methods})
    found = plan(spec, "own.toml", tmp_path / "small", Path())
    assert {row["method"]: row["seconds"] for row in found["methods"]} == {
        "founded": 12 * 4 * 5 / 10.0,
        "searched": (12 * 4 * 5 + 6 * 2 * 5) / 10.0,
        "first task of founded (tune)": 2 * 2 * 5 / 10.0,
        "first task of founded, searched (confirm)": 3 * 2 * 5 / 10.0,
        "first task of founded, searched (recheck)": 3 * 2 * 5 / 10.0,
    }


def test_a_plan_shows_a_first_task_that_cannot_be_learnt(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("too hot")

    monkeypatch.setattr(Founded, "prepare", fail)
    spec = make_spec({**STUDY, "tune.trials": 0})
    found = plan(spec, "own.toml", tmp_path / "small", Path())
    assert {row["problem"] for row in found["methods"]} == {"RuntimeError: too hot"}
    assert len(found["methods"]) == 3


class Prepared(dict):
    """A split that has been prepared."""


def test_data_are_prepared_once_for_all_trials(tmp_path, monkeypatch):
    """What each stream is given has been prepared by the driver, in the sweep and after it."""

    calls = []

    def prepare(cls, data, options):
        calls.append(all(isinstance(split, Prepared) for split in data.values()))
        return {name: Prepared(split) for name, split in data.items()}

    monkeypatch.setattr(Stream, "prepare", classmethod(prepare))
    run(tmp_path / "small")
    assert calls[0] is False
    assert len(calls) > 20
    assert all(calls[1:])


def test_nothing_is_wanted_of_a_study_that_is_not_tuned(tmp_path):
    spec = make_spec({**STUDY, "tune.trials": 0})
    assert first_tasks_of_sweeps(make_study(spec, Ledger(tmp_path))) == []
    study = make_study(spec, Ledger(tmp_path))
    (shared,) = first_tasks_of_fresh_seeds(study, "confirm", study.methods)
    assert shared.work.seeds == (100, 101, 102)


WORK = Assignment(
    learner="founded",
    configuration={**QUICK, "lr": 0.01},
    stream="split_digits",
    scenario="class",
    options={},
    phase="tune",
    seeds=(3, 4),
)


@pytest.mark.parametrize(
    "changed",
    [
        {"seeds": (5,)},
        {"tasks": 2},
        {"configuration": {**QUICK, "lr": 0.1}},
        {"configuration": {**QUICK, "pretrain_epochs": 2}},
    ],
)
def test_what_the_first_task_does_not_depend_on_shares_it(changed):
    assert foundation_key(dataclasses.replace(WORK, **changed)) == foundation_key(WORK)


@pytest.mark.parametrize(
    "changed",
    [
        {"phase": "confirm"},
        {"stream": "split_mnist"},
        {"scenario": "task"},
        {"options": {"class_order": "shuffled"}},
        {"configuration": {**QUICK, "pretrain_epochs": 3}},
    ],
)
def test_what_the_first_task_depends_on_does_not(changed):
    assert foundation_key(dataclasses.replace(WORK, **changed)) != foundation_key(WORK)


def test_a_version_that_is_raised_pretrains_again(monkeypatch):
    before = foundation_key(WORK)
    monkeypatch.setattr(Founded, "version", 2)
    assert foundation_key(WORK) != before


def test_a_pretraining_with_an_unknown_option_is_refused_with_its_learner(monkeypatch):
    monkeypatch.setattr(Founded, "pretraining", classmethod(lambda c, o: ("founded", {"epoch": 1})))
    with pytest.raises(InputError, match=r"pre-training of founded: .*Did you mean 'epochs'"):
        pretraining_of(WORK)


def test_no_method_can_have_the_name_of_pretrainings():
    with pytest.raises(InputError, match="is not a valid name"):
        make_spec({"methods": {PRETRAINING: {"learner": "replay"}, "replay": {}}})


# -- with Ray

TEXT = """
[study]
name = "small"
stream = "split_digits"
reference = "founded"

[stream]
samples_per_task = 80

[methods]
founded = { fixed = { hidden = [16], epochs = 1, batch_size = 16 } }
twice = { learner = "founded", fixed = { hidden = [16], epochs = 2, batch_size = 16 } }

[tune]
trials = 0

[confirm]
seeds = [100, 101, 102]

[resources]
seeds_per_stack = 1
"""


def test_the_arrays_reach_the_workers_of_a_cluster(tmp_path):
    (tmp_path / "study.toml").write_text(TEXT, encoding="utf-8")
    describe(tmp_path, "founded", ENTRY_POINTS)
    found = subprocess.run(
        command(tmp_path, *sets("tune.trials=0")),
        env=on_path(tmp_path, Path(founded.__file__).parent),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    ran = Ran(tmp_path / "small", make_spec({**STUDY, "tune.trials": 0}), [])
    assert sorted(s for e in ran.pretrainings("confirm") for s in e.seeds) == [100, 101, 102]
    assert ran.own("confirm") == {"founded": [0.0] * 3, "twice": [0.0] * 3}
    assert not (ran.place / "ray" / "trials").exists()
    data = datasets.load("digits", Path())
    for entry in ran.ledger.entries():
        assert_same(ran.ledger.outcome(entry), by_hand(entry, data))


def by_hand(entry, data):
    """What a trial of one-seed stacks measures that learns its first task itself."""
    from trainables.engine.outcome import stacked

    work = Assignment(**entry.work)
    courses = [Course(work, (seed,), data) for seed in work.seeds]
    for course in courses:
        while not course.done:
            course.advance()
    return stacked([course.outcome() for course in courses])
