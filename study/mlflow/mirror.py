"""The thread that keeps MLflow up to date while a study runs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from analysis.one_study.analyse import Analysis
from study.console import shell
from study.mlflow.store import (
    URI,
    advice,
    default_uri,
)
from study.mlflow.writer import RunningTrial, Writer, unwritten
from study.state import Study

PAUSE_SECONDS = 1.0  # between two writings, so that several trials are written at once


class Mirror:
    """Keeps MLflow up to date while a study runs, from a thread.

    Args:
        uri: URI of MLflow; None: SQLite in the study's folder.
        notify: called with a sentence when MLflow cannot be written.
    """

    def __init__(self, study: Study, uri: str | None, notify: Callable[[str], None]) -> None:
        place = study.folder.path
        self.uri = uri or default_uri(place)
        self._writer = Writer(study, self.uri)
        self._notify = notify
        self._place = place
        options = ["--tracking-uri", uri] if uri and uri != os.environ.get(URI) else []
        self._repair = shell("track", str(place), *options)
        self._running: list[RunningTrial] = []
        self._wake, self._stop, self._failure_told = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.poke()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        if error is not None:
            with contextlib.suppress(Exception):  # MLflow may be why the study ends
                self._writer.leave()

    def poke(self, running: Sequence[RunningTrial] = ()) -> None:
        """Wake the thread: a trial has begun, has learnt a task or has ended.

        Args:
            running: the trials that run now.
        """
        self._running = [*running]
        self._wake.set()

    def finish(self, analysis: Analysis) -> None:
        """Bring the mirror up to date and add the report."""
        self._end()
        try:
            self._writer.write(analysis)
        except Exception as error:
            self._notify(
                f"{unwritten(self.uri, error)}.{advice(self.uri, self._place)} "
                f"The study itself is complete; `{self._repair}` writes the mirror later."
            )

    def _end(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stop.is_set():
                return
            self._try()
            self._stop.wait(PAUSE_SECONDS)

    def _try(self) -> None:
        """Write what is new; after a failure the next :meth:`poke` tries again."""
        try:
            self._writer.update(self._running)
        except Exception as error:
            if not self._failure_told:
                self._notify(f"{unwritten(self.uri, error)}; the study continues.")
            self._failure_told = True
