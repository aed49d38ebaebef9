"""Check whether a study can run on this machine: versions, devices, Ray, data, MLflow."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

from search_spaces import find_space
from study.mlflow.store import URI, check_reachable, check_uri, printable_uri
from trainables import InputError, find_learner, find_stream, plugins
from trainables.errors import cause
from trainables.streams.datasets import DATASETS

PACKAGES = (
    "continual-study",
    "torch",
    "torchvision",
    "ray",
    "optuna",
    "mlflow",
    "numpy",
    "scipy",
    "pydantic",
)


def examine(root: Path, address: str) -> tuple[list[list[str]], bool]:
    """Return a row of name and state for each check, and whether all checks passed."""
    checks: dict[str, Callable[[], str]] = {
        **{name: partial(version, name) for name in PACKAGES},
        "devices": _devices,
        f"Ray at {address}": lambda: _ray(address),
        "MLflow on SQLite": _sqlite,
        **_mlflow(os.environ.get(URI)),
        "study folder": lambda: _writable(Path.cwd()),
        "data root": lambda: _data(root),
        **_plugins(),
    }
    rows = [["python", platform.python_version()]]
    healthy = True
    for name, check in checks.items():
        try:
            rows.append([name, check()])
        except Exception as error:
            healthy = False
            rows.append([name, f"FAILS: {error}"])
    return rows, healthy


def _devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{os.cpu_count()} CPU cores, {', '.join(names) or 'no GPU'}"


def _ray(address: str) -> str:
    from study.run.cluster import connected
    from study.spec import check_address

    check_address(address)
    with connected(address) as cluster:
        nodes = cluster.nodes()
        return f"{sum(n.cpus for n in nodes):g} CPUs, {sum(n.gpus for n in nodes):g} GPUs"


def _sqlite() -> str:
    with tempfile.TemporaryDirectory() as folder, sqlite3.connect(Path(folder) / "try.db") as base:
        base.execute("create table t (x)")
    return "writable"


def _mlflow(uri: str | None) -> dict[str, Callable[[], str]]:
    """Return the check of the place that MLflow's own variable names; empty if it is not set."""

    def check() -> str:
        check_uri(str(uri), URI)
        try:
            check_reachable(str(uri))
        except Exception as error:
            raise InputError(cause(error)) from None
        return f"answers; {URI} names it"

    return {f"MLflow at {printable_uri(uri)}": check} if uri else {}


def _writable(folder: Path) -> str:
    with tempfile.TemporaryFile(dir=folder):
        return f"{folder} is writable"


def _data(root: Path) -> str:
    found = [name for name, d in DATASETS.items() if d.bundled or d.is_cached(root)]
    return f"{root}: {', '.join(found)} ready; others are built or downloaded on first use"


def _plugins() -> dict[str, Callable[[], str]]:
    finders: dict[str, Callable[[str], object]] = {
        "study.learners": find_learner,
        "study.search_spaces": find_space,
        "study.streams": find_stream,
    }
    return {
        f"plug-in {name} ({group})": partial(_plugin, find, name)
        for group, find in finders.items()
        for name in plugins(group)
    }


def _plugin(find: Callable[[str], object], name: str) -> str:
    find(name)
    return "can be used"
