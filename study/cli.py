"""The command line: each command reads its arguments, calls one function and prints the result.

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 failed, 2 bad input, 3 some trials
failed.
"""

# Heavy libraries are imported inside the commands, so that `--help` and `presets` answer at once.
from __future__ import annotations

import atexit
import gc
import io
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainables.errors import InputError, MachineError, check_text, machine_error

if TYPE_CHECKING:
    from analysis.one_study.analyse import Analysis
    from study.spec import Spec

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Tuned, statistically sound studies of continual-learning methods.",
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
app.add_typer(data_app, name="data")

Study = Annotated[
    str, typer.Argument(metavar="PRESET|FILE", help="Name of a preset, or a study file.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any key of the study file to a TOML value (repeatable).",
    ),
]
Dir = Annotated[Path, typer.Option("--dir", help="Folder that holds the study folders.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder of the data sets; default: STUDY_DATA, else the user's cache folder."
    ),
]
Uri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="URI of MLflow; default: MLFLOW_TRACKING_URI, else SQLite in the study's folder.",
    ),
]
Address = Annotated[
    str | None, typer.Option("--address", help="Address of Ray: local, auto, or HOST:PORT.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of studies.")]
OneFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.")]

FAILED, BAD_INPUT, SOME_FAILED = 1, 2, 3
FAILURES_SHOWN = 10


def main() -> None:
    """Run a command; print bad input as one sentence instead of a traceback."""
    from study.console import open_streams, warn, warn_of_unprinted

    atexit.register(gc.freeze)  # no search for garbage at the end: a second
    open_streams()
    try:
        for argument in sys.argv[1:]:
            check_text(argument, "the command line")
        app()
    except InputError as error:
        warn(f"error: {error}")
        sys.exit(BAD_INPUT)
    except MachineError as error:
        warn(f"error: {error}")
        sys.exit(FAILED)
    except SystemExit as end:
        sys.exit(FAILED if warn_of_unprinted() and not end.code else end.code)


@app.command()
def run(
    study: Study = "digits",
    sets: Sets = None,
    dir: Dir = Path("studies"),
    data: DataRoot = None,
    tracking_uri: Uri = None,
    address: Address = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Run again the trials and seeds that crashed (a killed worker, memory, a time "
            "limit, an error); not those that diverged, which would diverge again.",
        ),
    ] = False,
) -> None:
    """Tune, confirm and compare the methods of a study; run again to resume or extend it."""
    spec, source = _read(study, sets, address)
    from study.console import Console, print_results, shell, warn, warn_of_unprinted
    from study.interruption import Interrupted, stopping_in_order

    place = dir / spec.study.name
    try:
        with stopping_in_order(), Console() as console:
            console.say(f"{place}: {_size(spec)}")
            console.step("loading libraries")
            from study.check import resolve, try_sweeps
            from study.mlflow.store import chosen_uri, printable_uri
            from study.run.whole import RunOptions, run_study

            design = resolve(spec, source)
            try_sweeps(design, source)
            uri = chosen_uri(tracking_uri)
            options = RunOptions(data_root(data), _command(), uri, retry_failed)
            finished = run_study(design, place, options, console)
    except Interrupted as end:
        warn(f"interrupted{end}: finished trials are kept; run the same command to continue")
        raise typer.Exit(end.status) from None
    except OSError as error:
        raise machine_error(error, place) from None
    print_results(finished.analysis)
    interface = printable_uri(uri) if uri else shell("ui", str(place))
    if finished.unwritten:
        warn(f"error: {finished.unwritten}")
        raise typer.Exit(FAILED)
    print(f"\nReport: {place / 'report' / 'index.html'}\nMLflow: {interface}")
    warn_of_unprinted()  # not a failure: the report holds everything
    if finished.failed:
        warn(f"error: {len(finished.failed)} failed:")
        for name, reason in [*finished.failed.items()][:FAILURES_SHOWN]:
            warn(f"  {name}: {reason}")
        if (more := len(finished.failed) - FAILURES_SHOWN) > 0:
            warn(f"  and {more} more: the report lists all of them")
        if finished.crashed:
            crashed = f"the {finished.crashed} that crashed"
            warn(f"run the same command with --retry-failed to run {crashed} again")
        raise typer.Exit(SOME_FAILED)


