"""Start or join Ray, check its resources, and watch its machines."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

import ray
from ray.exceptions import RayError

from study.console import TerminalStream, warn
from study.interruption import Interrupted
from study.run import WORKERS
from study.run.joining import check_head, check_temporary_folder, connection_error, silence_of
from study.run.schedule import Node, slots
from study.spec import Request
from trainables.errors import InputError

OBJECT_STORE_BYTES = 2 * 1024**3

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_COLOR_PREFIX": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "600",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # the schedule proposes a trial only when a slot is free
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
}
# tries, one a second, at a head that answers but admits nobody; Ray's default is 20
TRIES = ("RAY_gcs_server_port_wait_time_s", "3")

WATCH_SECONDS = 2.0
SILENT_LOOKS = 3  # consecutive looks without an answer before a message


@dataclass(frozen=True)
class Cluster:
    """The cluster of a run.

    Attributes:
        nodes: returns the machines that are there now.
        models: models of the devices that trials are trained on.
        share: puts an object in the object store; returns a reference.
    """

    nodes: Callable[[], Sequence[Node]]
    models: set[str]
    share: Callable[[Any], Any] = ray.put


@contextlib.contextmanager
def connected(
    address: str,
    requests: Mapping[str, Request] = MappingProxyType({}),
    log: Path | None = None,
    notify: Callable[[str], None] = warn,
) -> Iterator[Cluster]:
    """Start or join Ray for the duration of a block; yield the cluster.

    Args:
        requests: what a trial of each method asks for.
        log: file to which Ray's output is appended; None: the output is dropped.
        notify: called with a sentence on a lost machine, and on the place of Ray's output.

    Raises:
        InputError: if the cluster cannot be reached, or a trial asks for more than it has.
        MachineError: if Ray cannot start on this machine.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address == "local" and os.environ.get("RAY_ADDRESS"):
        notify("starting a local Ray; --address auto joins the cluster of RAY_ADDRESS")
    with _printing_to(log, notify):
        try:
            _start_or_join(address)
            check_requests(requests, [machine.node for machine in _machines().values()])
            models = device_models(requests.values())
            with _watched(requests, notify) as watch:
                yield Cluster(lambda: [machine.node for machine in watch.machines.values()], models)
        finally:
            # Ray objects in reference cycles are freed by the next garbage collection in any
            # thread; after Ray's shutdown that ends this process, with status 1 and no message
            gc.collect()
            ray.shutdown()


