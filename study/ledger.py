"""Finished work on disk, with its measurements: the source of analysis and tracking.

    <study>/ledger/<phase>/<method>/<entry>/trial.json    description of the trial
                                           outcome.h5    measurements
                                           foundation.h5 foundation that a pre-training leaves
                                           traceback.txt of a learner that raised
    <study>/ledger/running/<entry>.json                  started, not finished
    <study>/ledger/set_aside/                            damaged entries

An entry appears whole or not at all. There is one writer, the driver. Pre-trainings and heats of
races are kept under method names that no study can use.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study import software
from study.design import PHASES
from study.losses import WorkerLoss, deserves_another_try
from trainables import find_stream
from trainables.engine.assignment import Assignment, key_of
from trainables.engine.foundation import Foundation
from trainables.engine.outcome import Outcome
from trainables.errors import InputError
from trainables.files import PARTIAL, partial_in, write_whole

STATES = ("complete", "pruned", "diverged", "failed")
FORMAT = 3
# Names that no method of a study can have: they begin with an underscore.
PRETRAINING = "_pretraining"
PILOT = "_pilot"  # whose entries are never written
HEATS = "_racing."  # and the name of a method: the heats of its trials


@dataclass(frozen=True)
class Entry:
    """One trial.

    Attributes:
        work: the fields of the assignment; their hash, with the versions, is the ``key``.
        number: number of the trial in the sweep; None outside of a sweep.
        state: ``complete``; ``pruned`` between tasks; ``diverged``: an output was not finite;
            ``failed``: the learner raised, or the trial was given up after losing its workers.
        values: the objectives at the end of the trial, means over seeds.
        params, distributions, attributes, steps: the trial as Optuna knows it; steps hold the first
            objective after each task.
        seconds: training time of all seeds.
        samples: new samples shown to all seeds, without replayed samples.
        resumed: number of tasks learnt before the last worker took over; 0: from the first.
        ended: time of the end, in seconds since 1970.
        failure, reason: of a failed trial, the traceback and a one-line summary.
        software, device: versions of the packages used, and the model of the device.
        host, processor: name and processor of the machine; empty if unknown.
        data: name and hash of the data set; a part of the ``key``.
        losses: the losses of the trial's workers.
        digest, foundation: SHA-256 of ``outcome.h5`` and ``foundation.h5``; empty without the
            file.
    """

    work: dict[str, Any]
    versions: dict[str, int | str]
    method: str
    number: int | None
    state: str = "running"
    values: list[float] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    samples: int = 0
    resumed: int = 0
    ended: float = 0.0
    failure: str = ""
    reason: str = ""
    digest: str = ""
    software: dict[str, str] = field(default_factory=dict)
    device: str = ""
    host: str = ""
    processor: str = ""
    foundation: str = ""
    data: str = ""
    losses: list[WorkerLoss] = field(default_factory=list)

    @functools.cached_property
    def key(self) -> str:
        return key_of(self.work, self.versions | ({"data": self.data} if self.data else {}))

    def computes(self, work: Assignment) -> bool:
        """Whether the trial computes an assignment with the current learner and stream."""
        return (self.work, self.versions) == (plain(work), work.versions())

    @property
    def phase(self) -> str:
        """``tune``, ``confirm``, or ``recheck``: on the data of the sweep, but not part of it."""
        if self.method == PILOT:
            return "pilot"
        phase = str(self.work["phase"])
        in_sweep = self.number is not None or self.method == PRETRAINING
        return "recheck" if phase == "tune" and not in_sweep else phase

    @property
    def is_hidden(self) -> bool:
        """Whether this is a pre-training or a heat, and no trial of a method."""
        return self.method.startswith("_")

    @property
    def is_tried_again(self) -> bool:
        """Whether this trial of a sweep failed, and runs once more without being asked for."""
        given_up = self.state == "failed" and not self.failure
        return given_up and deserves_another_try(self.losses)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.work["seeds"])

    @property
    def folder(self) -> str:
        """Path of the entry inside the ledger: readable, and unique by its key."""
        place = f"{self.number:04d}" if self.number is not None else _seed_label(self.seeds)
        return f"{self.phase}/{self.method}/{place}-{self.key[:12]}"

    @property
    def slug(self) -> str:
        """Name of the entry as a single file or folder."""
        return self.folder.replace("/", ".")


def plain(work: Assignment) -> dict[str, Any]:
    """Return the fields of an assignment as plain JSON values."""
    values: dict[str, Any] = json.loads(json.dumps(vars(work)))
    return values


def entry_for(work: Assignment, method: str, number: int | None, data: str = "") -> Entry:
    """Return the entry of a trial that is about to run."""
    return Entry(plain(work), work.versions(), method, number, data=data)


class Ledger:
    """The entries of one study.

    Args:
        folder: the ledger's folder.
        notify: called with a sentence on every entry that cannot be used.
        repair: make the folder, set unusable entries aside and remove the half-written files of a
            killed driver; for the driver only, as it would disturb a running driver.
        data: hashes by data set; entries of other data are left out. None: entries of any data.
    """

    def __init__(
        self,
        folder: Path,
        notify: Callable[[str], None] = lambda text: None,
        repair: bool = True,
        data: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self._notify, self._repair = folder, notify, repair
        self.data = data
        self.damaged: list[str] = []  # unusable entries, each with the problem
        if repair:
            self._make()
        self.history: list[Entry] = []  # every entry read or finished, in that order
        self._entries: dict[str, Entry] = {}
        self._by_key: dict[
            tuple[str, str], Entry
        ] = {}  # entries that did not fail, by key and method
        for entry in self._scan():
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        self.history.append(entry)
        self._entries[entry.folder] = entry
        if entry.state != "failed":
            self._by_key.setdefault((entry.key, entry.method), entry)

    def _make(self) -> None:
        try:
            (self.folder / "running").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write {self.folder}: {error.strerror}. Choose another folder with --dir."
            ) from None

    def entries(self, phase: str | None = None, method: str | None = None) -> list[Entry]:
        """Return finished trials, in the order of their names.

        Pre-trainings and heats are included only where ``method`` names them.
        """
        entries = (self._entries[name] for name in sorted(self._entries))
        of_phase = (e for e in entries if phase in (None, e.phase) and self.learnt_study_data(e))
        return [e for e in of_phase if (e.method == method if method else not e.is_hidden)]

    def entries_of_other_data(self) -> list[Entry]:
        """Return finished trials that learnt other data; they are kept, and not used."""
        return [e for e in self._entries.values() if not self.learnt_study_data(e)]

    def software(self) -> dict[str, list[str]]:
        """Return the versions that trials ran with; the current versions if no trial has any."""
        found: dict[str, list[str]] = {}
        entries = list(filter(self.learnt_study_data, self._entries.values()))
        for each in [entry.software for entry in entries if entry.software] or [software()]:
            for name, version in each.items():
                if version not in found.setdefault(name, []):
                    found[name].append(version)
        return found

    def learnt_study_data(self, entry: Entry) -> bool:
        """Whether a trial learnt the data of the study."""
        return self.data is None or entry.data in {f"{k} {v}" for k, v in self.data.items()}

    def unfinished(self) -> list[Entry]:
        """Return trials that were started and have not finished."""
        claims = map(self._read_claim, sorted((self.folder / "running").glob("*.json")))
        return [entry for entry in claims if entry and self.learnt_study_data(entry)]

    def _read_claim(self, path: Path) -> Entry | None:
        try:
            return _decode(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            self._set_aside(path, "not readable")
            return None

    def find(self, entry: Entry) -> Entry | None:
        """Return a method's finished trial with the same key that did not fail, if there is one."""
        return self._by_key.get((entry.key, entry.method))

    def entry_for(self, work: Assignment, method: str, number: int | None) -> Entry:
        """Return the entry of a trial that is about to run, with its losses from earlier runs."""
        stream = find_stream(work.stream)
        name = stream.data_set(stream.Options.parse(work.options)).name
        data = f"{name} {self.data[name]}" if self.data is not None else ""
        entry = entry_for(work, method, number, data)
        claim, earlier = self._claim_path(entry), self._entries.get(entry.folder)
        if earlier is None and claim.exists():
            earlier = self._read_claim(claim)
        return dataclasses.replace(entry, losses=earlier.losses) if earlier else entry

    def begin(self, entry: Entry) -> None:
        """Record that a trial is started."""
        write_whole(self._claim_path(entry), _encode(entry).encode())

    def abandon(self, entry: Entry) -> None:
        """Remove the record of a started trial."""
        self._claim_path(entry).unlink(missing_ok=True)

    def finish(self, entry: Entry, outcome: bytes = b"", foundation: bytes = b"") -> Entry:
        """Write a finished trial, whole or not at all."""
        entry = dataclasses.replace(
            entry, digest=_digest(outcome), foundation=_digest(foundation), ended=time.time()
        )
        target = self.folder / entry.folder
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_in(self.folder)
        partial.mkdir()
        if outcome:
            write_whole(partial / "outcome.h5", outcome)
        if foundation:
            write_whole(partial / "foundation.h5", foundation)
        if entry.failure:
            write_whole(partial / "traceback.txt", entry.failure.encode(errors="replace"))
        write_whole(partial / "trial.json", _encode(entry).encode())
        if target.exists():  # a failed trial that ran again
            shutil.rmtree(target)
        os.replace(partial, target)
        self._add(entry)
        self.abandon(entry)
        return entry

    def _claim_path(self, entry: Entry) -> Path:
        return self.folder / "running" / f"{entry.slug}.json"

    def outcome(self, entry: Entry) -> Outcome:
        """Read the outcome of a trial."""
        return Outcome.from_bytes((self.folder / entry.folder / "outcome.h5").read_bytes())

    def foundation(self, entry: Entry) -> Foundation:
        """Read the foundation that a pre-training left."""
        return Foundation.from_bytes((self.folder / entry.folder / "foundation.h5").read_bytes())

    def outcome_bytes(self, entry: Entry) -> bytes:
        """Return the content of a trial's outcome file; empty for a failed trial."""
        return (self.folder / entry.folder / "outcome.h5").read_bytes() if entry.digest else b""

    def read_new(self) -> None:
        """Take in the entries that another process has written since the folder was read, those
        of failed trials that ran again included.
        """
        for entry in self._scan():
            self._add(entry)

    def _scan(self) -> Iterator[Entry]:
        """Yield the entries of the folder that are new, or other ones than before."""
        if self._repair:
            for partial in self.folder.glob(f"{PARTIAL}*"):
                shutil.rmtree(partial, ignore_errors=True)
            for partial in (self.folder / "running").glob(f"{PARTIAL}*"):
                partial.unlink(missing_ok=True)
        for place in sorted(self.folder.glob("*/*/*")):
            known = self._entries.get("/".join(place.parts[-3:]))
            is_final = known is not None and known.state != "failed"
            if place.parts[-3] not in PHASES or is_final:
                continue
            problem, entry = _inspect(place)
            if entry is None:
                if not place.parts[-2].startswith("_"):  # reports mention trials of methods only
                    self.damaged.append(f"{place.relative_to(self.folder)}: {problem}")
                self._set_aside(place, problem)
            elif entry != known:
                yield entry

    def _set_aside(self, place: Path, problem: str) -> None:
        name = place.relative_to(self.folder)
        if not self._repair:
            self._notify(f"ledger entry {name} is {problem}; it is left out. `run` mends that.")
            return
        shelf = self.folder / "set_aside"
        shelf.mkdir(exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=shelf)) / place.name
        os.replace(place, target)
        self._notify(
            f"ledger entry {name} is {problem}; "
            f"set aside in {target.parent}. "
            "That trial runs again; nothing else is lost."
        )


