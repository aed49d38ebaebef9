"""Assignments: the definition of a trial's work, and the hash that identifies an assignment."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainables import find_learner, find_stream
from trainables.engine.plugin_code import code_digest
from trainables.networks import VERSIONS, function_named


@dataclass(frozen=True)
class Assignment:
    """The work of a trial: everything that its result depends on."""

    learner: str
    configuration: dict[str, Any]
    stream: str
    scenario: str
    options: dict[str, Any]  # of the stream
    phase: str
    seeds: tuple[int, ...]
    tasks: int | None = None  # number of tasks to learn; None for all
    evaluate_every: int = 0  # steps between evaluations within a task; 0 for none

    def versions(self) -> dict[str, int | str]:
        """Return the version numbers of the learner, the stream and the network, increased when
        their results change, and a hash of the code of a plug-in's learner and stream and of a
        user's network.
        """
        kind, stream = find_learner(self.learner), find_stream(self.stream)
        numbers = {"learner": kind.version, "stream": stream.version}
        hashes = {"code": code_digest(kind), "stream code": code_digest(stream)}
        network = str(self.configuration.get("network", ""))
        if VERSIONS.get(network, 1) > 1:
            numbers["network"] = VERSIONS[network]
        if ":" in network:
            module = network.partition(":")[0]
            hashes["network code"] = code_digest(function_named(network), module)
        return {**numbers, **{name: code for name, code in hashes.items() if code}}


def key_of(work: Mapping[str, Any], versions: Mapping[str, int | str]) -> str:
    """Return the key of a trial: the hash of its assignment and of the versions.

    Args:
        work: fields of the :class:`Assignment`.
    """
    text = json.dumps({"work": work, "versions": versions}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def seedless_key(work: Mapping[str, Any], versions: Mapping[str, int | str]) -> str:
    """Return the hash of an assignment without its seeds."""
    return key_of({**work, "seeds": []}, versions)


def pretraining_of(work: Assignment) -> Assignment | None:
    """Return the assignment of the pre-training: one that learns only the first task, which other
    trials share. None if the trial shares its first task with no other trial.

    A trial with evaluations within tasks learns its first task itself, to record them.
    """
    kind = find_learner(work.learner)
    shared = kind.pretraining(kind.Config.parse(work.configuration))
    if shared is None or work.evaluate_every:
        return None
    name, options = shared
    config = find_learner(name).Config.parse(options, f"pre-training of {kind.name}")
    return replace(work, learner=name, configuration=config.plain(), tasks=1)


def foundation_key(work: Assignment) -> str | None:
    """Return the key of the pre-training of a trial, without its seeds; None if the trial shares
    its first task with no other trial.
    """
    first = pretraining_of(work)
    return None if first is None else seedless_key(dataclasses.asdict(first), first.versions())