@app.command()
def plan(
    study: Study = "digits",
    sets: Sets = None,
    dir: Dir = Path("studies"),
    data: DataRoot = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the trials, the time and the smallest detectable effect, without running a study."""
    spec, source = _read(study, sets, address)
    from study.console import Console

    with Console() as console:
        console.step("loading libraries")
        from study.plan import plan as plan_of

        found = plan_of(spec, source, dir / spec.study.name, data_root(data), console.step)
    _print_plan(found, as_json)
    if any(row["problem"] for row in found["methods"]):
        raise typer.Exit(SOME_FAILED)


def _print_plan(found: dict[str, Any], as_json: bool) -> None:
    from study.console import print_table, print_text

    if as_json:
        print(json.dumps(found, indent=2))
        return
    headings = {
        "method": "method",
        "tune_trials": "tuning trials",
        "confirm_seeds": "confirmation seeds",
        "recheck_seeds": "recheck seeds",
        "stack": "stack",
        "seconds": "seconds on one device",
    }
    rows = [[row[key] for key in headings] for row in found["methods"]]
    print_table("", [*headings.values()], rows)
    for sentence in found["notes"]:
        print_text(sentence)


@app.command()
def status(
    folder: OneFolder,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew every two seconds while the study runs.")
    ] = False,
) -> None:
    """Show the progress of a study: finished, failed and missing trials and seeds."""
    from study.console import clear_screen, print_text
    from study.run_notes import left_out
    from study.state import Study
    from study.status import WATCH_SECONDS, now, rows_of

    if watch and as_json:
        raise InputError("--watch shows a screen and --json prints a list once: give one of them.")
    columns = ["method", "tuned", "best", "confirmed", "rechecked", "failed", "unfinished"]
    study = Study.open(folder)
    while True:
        is_run = study.folder.is_claimed
        if watch:
            clear_screen()
        _print_rows(rows_of(study), columns, as_json, title=str(folder))
        if not as_json:
            print_text("\n".join([now(study), *left_out(study)]))
        if not watch or not is_run:
            return
        time.sleep(WATCH_SECONDS)
        study.read_new()


@app.command()
def report(
    folders: Folders,
    as_json: AsJson = False,
    full: Annotated[bool, typer.Option("--full", help="Print every table of the report.")] = False,
    power: Annotated[
        bool, typer.Option("--power", help="Show the effects that more or fewer seeds can detect.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="Show the accuracy matrices of this seed too; of this unit if the stream pairs "
            "units such as speakers or classes.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the report; default: beside the study."),
    ] = None,
) -> None:
    """Print the results of one study, or of several side by side, and write their reports."""
    from study.record import analyse_folder

    if seed is not None and (power or len(folders) > 1):
        raise InputError(
            "--seed is for the report of a single study. Give one folder, without --power."
        )
    analyses = [analyse_folder(folder) for folder in folders]
    if power:
        _power(folders, analyses, as_json)
    elif len(folders) == 1:
        _report_one(analyses[0], out or folders[0] / "report", as_json, seed, full)
    else:
        place = out or folders[0].absolute().parent / "report"
        _report_many(folders, analyses, place, as_json)


def _report_one(
    analysis: Analysis, place: Path, as_json: bool, seed: int | None, full: bool
) -> None:
    from analysis.formats.data import to_json
    from analysis.report.sections import sections
    from study.console import print_results, print_sections
    from study.report import check_replacement, check_seed, write_report

    if seed is not None:
        check_seed(analysis, seed)
    if as_json:
        print(to_json(analysis), end="")
    elif full:
        print_sections(sections(analysis))
    else:
        print_results(analysis)
    check_replacement(analysis, place)
    _write_report(lambda: write_report(analysis, place, seed), place, as_json)


def _report_many(folders: list[Path], analyses: list[Analysis], place: Path, as_json: bool) -> None:
    from analysis.formats.data import across_to_json
    from analysis.report.many_sections import across_sections
    from study.console import print_sections
    from study.report import compare_studies, write_across

    across = compare_studies(analyses, folders)
    if as_json:
        print(across_to_json(across, analyses), end="")
    else:
        print_sections(across_sections(across, analyses))
    _write_report(lambda: write_across(across, analyses, place), place, as_json)


def _write_report(write: Callable[[], None], place: Path, as_json: bool) -> None:
    """Write a report that has been printed already; exit with 1 if it cannot be written."""
    from study.console import warn, warn_of_unprinted

    try:
        write()
        warn(f"Report: {place / 'index.html'}")
    except InputError as error:
        warn(str(error))
        raise typer.Exit(FAILED) from None
    if not as_json:
        warn_of_unprinted()  # not a failure: the report holds everything


def _power(folders: list[Path], analyses: list[Analysis], as_json: bool) -> None:
    from dataclasses import asdict

    from analysis.one_study.planning import plans
    from analysis.report.tables import power_table
    from study.console import print_block, print_text
    from study.seen_differences import differences_of

    found = {
        a.record.study: plans(a, differences_of(folder))
        for folder, a in zip(folders, analyses, strict=True)
    }
    if as_json:
        plain = {
            study: {method: asdict(plan_) for method, plan_ in by_method.items()}
            for study, by_method in found.items()
        }
        print(json.dumps(plain, indent=2))
        return
    for a in analyses:
        for method, plan_ in found[a.record.study].items():
            print_block(power_table(method, plan_, a.form))
            for sentence in plan_.sentences:
                print_text(f"{a.record.study}, {method}: {sentence}")


@app.command()
def front(folder: OneFolder) -> None:
    """Print a study file that confirms the configurations on a study's Pareto fronts."""
    from study.front import front_study

    text = front_study(folder)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # TOML is UTF-8, whatever the terminal's encoding
    print(text, end="")


@app.command()
def export(
    folder: OneFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the files; default: DIR/export.")
    ] = None,
) -> None:
    """Write a study's accuracies as a Parquet table, and its sweeps as a journal of Optuna."""
    from study.export import export_study

    for path, content in export_study(folder, out or folder / "export").items():
        print(f"{path}: {content}")


