"""Terminals of a given width, and what they show."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def plain(text: str) -> list[str]:
    """The lines of a text, with those that a live line took one after the other, without styles."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines()


def printed(show: Callable[[], None], columns: int) -> list[str]:
    """The lines that a function prints on stdout, where that is a terminal."""
    screen = Screen()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(screen):
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("TERM", "xterm-256color")
        show()
    return plain(screen.getvalue())


def on_terminal(code: str, stream: str, columns: int) -> str:
    """What some code in a process of its own shows on a terminal that is one of its streams."""
    main, other = pty.openpty()
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "30"}
    child = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **terminal}, **{stream: other}
    )
    os.close(other)
    shown = b""
    try:
        while part := os.read(main, 4096):
            shown += part
    except OSError:  # how a pseudo-terminal says that the other end is closed
        pass
    os.close(main)
    assert child.wait(30) == 0
    return shown.decode()
