"""What becomes of a trial whose worker is lost, stays silent, or meets a disk that is full."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
import ray
from factory import Run, Tune, make_confirmation, make_spec, make_study, make_sweep
from ray.exceptions import OutOfMemoryError, RayTaskError

from study.check import resolve
from study.interruption import Interrupted
from study.ledger import Ledger
from study.run.driver import Halt, Pruning, fit, system_error
from study.spec import ResourcesSection
from trainables.errors import MachineError

NOT_TUNED = {"tune.trials": 0, "methods": {"replay": {}}}
KILLED = {"kind": "worker", "reason": "it was killed", "tasks": 0}


def confirmation(place, changes=None, slots=1, retry_failed=False):
    spec = make_spec({**NOT_TUNED, **(changes or {})})
    tune = Tune(make_confirmation(spec, Ledger(place), slots, retry_failed=retry_failed))
    return spec, tune.driver, tune


def method_of(spec):
    return resolve(spec, "small.toml").methods["replay"]


def asked_seeds(tune):
    """Run the next trials to their end; return the seeds of each."""
    found = []
    while trial := tune.ask():
        found.append(tuple(tune.asked[trial]["work"]["seeds"]))
        tune.end(trial, Run())
    return found


def lose(tune, trial, **changes):
    tune.driver.handle_lost_worker(trial, {**KILLED, **changes})


def test_a_lost_trial_goes_on_with_what_it_was_and_ends_as_if_nothing_had_been(tmp_path):
    _, driver, tune = confirmation(tmp_path)
    first = tune.ask()
    lose(tune, first)
    (claim,) = driver.ledger.unfinished()
    assert [loss["reason"] for loss in claim.losses] == ["it was killed"]
    assert driver.console.said == [f"{claim.folder}: it was killed; continues from its last task"]
    again = tune.ask()
    assert tune.asked[again] == tune.asked[first]
    tune.end(again, Run())
    (entry,) = driver.ledger.entries()
    assert (entry.state, len(entry.losses)) == ("complete", 1)
    assert driver.ledger.unfinished() == []


def test_no_more_trials_are_said_to_come_only_when_none_can_be_lost_any_more(tmp_path):
    _, driver, tune = confirmation(tmp_path)
    trial = tune.ask()
    assert driver.suggest("next") is None
    assert not driver.exhausted
    tune.end(trial, Run())
    assert driver.suggest("last") == type(driver).FINISHED
    assert driver.exhausted


def test_seeds_of_a_trial_that_is_lost_twice_run_one_by_one(tmp_path):
    spec, driver, tune = confirmation(tmp_path)
    for _ in range(2):
        lose(tune, tune.ask())
    (entry,) = driver.ledger.entries()
    assert (entry.state, entry.seeds) == ("failed", tuple(spec.confirm_seeds))
    assert entry.reason == "lost 2 times without finishing a task: it was killed"
    assert make_study(spec, driver.ledger).confirmation("replay").places().failures == {}
    assert asked_seeds(tune) == [(seed,) for seed in spec.confirm_seeds]


def test_a_seed_that_kills_its_worker_alone_is_a_failed_seed_with_the_reason(tmp_path):
    spec, driver, tune = confirmation(tmp_path, {"confirm.seeds": [100]})
    for _ in range(3):
        lose(tune, tune.ask())
    assert tune.ask() is None
    told = {"confirm/replay seed 100": "lost 3 times without finishing a task: it was killed"}
    assert make_study(spec, driver.ledger).failures_of("replay") == told
    assert confirmation(tmp_path, {"confirm.seeds": [100]})[2].ask() is None
    # a run that is asked to retry it does so once, and not three times more
    _, again, tune = confirmation(tmp_path, {"confirm.seeds": [100]}, retry_failed=True)
    lose(tune, tune.ask())
    assert tune.ask() is None
    assert len(again.ledger.entries()[0].losses) == 4


def test_losses_are_counted_over_the_ends_of_the_driver(tmp_path):
    for lost in range(3):
        _, driver, tune = confirmation(tmp_path, {"confirm.seeds": [100]})
        trial = tune.ask()
        assert [len(e.losses) for e in driver.ledger.unfinished()] == [lost]
        lose(tune, trial)
    assert [e.state for e in driver.ledger.entries()] == ["failed"]


def test_a_trial_that_finishes_a_task_between_its_losses_is_never_given_up(tmp_path):
    _, driver, tune = confirmation(tmp_path)
    for task in range(4):
        trial = tune.ask()
        reports = list(Run().reports(tune.asked[trial]["work"], ["average_accuracy"]))
        driver.on_trial_result(trial, reports[task])
        assert driver.trials[trial].tasks == task + 1
        driver.errors[trial] = RuntimeError("gone")
        driver.on_trial_complete(trial, error=True)
    assert driver.ledger.entries() == []
    assert [loss["tasks"] for loss in driver.ledger.unfinished()[0].losses] == [1, 2, 3, 4]


def test_a_trial_of_the_sweep_that_is_given_up_has_failed_and_the_sweep_goes_on(tmp_path):
    sweep = make_sweep(make_spec(), "replay", Ledger(tmp_path))
    tune = Tune(sweep)
    for _ in range(3):
        lose(tune, tune.ask(), kind="memory")
    assert len(tune.run()) == 3
    states = [e.state for e in sweep.ledger.entries()]
    assert states == ["failed", "complete", "complete", "complete"]
    assert [t.number for t in sweep.search.study.trials] == [0, 1, 2, 3]


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_trial_lost_by_chance_is_tried_once_more_before_its_sweep_ends(ends_well, tmp_path):
    spec = make_spec({"methods": {"replay": {}}})
    sweep = make_sweep(spec, "replay", Ledger(tmp_path))
    tune = Tune(sweep)
    first = tune.ask()
    lose(tune, first)
    for _ in range(2):
        lose(tune, tune.ask())
    assert len(tune.run(3)) == 3
    assert not sweep.has_ended
    again = tune.ask()
    assert tune.asked[again]["work"] == tune.asked[first]["work"]
    if ends_well:
        tune.end(again, Run())
    else:
        lose(tune, again)
    assert tune.ask() is None
    assert sweep.has_ended
    states = {e.number: e.state for e in sweep.ledger.entries()}
    assert states == {
        0: "complete" if ends_well else "failed",
        **dict.fromkeys((1, 2, 3), "complete"),
    }


@pytest.mark.parametrize("ends_well", [True, False])
def test_the_second_try_is_made_even_if_the_driver_ends_before_it(ends_well, tmp_path):
    spec = make_spec({"methods": {"replay": {}}})
    tune = Tune(make_sweep(spec, "replay", Ledger(tmp_path)))
    for _ in range(3):
        lose(tune, tune.ask())
    tune.run(3)
    [given_up] = [e for e in tune.driver.ledger.entries() if e.state == "failed"]

    study = make_study(spec, Ledger(tmp_path))
    assert (study.sweep("replay").has_ended, study.sweep("replay").missing) == (False, [0])
    again = Tune(make_sweep(spec, "replay", study.ledger))
    trial = again.ask()
    assert again.asked[trial]["work"] == given_up.work
    if ends_well:
        again.end(trial)
    else:
        lose(again, trial)
    assert again.ask() is None
    study = make_study(spec, Ledger(tmp_path))
    assert study.sweep("replay").has_ended
    assert len(study.sweep("replay").failed) == (0 if ends_well else 1)


def test_a_trial_that_goes_on_reports_no_task_twice(tmp_path):
    sweep = make_sweep(make_spec(), "replay", Ledger(tmp_path))
    tune, heard = Tune(sweep), []
    real = sweep.after_task
    sweep.after_task = lambda entry, task, score: heard.append(task) or real(entry, task, score)
    trial = tune.ask()
    reports = list(Run(0.7).reports(tune.asked[trial]["work"], ["average_accuracy"]))
    tune.driver.on_trial_result(trial, reports[1])
    lose(tune, trial, tasks=2)
    tune.end(tune.ask(), Run(0.7))
    assert heard == [1, 2, 3, 4, 5]


def killed_for_memory(*actors):
    chosen = ", ".join(f"(Actor({actor}): memory used=3.00GB)" for actor in actors)
    return OutOfMemoryError(
        "2 worker(s) were killed due to the node running low on memory. Memory on the node (IP: "
        f"10.0.0.7, ID: a) was 7.60GB used / 8.00GB limit (0.95)\nSelected to kill: {chosen}\n]"
    )


def actor(name):
    return SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: name))


def test_a_worker_stopped_for_memory_is_a_loss_of_its_own_trial_alone(tmp_path):
    _, driver, tune = confirmation(tmp_path, {"confirm.seeds": [100, 101]}, slots=2)
    names = {"aa": tune.ask(), "bb": tune.ask()}
    for name, trial in names.items():
        driver.trials[trial].actor = actor(name)
    driver.handle_memory_stop(killed_for_memory("bb"))
    assert driver.trials == {}
    lost = {e.seeds: e.losses for e in driver.ledger.unfinished()}
    assert [len(found) for found in lost.values()] == [0, 1]
    assert "out of memory: its worker had 3.00GB (node 10.0.0.7" in lost[(101,)][0]["reason"]
    again = [tune.ask(), tune.ask()]
    assert {tune.asked[trial]["stack"] for trial in again} == {1, 2}  # one seed at a time


def test_seeds_run_one_by_one_at_once_where_memory_ran_out(tmp_path):
    spec, _, tune = confirmation(tmp_path)
    lose(tune, tune.ask(), kind="memory", reason="out of memory")
    assert asked_seeds(tune) == [(seed,) for seed in spec.confirm_seeds]


def test_a_disk_that_stays_full_ends_the_run_and_fails_nobody(tmp_path):
    _, driver, tune = confirmation(tmp_path, {"confirm.seeds": [100]})
    for _ in range(2):
        trial = tune.ask()
        driver.errors[trial] = OSError(errno.ENOSPC, "No space left on device", "/tmp/ray/x")
        driver.on_trial_complete(trial, error=True)
    trial = tune.ask()
    driver.errors[trial] = OSError(errno.ENOSPC, "No space left on device", "/tmp/ray/x")
    with pytest.raises(Halt) as caught:
        driver.on_trial_complete(trial, error=True)
    assert (caught.value.error.errno, caught.value.error.filename) == (28, "/tmp/ray/x")
    assert driver.ledger.entries() == []
    assert len(driver.ledger.unfinished()) == 1


def test_a_ledger_that_cannot_be_written_ends_the_run_through_all_that_tune_catches(tmp_path):
    _, driver, tune = confirmation(tmp_path)
    trial = tune.ask()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    driver.ledger.finish = full
    with pytest.raises(Halt):
        tune.end(trial, Run())
    assert not issubclass(Halt, Exception)
    assert len(driver.ledger.unfinished()) == 1


def test_the_systems_error_is_found_behind_what_tune_makes_of_it():
    inner, outer = OSError(errno.ENOSPC, "No space left on device"), RuntimeError("Traceback ...")
    outer.__context__ = inner  # as in `except OSError: raise TuneError(format_exc())`
    assert system_error(outer) is inner
    assert system_error(ValueError("x")) is None


class FakeTuner:
    """Runs a driver's trials until one of its workers is stopped for memory."""

    def __init__(self, driver, error):
        self.driver, self.error = driver, error

    def fit(self):
        tune = Tune(self.driver)
        if self.error is None:
            tune.run()
            return
        trial = tune.ask()
        self.driver.trials[trial].actor = actor("aa")
        try:
            raise self.error
        except OutOfMemoryError as error:
            raise RuntimeError("Caught unexpected exception") from error


