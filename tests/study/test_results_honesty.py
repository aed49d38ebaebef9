"""What a study cannot quietly change once it has seen results."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from factory import Run, Tune, build_study, make_spec, make_study, make_sweep

from analysis.figures import pictures
from analysis.report.tables import configuration_table, failure_table
from study.folder import Folder
from study.ledger import Ledger
from study.record import analyse_folder
from study.report import check_replacement, write_report
from trainables import LEARNERS
from trainables.errors import InputError

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_smaller_family_and_another_margin_are_told_and_do_not_ease_the_test(tmp_path):
    three = {"methods": {"replay": {}, "finetune": {}, "ewc": {}}}
    build_study(tmp_path, make_spec({**three, "tune.trials": 0}))
    build_study(tmp_path, make_spec({"tune.trials": 0, "study.margin": 0.05}))
    found = analyse_folder(tmp_path)
    assert found.rules.family_size == 2
    assert "margin was 0.01, now 0.05" in found.cautions[0].text
    assert "methods confirmed and left out: ewc" in found.cautions[0].text


def test_a_method_that_was_added_looked_at_and_left_out_is_told_and_stays_in_the_family(tmp_path):
    more = {"methods": {"replay": {}, "finetune": {}, "ewc": {}}}
    build_study(tmp_path, make_spec({"tune.trials": 0}))
    build_study(tmp_path, make_spec({**more, "tune.trials": 0}))
    build_study(tmp_path, make_spec({"tune.trials": 0}))
    found = analyse_folder(tmp_path)
    assert found.record.changes == ("methods confirmed and left out: ewc",)
    assert found.rules.family_size == 2


def test_a_budget_raised_after_looking_is_told(tmp_path):
    build_study(tmp_path, make_spec({"tune.trials": 1}))
    build_study(tmp_path, make_spec({"tune.trials": 8}))
    changed = analyse_folder(tmp_path).record.changes
    assert changed[0].startswith("tune.trials was 1, now 8 (changed ")
    before = "confirmed before with another configuration: finetune (4 seeds), replay (4 seeds)"
    assert changed[1:] == (before,)


def test_seeds_run_and_left_out_are_told(tmp_path):
    build_study(tmp_path, make_spec({"tune.trials": 0}))
    build_study(tmp_path, make_spec({"tune.trials": 0, "confirm.seeds.count": 7}))
    build_study(tmp_path, make_spec({"tune.trials": 0, "confirm.seeds.count": 5}))
    found = analyse_folder(tmp_path)
    assert found.record.changes == ("seeds run and left out: 105, 106",)
    assert "seeds run and left out: 105, 106" in found.cautions[0].text


def test_a_sweep_that_has_not_ended_is_on_the_page(tmp_path):
    spec, folder = make_spec({"tune.trials": 12}), Folder(tmp_path)
    with folder.claim():
        ledger = folder.ledger(repair=True)
        folder.admit(spec, "x", ledger)
        Tune(make_sweep(spec, "replay", ledger)).run(3)
    notes = analyse_folder(tmp_path).notes
    assert any(
        "Unfinished sweeps: finetune 0 of 12 trials, replay 3 of 12 trials" in n for n in notes
    )


def test_a_damaged_entry_is_on_the_page(tmp_path):
    ledger = build_study(tmp_path, make_spec({"tune.trials": 0}))
    entry = ledger.entries("confirm", "replay")[0]
    (ledger.folder / entry.folder / "outcome.h5").write_bytes(b"cut")
    (note,) = (n for n in analyse_folder(tmp_path).notes if "ledger" in n)
    assert note.startswith(f"1 ledger entry cannot be read and is left out ({entry.folder}: trunc")


def test_a_method_whose_sweep_failed_is_among_the_failures_and_not_the_configurations(tmp_path):
    spec = make_spec({"tune.trials": 2})

    def learn(work):
        bad = work["phase"] == "tune" and work["learner"] == "finetune"
        return Run(failure="Traceback\nValueError: too hot") if bad else Run()

    build_study(tmp_path, spec, learn)
    found = analyse_folder(tmp_path)
    (row,) = failure_table(found).texts
    assert (row[0], row[1]) == ("finetune", "none ran")
    assert row[2].endswith("gave a configuration to confirm; ValueError: too hot")
    assert [row[0] for row in configuration_table(found).texts] == ["replay"]
    (history,) = (p for p in pictures(found) if p.name == "search-history")
    assert "Not shown, because no trial has a value: finetune." in history.caption


def test_a_method_of_a_package_that_is_gone_is_named_with_the_package(tmp_path, monkeypatch):
    spec = make_spec({"tune.trials": 0})
    ledger = build_study(tmp_path, spec)
    for entry in ledger.entries("confirm", "replay"):
        gone = replace(entry, software={"torch": "2", "rv-plug": "0.1"})
        ledger.finish(gone, ledger.outcome_bytes(entry))
    assert analyse_folder(tmp_path).record.provenance["rv-plug"] == "0.1"
    monkeypatch.delitem(LEARNERS, "replay")
    with pytest.raises(InputError, match=r"ran with rv-plug 0\.1, which is not installed here"):
        analyse_folder(tmp_path)


def test_a_method_added_later_is_told(tmp_path):
    build_study(tmp_path, make_spec({"tune.trials": 0}))
    build_study(tmp_path, make_spec({"tune.trials": 0, "methods": {"replay": {}, "ewc": {}}}))
    assert "methods added: ewc" in analyse_folder(tmp_path).cautions[0].text


def of_seed(work):
    """A trial whose accuracy depends on its seeds."""
    seeds = np.array(work["seeds"])[:, None, None]
    return Run(accuracy=0.5 + 0.01 * (seeds % 7) + 0.1 * (work["learner"] == "replay"))


@pytest.mark.parametrize(
    ("planned", "asked", "kept", "told"),
    [
        ({"first": 100, "count": 8}, {"first": 100, "count": 5}, [105, 106, 107], (5, 8)),
        ({"first": 100, "count": 6}, [103, 105], [100, 101, 102, 104], (2, 6)),
        ([7, 3, 9], {"first": 3, "count": 2}, [7, 9], (2, 4)),
        ({"first": 100, "count": 3}, {"first": 200, "count": 2}, [100, 101, 102], (2, 5)),
    ],
)
def test_planned_seeds_cannot_be_taken_back_and_that_is_told(tmp_path, planned, asked, kept, told):
    place, changed = tmp_path / "study", {"tune.trials": 0}
    build_study(place, make_spec({**changed, "confirm.seeds": planned}), of_seed)
    before = analyse_folder(place)
    assert "changed after looking" not in before.record.provenance
    assert not any("now asks for" in note for note in before.notes)
    build_study(place, make_spec({**changed, "confirm.seeds": asked}), of_seed)
    found = analyse_folder(place)
    assert [row.n for row in found.methods] == [told[1]] * 2
    (note,) = (note for note in found.notes if "now asks for" in note)
    assert f"asks for {told[0]} confirmation seeds, and this report covers {told[1]}." in note
    listed = ", ".join(map(str, kept))
    assert f"stay ({listed}): leaving seeds out after looking would bias" in note
    assert "(--set study.name=...)" in note
    assert found.record.changes == ()  # the verdicts rest on what was planned
    changed = found.record.provenance["changed after looking"]
    assert changed == f"planned seeds no longer asked for, and kept: {listed}"
    write_report(found, tmp_path / "report")
    for name in ("report.md", "index.html", "report.json"):
        assert f"this report covers {told[1]}" in (tmp_path / "report" / name).read_text()
    assert (
        "confirmation seeds, in the study file now: "
        in (tmp_path / "report" / "report.md").read_text()
    )


def test_seeds_asked_for_again_are_no_longer_told(tmp_path):
    for count in (6, 3, 6):
        build_study(tmp_path, make_spec({"tune.trials": 0, "confirm.seeds.count": count}))
    found = analyse_folder(tmp_path)
    assert "changed after looking" not in found.record.provenance
    assert not any("now asks for" in note for note in found.notes)


def test_fewer_seeds_before_anything_was_confirmed_are_a_new_plan(tmp_path):
    for count in (6, 3):
        with (folder := Folder(tmp_path)).claim():
            spec = make_spec({"tune.trials": 0, "confirm.seeds.count": count})
            folder.admit(spec, "x", folder.ledger(repair=True))
    build_study(tmp_path, spec)
    found = analyse_folder(tmp_path)
    assert [row.n for row in found.methods] == [3, 3]
    assert not any("now asks for" in note for note in found.notes)


@pytest.mark.parametrize("confirmed", [True, False])
def test_trials_run_and_no_longer_asked_for_are_told(tmp_path, confirmed):
    spec = make_spec({"tune.trials": 7})
    if confirmed:
        build_study(tmp_path, spec)
    else:
        with (folder := Folder(tmp_path)).claim():
            ledger = folder.ledger(repair=True)
            folder.admit(spec, "x", ledger)
            for name in spec.methods:
                Tune(make_sweep(spec, name, ledger)).run()
    assert not any("no longer asked for" in note for note in analyse_folder(tmp_path).notes)
    build_study(tmp_path, make_spec({"tune.trials": 5}))
    found = analyse_folder(tmp_path)
    assert [row.trials for row in found.tuning] == [5, 5]
    (note,) = (note for note in found.notes if "no longer asked for" in note)
    assert "asked for: finetune 2 beyond 5, replay 2 beyond 5." in note
    assert bool(found.record.changes) is confirmed


def test_a_sweep_without_a_configuration_is_a_failure_and_ends_the_study(tmp_path):
    spec = make_spec({"tune.trials": 2})

    def learn(work):
        bad = work["phase"] == "tune" and work["learner"] == "finetune"
        return Run(diverged=tuple(work["seeds"]) if bad else ())

    build_study(tmp_path, spec, learn)
    study = make_study(spec, Folder.open(tmp_path)[0].ledger())
    assert study.complete
    (told,) = study.failures_of("finetune").values()
    (comparison,) = analyse_folder(tmp_path).comparisons
    for text in (told, comparison.reason):
        assert "no trial of the sweep gave a configuration" in text
        assert "2 of 2 trials diverged: a loss or an output was not finite" in text


def test_an_unfinished_study_is_not_complete(tmp_path):
    spec, ledger = make_spec(), Ledger(tmp_path)
    study = make_study(spec, ledger)
    assert not study.complete
    for name in study.methods:
        Tune(make_sweep(spec, name, ledger)).run()
    assert not study.complete


def test_the_first_trial_is_the_default_only_where_the_space_allows_it(tmp_path):
    elsewhere = {"replay": {"space": {"lr": {"low": 1e-2, "high": 1e-1}}}, "finetune": {}}
    build_study(tmp_path, make_spec({"methods": elsewhere}))
    rows = {row.method: row.default_value for row in analyse_folder(tmp_path).tuning}
    assert rows["replay"] is None
    assert math.isfinite(rows["finetune"])


def test_a_report_never_goes_where_other_files_are(tmp_path):
    place = tmp_path / "paper"
    (place / "figures").mkdir(parents=True)
    (place / "figures" / "mine.pdf").write_text("mine")
    build_study(tmp_path / "small", make_spec({"tune.trials": 0}))
    analysis = analyse_folder(tmp_path / "small")
    with pytest.raises(InputError, match="holds files that are not a report"):
        write_report(analysis, place)
    assert (place / "figures" / "mine.pdf").read_text() == "mine"


def test_a_report_with_results_is_not_replaced_by_one_without(tmp_path):
    place = tmp_path / "small"
    build_study(place, make_spec({"tune.trials": 0}))
    analysis = analyse_folder(place)
    check_replacement(analysis, place / "report")
    write_report(analysis, place / "report")
    check_replacement(analysis, place / "report")
    shutil.rmtree(place / "ledger" / "confirm")
    emptied = analyse_folder(place)
    with pytest.raises(InputError, match=r"holds a report with results.* The report is kept"):
        check_replacement(emptied, place / "report")
    check_replacement(emptied, tmp_path / "elsewhere")
