"""What MLflow needs before it can be written: a URI, an answering server, files in their place."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sqlite3
import sys
import textwrap
from pathlib import Path

from study.console import shell
from trainables.errors import InputError

ARTIFACTS = "mlflow_artifacts"  # beside the database
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

    path = str(place.resolve() / "mlflow.db")
    uri = str(URL.create("sqlite", database=path))
    # with the driver's name, MLflow does not make the folder that an encoded path would name
    return uri if uri.endswith(path) else uri.replace("sqlite:", "sqlite+pysqlite:", 1)


def calm() -> None:
    """Keep MLflow from retrying for minutes, and from writing to the terminal."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # sets up its loggers

    for name in (mlflow.__name__, "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def reach(uri: str) -> None:
    """Fail at once where MLflow would try for a minute or more."""
    if uri.startswith(("http:", "https:")):
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
    with contextlib.closing(sqlite3.connect(place / "mlflow.db", timeout=20)) as database:
        for table, column in moves.items():
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                (new, len(old) + 1, int(experiment), len(old), old),
            )
        database.commit()


def metric_name(name: str) -> str:
    """Return a metric's name as MLflow takes it: "metric [readout]" becomes "metric/readout"."""
    metric, bracket, readout = name.removesuffix("]").partition(" [")
    parts = [metric, readout] if bracket else [name]
    # a "/" or a lone dot would make another path of it
    plain = [re.sub(r"[^\w .:-]", "_", part).strip(". ") or "_" for part in parts]
    return "/".join(plain)[:250]


def reason(error: BaseException) -> str:
    """Return the cause of a failure in a line: the system's word for it, where there is one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror + (f": {cause.filename}" if cause.filename else "")
        cause = cause.__cause__ or cause.__context__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0].rstrip("."), 200, placeholder=" ...")


def pages(place: Path, port: int) -> list[str]:
    """Return the command that serves MLflow's pages on a study's database.

    Raises:
        InputError: when there is no database, or the port cannot be used.
    """
    if not (place / "mlflow.db").exists():
        raise InputError(
            f"{place} has no mlflow.db. Give a study's folder, or write one: "
            f"`{shell('track', str(place))}`; a study run with --tracking-uri is shown there."
        )
    _check(port)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", default_uri(place)]
    return [*command, "--port", str(port), "--workers", "1"]


def _check(port: int) -> None:
    """Raise when a port of this machine cannot be listened to; MLflow would print a traceback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as MLflow's server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InputError(f"port {port}: {why}. Choose another with --port.") from None