def fitted(driver, errors, monkeypatch, place):
    made = iter([FakeTuner(driver, error) for error in errors])
    monkeypatch.setattr("study.run.driver._tuner", lambda *rest: next(made))
    fit(driver)


def test_a_worker_that_runs_out_of_memory_ends_no_other_trial(tmp_path, monkeypatch):
    _, driver, _ = confirmation(tmp_path, {"confirm.seeds": [100, 101]}, slots=2)
    fitted(driver, [killed_for_memory("aa"), None], monkeypatch, tmp_path)
    assert {e.seeds: len(e.losses) for e in driver.ledger.entries()} == {(100,): 1, (101,): 0}


def test_tune_may_return_early_without_a_word_and_the_study_is_not_done(tmp_path, monkeypatch):
    class Early:
        def fit(self):
            Tune(driver).ask()

    _, driver, _ = confirmation(tmp_path)
    monkeypatch.setattr("study.run.driver._tuner", lambda *rest: Early())
    with pytest.raises(Interrupted):
        fit(driver)
    assert len(driver.ledger.unfinished()) == 1


@pytest.mark.parametrize("left", [0, 1, 3])
def test_trials_that_were_never_proposed_are_missed_too(left, tmp_path, monkeypatch):
    class Early:
        def fit(self):
            tune.run(4 - left)

    tune = Tune(make_sweep(make_spec(), "replay", Ledger(tmp_path)))
    monkeypatch.setattr("study.run.driver._tuner", lambda *rest: Early())
    with pytest.raises(Interrupted):  # though it was not seen to have no more
        fit(tune.driver)


