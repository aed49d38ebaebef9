"""Checks that a data set is well-formed and that something can be learnt from it.

A check returns the fault as text, empty if there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SHORTEST, LONGEST = 0.01, 60.0  # seconds; every spoken word is longer than SHORTEST, below LONGEST
CHUNK = 4096  # images or spikes checked at once


def numbers_fault(column: Array, name: str, count: int) -> str:
    """Return the fault, and its row, in labels or speakers, which must be below ``count``."""
    if column.ndim != 1:
        return f"{name} must be one whole number per row, not an array of {list(column.shape)}"
    if not np.issubdtype(column.dtype, np.integer):
        return f"{name} must be one whole number per row, not {column.dtype}"
    wrong = np.flatnonzero((column < 0) | (column >= count))
    if not len(wrong):
        return ""
    shifted = column.min() == 1 and column.max() == count
    hint = " (the numbers seem to start at 1: subtract 1)" if shifted else ""
    return f"row {wrong[0]}: {name} is {column[wrong[0]]}; allowed: 0 to {count - 1}{hint}"


def images_fault(images: Array, scale: float) -> str:
    """Return the reason why nothing can be learnt from images, uint8 [N, ...].

    Args:
        scale: factor from a byte to the network's input.
    """
    if len(images) > 1 and (images.min(0) == images.max(0)).all():
        return "all images are equal"
    pixels = images[0].size // (images.shape[3] if images.ndim == 4 else 1)
    if pixels > 1 and blank({"images": images}).all():
        return "every image has only one colour"
    if scale < 1 and images.max() <= 1:
        return (
            f"no value is above 1 in a range up to {round(1 / scale)}: fractions seem to have been "
            f"rounded to whole numbers; multiply them by {round(1 / scale)} first"
        )
    return ""


def labels_fault(labels: Array) -> str:
    """Return the reason why nothing can be learnt from labels: fewer than two classes."""
    return f"all labels are {labels[0]}" if (labels == labels[0]).all() else ""


def spikes_fault(times: Array) -> str:
    """Return the reason why nothing can be learnt from the spikes of a file.

    Args:
        times: times of all spikes, [E].
    """
    if not len(times):
        return "no sample has a spike"
    if times.max() < SHORTEST:
        last = f"{times.max():.3g} s"
        return f"the last of all spikes is at {last}, too early for a spoken word: use seconds"
    parts = (times[first : first + CHUNK] for first in range(0, len(times), CHUNK))
    if all((part == np.trunc(part)).all() for part in parts):
        return "all times are whole numbers: they seem to be steps or milliseconds, not seconds"
    return ""


def duration_fault(last: float) -> str:
    """Return the fault in the time of the last spike of a sample, which must be in seconds."""
    if last <= LONGEST:
        return ""
    unit, factor = ("milliseconds", 1e3) if last <= 1e3 * LONGEST else ("microseconds", 1e6)
    return (
        f"the last spike is at {last:.6g} s, too late for a spoken word: the times seem to be "
        f"{unit}; divide them by {factor:,.0f}"
    )


def blank(arrays: Mapping[str, Array]) -> Array:
    """Mark the empty samples, bool [N]: images of one colour, trains without spikes."""
    if "images" not in arrays:
        silent: Array = np.diff(arrays["ends"], prepend=0) == 0
        return silent
    images = arrays["images"]
    channels = images.shape[3] if images.ndim == 4 else 1
    rows = images.reshape(len(images), -1)
    parts = (rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK))
    return np.concatenate([(p[:, channels:] == p[:, :-channels]).all(1) for p in parts])
