"""MLflow's pages: the address of the sorted methods, and a server that ends when told to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self
from urllib.parse import urlencode

from study.console import shell
from study.mlflow.names import VIEW
from study.mlflow.store import DATABASE, check_reachable, damage, default_uri, quieten
from trainables.errors import InputError

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # signals that end the pages
SECONDS_BETWEEN_LOOKS = 0.2  # for a server that starts
SECONDS_TO_END = 5.0  # for a server that is told to end
SETTINGS = {
    # MLflow's background jobs serve its GenAI pages only, and triple its start-up time
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",  # about the libraries of MLflow, at each start
}


def serve(place: Path, port: int, uri: str | None, announce: Callable[[str], None]) -> int:
    """Serve MLflow's pages until the server ends, or a signal ends this process.

    Args:
        uri: URI of the database; None: that in the study's folder.
        announce: called with the address of the list of methods.

    Returns:
        The exit status.
    """
    address = f"http://127.0.0.1:{port}"
    with Server(ui_command(place, port, uri)) as server:
        methods = methods_address(address, place, uri)
        if server.answers(port):
            announce(methods)
        return server.wait()


class Server:
    """A server with all of its processes, which ends at the signals that end this process.

    As a context, it runs the server.

    >>> with Server(command) as server:
    ...     server.wait()
    """

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._received: list[int] = []
        self._handlers: dict[signal.Signals, Any] = {}  # of this process before

    def __enter__(self) -> Self:
        for name in ENDING:
            number = signal.Signals[name]
            if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
                self._handlers[number] = signal.signal(number, self._end)
        # in a group of its own: MLflow starts workers, which have to end with it
        self._process = subprocess.Popen(
            self._command, env=SETTINGS | os.environ, start_new_session=True
        )
        if self._received:
            self._send(signal.SIGTERM)
        return self

    def __exit__(self, *error: object) -> None:
        self._send(signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_END)
        self._send(signal.SIGKILL)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def answers(self, port: int) -> bool:
        """Wait until the server takes connections; return False if it ends before."""
        while self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return True
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return False

    def wait(self) -> int:
        """Wait for the end; return the exit status, 128 plus a signal as in a shell."""
        status = self._process.wait() if self._process is not None else 0
        return 128 + self._received[0] if self._received else status

    def _end(self, number: int, frame: FrameType | None) -> None:
        """End the server at a signal, and at a second one at once.

        This process goes on until the server has ended: it would leave it behind.
        """
        self._send(signal.SIGKILL if self._received else signal.SIGTERM)
        self._received.append(number)

    def _send(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the server."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def methods_address(address: str, place: Path, uri: str | None) -> str:
    """Return the address of a study's methods in MLflow's pages, the best first.

    It is that of the pages themselves where MLflow does not have the study, or does not answer.

    Args:
        address: of the server.
        uri: URI of MLflow; None: the database in the study's folder.
    """
    try:  # as plain JSON: to read a folder takes libraries that would stay in memory
        facts = json.loads((place / "study.json").read_bytes())
    except (OSError, ValueError):
        return address
    experiment = _experiment(facts["spec"]["study"]["name"], uri or default_uri(place))
    if experiment is None:
        return address
    page = f"{address.rstrip('/')}/#/experiments/{experiment.experiment_id}/runs"
    query = {"workflowType": "machine_learning"}
    if f"{VIEW}{facts['id']}" in experiment.tags:
        query["viewStateShareKey"] = facts["id"]
    return f"{page}?{urlencode(query)}"


def _experiment(name: str, uri: str) -> Any:
    """Return an experiment; None without one, or if MLflow does not answer."""
    quieten()
    from mlflow import MlflowClient

    try:
        check_reachable(uri)
        return MlflowClient(tracking_uri=uri).get_experiment_by_name(name)
    except Exception:  # of a server, a database or a plug-in: the server of the pages reports it
        return None


def ui_command(place: Path, port: int, uri: str | None = None) -> list[str]:
    """Return the command that serves MLflow's pages.

    Args:
        uri: URI of the database; None: that in the study's folder.

    Raises:
        InputError: if there is no sound database, or the port cannot be used.
    """
    if uri is None:
        _check_database(place)
    _check_port(port)
    command = [sys.executable, "-m", "mlflow", "ui"]
    command += ["--backend-store-uri", uri or default_uri(place)]
    command += ["--port", str(port), "--workers", "1"]
    return [*command, "--uvicorn-opts", "--log-level warning"]  # no line for each request


def _check_database(place: Path) -> None:
    """Refuse a study's folder without a sound database."""
    repair = shell("track", str(place))
    if not (place / DATABASE).exists():
        raise InputError(
            f"{place} has no {DATABASE}. Give a study's folder, or write the database: "
            f"`{repair}`. A study run with --tracking-uri is shown there."
        )
    if problem := damage(place / DATABASE):
        raise InputError(
            f"{place / DATABASE} is damaged ({problem}). `{repair}` moves it away and writes a new "
            "one."
        )


def _check_port(port: int) -> None:
    """Refuse a port of this machine that cannot be used; MLflow would print a traceback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as MLflow's server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
            raise InputError(f"port {port}: {problem}. Choose another with --port.") from None
