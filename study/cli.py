"""The commands: thin. Data goes to stdout, progress to stderr; 0 done, 1 failed, 2 bad input, 3
some trials failed.
"""

# Heavy libraries are imported inside the commands, so that `presets` or `--help` answer at once.
from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainables.errors import InputError

if TYPE_CHECKING:
    from analysis.results import Analysis

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Tuned, statistically sound studies of continual-learning methods.",
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
app.add_typer(data_app, name="data")

Study = Annotated[
    str, typer.Argument(metavar="[PRESET|FILE]", help="A preset's name or a study file.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override any key of the study file (repeatable)."
    ),
]
Dir = Annotated[Path, typer.Option("--dir", help="Where study folders live.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data", help="Where data sets are; else STUDY_DATA, else the cache folder."),
]
Uri = Annotated[
    str | None,
    typer.Option("--tracking-uri", help="MLflow's; default: SQLite in the study's folder."),
]
Address = Annotated[str | None, typer.Option("--address", help="Ray: local, auto, or HOST:PORT.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of studies.")]
OneFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.")]

FAILED, BAD_INPUT, SOME_FAILED = 1, 2, 3


def main() -> None:
    """Run a command; turn bad input into a sentence."""
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


@app.command()
def run(
    study: Study = "digits",
    sets: Sets = None,
    dir: Dir = Path("studies"),
    data: DataRoot = None,
    tracking_uri: Uri = None,
    address: Address = None,
) -> None:
    """Tune, confirm and compare; run again to resume, or to add trials or seeds."""
    spec, source = _read(study, sets, address)
    from study.console import Console, print_results, shell
    from study.run import run_study

    place = dir / spec.study.name
    try:
        with Console() as console:
            outcome = run_study(
                spec, source, place, data_root(data), console, _command(), tracking_uri
            )
    except KeyboardInterrupt:
        print(
            "interrupted: finished trials are kept; run the same command to go on", file=sys.stderr
        )
        raise typer.Exit(FAILED) from None
    print_results(outcome.analysis)
    interface = tracking_uri or shell("ui", str(place))
    print(f"\nReport: {place / 'report' / 'index.html'}\nMLflow: {interface}")
    if outcome.failed:
        print(
            f"error: {len(outcome.failed)} failed: {', '.join(outcome.failed[:5])}",
            file=sys.stderr,
        )
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
    """Resolve everything, run nothing: trials, seeds, time, smallest detectable effect."""
    from study.console import print_table
    from study.estimate import estimate

    spec, source = _read(study, sets, address)
    found = estimate(spec, source, dir / spec.study.name, data_root(data))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rows = [
        [row["method"], row["tune_trials"], row["confirm_seeds"], row["stack"], row["seconds"]]
        for row in found["methods"]
    ]
    print_table(
        "",
        ["method", "tuning trials", "confirmation seeds", "stack", "seconds on one device"],
        rows,
    )
    for line in found["notes"]:
        print(line)


@app.command()
def status(folder: OneFolder, as_json: AsJson = False) -> None:
    """Say what a study has and what it lacks."""
    from study.console import print_table
    from study.estimate import progress

    found = progress(folder)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    columns = ["method", "tuned", "best", "confirmed", "failed", "unfinished"]
    print_table(str(folder), columns, [[row[c] for c in columns] for row in found])


