"""Several sweeps of each method, and several configurations confirmed: from ledger to record."""

from __future__ import annotations

import json

import numpy as np
import pytest
from factory import (
    Run,
    Tune,
    add,
    admit,
    build_study,
    make_confirmation,
    make_design,
    make_run,
    make_spec,
    make_study,
    make_sweep,
    waiting,
)

from analysis.one_study.analyse import analyse
from study.changes import changes
from study.folder import Folder, StackSize
from study.ledger import Ledger, plain
from study.plan import plan
from study.record import analyse_folder, study_record
from study.run.context import Stacks
from study.state import Study
from study.status import status
from trainables.errors import InputError

TWICE = {"tune.repeats": 2}
TOP = {"confirm.top": 3}
ALONE = {"methods": {"replay": {}}}
TRIALS = ((0.5, 0.001), (0.8, 0.002), (0.7, 0.003), (0.8, 0.002))  # value and learning rate
FAR = 1_000_000


def by_seed(work):
    """Scores that depend on the learning rate and the seed, and on nothing else."""
    lr, noise = work["configuration"]["lr"], np.array([seed % 7 for seed in work["seeds"]])
    return Run(accuracy=(0.5 + 20 * min(lr, 0.01) + 0.01 * noise)[:, None, None])


def swept(folder, changes=None):
    """A ledger with the sweep of a method, in which trials 1 and 3 have the same configuration."""
    spec, ledger = make_spec({**ALONE, **(changes or {})}), Ledger(folder)
    for number, (value, lr) in enumerate(TRIALS):
        add(ledger, spec, "replay", "tune", number=number, values=[value], params={"lr": lr})
    return spec, ledger


def rates(states):
    return [state.configuration and state.configuration["lr"] for state in states]


def refused(changes):
    with pytest.raises(InputError) as raised:
        make_design(changes)
    return str(raised.value)


# -- seeds and names


def test_a_study_of_one_sweep_asks_for_the_work_it_always_asked_for(tmp_path):
    once, twice = make_design(), make_design({**TWICE, **TOP})
    assert list(once.methods) == ["finetune", "replay"]
    for phase in ("tune", "confirm", "recheck"):
        method = once.methods["replay"]
        works = (d.assignment(method, method.configuration({}), phase) for d in (once, twice))
        assert len({json.dumps(plain(work)) for work in works}) == 1


def test_each_sweep_has_seeds_of_its_own():
    design = make_design({"tune.repeats": 3})
    assert list(design.methods)[2:] == ["finetune@2", "replay@2", "finetune@3", "replay@3"]
    assert list(design.of_sweep(0)) == ["finetune", "replay"]
    third = design.methods["replay@3"]
    seeds = {
        phase: design.assignment(third, third.configuration({}), phase).seeds
        for phase in ("tune", "confirm", "recheck")
    }
    assert seeds["tune"] == (2 * FAR, 2 * FAR + 1)
    assert seeds["confirm"] == tuple(2 * FAR + 100 + i for i in range(4))
    assert seeds["recheck"] == ()


def test_a_further_sweep_searches_with_a_sampler_of_its_own(tmp_path):
    spec = make_spec({**ALONE, "tune.repeats": 3})
    found = [
        Tune(make_sweep(spec, name, Ledger(tmp_path / name))).run()
        for name in ("replay", "replay@2", "replay@3")
    ]
    assert found[0][0] == found[1][0] == found[2][0]  # the published defaults
    assert len({str(configurations[1:]) for configurations in found}) == 3
    # that of the second sweep is the sampler of a study with the next seed
    spec = make_spec({**ALONE, "tune.seed": 1})
    assert Tune(make_sweep(spec, "replay", Ledger(tmp_path / "next"))).run() == found[1]


def test_seeds_that_are_added_later_move_no_others():
    for count in (4, 40):
        design = make_design({**TWICE, "confirm.seeds": {"first": 100, "count": count}})
        assert design.seeds("confirm", 1)[:2] == (FAR + 100, FAR + 101)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"tune.repeats": 0}, "tune.repeats = 0"),
        ({"tune.repeats": 21}, "tune.repeats = 21"),
        ({"confirm.top": 0}, "confirm.top = 0"),
        ({"confirm.top": 11}, "confirm.top = 11"),
        ({**TWICE, "tune.trials": 0}, "Set tune.repeats = 1."),
        ({**TWICE, "confirm.seeds": [FAR + 1, 5]}, f"{FAR + 1} is among the seeds that tune"),
        ({**TWICE, "tune.seeds": [FAR + 5, 0], "confirm.seeds": [5]}, "Use seeds below 1000000"),
        ({**TWICE, "confirm.seeds": [2**63 - 1]}, f"all must be below {2**63}"),
    ],
)
def test_what_cannot_be_repeated_is_refused_with_a_remedy(changes, wanted):
    assert wanted in refused(changes)


