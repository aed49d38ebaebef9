"""What MLflow needs before it can be written: a URI, an answering server, files in their place."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sqlite3
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from study.console import shell, warn
from trainables.errors import InputError, cause

HALF_MADE = "SELECT count(*) FROM sqlite_master WHERE name GLOB '_alembic_tmp_*'"
DATABASE, ARTIFACTS = "mlflow.db", "mlflow_artifacts"  # side by side
URI = "MLFLOW_TRACKING_URI"  # where MLflow is, unless told otherwise: a variable of MLflow's own
PATIENCE = 5.0  # seconds for a server's first answer: an unreachable one delays a study's end
SETTINGS = {  # unless the user set them
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def default_uri(place: Path) -> str:
    """SQLite in the study's folder."""
    from sqlalchemy import URL

    path = str(place.resolve() / DATABASE)
    uri = str(URL.create("sqlite", database=path))
    # with the driver's name, MLflow does not make the folder that an encoded path would name
    return uri if uri.endswith(path) else uri.replace("sqlite:", "sqlite+pysqlite:", 1)


def chosen_uri(given: str | None) -> str | None:
    """Return where MLflow is, as given or as its own variable says; None: in the study's folder.

    Raises:
        InputError: when it is no place that MLflow can write to.
    """
    if given:
        check_uri(given, "--tracking-uri")
        return given
    uri = os.environ.get(URI)
    if uri:
        check_uri(uri, URI)
        warn(f"MLflow is at {shown(uri)}, as {URI} says.")
    return uri or None


def check_uri(uri: str, source: str) -> None:
    """Refuse what is no kind of place that MLflow, as installed, writes to; nothing is asked there.

    Args:
        source: the option or variable that says so, for the error.
    """
    if why := _unwritable(uri):
        raise InputError(
            f"{source} = {shown(uri)}: MLflow cannot write there ({why}). Give a server, as "
            f"http://HOST:PORT, or a database, as sqlite:////FOLDER/{DATABASE}."
        )


def _unwritable(uri: str) -> str:
    """Say why MLflow cannot write to such a place, if it cannot."""
    calm()
    import sqlalchemy
    from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE
    from mlflow.tracking._tracking_service.utils import _get_store
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    try:
        place = urlsplit(uri)
        if place.scheme in ("http", "https"):
            return "" if place.hostname else "it has no host"
        if place.scheme in ("", "file") and uri != "databricks":
            option = MLFLOW_ALLOW_FILE_STORE
            return "" if option.get() else f"a folder of files needs {option.name}=true"
        if _is_database(uri):
            sqlalchemy.create_engine(uri).dispose()
        else:
            _get_store(uri)
    except UnsupportedModelRegistryStoreURIException:
        return f"it knows no '{place.scheme}:'"
    except Exception as error:  # of SQLAlchemy, of a driver that is missing, of a plug-in
        return cause(error)
    return ""


def shown(uri: str) -> str:
    """Return a URI as it may be printed: without its password."""
    return re.sub(r"(?<=://)([^/@]*?):[^/]*@", r"\1:***@", uri)


def calm() -> None:
    """Keep MLflow from retrying for minutes, and from writing to the terminal."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # sets up its loggers

    for name in (mlflow.__name__, "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def reach(uri: str) -> None:
    """Fail at once where MLflow would try for a minute or more."""
    if is_server(uri):
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        http_request(get_default_host_creds(uri), "/version", "GET", 0, timeout=PATIENCE)
    elif _is_database(uri):
        import sqlalchemy

        if path := database(uri):
            path.parent.mkdir(parents=True, exist_ok=True)
        engine = sqlalchemy.create_engine(uri)
        with contextlib.closing(engine.raw_connection()):
            pass
        engine.dispose()


def is_server(uri: str) -> bool:
    """Whether MLflow's server answers there, which has pages of its own."""
    return uri.startswith(("http:", "https:"))


def _is_database(uri: str) -> bool:
    from mlflow.store.db.db_types import DATABASE_ENGINES

    return uri.split(":")[0].split("+")[0] in DATABASE_ENGINES


