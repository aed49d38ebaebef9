"""Prepare MLflow for writing: a URI, a server that answers, files in their place."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from study.console import warn
from trainables.errors import InputError, cause

UNFINISHED_TABLES = "SELECT count(*) FROM sqlite_master WHERE name GLOB '_alembic_tmp_*'"
DATABASE, ARTIFACTS = "mlflow.db", "mlflow_artifacts"  # side by side
URI = "MLFLOW_TRACKING_URI"  # MLflow's own environment variable
PATIENCE = 5.0  # seconds for a server's first answer: an unreachable server delays a study's end
SETTINGS = {  # defaults, which the user's environment overrides
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def default_uri(place: Path) -> str:
    """Return the URI of the SQLite database in the study's folder."""
    from sqlalchemy import URL

    path = str(place.resolve() / DATABASE)
    uri = str(URL.create("sqlite", database=path))
    # with the driver's name, MLflow does not create the folder that a percent-encoded path names
    return uri if uri.endswith(path) else uri.replace("sqlite:", "sqlite+pysqlite:", 1)


def chosen_uri(given: str | None) -> str | None:
    """Return the URI of MLflow: ``given``, else that of its environment variable.

    None stands for the database in the study's folder.

    Raises:
        InputError: if MLflow cannot write to the URI.
    """
    if given:
        check_uri(given, "--tracking-uri")
        return given
    uri = os.environ.get(URI)
    if uri:
        check_uri(uri, URI)
        warn(f"MLflow is at {printable_uri(uri)}, as {URI} says.")
    return uri or None


def check_uri(uri: str, source: str) -> None:
    """Refuse a kind of URI that the installed MLflow cannot write to, without contacting a server.

    Args:
        source: the option or variable that holds the URI, for the error.
    """
    if problem := _unwritable(uri):
        raise InputError(
            f"{source} = {printable_uri(uri)}: MLflow cannot write there ({problem}). Give a "
            f"server, as http://HOST:PORT, or a database, as sqlite:////FOLDER/{DATABASE}."
        )


def _unwritable(uri: str) -> str:
    """Return why MLflow cannot write to this kind of URI; empty if MLflow can."""
    quieten()
    import sqlalchemy
    from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE
    from mlflow.tracking._tracking_service.utils import _get_store
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    try:
        place = urlsplit(uri)
        if place.scheme in ("http", "https"):
            return "" if place.hostname else "the address has no host"
        if place.scheme in ("", "file") and uri != "databricks":
            option = MLFLOW_ALLOW_FILE_STORE
            return "" if option.get() else f"a folder of files needs {option.name}=true"
        if _is_database(uri):
            sqlalchemy.create_engine(uri).dispose()
        else:
            _get_store(uri)
    except UnsupportedModelRegistryStoreURIException:
        return f"'{place.scheme}:' is unknown"
    except Exception as error:  # from SQLAlchemy, a missing driver, or a plug-in
        return cause(error)
    return ""


def printable_uri(uri: str) -> str:
    """Return a URI without its password.

    >>> printable_uri("postgresql://ann:secret@db/runs")
    'postgresql://ann:***@db/runs'
    """
    return re.sub(r"(?<=://)([^/@]*?):[^/]*@", r"\1:***@", uri)


def quieten() -> None:
    """Keep MLflow from retrying for minutes and from writing to the terminal."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # sets up its loggers

    for name in (mlflow.__name__, "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def check_reachable(uri: str) -> None:
    """Contact a server or database once; MLflow itself would try for a minute or more.

    Raises:
        Exception: if the server or database does not answer.
    """
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
    """Whether a URI is that of an MLflow server."""
    return uri.startswith(("http:", "https:"))


def _is_database(uri: str) -> bool:
    from mlflow.store.db.db_types import DATABASE_ENGINES

    return uri.split(":")[0].split("+")[0] in DATABASE_ENGINES


def database(uri: str) -> Path | None:
    """Return the file of a SQLite database; None for another URI."""
    from sqlalchemy import make_url

    if not uri.startswith("sqlite"):
        return None
    path = make_url(uri).database
    return Path(path).resolve() if path else None


def is_in_folder(uri: str, place: Path) -> bool:
    """Whether MLflow is the database in a study's folder, which holds that study alone."""
    return database(uri) == (place / DATABASE).resolve()


def damage(file: Path) -> str:
    """Return the damage of a SQLite database; empty if it is sound or absent."""
    if not file.is_file():
        return ""
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=20)) as connection:
            [problem] = connection.execute("PRAGMA quick_check(1)").fetchone()
            # temporary tables remain after a full disk stopped Alembic, which cannot continue then
            [unfinished] = connection.execute(UNFINISHED_TABLES).fetchone()
    except sqlite3.OperationalError:  # locked or unreadable: the database may be sound
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    if problem != "ok":
        return " ".join(problem.split())
    return "some of its tables are missing" if unfinished else ""


def set_aside(place: Path) -> None:
    """Move a damaged database of a study out of the way, and print its new place."""
    problem = damage(place / DATABASE)
    if not problem:
        return
    handle, aside = tempfile.mkstemp(".db", "mlflow_damaged-", place)
    os.close(handle)
    (place / DATABASE).replace(aside)
    warn(f"{place / DATABASE} was damaged ({problem}): moved to {aside}, and written anew.")


def advice(uri: str, place: Path) -> str:
    """Return what a user has to do before ``track`` can write to a database; empty if nothing."""
    file = database(uri)
    if file and file.is_dir():
        return f" {file} is a folder: move the folder away."
    if file and file != (place / DATABASE).resolve() and damage(file):
        return (
            f" {file} is damaged and not in the study's folder: repair the file, or move it away."
        )
    return ""


def artifact_location(uri: str, place: Path) -> str | None:
    """Return the folder of an experiment's files: beside the database; None: the server decides."""
    if not _is_database(uri):
        return None
    file = database(uri)
    return ((file.parent if file else place.resolve()) / ARTIFACTS).as_uri()


def follow_moved_folder(place: Path, experiment: str, old: str) -> None:
    """Correct the artifact paths in the database of a study's folder that was moved.

    MLflow keeps absolute paths and offers no call to change them.
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