def test_defaults_alone_may_be_asked_for_their_best_configurations(tmp_path):
    spec, ledger = make_spec({**ALONE, **TOP, "tune.trials": 0}), Ledger(tmp_path / "ledger")
    assert len(waiting(spec, ledger, 1)) == 1


# -- the next best configurations


def test_the_best_different_configurations_are_confirmed_on_the_same_seeds(tmp_path):
    spec, ledger = swept(tmp_path / "ledger", TOP)
    study = make_study(spec, ledger)
    assert rates(study.all_fresh_seeds("replay", "confirm")) == [0.002, 0.003, 0.001]
    queue = waiting(spec, ledger, 1)
    assert [entry.work["configuration"]["lr"] for entry in queue] == [0.002, 0.003, 0.001]
    assert {entry.seeds for entry in queue} == {(100, 101, 102, 103)}
    assert len(waiting(spec, ledger, 1, "recheck")) == 1


def test_no_more_configurations_are_confirmed_than_there_are(tmp_path):
    spec, ledger = swept(tmp_path / "ledger", {"confirm.top": 10})
    study = make_study(spec, ledger)
    assert rates(study.all_fresh_seeds("replay", "confirm")) == [0.002, 0.003, 0.001, None]
    Tune(make_confirmation(spec, ledger)).run()
    Tune(make_confirmation(spec, ledger, phase="recheck")).run()
    assert study.complete


def test_a_failed_seed_of_another_configuration_is_told_apart(tmp_path):
    spec, ledger = swept(tmp_path / "ledger", TOP)
    add(ledger, spec, "replay", seeds=[100], state="failed", failure="boom", params={"lr": 0.003})
    study = make_study(spec, ledger)
    assert study.failures() == {"confirm/replay trial 2 seed 100": "boom"}
    assert study.crashed == 1
    assert 100 not in study.all_fresh_seeds("replay", "confirm")[1].missing
    assert study.confirmation("replay").missing == [100, 101, 102, 103]


def test_another_configuration_is_confirmed_once_and_taken_as_the_best_later(tmp_path):
    spec, ledger = swept(tmp_path / "ledger", TOP)
    Tune(make_confirmation(spec, ledger)).run()
    more = make_spec({**ALONE, **TOP, "tune.trials": 5})
    add(ledger, more, "replay", "tune", number=4, values=[0.9], params={"lr": 0.003})
    study = make_study(more, ledger)
    assert rates(study.all_fresh_seeds("replay", "confirm")) == [0.003, 0.002, 0.001]
    assert waiting(more, ledger, 1) == []


def test_the_record_has_the_alternatives_in_order_with_their_scores(tmp_path):
    _, spec, ledger = admit(tmp_path / "small", {**ALONE, **TOP})
    for number, (value, lr) in enumerate(TRIALS):
        add(ledger, spec, "replay", "tune", number=number, values=[value], params={"lr": lr})
    Tune(make_confirmation(spec, ledger), by_seed).run()
    record = study_record(make_study(spec, ledger)).methods[0]
    noise = {seed: 0.01 * (seed % 7) for seed in range(100, 104)}
    assert record.configuration["lr"] == 0.002
    assert record.scores == pytest.approx({s: 0.54 + x for s, x in noise.items()})
    assert [(a.trial, a.value, a.configuration["lr"]) for a in record.alternatives] == [
        (2, 0.7, 0.003),
        (0, 0.5, 0.001),
    ]
    second = record.alternatives[0]
    assert second.scores == pytest.approx({s: 0.56 + x for s, x in noise.items()})
    assert second.failures == {}


def test_confirmed_alternatives_are_no_change_of_the_question_until_they_are_hidden(tmp_path):
    place = tmp_path / "small"
    build_study(place, make_spec(TOP), by_seed)
    assert changes(Study.open(place)) == []
    spec = make_spec()
    build_study(place, spec, by_seed)
    assert [line.split(":")[0] for line in changes(Study.open(place))] == [
        "confirmed before with another configuration"
    ]


