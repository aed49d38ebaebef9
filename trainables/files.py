"""Files that are whole or not there."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

PARTIAL = ".partial-"  # how the name of a file or folder begins that is not whole yet


def partial_in(folder: Path) -> Path:
    """Return a name for what is not whole yet and will be renamed when it is."""
    return folder / f"{PARTIAL}{uuid.uuid4().hex}"


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that a reader, a killed process or a power cut find it whole, as it was
    before, or not at all.

    Raises:
        OSError: with the path, which the system leaves out where a disk is full.
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
        partial.unlink(missing_ok=True)  # unless it has taken its place
