"""Ray: start or join it, check what it has, and watch over it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import ray
from ray.exceptions import RayError

from study.console import TerminalStream, warn
from study.interruption import Interrupted
from study.run import WORKERS
from study.run.joining import check_head, check_temporary_folder, explained, silence_of
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
# how often Ray tries a head that answers but lets nobody in, once a second; by itself 20 times
TRIES = ("RAY_gcs_server_port_wait_time_s", "3")

WATCH_SECONDS = 2.0
SILENT_LOOKS = 3  # in a row, after which a head that does not answer is spoken of


@contextlib.contextmanager
def connected(
    resources: ResourcesSection, log: Path | None = None, notify: Callable[[str], None] = warn
) -> Iterator[dict[str, float]]:
    """Start or join Ray for the duration of a block; gives what the cluster has.

    Args:
        log: file to which what Ray prints is added; without one it is dropped.
        notify: is told of machines that are lost, and where to read what Ray printed.

    Raises:
        InputError: when the cluster cannot be reached, or a trial asks for more than it has.
        MachineError: when the machine does not let Ray start.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if resources.address == "local" and os.environ.get("RAY_ADDRESS"):
        notify("this starts a Ray of its own; --address auto joins the cluster of RAY_ADDRESS")
    with _printing_to(log, notify):
        try:
            _start_or_join(resources.address)
            has = ray.cluster_resources()
            check(resources, has)
            check_device(resources)
            with _watched(resources, notify):
                yield has
        finally:
            # objects of Ray that a cycle keeps alive would be freed by whichever thread collects
            # garbage next; after Ray's end that ends this process, with status 1 and no word
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
    except Exception as error:  # Ray raises what it likes, Exception itself too
        raise explained(error, address) from None
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _few_tries() -> Iterator[None]:
    name, count = TRIES
    given = os.environ.get(name)
    os.environ[name] = given or count
    try:
        yield
    finally:
        if given is None:
            del os.environ[name]


# -- what Ray prints


@contextlib.contextmanager
def _printing_to(log: Path | None, notify: Callable[[str], None]) -> Iterator[None]:
    """Keep what Ray prints off the terminal: its Python code prints on stdout and logs, its C++
    code prints on file descriptor 2.
    """
    before = _size(log)
    try:
        with (
            TerminalStream(open(log or os.devnull, "ab"), "utf-8", line_buffering=True) as said,
            contextlib.redirect_stdout(said),
            _logging_to(said),
            _descriptor_2_to(said),
        ):
            yield
    finally:
        after = _size(log)
        if after > before:
            notify(f"what Ray itself said is in {log}")
        elif log and not after:
            log.unlink(missing_ok=True)


def _size(log: Path | None) -> int:
    return log.stat().st_size if log and log.exists() else 0


@contextlib.contextmanager
def _logging_to(said: TerminalStream) -> Iterator[None]:
    logger = logging.getLogger("ray")
    handlers, logger.handlers = logger.handlers, [logging.StreamHandler(said)]
    try:
        yield
    finally:
        logger.handlers = handlers


@contextlib.contextmanager
def _descriptor_2_to(said: TerminalStream) -> Iterator[None]:
    if _prints_on_descriptor_2(sys.stderr):  # what is not Ray's would go there too
        yield
        return
    terminal = os.dup(2)
    os.dup2(said.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _prints_on_descriptor_2(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() == 2
    except OSError:  # it is no file
        return False


# -- machines that are lost


class NodeWatch:
    """Says which machines leave the cluster, and that its head or the Ray of this machine falls
    silent: without one of these two, Ray ends a program before long, and without an exception.
    """

    def __init__(self, resources: ResourcesSection, notify: Callable[[str], None]) -> None:
        self.resources, self.notify = resources, notify
        context = ray.get_runtime_context()
        [own] = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
        here = f"{own['NodeManagerAddress']}:{own['NodeManagerPort']}"
        self.needed = {"Ray's head": context.gcs_address, "the Ray of this machine": here}
        self.silent = dict.fromkeys(self.needed, 0)  # looks in a row
        self.alive = _alive()

    def look(self) -> None:
        """Look once."""
        for name, address in self.needed.items():
            silence = silence_of(address)
            self.silent[name] = self.silent[name] + 1 if silence else 0
            if self.silent[name] == SILENT_LOOKS:
                self.notify(
                    f"{name} ({address}) does not answer ({silence}). If it stays so, Ray ends "
                    "this program within a minute. Finished trials are kept: run the same command "
                    "to go on."
                )
        if self.silent["Ray's head"]:
            return  # who else is there is not known
        alive = _alive()
        for node in self.alive.keys() - alive.keys():
            self.notify(self._told_of_loss(self.alive[node]))
        self.alive = alive

    def _told_of_loss(self, address: str) -> str:
        told = f"machine {address} has left the cluster: its trials go on elsewhere"
        try:
            check(self.resources, ray.cluster_resources())
        except InputError:
            return f"{told}, when one joins that has what a trial asks for"
        return told


def _alive() -> dict[str, str]:
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


@contextlib.contextmanager
def _watched(resources: ResourcesSection, notify: Callable[[str], None]) -> Iterator[None]:
    watch, over = NodeWatch(resources, notify), threading.Event()

    def keep_looking() -> None:
        while not over.wait(WATCH_SECONDS):
            with contextlib.suppress(RayError, RuntimeError):  # the head went in between
                watch.look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=WATCH_SECONDS)  # it waits for a head that went for a minute


# -- what the cluster has


def check(resources: ResourcesSection, has: Mapping[str, float]) -> None:
    """Refuse a study that asks for more than the cluster has, instead of waiting for ever."""
    for kind, wanted in (("CPU", resources.cpus_per_trial), ("GPU", resources.gpus_per_trial)):
        if wanted > has.get(kind, 0):
            raise InputError(
                f"resources.{kind.lower()}s_per_trial = {wanted:g}, "
                f"but the cluster has {has.get(kind, 0):g} {kind}s. "
                f"Ask for at most {has.get(kind, 0):g}, or join a larger cluster with --address."
            )


def check_device(resources: ResourcesSection) -> None:
    """Refuse GPUs that torch cannot use, instead of training on a CPU in silence."""
    if not resources.gpus_per_trial:
        return
    probe = ray.remote(num_cpus=0, num_gpus=resources.gpus_per_trial)(_torch_sees_a_gpu)
    if not ray.get(probe.remote()):
        raise InputError(
            f"resources.gpus_per_trial = {resources.gpus_per_trial:g}, but torch sees no GPU where "
            "Ray has one. Install a CUDA build of torch there, or set it to 0."
        )


def _torch_sees_a_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def slots(resources: ResourcesSection, has: Mapping[str, float]) -> int:
    """Number of trials the cluster runs at once."""
    count = has.get("CPU", 1) // resources.cpus_per_trial
    if resources.gpus_per_trial:
        count = min(count, has.get("GPU", 0) // resources.gpus_per_trial)
    return max(int(count), 1)
