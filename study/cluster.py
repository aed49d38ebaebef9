"""Ray: start or join it, and check what it has."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import ray

from study.spec import ResourcesSection
from trainables.errors import InputError

OBJECT_STORE_BYTES = 2 * 1024**3

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "600",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# torch asks for memory in large pages: the gradients of wide layers are given back after each step,
# and getting them anew page by page takes up to a fifth of it (tests/benchmarks/pages.py)
WORKERS = {"THP_MEM_ALLOC_ENABLE": "1"}


@contextlib.contextmanager
def connected(resources: ResourcesSection) -> Iterator[dict[str, float]]:
    """Start or join Ray for the duration of a block; gives what the cluster has.

    Raises:
        InputError: when the cluster cannot be reached, or a trial asks for more than it has.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # Tune prints a traceback for a worker that died, though the trial goes on
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": {k: os.environ.get(k, v) for k, v in WORKERS.items()}},
    }
    if resources.address == "local":
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address=resources.address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"resources.address = '{resources.address}': no Ray cluster there ({error}). "
            "Use 'local', 'auto' on a machine of the cluster, or 'HOST:PORT'."
        ) from None
    try:
        has = ray.cluster_resources()
        check(resources, has)
        check_device(resources)
        with contextlib.redirect_stdout(_PlainStderr()):
            yield has
    finally:
        ray.shutdown()


class _PlainStderr(io.TextIOBase):
    """Where Ray's own messages go: it prints them on stdout, in colour, whatever stdout is."""

    def write(self, text: str) -> int:
        return sys.stderr.write(re.sub(r"\x1b\[[0-9;]*m", "", text))


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
