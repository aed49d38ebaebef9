"""Commands of the program in processes of their own, forked from one that has loaded libraries.

A command that only reads a folder takes a tenth of a second then, and not as many seconds as its
libraries take to load.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

LIMIT = 600.0  # seconds after which a command hangs
FORKS = multiprocessing.get_context("forkserver")


def study(words: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Run ``study WORDS`` in a folder; return its exit status, what it printed, and its errors."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = FORKS.Process(target=_run, args=(list(words), cwd, dict(environment), out, err))
        process.start()
        process.join(LIMIT)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"study {' '.join(words)}: {err.read_text()}")
        return CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())


def _run(words: list[str], cwd: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["study", *words]
    from study.cli import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()  # a forked process leaves them out
