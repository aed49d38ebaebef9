"""The measurements of a study as files for other programs.

<out>/accuracies.parquet   a table with a row for each trial, seed, readout, and pair of tasks
      optuna_journal.log   a study of Optuna for each sweep, with its trials
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial
from pyarrow import parquet

from analysis.metrics import accuracy_matrix
from analysis.numbers import count
from study.folder import obstacle
from study.ledger import Entry
from study.search import new_study, optuna_trial
from study.state import Study
from trainables.engine.outcome import Array, Outcome
from trainables.errors import InputError
from trainables.files import write_whole

ACCURACIES, JOURNAL = "accuracies.parquet", "optuna_journal.log"
TRIALS_AT_ONCE = 1_000  # whose rows are in memory together

COLUMNS = pa.schema(
    {
        "study": pa.string(),
        "phase": pa.string(),  # tune, confirm or recheck
        "method": pa.string(),
        "trial": pa.int64(),  # of the sweep, with the same configuration; null without one
        "seed": pa.int64(),
        "state": pa.string(),  # of the seed: complete, pruned, diverged or failed
        "readout": pa.string(),
        "primary": pa.bool_(),  # whether it is the learner's primary readout, or the trial failed
        "after_task": pa.int64(),  # last task learnt, from 1
        "on_task": pa.int64(),  # task tested, from 1
        "value": pa.float64(),  # accuracy; null once the seed has diverged
        "current": pa.bool_(),  # whether search space, configuration and code are those of now
        "entry": pa.string(),  # folder in the ledger
    }
)


def export_study(place: Path, out: Path) -> dict[str, str]:
    """Write the files of an export; return the content of each in words, by path.

    Args:
        place: folder of the study.
        out: folder of the export.

    Raises:
        InputError: if there is no study, or if the folder cannot be written or holds other files.
    """
    study = Study.open(place)
    try:
        _check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        rows, table = _parquet(study)
        write_whole(out / ACCURACIES, table)
        trials, journal = _journal(study)
        write_whole(out / JOURNAL, journal)
    except OSError as error:
        problem = obstacle(out) or error.strerror or str(error)
        raise InputError(
            f"cannot write the export to {out}: {problem}. Give another folder with --out."
        ) from None
    studies = count(len(study.methods), "study")
    return {
        str(out / ACCURACIES): count(rows, "row"),
        str(out / JOURNAL): f"{studies} of Optuna, {count(trials, 'trial')}",
    }


def _check_folder(out: Path) -> None:
    """Refuse a folder with files that are not an earlier export."""
    others = {path.name for path in out.iterdir()} - {ACCURACIES, JOURNAL} if out.is_dir() else ()
    if others:
        raise InputError(
            f"{out} holds files that are not an export, such as {min(others)}. Give an empty "
            "folder with --out."
        )


# -- the table of accuracies


def _parquet(study: Study) -> tuple[int, bytes]:
    """Return the number of rows of the table of accuracies, and its file."""
    entries = study.ledger.entries()
    facts, rows, buffer = _Facts.of(study, entries), 0, io.BytesIO()
    with parquet.ParquetWriter(buffer, COLUMNS, compression="zstd") as writer:
        for start in range(0, len(entries), TRIALS_AT_ONCE):
            some = entries[start : start + TRIALS_AT_ONCE]
            table = _table([*map(facts.of_trial, some)], [_rows(study, entry) for entry in some])
            writer.write_table(table)
            rows += len(table)
    return rows, buffer.getvalue()


def _table(facts: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return the rows of several trials.

    Args:
        facts: columns that are the same in all rows of a trial.
        rows: the other columns.
    """
    trial_of_row = np.repeat(np.arange(len(rows)), [len(each["seed"]) for each in rows])
    repeated = {
        name: pa.array([each[name] for each in facts], COLUMNS.field(name).type).take(trial_of_row)
        for name in facts[0]
    }
    measured = {
        name: pa.array(
            np.concatenate([each[name] for each in rows]),
            COLUMNS.field(name).type,
            from_pandas=True,  # NaN becomes null
        )
        for name in rows[0]
    }
    return pa.table(repeated | measured).select(COLUMNS.names)


def _rows(study: Study, entry: Entry) -> Mapping[str, Array]:
    """Return the columns that differ between the rows of a trial."""
    if entry.state != "failed":
        return _measured_rows(entry, study.ledger.outcome_bytes(entry))
    n = len(entry.seeds)
    return {
        "seed": np.array(entry.seeds),
        "state": np.full(n, "failed"),
        "readout": np.full(n, None),
        "primary": np.full(n, True),
        **{name: np.full(n, np.nan) for name in ("after_task", "on_task", "value")},
    }


