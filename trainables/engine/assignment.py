"""What a trial computes, and what it is known by."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainables import find_learner, find_stream
from trainables.engine.plugin_code import code_digest


@dataclass(frozen=True)
class Assignment:
    """What a trial computes: everything its result depends on."""

    learner: str
    configuration: dict[str, Any]
    stream: str
    scenario: str
    options: dict[str, Any]  # of the stream
    phase: str
    seeds: tuple[int, ...]
    tasks: int | None = None  # learn only so many tasks
    evaluate_every: int = 0  # test within tasks too, every so many steps

    def versions(self) -> dict[str, int | str]:
        """Version numbers that the learner and the stream raise when their results change; of a
        learner that is not ours, a hash of its code too.
        """
        kind = find_learner(self.learner)
        numbers = {"learner": kind.version, "stream": find_stream(self.stream).version}
        code = code_digest(kind)
        return {**numbers, **({"code": code} if code else {})}


def key_of(work: Mapping[str, Any], versions: Mapping[str, int | str]) -> str:
    """Hash of what a trial computes."""
    text = json.dumps({"work": work, "versions": versions}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def seedless_key(work: Mapping[str, Any], versions: Mapping[str, int | str]) -> str:
    """Hash of what a trial computes for whichever seeds."""
    return key_of({**work, "seeds": []}, versions)


def pretraining_of(work: Assignment) -> Assignment | None:
    """Return the trial whose only task leaves behind what the first one of this trial would; None
    where it has that in common with no other.

    A trial that is tested within tasks learns the first one itself: there is a curve to record.
    """
    kind = find_learner(work.learner)
    shared = kind.pretraining(kind.Config.parse(work.configuration))
    if shared is None or work.evaluate_every:
        return None
    name, options = shared
    config = find_learner(name).Config.parse(options, f"pre-training of {kind.name}")
    return replace(work, learner=name, configuration=config.plain(), tasks=1)


def foundation_key(work: Assignment) -> str | None:
    """Return what the pre-training of a trial is found under, whatever its seeds; None where it has
    none in common with others.
    """
    first = pretraining_of(work)
    return None if first is None else seedless_key(dataclasses.asdict(first), first.versions())
