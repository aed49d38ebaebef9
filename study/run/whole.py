"""Run a whole study: its trials, its report, its runs in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from analysis import numbers
from analysis.one_study.analyse import Analysis, analyse
from study.console import Console
from study.data import StudyData
from study.design import FRESH_PHASES, Design
from study.first_tasks import SharedTask, first_tasks_of_fresh_seeds, first_tasks_of_sweeps
from study.folder import Folder
from study.interruption import stopping_in_order
from study.mlflow.mirror import Mirror
from study.mlflow.writer import RunningTrial
from study.progress import progress
from study.record import study_record
from study.report import write_report
from study.run.cluster import Cluster, connected
from study.run.confirmation import FreshSeedTrials
from study.run.context import RunContext, Stacks
from study.run.driver import Driver, fit
from study.run.foundations import Foundations
from study.run.pilot import pilots
from study.run.pretraining import PretrainingTrials
from study.run.racing import RacingTrials
from study.run.source import Source
from study.run.sweep import SweepTrials
from study.run_notes import of_other_code
from study.state import Study
from trainables.errors import InputError
from trainables.networks import stacking_obstacle


@dataclass(frozen=True)
class FinishedStudy:
    """The end of a run: the analysis of the study, and the failures."""

    analysis: Analysis
    failed: dict[str, str]  # reasons by trial or seed
    crashed: int = 0  # trials and seeds that may end otherwise if they run again
    unwritten: str = ""  # why the report could not be written


@dataclass(frozen=True)
class RunOptions:
    """The settings of a run that are no part of the study.

    Attributes:
        root: folder of the data sets.
        command: command line of the run, for the report.
        tracking_uri: URI of MLflow; None: SQLite in the study's folder.
        retry_failed: whether to run again the trials and seeds that crashed.
    """

    root: Path
    command: str
    tracking_uri: str | None = None
    retry_failed: bool = False


def run_study(design: Design, place: Path, options: RunOptions, console: Console) -> FinishedStudy:
    """Run the missing trials of a study and write its report; ``place``: folder of the study."""
    folder = Folder(place)
    with folder.claim():
        ledger = folder.ledger(console.say, repair=True)
        folder.admit(design.spec, options.command, ledger)
        study = Study(design, folder, ledger, options.retry_failed)
        with Mirror(study, options.tracking_uri, console.say) as mirror:
            _run_trials(study, options.root, console, mirror)
            console.step("writing the report")
            analysis = analyse(study_record(study))
            unwritten = _write_report(analysis, place / "report")
            console.step("bringing MLflow up to date")
            mirror.finish(analysis)
    return FinishedStudy(analysis, study.failures(), study.crashed, unwritten)


def _write_report(analysis: Analysis, place: Path) -> str:
    """Write a study's report; return why the report could not be written, or an empty text."""
    try:
        write_report(analysis, place)
    except InputError as error:
        return str(error)
    return ""


def _run_trials(study: Study, root: Path, console: Console, mirror: Mirror) -> None:
    console.step("reading the data")
    loaded = StudyData.load(study.design, root)
    _use_data(loaded, study, console)
    for text in of_other_code(study):
        console.say(text)
    if study.complete:
        console.say(f"all trials of {', '.join(study.spec.methods)} are in the ledger")
        _forget_unfinished(study)
        return
    study.folder.keep_start()
    data = loaded.prepared()
    data.try_streams()
    for text in (*data.suspicions(), *_obstacles(study)):
        console.say(text)
    resources, log = study.spec.resources, study.folder.path / "ray.log"
    is_local = resources.address == "local"
    console.step("starting Ray" if is_local else f"joining Ray at {resources.address}")
    requests = {name: study.request(name) for name in study.spec.methods}
    connection = connected(resources.address, requests, log, console.say)
    with connection as cluster, stopping_in_order():
        run = _context(study, console, cluster, data)

        def after_change(driver: Driver) -> None:
            mirror.poke([RunningTrial(r.entry, dict(r.steps)) for r in driver.trials.values()])
            console.progress(lambda: _progress(study, driver))

        fit(Driver(run, sources(run), after_change))
    _forget_unfinished(study)
    console.say(progress(study).line)


def _obstacles(study: Study) -> Iterator[str]:
    """Yield a sentence on each network of the user that a GPU computes seed by seed.

    Raises:
        InputError: if a network cannot be built.
    """
    for name, method in study.design.of_sweep(0).items():
        config = method.kind.Config.parse(method.configuration({}))
        try:
            obstacle = stacking_obstacle(config, study.design.stream.info)
        except InputError as error:
            raise InputError(f"methods.{name}: {error}.") from None
        if obstacle and study.request(name).gpus:
            yield (
                f"methods.{name}: network '{config.network}' is computed seed by seed, because it "
                f"cannot be vectorised over seeds ({obstacle})"
            )


def _progress(study: Study, driver: Driver) -> str:
    """Return the progress of a run in a line; keep its slots, for other processes."""
    running, slots = driver.busy
    study.folder.keep_slots(slots)
    return progress(study, running, slots).line


def _context(study: Study, console: Console, cluster: Cluster, data: StudyData) -> RunContext:
    references = {phase: cluster.share(data.of(phase)) for phase in ("tune", "confirm")}
    references["recheck"] = references["tune"]
    learnt = {"train": data.confirm["train"]}
    is_tuned_on = data.tune["train"] is learnt["train"]  # not on a held-out stream
    references["pilot"] = references["tune"] if is_tuned_on else cluster.share(learnt)
    return RunContext(
        study=study,
        console=console,
        nodes=cluster.nodes,
        stacks=Stacks(study, cluster.models),
        data=references,
        foundations=Foundations(study.ledger, cluster.share),
        unfinished=study.ledger.unfinished(),
    )


def sources(run: RunContext) -> list[Source]:
    """Return the sources of all trials of a study."""
    study = run.study
    shared = first_tasks_of_sweeps(study)  # the sweeps to run are known from the start
    of_sweeps = PretrainingTrials(run, "tune", lambda: shared)
    kind = RacingTrials if study.spec.tune.racing else SweepTrials
    sweeps = [kind(run, name, of_sweeps) for name in study.methods]
    found: list[Source] = [*pilots(run), of_sweeps, *sweeps]
    for phase in FRESH_PHASES:
        ended = partial(_first_tasks_after, study, phase, sweeps)
        pretraining = PretrainingTrials(run, phase, ended)
        found.append(pretraining)
        found += [FreshSeedTrials(run, phase, sweep, pretraining) for sweep in sweeps]
    return found


def _first_tasks_after(study: Study, phase: str, sweeps: Sequence[SweepTrials]) -> list[SharedTask]:
    """Return the first tasks of the fresh seeds of the sweeps that have ended."""
    ended = [sweep.method.name for sweep in sweeps if sweep.has_ended]
    return first_tasks_of_fresh_seeds(study, phase, ended)


def _use_data(data: StudyData, study: Study, console: Console) -> None:
    """Use only trials on the data of this run, and report trials on other data."""
    hashes = data.hashes()
    study.folder.keep_data(hashes)
    study.keep_to_data(study.folder.facts.data)
    if others := study.ledger.entries_of_other_data():
        console.say(
            f"{numbers.count(len(others), 'trial')} in the ledger learnt other data than the "
            f"current ones ({', '.join(hashes)}): kept, and not used."
        )


def _forget_unfinished(study: Study) -> None:
    """Remove the records of unfinished trials that the study no longer asks for."""
    for entry in study.ledger.unfinished():
        study.ledger.abandon(entry)
