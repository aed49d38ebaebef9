"""Where the results of a study come from: code, machines, times, and the study file with every
key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from typing import Any

import tomli_w

from analysis.numbers import duration
from study.design import Design
from study.ledger import Entry
from study.spec import Spec
from study.state import Study

UNKNOWN = "not recorded"  # of a trial that an earlier version ran


def provenance(study: Study, changed: Sequence[str]) -> dict[str, str]:
    """Return the facts about how a study was run, by name.

    Args:
        changed: what was changed after the first confirmation.
    """
    facts = study.folder.facts
    trials = [e for e in study.ledger.history if study.ledger.learnt_study_data(e)]
    found = {
        "command": facts.command,
        "study file": _digest(study.spec),
        "last trial": _last_end(trials),
        "wall time": _wall_time(facts.started, trials),
        **_machines(trials),
        **_versions(study),
        "data": ", ".join(f"{name} {digest}" for name, digest in facts.data.items()),
        "stack sizes": ", ".join(f"{name} {kept.size}" for name, kept in facts.stacks.items()),
        "changed after looking": "; ".join(changed),
    }
    return {name: text for name, text in found.items() if text}


def study_file(design: Design) -> str:
    """Return the study file with the value of every key, as TOML.

    Keys without a value are left out, and what a user's file of data contains.
    """
    spec, values = design.spec, design.spec.plain()
    for name, section in values["methods"].items():
        section["learner"] = spec.learner_of(name)
    # a user's file is no option: its content counts, not its place
    values["stream"] = design.stream.options.plain() | values["stream"]
    values["stream"].pop("contents", None)  # these facts are read from the user's file
    head = f"# The study file of {spec.study.name}, with every key that has a value.\n\n"
    return head + tomli_w.dumps(_stated(values))


def _stated(value: Any) -> Any:
    """Return a value of a study file without keys that have no value, which TOML cannot write."""
    if isinstance(value, dict):
        stated = {key: _stated(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in stated.items() if item != {}}
    return [_stated(item) for item in value] if isinstance(value, list | tuple) else value


def _digest(spec: Spec) -> str:
    return hashlib.sha256(str(spec.plain()).encode()).hexdigest()[:16]


def _last_end(trials: Sequence[Entry]) -> str:
    """Return the date and time at which the last trial ended."""
    ended = [entry.ended for entry in trials if entry.ended]
    return f"{datetime.fromtimestamp(max(ended), UTC):%Y-%m-%d %H:%M} UTC" if ended else "none yet"


def _wall_time(started: Sequence[float], trials: Sequence[Entry]) -> str:
    """Return the time from the start of each run to the end of its last trial, summed."""
    runs = [
        [entry.ended for entry in trials if start <= entry.ended < end]
        for start, end in pairwise([*started, inf])
    ]
    seconds = sum(max(ends) - start for start, ends in zip(started, runs, strict=True) if ends)
    earlier = any(entry.ended < min(started, default=inf) for entry in trials)
    if not seconds:
        return UNKNOWN if earlier else ""
    return duration(seconds) + (f", and earlier runs {UNKNOWN}" if earlier else "")


def _machines(trials: Sequence[Entry]) -> dict[str, str]:
    """Return the hosts, processors and GPUs of all trials that gave a result."""
    ran = [entry for entry in trials if entry.state != "failed"]
    if not ran:
        return {}
    return {
        "host": _listed(entry.host for entry in ran),
        "processor": _listed(entry.processor for entry in ran),
        "GPU": _listed("none" if entry.device == "cpu" else entry.device for entry in ran),
    }


def _listed(values: Iterable[str]) -> str:
    """Return the different values of trials in words; a trial of an earlier version has none."""
    found = set(values)
    return ", ".join([*sorted(found - {""}), *([UNKNOWN] if "" in found else [])])


def _versions(study: Study) -> dict[str, str]:
    """Return the versions of the packages and the commit that trials ran with."""
    found = {name: ", ".join(each) for name, each in study.ledger.software().items()}
    git = found.pop("git", UNKNOWN)
    return {"python": UNKNOWN, **found, "git": git}
