"""The folder of one study: its lock, the facts about it, and decisions that are made once.

<dir>/<name>/study.json   the study as last run and as planned, the stack sizes of the pilots
             ledger/      finished work
             ray/         checkpoints of unfinished trials
             ray.log      output of Ray, if any
             mlflow.db    the MLflow mirror, unless a server holds the mirror
             report/      tables and figures
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analysis.records import DECIDED
from study.console import warn
from study.design import PhaseStream, method_of
from study.ledger import Ledger
from study.spec import Spec
from trainables.errors import InputError, check_text
from trainables.files import write_whole

FOLDERS = ("ledger", "ray", "report")  # subfolders of a study's folder


class StackSize(BaseModel):
    """The stack size that a pilot chose on a model of a device, with its measurements."""

    size: int
    device: str
    seed_steps_per_second: dict[int, float]
    peak_bytes: int | None = None  # of a GPU's memory


class Planned(BaseModel):
    """The seeds and methods that were asked for before the first confirmation."""

    seeds: list[int]
    methods: list[str]


class Question(BaseModel):
    """The settings that the verdicts depend on; the report tells of later changes."""

    reference: str
    comparisons: list[list[str]] = []  # empty: each method against the reference
    margin: float
    alpha: float
    failed: str
    trials: int
    stop: str = "planned"

    @classmethod
    def of(cls, spec: Spec) -> Question:
        """Return the question of a study file."""
        study = spec.study
        return cls(
            reference=study.reference,
            comparisons=study.comparisons,
            margin=study.margin,
            alpha=study.alpha,
            failed=study.failed,
            trials=spec.tune.trials,
            stop=spec.confirm.stop,
        )


class DatedQuestion(BaseModel):
    """A question, and the day from which it stood in the study file."""

    question: Question
    since: str


class Facts(BaseModel):
    """The content of ``study.json``."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[4]
    id: str  # tells this study's runs from others in a shared MLflow, even if the folder is moved
    spec: Spec
    command: str
    planned: Planned
    asked: list[DatedQuestion] = Field(
        min_length=1
    )  # questions since the first confirmation, in order
    data: dict[str, str]  # hashes of the data sets that the last run used
    stacks: dict[str, StackSize]
    slots: int | None = None  # number of trials that the present or last run has room for
    # times at which runs with missing trials began, in seconds since 1970; empty: not recorded
    started: list[float] = []
    identity: dict[str, Any]  # settings that may not change, of every method that has been run


