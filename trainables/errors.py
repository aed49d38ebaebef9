"""Errors a user can mend: what is wrong, what is allowed, the nearest valid name."""

from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Iterable


class InputError(Exception):
    """Bad input of any kind. The command line prints its message and exits with 2."""


class MachineError(Exception):
    """The machine or the cluster failed, through no fault of the input. The command line prints its
    message and exits with 1; finished work is kept.
    """


def machine_error(error: OSError, place: object) -> MachineError:
    """Return the error for what the operating system refused: what, where, and what to do.

    Args:
        place: where it was, if the system does not say.
    """
    why = error.strerror or str(error) or type(error).__name__
    return MachineError(
        f"{why}: {error.filename or place}. Finished trials are kept: mend that and run the same "
        "command to go on."
    )


def reason(error: BaseException) -> str:
    """Return an exception on one line: its type and the first line of what it says.

    >>> reason(ValueError("no such key\\nin 3 files"))
    'ValueError: no such key'
    """
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def cause(error: BaseException) -> str:
    """Return on one line why something failed: the system's word for it, where there is one.

    >>> cause(FileNotFoundError(2, "No such file or directory", "mnist.h5"))
    'No such file or directory: mnist.h5'
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, TimeoutError):
            return "no answer in time"
        if isinstance(behind, OSError) and behind.strerror:
            # HDF5 puts a whole paragraph in place of the system's word
            number = behind.errno or 0  # below 0: of a name that no network knows
            word = os.strerror(number) if number > 0 else behind.strerror
            return word + (f": {behind.filename}" if behind.filename else "")
        behind = behind.__cause__ or behind.__context__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0].rstrip("."), 200, placeholder=" ...")


def unknown(what: str, name: object, allowed: Iterable[str]) -> InputError:
    """Return the error for a name that does not exist, with the nearest one that does."""
    names = sorted(allowed)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return InputError(f"unknown {what} '{name}'.{hint} Allowed: {', '.join(names) or 'none'}.")


def check_text(text: str, what: str) -> None:
    """Refuse a text that holds bytes of another encoding: no report or file could name it.

    Args:
        what: where it was given, for the error.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding().upper()
        shown = os.fsencode(text).decode("utf-8", "backslashreplace")
        raise InputError(
            f"{what}: '{shown}' is not text in {encoding}, which this terminal uses. Write it in "
            f"{encoding}; rename a file or folder whose name is not."
        ) from None
