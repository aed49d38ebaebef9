"""The names of runs and metrics in MLflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis import numbers

if TYPE_CHECKING:  # the pages need these names, and none of the libraries of a ledger
    from study.ledger import Entry

TEST, VALIDATION = "test", "val"  # the data that a metric is measured on, before a slash
SPREAD = "_sd"  # after the name of a metric: the standard deviation over seeds
VERDICT, NOTE = "verdict", "mlflow.note.content"  # tags of a method's and of the study's run
VIEW = "mlflow.sharedViewState."  # tag of an experiment, before the name of a view of its runs
ALTERNATIVE = "alternative-trial"  # role of a trial that confirms another than the best


def data_of(phase: str) -> str:
    """Return the data on which the trials of a phase are scored: ``val`` or ``test``."""
    return TEST if phase == "confirm" else VALIDATION


def scored(data: str, metric: str, readout: str = "") -> str:
    """Return the name of a metric that is measured on the test or the validation data.

    >>> scored("test", "average_accuracy", "fast")
    'test/average_accuracy/fast'
    """
    return metric_name(data, metric, *([readout] if readout else []))


def accuracy_on(task: int) -> str:
    """Return the name of the accuracy on one task, which counts from 1."""
    return f"accuracy_task_{task}"


def metric_name(*parts: str) -> str:
    """Return parts of a name, joined by slashes, in letters that MLflow takes.

    >>> metric_name("bytes.a/b"), metric_name("forgetting", "..")
    ('bytes.a_b', 'forgetting/_')
    """
    # a "/" or a single dot would change the path
    plain = [re.sub(r"[^\w .:-]", "_", part).strip(". ") or "_" for part in parts]
    return "/".join(plain)[:250]


def seed_role(role: str) -> str:
    """Return the role of the seeds of a trial in a confirmation."""
    return "alternative-seed" if role == ALTERNATIVE else "seed"


def trial_name(entry: Entry, role: str) -> str:
    """Return the name of a trial's run.

    >>> trial_name(entry, "tune-trial"), trial_name(confirmed, "confirm-trial")
    ('replay · trial 3', 'replay · seeds 100-109')
    """
    if entry.number is not None:
        return f"{entry.method} · trial {entry.number}"
    return f"{_group(entry.method, role)} · {_seeds(entry.seeds)}"


def seed_name(entry: Entry, role: str, seed: int) -> str:
    """Return the name of the run of one seed of a trial."""
    return f"{_group(entry.method, role)} · {_seeds([seed])}"


def _group(method: str, role: str) -> str:
    """Return a method, and what its trials are for if not for its confirmation."""
    purpose = role.removesuffix("-trial")
    return method if purpose == "confirm" else f"{method} · {purpose}"


def _seeds(seeds: Sequence[int]) -> str:
    first, last = seeds[0], seeds[-1]
    if len(seeds) == 1:
        return f"seed {first}"
    is_range = [*seeds] == [*range(first, last + 1)]
    return f"seeds {f'{first}-{last}' if is_range else numbers.seed_list(seeds)}"