@app.command()
def track(folder: OneFolder, tracking_uri: Uri = None) -> None:
    """Bring MLflow up to date with the ledger of a study."""
    from study.console import print_text, warn_of_unprinted
    from study.mlflow.store import chosen_uri, default_uri, printable_uri
    from study.mlflow.writer import rebuild

    uri = chosen_uri(tracking_uri) or default_uri(folder)
    rebuild(folder, uri)
    print_text(f"MLflow at {printable_uri(uri)} is up to date.")
    warn_of_unprinted()  # not a failure: MLflow holds everything


@app.command()
def ui(
    folder: OneFolder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Serve MLflow's pages for a study's database, or for that in MLFLOW_TRACKING_URI."""
    from study.mlflow.pages import methods_address, serve
    from study.mlflow.store import chosen_uri, is_server

    uri = chosen_uri(None)
    if uri and is_server(uri):  # a server serves its own pages
        print(methods_address(uri, folder, uri))
        return

    def announce(address: str) -> None:
        print(f"{address}\n(stop with Ctrl-C)", flush=True)

    raise typer.Exit(serve(folder, port, uri, announce))


@app.command()
def presets(as_json: AsJson = False) -> None:
    """List the shipped study files."""
    from study.spec import first_sentence
    from study.spec import presets as shipped

    found = shipped().items()
    rows = [{"preset": name, "what it is": first_sentence(text)} for name, text in found]
    _print_rows(rows, ["preset", "what it is"], as_json)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the learners: sources and scenarios; with --json, options and search spaces."""
    from study.console import print_table, warn
    from trainables import LEARNERS, find_learner, plugged

    others, unusable = plugged("study.learners", find_learner)
    for text in unusable:
        warn(text)
    if as_json:
        found = dict(LEARNERS) | others
        print(json.dumps({name: _describe(kind) for name, kind in found.items()}, indent=2))
        return
    keys = ("offline", "reference", "scenarios")
    shipped = {name: [LEARNERS.declared(name, key) for key in keys] for name in LEARNERS}
    listed = shipped | {name: [getattr(others[name], key) for key in keys] for name in others}
    rows = [
        [name + (" (offline bound)" if offline else ""), ", ".join(scenarios), reference]
        for name, (offline, reference, scenarios) in listed.items()
    ]
    print_table("", ["method", "scenarios", "source"], rows)


@app.command()
def streams(as_json: AsJson = False) -> None:
    """List the streams with their tasks, data and scenarios."""
    from study.console import warn
    from trainables import STREAMS, find_stream, plugged
    from trainables.streams.datasets import DATASETS

    keys = ("tasks", "dataset", "scenarios")
    shipped = {name: [STREAMS.declared(name, key) for key in keys] for name in STREAMS}
    kinds, unusable = plugged("study.streams", find_stream)
    for text in unusable:
        warn(text)
    found = shipped | {name: [getattr(kinds[name], key) for key in keys] for name in kinds}
    rows = [
        {
            "stream": name,
            "tasks": str(tasks),
            "data": DATASETS[dataset].source if dataset in DATASETS else dataset,
            "scenarios": ", ".join(scenarios),
        }
        for name, (tasks, dataset, scenarios) in found.items()
    ]
    _print_rows(rows, ["stream", "tasks", "scenarios", "data"], as_json)


@data_app.command("prepare")
def data_prepare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets.")],
    data: DataRoot = None,
) -> None:
    """Find or download data sets and build their cache files."""
    from study.console import warn, warn_of_unprinted
    from trainables.streams.datasets import find_dataset, suspicions

    for found in map(find_dataset, names):
        path = found.prepare(data_root(data))
        print(f"{found.name}: {path or f'bundled with {found.bundled}'}")
        for text in suspicions(found, found.load(data_root(data))):
            warn(text)
    warn_of_unprinted()  # not a failure: the data are prepared


