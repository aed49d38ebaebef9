"""The folder of one study: its lock, what it is, and what was decided once and is kept.

<dir>/<name>/study.json   the study as last run, as first asked, the stack sizes a pilot chose
             ledger/      finished work
             ray/         checkpoints of unfinished trials
             ray.log      what Ray itself said, if anything
             mlflow.db    the MLflow mirror, unless a server has it
             report/      tables
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from study.console import warn
from study.design import PhaseStream
from study.ledger import Ledger
from study.spec import Spec
from trainables.errors import InputError, check_text
from trainables.files import write_whole

FOLDERS = ("ledger", "ray", "report")  # in a study's own


class StackSize(BaseModel):
    """The stack size a pilot chose on a kind of device, with the rates it found."""

    size: int
    device: str
    seed_steps_per_second: dict[int, float]


class Planned(BaseModel):
    """What was asked before anything was confirmed."""

    seeds: list[int]
    methods: list[str]


class Question(BaseModel):
    """What the verdicts depend on: a later change is allowed, and said in the report."""

    reference: str
    margin: float
    alpha: float
    failed: str
    trials: int

    @classmethod
    def of(cls, spec: Spec) -> Question:
        """Return what a study file asks."""
        fixed = {name: getattr(spec.study, name) for name in ("reference", "margin", "alpha")}
        return cls(**fixed, failed=spec.study.failed, trials=spec.tune.trials)


class Asked(BaseModel):
    """A question, and the day from which it was asked."""

    question: Question
    since: str


class Facts(BaseModel):
    """The content of ``study.json``."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[4]
    id: str  # tells this folder's runs from others in a shared MLflow, wherever the folder is moved
    spec: Spec
    command: str
    planned: Planned
    asked: list[Asked] = Field(min_length=1)  # questions since the first confirmation, in order
    data: dict[str, str]  # hashes of the data sets that the last run used
    stacks: dict[str, StackSize]
    identity: dict[str, Any]  # what may not change, of every method that has been run


class Folder:
    """One study on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts: Facts | None = None

    @property
    def facts(self) -> Facts:
        """What ``study.json`` says."""
        if self._facts is None:
            why = obstacle(self.path) or "it has no study.json"
            raise InputError(
                f"{self.path} is not the folder of a study: {why}. Give the folder that `run` made."
            )
        return self._facts

    @property
    def storage(self) -> Path:
        return (self.path / "ray").absolute()

    @classmethod
    def open(cls, path: Path) -> tuple[Folder, Spec]:
        """Open the folder of a study that has been run."""
        folder = cls(path)
        folder._facts = folder._read()
        return folder, folder.facts.spec

    @contextlib.contextmanager
    def claim(self, otherwise: str = "choose another folder with --dir") -> Iterator[None]:
        """Hold the folder for one process; ``otherwise`` is what to do when that cannot be.

        Raises:
            InputError: when another one holds it, or it cannot be written.
        """
        try:
            for part in (self.path, *(self.path / name for name in FOLDERS)):
                if what := obstacle(part):
                    raise InputError(
                        f"cannot write {self.path}: {what}. Move it away, or {otherwise}."
                    )
            check_text(str(self.path.resolve()), "the study's folder")
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.path} is being run by another process. Wait for it, or {otherwise}."
            ) from None
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}. Make it writable, or {otherwise}."
            ) from None
        try:
            self._facts = self._read()
            yield
        finally:
            lock.release()

    def ledger(self, notify: Callable[[str], None] = warn, repair: bool = False) -> Ledger:
        """Open the ledger; to ``repair`` it, :meth:`claim` the folder first."""
        data = self._facts.data if self._facts else None
        return Ledger(self.path / "ledger", notify, repair, data or None)

    def admit(self, spec: Spec, command: str, ledger: Ledger) -> None:
        """Note what is asked now, after checking that the folder's finished work belongs to it.

        What is asked before anything was confirmed is the plan; later changes are additions.

        Raises:
            InputError: when another study made the folder.
        """
        known, now = self._facts, _identity(spec)
        settled = _settled(known.identity, ledger) if known else {}
        changed = [key for key in now if key in settled and settled[key] != now[key]]
        if changed:
            key = changed[0]
            raise InputError(
                f"{self.path} was made by another study of this name: "
                f"{key} was {json.dumps(settled[key])}, now {json.dumps(now[key])}. "
                "Give the study another name (--set study.name=...) or another --dir."
            )
        keep = known is not None and bool(ledger.entries("confirm"))
        past = known.asked if known and keep else []
        question = Question.of(spec)
        today = Asked(question=question, since=datetime.now(UTC).date().isoformat())
        self._facts = Facts(
            format=4,
            id=known.id if known else uuid.uuid4().hex,
            spec=spec,
            command=command,
            planned=known.planned
            if known and keep
            else Planned(seeds=list(spec.confirm_seeds), methods=list(spec.methods)),
            asked=past if past and past[-1].question == question else [*past, today],
            data=known.data if known else {},
            stacks=known.stacks if known else {},
            identity=settled | now,
        )
        self._write()

    def keep_stack(self, method: str, stack: StackSize) -> None:
        """Keep the stack size a pilot chose."""
        self.facts.stacks[method] = stack
        self._write()

    def keep_data(self, hashes: Mapping[str, str]) -> None:
        """Keep which data the last run used: only trials that learnt them are shown."""
        self.facts.data.update(hashes)
        self._write()

    def _read(self) -> Facts | None:
        path = self.path / "study.json"
        try:
            return Facts.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if obstacle(self.path):  # a link to itself
                return None
            raise InputError(f"{path} cannot be read: {error.strerror}.") from None
        except ValidationError:
            raise InputError(
                f"{path} is damaged or of another version. Put a whole copy in its place, "
                "or choose another --dir."
            ) from None

    def _write(self) -> None:
        write_whole(self.path / "study.json", self.facts.model_dump_json(indent=1).encode())


def obstacle(folder: Path) -> str:
    """Say what stands where a folder should be, if anything does: a file, a link to nothing."""
    for place in map(str, reversed((folder, *folder.parents))):
        if os.path.islink(place) and not os.path.exists(place):
            return f"{place} is a link to {os.readlink(place)}, which is not there"
        if os.path.exists(place) and not os.path.isdir(place):
            return f"{place} is a file where a folder should be"
    return ""


def _identity(spec: Spec) -> dict[str, Any]:
    """What may not change in a study's folder. Budgets, seeds, resources, new methods may."""
    tune = spec.tune.model_dump(mode="json", exclude={"trials"})
    resolved = {"seeds": list(spec.tune_seeds), "objectives": spec.objectives}
    fixed = {f"study.{key}": getattr(spec.study, key) for key in ("stream", "scenario", "metric")}
    fixed |= {f"tune.{key}": value for key, value in (tune | resolved).items()}
    for name, section in spec.methods.items():
        learner = {"learner": spec.learner_of(name)}
        fixed[f"methods.{name}"] = section.model_dump(mode="json") | learner
    return fixed | {"stream": PhaseStream.of(spec, "confirm").options.plain()}


def _settled(identity: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Return the part of an identity that finished work depends on."""
    entries = [entry for entry in ledger.entries() if entry.state != "failed"]
    tables = {"study", "stream"} if entries else set()
    tables |= {"tune"} if any(entry.phase == "tune" for entry in entries) else set()
    methods = {f"methods.{entry.method}" for entry in entries}
    return {k: v for k, v in identity.items() if k.split(".")[0] in tables or k in methods}