def database(uri: str) -> Path | None:
    """Return the file of a SQLite database."""
    from sqlalchemy import make_url

    if not uri.startswith("sqlite"):
        return None
    path = make_url(uri).database
    return Path(path).resolve() if path else None


def damage(file: Path) -> str:
    """Say what is wrong with a SQLite database that is not whole; nothing where all is well."""
    if not file.is_file():
        return ""
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=20)) as found:
            [problem] = found.execute("PRAGMA quick_check(1)").fetchone()
            # Alembic's own tables are left where a full disk stops it; it does not go on from them
            [halves] = found.execute(HALF_MADE).fetchone()
    except sqlite3.OperationalError:  # locked, or not to be read: it may be whole
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    if problem != "ok":
        return " ".join(problem.split())
    return "its tables were not all made" if halves else ""


def set_aside(place: Path) -> None:
    """Make room for a new database where a study's own is damaged, and say where the old one is."""
    problem = damage(place / DATABASE)
    if not problem:
        return
    handle, aside = tempfile.mkstemp(".db", "mlflow_damaged-", place)
    os.close(handle)
    (place / DATABASE).replace(aside)
    warn(f"{place / DATABASE} was damaged ({problem}): it is {aside} now, and written anew.")


def advice(uri: str, place: Path) -> str:
    """Say what has to be done before `track` can write to a database, where it cannot do it."""
    file = database(uri)
    if file and file.is_dir():
        return f" {file} is a folder: move it away."
    if file and file != (place / DATABASE).resolve() and damage(file):
        return f" {file} is damaged and not of this folder: mend it, or move it away."
    return ""


def artifacts(uri: str, place: Path) -> str | None:
    """Return where an experiment's files go: a server knows, else beside the database."""
    if not _is_database(uri):
        return None
    file = database(uri)
    return ((file.parent if file else place.resolve()) / ARTIFACTS).as_uri()


def follow(place: Path, experiment: str, old: str) -> None:
    """Say in the database of a folder that was moved where its artifacts are now.

    MLflow keeps absolute paths and has no call to change them.
    """
    new = (place.resolve() / ARTIFACTS).as_uri()
    if old == new or not old.endswith(f"/{ARTIFACTS}"):
        return
    moves = {"experiments": "artifact_location", "runs": "artifact_uri"}
    with contextlib.closing(sqlite3.connect(place / DATABASE, timeout=20)) as database:
        for table, column in moves.items():
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                (new, len(old) + 1, int(experiment), len(old), old),
            )
        database.commit()


def metric_name(metric: str, readout: str = "") -> str:
    """Return a metric's name as MLflow takes it: "metric", or "metric/readout"."""
    parts = [metric, readout] if readout else [metric]
    # a "/" or a lone dot would make another path of it
    plain = [re.sub(r"[^\w .:-]", "_", part).strip(". ") or "_" for part in parts]
    return "/".join(plain)[:250]


def pages(place: Path, port: int, uri: str | None = None) -> list[str]:
    """Return the command that serves MLflow's pages on a study's database, or on another one.

    Raises:
        InputError: when there is no database, or the port cannot be used.
    """
    if uri is None:
        _check_database(place)
    _check(port)
    command = [sys.executable, "-m", "mlflow", "ui"]
    command += ["--backend-store-uri", uri or default_uri(place)]
    return [*command, "--port", str(port), "--workers", "1"]


def _check_database(place: Path) -> None:
    """Refuse to show a study's own database where there is none, or a damaged one."""
    written = shell("track", str(place))
    if not (place / DATABASE).exists():
        raise InputError(
            f"{place} has no {DATABASE}. Give a study's folder, or write one: "
            f"`{written}`; a study run with --tracking-uri is shown there."
        )
    if problem := damage(place / DATABASE):
        raise InputError(
            f"{place / DATABASE} is damaged ({problem}). `{written}` sets it aside and writes it "
            "anew."
        )


def _check(port: int) -> None:
    """Raise when a port of this machine cannot be listened to; MLflow would print a traceback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as MLflow's server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InputError(f"port {port}: {why}. Choose another with --port.") from None