@app.command()
def doctor(data: DataRoot = None, address: Address = None, as_json: AsJson = False) -> None:
    """Check whether a study can run here: versions, devices, Ray, data, MLflow."""
    from study.console import Console

    root = data_root(data)
    with Console() as console:
        console.step("checking versions, devices, Ray, data and MLflow")
        from study.doctor import examine

        found, healthy = examine(root, address or "local")
    rows = [{"what": name, "state": state} for name, state in found]
    _print_rows(rows, ["what", "state"], as_json)
    raise typer.Exit(0 if healthy else 1)


def data_root(given: Path | None) -> Path:
    """Return the folder of the data sets: ``given``, else ``STUDY_DATA``, else the user's cache."""
    if given is not None:
        return given
    if named := os.environ.get("STUDY_DATA"):
        check_text(named, "STUDY_DATA")
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        root = (Path(cache) if cache else Path.home() / ".cache") / "continual-study"
    except RuntimeError:
        raise InputError(
            "there is no home folder to keep data sets in. Give a folder with --data or STUDY_DATA."
        ) from None
    check_text(str(root), "the cache folder")
    return root


def _read(study: str, sets: list[str] | None, address: str | None) -> tuple[Spec, str]:
    from study.spec import read

    overrides = list(sets or [])
    if address:
        overrides.append(f"resources.address={json.dumps(address)}")
    return read(study, overrides)


def _size(spec: Spec) -> str:
    """Return how many methods, trials and seeds a study asks for, in words."""
    from analysis.numbers import count

    methods = count(len(spec.methods), "method")
    trials = count(spec.tune.trials, "tuning trial")
    most = "up to " if spec.confirm.stop == "decided" else ""
    seeds = f"{most}{count(len(spec.confirm_seeds), 'confirmation seed')}"
    size = f"{methods}, {trials} and {seeds} each"
    sweeps = f", in {spec.tune.repeats} sweeps" if spec.tune.repeats > 1 else ""
    confirmed = f", {spec.confirm.top} configurations confirmed" if spec.confirm.top > 1 else ""
    return size + sweeps + confirmed


def _command() -> str:
    return shlex.join(["python", "-m", "study", *sys.argv[1:]])


def _print_rows(
    rows: list[dict[str, Any]], columns: list[str], as_json: bool, title: str = ""
) -> None:
    """Print rows on stdout: as JSON, or the columns as a table."""
    from study.console import print_table

    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(title, columns, [[row[name] for name in columns] for row in rows])


def _describe(kind: Any) -> dict[str, Any]:
    options = {
        name: {
            "default": field.default,
            **{k: v for k, v in field.metadata.items() if v is not None},
        }
        for name, field in kind.Config.fields().items()
    }
    return {
        "source": kind.reference,
        "offline": kind.offline,
        "scenarios": list(kind.scenarios),
        "options": options,
        "space": _space(kind),
    }


def _space(kind: Any) -> dict[str, Any] | None:
    """Return a learner's search space; None for an unusable plug-in, with the reason on stderr."""
    from search_spaces import whole_space
    from search_spaces.space import as_plain
    from study.console import warn

    kinds = kind.Config.kinds()
    try:
        space = whole_space(kind)
        return {name: as_plain(space[name], kinds.get(name)) for name in space}
    except InputError as error:
        warn(str(error))
        return None