def test_what_else_ray_raises_is_a_sentence_and_not_a_traceback(tmp_path, monkeypatch):
    class Broken:
        def fit(self):
            raise RuntimeError("Traceback\n  deep\nGcsError: no more")

    _, driver, _ = confirmation(tmp_path)
    monkeypatch.setattr("study.run.driver._tuner", lambda *rest: Broken())
    with pytest.raises(MachineError, match=r"^Ray ended the run \(GcsError: no more\)\. Finished"):
        fit(driver)


def test_the_error_that_tune_keeps_is_read_and_a_file_that_was_cut_off_is_none(tmp_path):
    _, driver, tune = confirmation(tmp_path)
    trial, file, text = tune.ask(), tmp_path / "error.pkl", tmp_path / "error.txt"
    raised = RayTaskError("save", "Traceback", OSError(28, "full", "/x")).as_instanceof_cause()
    file.write_bytes(ray.cloudpickle.dumps(raised))
    kept = SimpleNamespace(trial_id=trial, pickled_error_file=str(file), error_file=str(text))
    watch = Pruning(driver)
    watch.on_trial_error(None, kept)
    assert (driver.errors[trial].errno, driver.errors[trial].filename) == (28, "/x")
    file.write_bytes(file.read_bytes()[:9])
    watch.on_trial_error(None, kept)
    assert driver.errors[trial] is None
    text.write_text("the node running low on memory")
    kept.pickled_error_file = None
    watch.on_trial_error(None, kept)
    assert str(driver.errors[trial]) == "the node running low on memory"