# -- several sweeps


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folder of a study with two sweeps of each method and two configurations confirmed."""
    place = tmp_path_factory.mktemp("luck") / "small"
    build_study(place, make_spec({**TWICE, "confirm.top": 2}), by_seed)
    return place


def test_the_ledger_keeps_the_sweeps_apart(both):
    ledger = Ledger(both / "ledger", repair=False)
    counts = {
        (phase, name): len({seed for e in ledger.entries(phase, name) for seed in e.seeds})
        for phase in ("tune", "confirm", "recheck")
        for name in ("replay", "replay@2")
    }
    assert counts == {
        ("tune", "replay"): 2,
        ("tune", "replay@2"): 2,
        ("confirm", "replay"): 4,
        ("confirm", "replay@2"): 4,
        ("recheck", "replay"): 4,
        ("recheck", "replay@2"): 0,
    }


def test_a_finished_study_of_several_sweeps_has_nothing_left_to_run(both):
    study = Study.open(both)
    assert study.complete
    assert waiting(study.spec, study.ledger, 4) == []


def test_more_sweeps_and_configurations_only_add_work(tmp_path):
    place = tmp_path / "small"
    before = {entry.folder for entry in build_study(place, make_spec(), by_seed).entries()}
    ledger = build_study(place, make_spec({"tune.repeats": 3, "confirm.top": 2}), by_seed)
    added = [entry for entry in ledger.entries() if entry.folder not in before]
    assert {entry.folder for entry in ledger.entries()} > before
    assert {e.method for e in added if e.phase == "tune"} == {
        f"{name}@{sweep}" for name in ("finetune", "replay") for sweep in (2, 3)
    }
    record = study_record(Study.open(place))
    assert record.changes == ()
    # fewer again: the ledger keeps what was run
    build_study(place, make_spec(), by_seed)
    assert study_record(Study.open(place)).repeats == ()


def test_the_record_folds_the_sweeps(both):
    record = study_record(Study.open(both))
    assert [m.method for m in record.methods] == ["finetune", "replay"]
    assert record.planned_seeds == [100, 101, 102, 103]
    (second,) = record.repeats
    assert [m.method for m in second.methods] == ["finetune", "replay"]
    assert second.planned_seeds == [FAR + 100 + i for i in range(4)]
    assert second.tune_seeds == [FAR, FAR + 1]
    for method in second.methods:
        lr = min(method.configuration["lr"], 0.01)
        wanted = {s: 0.5 + 20 * lr + 0.01 * (s % 7) for s in second.planned_seeds}
        assert method.scores == pytest.approx(wanted, abs=1e-3)
        assert method.alternatives == ()
    assert all(len(m.alternatives) == 1 for m in record.methods)


def test_family_verdicts_and_changes_are_those_of_the_first_sweep(both, tmp_path):
    place = tmp_path / "small"
    build_study(place, make_spec(), by_seed)
    once, several = analyse_folder(place), analyse_folder(both)
    assert several.comparisons == once.comparisons
    assert several.rules == once.rules
    assert several.methods == once.methods
    assert several.record.changes == once.record.changes == ()
    assert several.record.circumstances == ()
    assert once.luck.splits == ()
    assert [row.sweeps for row in several.luck.splits] == [2, 2]


def test_the_status_shows_every_sweep_and_all_that_is_confirmed(both):
    rows = {row["method"]: row for row in status(both)}
    assert list(rows) == ["finetune", "replay", "finetune@2", "replay@2"]
    assert [rows["replay"][key] for key in ("tuned", "confirmed")] == ["4/4", "8/8"]
    assert [rows["replay@2"][key] for key in ("tuned", "confirmed")] == ["4/4", "4/4"]


def test_the_plan_counts_every_sweep_and_all_that_is_confirmed(tmp_path):
    found = plan(make_spec({**ALONE, "tune.repeats": 3, "confirm.top": 2}), "", tmp_path, tmp_path)
    (row,) = found["methods"]
    assert (row["method"], row["tune_trials"], row["tune_seeds"]) == ("replay", 12, 2)
    assert (row["confirm_seeds"], row["recheck_seeds"]) == (4 * (2 + 1 + 1), 4)
    assert found["notes"][:2] == [
        "Each method has 3 sweeps of 4 trials, each confirmed.",
        "The 2 best configurations of each first sweep are confirmed.",
    ]


def test_all_sweeps_of_a_method_have_one_stack_size(tmp_path):
    folder, spec, ledger = admit(tmp_path / "small", {**ALONE, **TWICE})
    study = make_run(spec, ledger).study
    study.folder = folder
    with folder.claim():
        folder.keep_stack("replay", StackSize(size=5, device="cpu", seed_steps_per_second={5: 1.0}))
        stacks = Stacks(study, {"cpu"})
        assert [stacks.size(name) for name in study.methods] == [5, 5]


def test_a_folder_of_an_earlier_version_is_still_read(tmp_path):
    place = tmp_path / "small"
    build_study(place, make_spec(), by_seed)
    facts = json.loads((place / "study.json").read_text())
    del facts["spec"]["tune"]["repeats"], facts["spec"]["confirm"]["top"]
    (place / "study.json").write_text(json.dumps(facts))
    assert Study.open(place).complete
    assert "tune.repeats" not in facts["identity"]
    ledger = build_study(place, make_spec(TWICE), by_seed)
    assert ledger.entries("confirm", "replay@2")


def test_numbers_of_further_sweeps_enter_no_other_number(both):
    analysis = analyse(study_record(Study.open(both)))
    seeds = {seed for row in analysis.methods for seed in row.scores}
    assert max(seeds) < FAR
    assert Folder.open(both)[0].facts.planned.methods == ["finetune", "replay"]
