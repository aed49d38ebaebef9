"""The folder of one study: its lock, what it is, and what was decided once and is kept.

<dir>/<name>/study.json   the study as last run, as first asked, the stack sizes a pilot chose
             ledger/      finished work
             ray/         checkpoints of unfinished trials
             mlflow.db    the MLflow mirror, unless a server has it
             report/      tables
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from study.console import warn
from study.ledger import Ledger
from study.spec import Spec
from trainables.errors import InputError

FORMAT = 1
# what the first question fixes: a later change is allowed, and said in the report
QUESTION = ("reference", "margin", "alpha", "failed")


class Folder:
    """One study on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}

    @property
    def storage(self) -> Path:
        return (self.path / "ray").absolute()

    @classmethod
    def open(cls, path: Path) -> tuple[Folder, Spec]:
        """Open the folder of a study that has been run."""
        folder = cls(path)
        folder.facts = folder._read()
        if not folder.facts:
            raise InputError(
                f"{path} is not the folder of a study: it has no study.json. "
                "Give the folder that `run` made."
            )
        return folder, Spec.parse(folder.facts["spec"], str(path / "study.json"))

    @contextlib.contextmanager
    def claim(self, spec: Spec) -> Iterator[None]:
        """Hold the folder for one driver, after checking that it belongs to this study.

        Raises:
            InputError: when another driver runs it, another study made it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.path} is being run by another process. Wait for it, or give another --dir."
            ) from None
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}. Choose another folder with --dir."
            ) from None
        try:
            self.facts = self._read() or {"format": FORMAT, "stacks": {}}
            if "spec" in self.facts:
                self._check_identity(spec)
            yield
        finally:
            lock.release()

    def ledger(self, notify: Callable[[str], None] = warn, repair: bool = False) -> Ledger:
        """Open the ledger; to ``repair`` it, :meth:`claim` the folder first."""
        return Ledger(self.path / "ledger", notify, repair)

    def record(self, spec: Spec, command: str, confirmed_any: bool) -> None:
        """Note what is asked now. What is asked before anything was confirmed is the plan; later
        changes are additions.
        """
        question = {key: getattr(spec.study, key) for key in QUESTION}
        if not confirmed_any or "planned" not in self.facts:
            self.facts["planned"] = {"seeds": list(spec.confirm_seeds), **question}
        self.facts |= {"spec": spec.plain(), "command": command}
        self._write()

    def keep_stack(self, method: str, size: int, rates: dict[int, float]) -> None:
        """Keep the stack size a pilot chose, with its seed-steps per second for each size."""
        self.facts["stacks"][method] = {"size": size, "seed_steps_per_second": rates}
        self._write()

    def _check_identity(self, spec: Spec) -> None:
        made_by = Spec.parse(self.facts["spec"], str(self.path / "study.json"))
        before, now = _identity(made_by.plain()), _identity(spec.plain())
        changed = [key for key in now if key in before and before[key] != now[key]]
        if changed:
            key = changed[0]
            raise InputError(
                f"{self.path} was made by another study of this name: "
                f"{key} was {json.dumps(before[key])}, now {json.dumps(now[key])}. "
                "Give the study another name (--set study.name=...) or another --dir."
            )

    def _read(self) -> dict[str, Any]:
        try:
            facts: Any = json.loads((self.path / "study.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path / 'study.json'} cannot be read ({error}). "
                "Remove it and run the study again: the ledger keeps everything that has finished."
            ) from None
        whole = isinstance(facts, dict) and "spec" in facts and "planned" in facts
        if not whole or facts.get("format") != FORMAT:
            raise InputError(
                f"{self.path / 'study.json'} is damaged or of another version. "
                "Choose another --dir."
            )
        return dict(facts)

    def _write(self) -> None:
        partial = self.path / ".study.json.partial"
        partial.write_text(json.dumps(self.facts, indent=1), encoding="utf-8")
        os.replace(partial, self.path / "study.json")


def _identity(spec: dict[str, Any]) -> dict[str, Any]:
    """What may not change in a study's folder. Budgets, seeds, resources, new methods may."""
    study, tune = spec["study"], spec["tune"]
    fixed = {f"study.{key}": study[key] for key in ("stream", "scenario", "metric")}
    fixed |= {f"tune.{key}": value for key, value in tune.items() if key != "trials"}
    fixed |= {f"methods.{name}": section for name, section in spec["methods"].items()}
    return fixed | {"stream": spec["stream"]}
