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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import ray
from ray.exceptions import RayError

from study.console import TerminalStream, warn
from study.interruption import Interrupted
from study.run import WORKERS
from study.run.joining import check_head, check_temporary_folder, connection_error, silence_of
from study.spec import ResourcesSection
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
}
# tries, one a second, at a head that answers but admits nobody; Ray's default is 20
TRIES = ("RAY_gcs_server_port_wait_time_s", "3")

WATCH_SECONDS = 2.0
SILENT_LOOKS = 3  # consecutive looks without an answer before a message


@contextlib.contextmanager
def connected(
    resources: ResourcesSection, log: Path | None = None, notify: Callable[[str], None] = warn
) -> Iterator[dict[str, float]]:
    """Start or join Ray for the duration of a block; yield the resources of the cluster.

    Args:
        log: file to which Ray's output is appended; None: the output is dropped.
        notify: called with a sentence on a lost machine, and on the place of Ray's output.

    Raises:
        InputError: if the cluster cannot be reached, or a trial asks for more than it has.
        MachineError: if Ray cannot start on this machine.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if resources.address == "local" and os.environ.get("RAY_ADDRESS"):
        notify("starting a local Ray; --address auto joins the cluster of RAY_ADDRESS")
    with _printing_to(log, notify):
        try:
            _start_or_join(resources.address)
            available = ray.cluster_resources()
            check_resources(resources, available)
            check_device(resources)
            with _watched(resources, notify):
                yield available
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

    def __init__(self, resources: ResourcesSection, notify: Callable[[str], None]) -> None:
        self.resources, self.notify = resources, notify
        context = ray.get_runtime_context()
        [node] = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
        local = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
        self.needed = {"Ray's head": context.gcs_address, "the Ray of this machine": local}
        self.silent_looks = dict.fromkeys(self.needed, 0)  # consecutive ones, by process
        self.alive = _alive_nodes()

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
        alive = _alive_nodes()
        for node in self.alive.keys() - alive.keys():
            self.notify(self._loss_message(self.alive[node]))
        self.alive = alive

    def _loss_message(self, address: str) -> str:
        message = f"machine {address} has left the cluster: its trials continue elsewhere"
        try:
            check_resources(self.resources, ray.cluster_resources())
        except InputError:
            return f"{message}, once a machine joins that is large enough for a trial"
        return message


def _alive_nodes() -> dict[str, str]:
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


@contextlib.contextmanager
def _watched(resources: ResourcesSection, notify: Callable[[str], None]) -> Iterator[None]:
    watch, ended = NodeWatch(resources, notify), threading.Event()

    def keep_looking() -> None:
        while not ended.wait(WATCH_SECONDS):
            with contextlib.suppress(RayError, RuntimeError):  # the head went away meanwhile
                watch.look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=WATCH_SECONDS)  # the thread may wait a minute for a lost head


# -- resources of the cluster


def check_resources(resources: ResourcesSection, available: Mapping[str, float]) -> None:
    """Refuse trials that ask for more than the cluster has, instead of waiting for ever."""
    for kind, requested in (("CPU", resources.cpus_per_trial), ("GPU", resources.gpus_per_trial)):
        limit = available.get(kind, 0)
        if requested > limit:
            raise InputError(
                f"resources.{kind.lower()}s_per_trial = {requested:g}, "
                f"but the cluster has {limit:g} {kind}s. "
                f"Ask for at most {limit:g}, or join a larger cluster with --address."
            )


def check_device(resources: ResourcesSection) -> None:
    """Refuse GPUs that torch cannot use, instead of training on a CPU without notice."""
    if not resources.gpus_per_trial:
        return
    probe = ray.remote(num_cpus=0, num_gpus=resources.gpus_per_trial)(_torch_sees_a_gpu)
    if not ray.get(probe.remote()):
        raise InputError(
            f"resources.gpus_per_trial = {resources.gpus_per_trial:g}, but torch sees no GPU on a "
            "machine where Ray has one. Install a CUDA build of torch there, or set the key to 0."
        )


def _torch_sees_a_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def slots(resources: ResourcesSection, available: Mapping[str, float]) -> int:
    """Return the number of trials that the cluster runs at once."""
    count = available.get("CPU", 1) // resources.cpus_per_trial
    if resources.gpus_per_trial:
        count = min(count, available.get("GPU", 0) // resources.gpus_per_trial)
    return max(int(count), 1)
