"""Errors for the user: the fault, the allowed values, the nearest valid name."""

from __future__ import annotations

import difflib
import os
import sys
import textwrap
from collections.abc import Iterable


class InputError(Exception):
    """Invalid input of any kind. The command line prints the message and exits with status 2."""


class MachineError(Exception):
    """Failure of the machine or the cluster, not of the input. The command line prints the message
    and exits with status 1; finished work is kept.
    """


def machine_error(error: OSError, place: object) -> MachineError:
    """Return the error for a failed system call: the cause, the path, and the remedy.

    Args:
        place: path or address to name where the system error names none.
    """
    cause = error.strerror or str(error) or type(error).__name__
    return MachineError(
        f"{cause}: {error.filename or place}. Finished trials are kept: fix the problem and run "
        "the same command to continue."
    )


def reason(error: BaseException) -> str:
    """Return an exception on one line: its type and the first line of its message.

    >>> reason(ValueError("no such key\\nin 3 files"))
    'ValueError: no such key'
    """
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def cause(error: BaseException) -> str:
    """Return the cause of an exception on one line: the system's message where there is one, else
    the first line of the exception's own.

    >>> cause(FileNotFoundError(2, "No such file or directory", "mnist.h5"))
    'No such file or directory: mnist.h5'
    """
    source: BaseException | None = error
    while source is not None:
        if isinstance(source, TimeoutError):
            return "no answer in time"
        if isinstance(source, OSError) and source.strerror:
            # HDF5 replaces the system's message by a paragraph of its own
            number = source.errno or 0  # below 0: name resolution failed
            message = os.strerror(number) if number > 0 else source.strerror
            return message + (f": {source.filename}" if source.filename else "")
        source = source.__cause__ or source.__context__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0].rstrip("."), 200, placeholder=" ...")


def unknown(kind: str, name: object, allowed: Iterable[str]) -> InputError:
    """Return the error for an unknown name, with the nearest allowed name.

    >>> str(unknown("optimiser", "adan", ["adam", "sgd"]))
    "unknown optimiser 'adan'. Did you mean 'adam'? Allowed: adam, sgd."
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return InputError(f"unknown {kind} '{name}'.{hint} Allowed: {', '.join(names) or 'none'}.")


def check_text(text: str, source: str) -> None:
    """Raise :class:`InputError` for a text with bytes of another encoding: no report or file could
    hold the text.

    Args:
        source: where the user gave the text, for the error message.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding().upper()
        readable = os.fsencode(text).decode("utf-8", "backslashreplace")
        raise InputError(
            f"{source}: '{readable}' is not text in {encoding}, the encoding of this terminal. "
            f"Write the text in {encoding}, and rename files and folders named in another "
            "encoding."
        ) from None