def _measured_rows(entry: Entry, content: bytes) -> Mapping[str, Array]:
    """Return the columns of a trial from its outcome file; a task not evaluated has no row."""
    parts: list[dict[str, Array]] = []
    counts_of, seeds, finite = _measured(entry, content)
    states = _states(entry, finite, next(iter(counts_of.values())).shape[2])
    still_finite = np.logical_and.accumulate(finite, axis=1)[:, :, None]  # [S, I, 1]
    for readout, counts in counts_of.items():
        accuracy = accuracy_matrix(counts)  # [S, I, T]; NaN for a task not evaluated
        evaluated = np.isfinite(accuracy)
        at, after, on = np.nonzero(evaluated)
        part = {
            "seed": seeds[at],
            "state": states[at],
            "readout": np.full(len(at), readout),
            "primary": np.full(len(at), not parts),
            "after_task": after + 1,
            "on_task": on + 1,
            "value": np.where(still_finite, accuracy, np.nan)[evaluated],
        }
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measured(entry: Entry, content: bytes) -> tuple[dict[str, Array], Array, Array]:
    """Return the counts by readout, the seeds, and which were finite after each task, [S, I].

    A complete trial has all its seeds, and all are finite: reading less saves a third of the time.
    """
    if entry.state != "complete":
        found = Outcome.fields_from(content, "counts", "seeds", "finite")
        return found["counts"], found["seeds"], found["finite"]
    counts_of = Outcome.fields_from(content, "counts")["counts"]
    shape = next(iter(counts_of.values())).shape[:2]
    return counts_of, np.array(entry.seeds), np.full(shape, True)


def _states(entry: Entry, finite: Array, length: int) -> Array:
    """Return the state of each seed: in a trial that diverged, some seeds may be in order.

    Args:
        finite: of the outcome, [S, I].
        length: number of tasks in the stream.
    """
    diverged = ~finite.all(axis=1)
    if entry.state != "diverged" or not diverged.any():
        return np.full(len(finite), entry.state)
    is_whole = finite.shape[1] >= (entry.work["tasks"] or length)
    return np.where(diverged, "diverged", "complete" if is_whole else "pruned")


@dataclass(frozen=True)
class _Facts:
    """What the rows of a trial have in common, where it depends on other trials.

    Attributes:
        numbers: number of the first trial of a sweep by method and configuration.
        current: folders of the trials that belong to the study as it is now.
    """

    study: str
    numbers: dict[tuple[str, str], int]
    current: set[str]

    @classmethod
    def of(cls, study: Study, entries: Iterable[Entry]) -> _Facts:
        """Return the facts about the trials of a study."""
        swept = [(entry, entry.number) for entry in entries if entry.number is not None]
        last_to_first = sorted(swept, key=lambda pair: -pair[1])
        numbers = {_configuration(entry): number for entry, number in last_to_first}
        return cls(study.spec.study.name, numbers, _current(study, entries))

    def of_trial(self, entry: Entry) -> dict[str, Any]:
        """Return the columns that are the same in all rows of a trial."""
        number = entry.number
        return {
            "study": self.study,
            "phase": entry.phase,
            "method": entry.method,
            "trial": self.numbers.get(_configuration(entry)) if number is None else number,
            "current": entry.folder in self.current,
            "entry": entry.folder,
        }


def _configuration(entry: Entry) -> tuple[str, str]:
    return entry.method, str(entry.work["configuration"])


def _current(study: Study, entries: Iterable[Entry]) -> set[str]:
    """Return the folders of the trials that belong to the study as it is now."""
    names = study.methods
    swept = {entry.folder for name in names for entry in study.sweep(name).entries}
    fresh = (e for e in entries if e.phase != "tune" and e.method in names)
    return swept | {
        entry.folder
        for entry in fresh
        if any(state.includes(entry) for state in study.all_fresh_seeds(entry.method, entry.phase))
    }


# -- Optuna's journal


class _JournalInMemory(BaseJournalBackend):
    """A journal of Optuna that does not make each trial wait for the disk."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Return the logs from a number on."""
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add logs."""
        self.logs += logs

    def content(self) -> bytes:
        """Return the content of the file that has the same logs."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / JOURNAL
            JournalFileBackend(str(file)).append_logs(self.logs)
            return file.read_bytes()


def _journal(study: Study) -> tuple[int, bytes]:
    """Return the number of trials of all sweeps, and the journal with them."""
    journal, trials = _JournalInMemory(), 0
    storage = JournalStorage(journal)
    for name in study.methods:
        found = _swept(study, name)
        title = f"{study.spec.study.name}/{name}"
        made = new_study(study.design.directions, storage=storage, name=title)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            made.set_metric_names(study.spec.objectives)
        made.add_trials(map(_annotated, found))
        trials += len(found)
    return trials, journal.content()


def _swept(study: Study, method: str) -> list[Entry]:
    """Return the trials of a method's sweep by number, those beyond the present budget too."""
    sweep = study.sweep(method)
    asked_for = {entry.folder for entry in sweep.entries} | sweep.over_budget
    entries = (e for e in study.ledger.entries("tune", method) if e.folder in asked_for)
    return sorted(entries, key=lambda entry: entry.number or 0)


def _annotated(entry: Entry) -> FrozenTrial:
    """Return a trial for Optuna, with its times, and with what else is known as attributes."""
    trial, ended = optuna_trial(entry), datetime.fromtimestamp(entry.ended, UTC)
    trial.datetime_start = ended - timedelta(seconds=entry.seconds)
    trial.datetime_complete = ended
    notes = {
        "trial": entry.number,
        "state": entry.state,
        "reason": entry.reason,
        "seeds": entry.seeds,
        "entry": entry.folder,
    }
    for name, value in notes.items():
        trial.set_user_attr(name, value)
    return trial