def _inspect(place: Path) -> tuple[str, Entry | None]:
    """Read the folder of an entry; return the problem, or an empty text and the entry."""
    try:
        entry = _decode((place / "trial.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):
        return "truncated or not an entry", None
    if entry.state not in STATES or Path(entry.folder).parts != place.parts[-3:]:
        return "foreign (its content belongs elsewhere)", None
    files = {"outcome.h5": entry.digest, "foundation.h5": entry.foundation}
    problems = [_damage(place / name, digest) for name, digest in files.items() if digest]
    if problem := next(filter(None, problems), ""):
        return problem, None
    file = place / "traceback.txt"
    failure = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    return "", dataclasses.replace(entry, failure=failure)


def _damage(path: Path, digest: str) -> str:
    """Return the problem with a file of an entry; empty if there is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return f"without its {path.name}"
    if _digest(content) != digest:
        return f"truncated or altered ({path.name} does not match its checksum)"
    return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if content else ""


def _encode(entry: Entry) -> str:
    values = dataclasses.asdict(entry)
    del values["failure"]  # has a readable file of its own
    return json.dumps({"format": FORMAT, "key": entry.key, **values}, indent=1)


def _decode(text: str) -> Entry:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("not an entry")
    if values.pop("format") != FORMAT:
        raise ValueError("another format")
    key = values.pop("key")
    entry = Entry(**values)
    if entry.key != key:
        raise ValueError("its key does not match its content")
    return entry


def _seed_label(seeds: tuple[int, ...]) -> str:
    consecutive = seeds == tuple(range(seeds[0], seeds[0] + len(seeds)))
    if consecutive and len(seeds) > 1:
        return f"seeds{seeds[0]}-{seeds[-1]}"
    return "seeds" + "_".join(map(str, seeds[:6]))