def _start_or_join(address: str) -> None:
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": {k: os.environ.get(k, v) for k, v in WORKERS.items()}},
    }
    if address == "local":
        check_temporary_folder()
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    else:
        check_head(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _few_tries() if address != "local" else contextlib.nullcontext():
            ray.init(address=address, **options)
    except SystemExit:  # Ray's own answer to SIGTERM
        raise Interrupted(signal.SIGTERM) from None
    except Exception as error:  # Ray raises many types, even Exception itself
        raise connection_error(error, address) from None
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _few_tries() -> Iterator[None]:
    name, count = TRIES
    user_value = os.environ.get(name)
    os.environ[name] = user_value or count
    try:
        yield
    finally:
        if user_value is None:
            del os.environ[name]


# -- Ray's output


@contextlib.contextmanager
def _printing_to(log: Path | None, notify: Callable[[str], None]) -> Iterator[None]:
    """Keep Ray's output off the terminal.

    Ray's Python code prints to stdout, to logs and through `warnings`, its C++ code to file
    descriptor 2.
    """
    before = _size(log)
    try:
        with (
            TerminalStream(open(log or os.devnull, "ab"), "utf-8", line_buffering=True) as stream,
            contextlib.redirect_stdout(stream),
            _logging_to(stream),
            _warnings_to(stream),
            _descriptor_2_to(stream),
        ):
            yield
    finally:
        after = _size(log)
        if after > before:
            notify(f"the output of Ray is in {log}")
        elif log and not after:
            log.unlink(missing_ok=True)


def _size(log: Path | None) -> int:
    return log.stat().st_size if log and log.exists() else 0


@contextlib.contextmanager
def _logging_to(stream: TerminalStream) -> Iterator[None]:
    logger = logging.getLogger("ray")
    handlers, logger.handlers = logger.handlers, [logging.StreamHandler(stream)]
    try:
        yield
    finally:
        logger.handlers = handlers


@contextlib.contextmanager
def _warnings_to(stream: TextIO) -> Iterator[None]:
    def write(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        stream.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.showwarning = write
        yield


@contextlib.contextmanager
def _descriptor_2_to(stream: TerminalStream) -> Iterator[None]:
    if _prints_on_descriptor_2(sys.stderr):  # our own messages would be redirected too
        yield
        return
    terminal = os.dup(2)
    os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _prints_on_descriptor_2(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() == 2
    except OSError:  # the stream is not a file
        return False


# -- lost machines


class NodeWatch:
    """Reports machines that leave the cluster, and a silent head or local Ray process.

    Without the head or the local process, Ray soon ends this program, without an exception.
    """

    def __init__(self, requests: Mapping[str, Request], notify: Callable[[str], None]) -> None:
        self.requests, self.notify = requests, notify
        context = ray.get_runtime_context()
        [node] = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
        local = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
        self.needed = {"Ray's head": context.gcs_address, "the Ray of this machine": local}
        self.silent_looks = dict.fromkeys(self.needed, 0)  # consecutive ones, by process
        self.machines = _machines()

    def look(self) -> None:
        """Look once at the cluster, and report changes."""
        for name, address in self.needed.items():
            silence = silence_of(address)
            self.silent_looks[name] = self.silent_looks[name] + 1 if silence else 0
            if self.silent_looks[name] == SILENT_LOOKS:
                self.notify(
                    f"{name} ({address}) does not answer ({silence}). Without an answer, Ray ends "
                    "this program within a minute. Finished trials are kept: run the same command "
                    "to continue."
                )
        if self.silent_looks["Ray's head"]:
            return  # the other machines are unknown
        machines = _machines()
        lost = self.machines.keys() - machines.keys()
        gone = [self.machines[node].address for node in lost]
        self.machines = machines
        for address in gone:
            self.notify(self._loss_message(address))

    def _loss_message(self, address: str) -> str:
        message = f"machine {address} has left the cluster: its trials continue elsewhere"
        try:
            check_requests(self.requests, [machine.node for machine in self.machines.values()])
        except InputError:
            return f"{message}, once a machine joins that is large enough for a trial"
        return message


class Machine(NamedTuple):
    """A machine of the cluster."""

    address: str
    node: Node


def _machines() -> dict[str, Machine]:
    """Return the machines that are alive, by Ray's id."""
    return {
        each["NodeID"]: Machine(
            each["NodeManagerAddress"],
            Node(each["Resources"].get("CPU", 0.0), each["Resources"].get("GPU", 0.0)),
        )
        for each in ray.nodes()
        if each["Alive"]
    }


@contextlib.contextmanager
def _watched(requests: Mapping[str, Request], notify: Callable[[str], None]) -> Iterator[NodeWatch]:
    watch, ended = NodeWatch(requests, notify), threading.Event()

    def keep_looking() -> None:
        while not ended.wait(WATCH_SECONDS):
            with contextlib.suppress(RayError, RuntimeError):  # the head went away meanwhile
                watch.look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join(timeout=WATCH_SECONDS)  # the thread may wait a minute for a lost head


# -- resources of the cluster


def check_requests(requests: Mapping[str, Request], nodes: Sequence[Node]) -> None:
    """Refuse trials that no machine has room for, instead of waiting for ever."""
    most = Node(
        max((node.cpus for node in nodes), default=0), max((node.gpus for node in nodes), default=0)
    )
    for method, request in requests.items():
        where = f"resources of '{method}' (resources, or methods.{method}.resources)"
        for kind, asked, limit in zip(("CPU", "GPU"), request, most, strict=True):
            if asked > limit:
                raise InputError(
                    f"{where}: a trial asks for {asked:g} {kind}s, and no machine of the cluster "
                    f"has more than {limit:g}. Ask for at most {limit:g}, or join a larger cluster "
                    "with --address."
                )
        if not slots(nodes, request):
            raise InputError(
                f"{where}: a trial asks for {request.cpus:g} CPUs and {request.gpus:g} GPUs, and "
                "no machine of the cluster has both."
            )


def device_models(requests: Iterable[Request]) -> set[str]:
    """Return the models of the devices that trials are trained on.

    Raises:
        InputError: if torch cannot use the GPUs that trials ask for: they would train on a CPU.
    """
    asked = {request.gpus for request in requests}
    models = {"cpu"} if 0 in asked else set()
    for gpus in asked - {0}:
        probe = ray.remote(num_cpus=0, num_gpus=gpus)(_gpu_model)
        model = ray.get(probe.remote())
        if not model:
            raise InputError(
                f"trials ask for {gpus:g} GPUs (resources.gpus_per_trial, or resources.gpus of a "
                "method), but torch sees no GPU on a machine where Ray has one. Install a CUDA "
                "build of torch there, or set the key to 0."
            )
        models.add(model)
    return models


def _gpu_model() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
