"""Atomic writing: a file is complete or absent."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

PARTIAL = ".partial-"  # prefix of the names of incomplete files and folders


def partial_in(folder: Path) -> Path:
    """Return a new path for a file or folder to be renamed once it is complete."""
    return folder / f"{PARTIAL}{uuid.uuid4().hex}"


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file atomically and synced: after a crash or a power cut the file is complete, or
    unchanged, or absent, and a reader never sees a part of it.

    Raises:
        OSError: with the path, which the system's own error lacks when a disk is full.
    """
    partial = partial_in(path.parent)
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        partial.unlink(missing_ok=True)  # present only if the write failed