@app.command()
def report(
    folders: Folders,
    as_json: AsJson = False,
    power: Annotated[
        bool, typer.Option("--power", help="What more or fewer seeds would show.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="Show the accuracy matrices of this seed too, or of this unit (a speaker, a "
            "class) where the stream pairs those.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where the report goes; default: beside what it is about."),
    ] = None,
) -> None:
    """Print the tables of a study, or of several side by side; write them in every format."""
    from study.results import analyse_folder

    if seed is not None and (power or len(folders) > 1):
        raise InputError("--seed goes with the report of one study. Give one folder, no --power.")
    analyses = [analyse_folder(folder) for folder in folders]
    if power:
        _power(folders, analyses, as_json)
    elif len(folders) == 1:
        _report_one(analyses[0], out or folders[0] / "report", as_json, seed)
    else:
        place = out or folders[0].absolute().parent / "report"
        _report_several(folders, analyses, place, as_json)


def _report_one(analysis: Analysis, place: Path, as_json: bool, seed: int | None = None) -> None:
    from analysis.data import to_json
    from study.console import print_results
    from study.report import check_seed, write_report

    if seed is not None:
        check_seed(analysis, seed)
    print(to_json(analysis), end="") if as_json else print_results(analysis)
    _written(lambda: write_report(analysis, place, seed), place)


def _report_several(
    folders: list[Path], analyses: list[Analysis], place: Path, as_json: bool
) -> None:
    from analysis.across_sections import across_sections, to_json
    from study.console import print_sections
    from study.report import compare, write_across

    across = compare(analyses, folders)
    if as_json:
        print(to_json(across, analyses), end="")
    else:
        print_sections(across_sections(across, analyses))
    _written(lambda: write_across(across, analyses, place), place)


def _written(write: Callable[[], None], place: Path) -> None:
    """Write a report; what was asked for has been printed, whether or not it can be written."""
    from study.console import warn

    try:
        write()
        warn(f"Report: {place / 'index.html'}")
    except InputError as error:
        warn(str(error))
        raise typer.Exit(FAILED) from None


def _power(folders: list[Path], analyses: list[Analysis], as_json: bool) -> None:
    from dataclasses import asdict

    from analysis.planning import plans, power_table
    from study.console import print_block
    from study.seen import differences_of

    found = {
        a.record.study: plans(a, differences_of(folder))
        for folder, a in zip(folders, analyses, strict=True)
    }
    if as_json:
        plain = {s: {m: asdict(p) for m, p in of.items()} for s, of in found.items()}
        print(json.dumps(plain, indent=2))
        return
    for study, of in found.items():
        for method, plan_ in of.items():
            print_block(power_table(method, plan_))
            for sentence in plan_.sentences:
                print(f"{study}, {method}: {sentence}")


@app.command()
def front(folder: OneFolder) -> None:
    """Print a study file that confirms what is on a study's Pareto fronts."""
    from study.front import front_study

    print(front_study(folder), end="")


@app.command()
def track(folder: OneFolder, tracking_uri: Uri = None) -> None:
    """Write what MLflow lacks of a study, from its ledger."""
    from study.mlflow_store import default_uri
    from study.tracking import rebuild

    uri = tracking_uri or default_uri(folder)
    rebuild(folder, uri)
    print(f"MLflow at {uri} is up to date.")


@app.command()
def ui(
    folder: OneFolder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Open MLflow's pages on a study's database."""
    import subprocess

    from study.mlflow_store import pages

    command = pages(folder, port)
    print(f"http://127.0.0.1:{port}  (stop with Ctrl-C)", flush=True)
    # MLflow's background jobs serve its GenAI pages, and triple the time it takes to start
    calm = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    raise typer.Exit(subprocess.call(command, env={**calm, **os.environ}))


@app.command()
def presets(as_json: AsJson = False) -> None:
    """List the shipped study files."""
    from study.spec import presets as shipped

    rows = [[name, text.splitlines()[0].lstrip("# ")] for name, text in shipped().items()]
    _list(["preset", "what it is"], rows, as_json)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the learners, their sources, scenarios and options."""
    from trainables import learners

    if as_json:
        print(json.dumps({name: _describe(kind) for name, kind in learners().items()}, indent=2))
        return
    rows = [
        [
            name + (" (offline bound)" if kind.offline else ""),
            kind.reference,
            ", ".join(kind.scenarios),
        ]
        for name, kind in learners().items()
    ]
    _list(["method", "source", "scenarios"], rows, False)


@app.command()
def streams(as_json: AsJson = False) -> None:
    """List the streams, their data and scenarios."""
    from trainables import STREAMS

    rows = [
        [name, str(kind.tasks), kind.reference, ", ".join(kind.scenarios)]
        for name, kind in STREAMS.items()
    ]
    _list(["stream", "tasks", "data", "scenarios"], rows, as_json)


@data_app.command("prepare")
def data_prepare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets.")],
    data: DataRoot = None,
) -> None:
    """Find or download data sets and build their cache files."""
    from trainables.streams.datasets import DATASETS, prepare

    for name in names:
        path = prepare(name, data_root(data))
        print(f"{name}: {path or f'bundled with {DATASETS[name].bundled}'}")


@app.command()
def doctor(data: DataRoot = None, address: Address = None, as_json: AsJson = False) -> None:
    """Check versions, devices, Ray, data and MLflow."""
    from study.doctor import examine

    rows, healthy = examine(data_root(data), address or "local")
    _list(["what", "state"], rows, as_json)
    raise typer.Exit(0 if healthy else 1)


def data_root(given: Path | None) -> Path:
    """Return where data sets are: as given, else ``STUDY_DATA``, else the user's cache folder."""
    if given is not None:
        return given
    if os.environ.get("STUDY_DATA"):
        return Path(os.environ["STUDY_DATA"])
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(cache) if cache else Path.home() / ".cache") / "continual-study"
    except RuntimeError:
        raise InputError(
            "there is no home folder to keep data sets in. Name a folder with --data or STUDY_DATA."
        ) from None


def _read(study: str, sets: list[str] | None, address: str | None) -> tuple[Any, str]:
    from study.spec import read

    overrides = list(sets or [])
    if address:
        overrides.append(f"resources.address={json.dumps(address)}")
    return read(study, overrides)


def _command() -> str:
    return shlex.join(["python", "-m", "study", *sys.argv[1:]])


def _list(columns: list[str], rows: list[list[str]], as_json: bool) -> None:
    from study.console import print_table

    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
    else:
        print_table("", columns, rows)


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
    }