class Folder:
    """One study on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts: Facts | None = None

    @property
    def facts(self) -> Facts:
        """The content of ``study.json``.

        Raises:
            InputError: if there is none.
        """
        if self._facts is None:
            problem = obstacle(self.path) or "it has no study.json"
            raise InputError(
                f"{self.path} is not the folder of a study: {problem}. "
                "Give the folder that `run` made."
            )
        return self._facts

    @property
    def storage(self) -> Path:
        return (self.path / "ray").absolute()

    @classmethod
    def open(cls, path: Path) -> tuple[Folder, Spec]:
        """Open the folder of a study that has been run."""
        folder = cls(path)
        folder.read_facts()
        return folder, folder.facts.spec

    def read_facts(self) -> None:
        """Read the facts, which another process may have changed."""
        self._facts = self._read()

    @contextlib.contextmanager
    def claim(self, alternative: str = "choose another folder with --dir") -> Iterator[None]:
        """Hold the folder for this process alone.

        Args:
            alternative: advice for a user whose folder cannot be claimed.

        Raises:
            InputError: if another process holds the folder, or the folder cannot be written.
        """
        try:
            for part in (self.path, *(self.path / name for name in FOLDERS)):
                if problem := obstacle(part):
                    raise InputError(
                        f"cannot write {self.path}: {problem}. Move it away, or {alternative}."
                    )
            check_text(str(self.path.resolve()), "the study's folder")
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.path} is being run by another process. Wait for it, or {alternative}."
            ) from None
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}. Make it writable, or {alternative}."
            ) from None
        try:
            self._facts = self._read()
            yield
        finally:
            lock.release()

    @property
    def is_claimed(self) -> bool:
        """Whether a process holds the folder, such as a run."""
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # a folder that this user cannot write
            return False

    def ledger(self, notify: Callable[[str], None] = warn, repair: bool = False) -> Ledger:
        """Open the ledger; :meth:`claim` the folder first for ``repair``."""
        data = self._facts.data if self._facts else None
        return Ledger(self.path / "ledger", notify, repair, data or None)

    def admit(self, spec: Spec, command: str, ledger: Ledger) -> None:
        """Record a study file, after checking that the folder's finished work belongs to it.

        The study file is the plan until the first confirmation; later changes are additions.

        Raises:
            InputError: if another study made the folder.
        """
        facts, identity = self._facts, _identity(spec)
        settled = _settled_part(facts.identity, ledger) if facts else {}
        if any(key.startswith("tune.") for key in settled):
            settled.setdefault("tune.require", {})  # not in the folders of earlier versions
            settled.setdefault("tune.racing", False)
        changed = [key for key in identity if key in settled and settled[key] != identity[key]]
        if changed:
            key = changed[0]
            raise InputError(
                f"{self.path} was made by another study of this name: "
                f"{key} was {json.dumps(settled[key])}, now {json.dumps(identity[key])}. "
                "Give the study another name (--set study.name=...) or another --dir."
            )
        keep = facts is not None and bool(ledger.entries("confirm"))
        if facts and keep:
            self._check_order(spec, facts.planned)
        past = facts.asked if facts and keep else []
        question = Question.of(spec)
        today = DatedQuestion(question=question, since=datetime.now(UTC).date().isoformat())
        self._facts = Facts(
            format=4,
            id=facts.id if facts else uuid.uuid4().hex,
            spec=spec,
            command=command,
            planned=facts.planned
            if facts and keep
            else Planned(seeds=list(spec.confirm_seeds), methods=list(spec.methods)),
            asked=past if past and past[-1].question == question else [*past, today],
            data=facts.data if facts else {},
            stacks=facts.stacks if facts else {},
            slots=facts.slots if facts else None,
            started=facts.started if facts else [],
            identity=settled | identity,
        )
        self._write()

    def _check_order(self, spec: Spec, planned: Planned) -> None:
        """Refuse other first seeds where the order of the seeds must stay fixed."""
        first = min(planned.seeds, default=None)
        if spec.confirm.stop == DECIDED and first != spec.confirm_seeds[0]:
            raise InputError(
                f"confirm.seeds.first = {spec.confirm_seeds[0]}: the first seed of {self.path} was "
                f"{first} when its confirmation began. Seeds that are added until decided keep "
                f"their order: set first = {first}, or give the study another name "
                "(--set study.name=...)."
            )

    def keep_stack(self, method: str, stack: StackSize) -> None:
        """Keep the stack size that a pilot chose."""
        self.facts.stacks[method] = stack
        self._write()

    def keep_slots(self, slots: int) -> None:
        """Keep the number of trials that the present run has room for."""
        if slots != self.facts.slots:
            self.facts.slots = slots
            self._write()

    def keep_start(self) -> None:
        """Keep that a run begins now that has trials to run."""
        self.facts.started.append(time.time())
        self._write()

    def keep_data(self, hashes: Mapping[str, str]) -> None:
        """Keep the hashes of the data of this run: only trials on these data are shown."""
        self.facts.data.update(hashes)
        self._write()

    def _read(self) -> Facts | None:
        path = self.path / "study.json"
        try:
            return Facts.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if obstacle(self.path):  # such as a link to itself
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
    """Return what blocks the path of a folder: a file, or a broken link; empty if nothing does."""
    for place in map(str, reversed((folder, *folder.parents))):
        if os.path.islink(place) and not os.path.exists(place):
            return f"{place} is a link to {os.readlink(place)}, which is not there"
        if os.path.exists(place) and not os.path.isdir(place):
            return f"{place} is a file where a folder should be"
    return ""


def _identity(spec: Spec) -> dict[str, Any]:
    """Return the settings that may not change in a study's folder.

    Budgets, seeds, resources and the set of methods may change.
    """
    tune = spec.tune.model_dump(mode="json", exclude={"trials", "repeats"})
    resolved = {"seeds": list(spec.tune_seeds), "objectives": spec.objectives}
    fixed = {f"study.{key}": getattr(spec.study, key) for key in ("stream", "scenario", "metric")}
    fixed |= {f"tune.{key}": value for key, value in (tune | resolved).items()}
    for name, section in spec.methods.items():
        learner = {"learner": spec.learner_of(name)}
        fixed[f"methods.{name}"] = section.model_dump(mode="json", exclude={"resources"}) | learner
    stream = PhaseStream.of(spec, "confirm").options.plain()
    stream.pop("contents", None)  # a user's file may change, as any data: its trials run again
    return fixed | {"stream": stream}


def _settled_part(identity: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Return the part of an identity that finished work depends on."""
    entries = [entry for entry in ledger.entries() if entry.state != "failed"]
    tables = {"study", "stream"} if entries else set()
    tables |= {"tune"} if any(entry.phase == "tune" for entry in entries) else set()
    methods = {f"methods.{method_of(entry.method)}" for entry in entries}
    return {k: v for k, v in identity.items() if k.split(".")[0] in tables or k in methods}