# -- silence


def quiet(place, minutes=None):
    spec, driver, tune = confirmation(place, {"confirm.seeds": [100]})
    driver.task_minutes = minutes
    trial = tune.ask()
    driver.trials[trial].since = 1000.0
    return spec, driver, trial


def test_a_trial_that_is_quiet_for_ten_times_its_usual_task_is_spoken_of_once(tmp_path):
    _, driver, trial = quiet(tmp_path)
    driver.longest["replay"] = 20.0
    driver.check_silence(1199.0)
    assert driver.console.said == []
    for now in (1201.0, 1500.0):
        driver.check_silence(now)
    (told,) = driver.console.said
    assert told.endswith(
        "no task has ended for 3 min; the method's longest task took 20 s. "
        "resources.task_minutes sets a limit."
    )
    driver.on_trial_result(trial, {"time_this_iter_s": 300.0})
    driver.trials[trial].since = 2000.0
    driver.check_silence(2500.0)
    assert len(driver.console.said) == 1


@pytest.mark.parametrize(("usual", "patience"), [(None, 600), (0.5, 60), (30.0, 300)])
def test_short_tasks_are_not_spoken_of_before_a_minute(usual, patience, tmp_path):
    _, driver, _ = quiet(tmp_path)
    if usual:
        driver.longest["replay"] = usual
    driver.check_silence(1000.0 + patience)
    assert driver.console.said == []
    driver.check_silence(1001.0 + patience)
    assert len(driver.console.said) == 1


def test_a_trial_that_has_not_started_is_not_waited_for(tmp_path):
    _, driver, tune = confirmation(tmp_path)
    tune.ask()
    driver.task_minutes = 1.0
    driver.check_silence(1e9)
    assert driver.console.said == []


def test_a_trial_over_its_time_is_stopped_and_its_seed_has_failed(tmp_path, monkeypatch):
    stopped = []
    monkeypatch.setattr("study.run.driver.ray.kill", stopped.append)
    spec, driver, trial = quiet(tmp_path, minutes=5.0)
    driver.trials[trial].actor = "worker"
    driver.check_silence(1299.0)
    assert stopped == []
    driver.check_silence(1301.0)
    driver.check_silence(1302.0)
    assert stopped == ["worker"]
    driver.on_trial_complete(trial, error=True)
    reason = "lost: no task ended in 5 minutes (resources.task_minutes)"
    told = {"confirm/replay seed 100": reason}
    assert make_study(spec, driver.ledger).failures_of("replay") == told


def test_the_time_of_a_task_is_a_key_of_the_study_file():
    assert ResourcesSection().task_minutes is None
    assert make_spec({"resources.task_minutes": 2.5}).resources.task_minutes == 2.5
