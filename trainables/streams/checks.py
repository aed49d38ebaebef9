"""What samples must be like for anything to be learnt from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SHORTEST, LONGEST = 0.01, 60.0  # seconds; no spoken word is as short, or as long
CHUNK = 4096  # images or spikes looked at at once


def numbers_fault(column: Array, name: str, count: int) -> str:
    """What is wrong with labels or speakers, and in which row; nothing where all are below
    ``count``.
    """
    if column.ndim != 1 or not np.issubdtype(column.dtype, np.integer):
        return f"{name} must be a whole number a row, not {column.dtype}"
    wrong = np.flatnonzero((column < 0) | (column >= count))
    if not len(wrong):
        return ""
    shifted = column.min() == 1 and column.max() == count
    likely = " (they look numbered from 1: subtract 1)" if shifted else ""
    return f"row {wrong[0]}: {name} is {column[wrong[0]]}; allowed: 0 to {count - 1}{likely}"


def images_fault(images: Array, scale: float) -> str:
    """Why nothing can be learnt from images uint8 [N, ...]; nothing where something can.

    Args:
        scale: what a byte is multiplied by to give the network's input.
    """
    if len(images) > 1 and (images.min(0) == images.max(0)).all():
        return "all images are equal"
    if blank({"images": images}).all():
        return "each image is of one colour"
    if scale < 1 and images.max() <= 1:
        return (
            f"no value is above 1, of {round(1 / scale)}: they look like fractions cut to whole "
            f"numbers; multiply them by {round(1 / scale)} before that"
        )
    return ""


def labels_fault(labels: Array) -> str:
    """Why nothing can be learnt from labels; nothing where there are two classes at least."""
    return f"all labels are {labels[0]}" if (labels == labels[0]).all() else ""


def spikes_fault(times: Array) -> str:
    """Why nothing can be learnt from all spikes of a file; nothing where something can."""
    if not len(times):
        return "no sample has a spike"
    if times.max() < SHORTEST:
        last = f"{times.max():.3g} s"
        return f"the last spike of all is at {last}, and no spoken word is that short: use seconds"
    parts = (times[first : first + CHUNK] for first in range(0, len(times), CHUNK))
    if all((part == np.trunc(part)).all() for part in parts):
        return "all times are whole numbers: they look like steps or milliseconds, not seconds"
    return ""


def duration_fault(last: float) -> str:
    """What is wrong with a sample whose last spike is then; nothing where that may be seconds."""
    if last <= LONGEST:
        return ""
    unit, factor = ("milliseconds", 1e3) if last <= 1e3 * LONGEST else ("microseconds", 1e6)
    return (
        f"its last spike is at {last:.6g} s, and no spoken word takes a minute: the times look "
        f"like {unit}; divide them by {factor:,.0f}"
    )


def blank(arrays: Mapping[str, Array]) -> Array:
    """Mark the samples that tell nothing, bool [N]: images of one colour, trains without spikes."""
    if "images" not in arrays:
        silent: Array = np.diff(arrays["ends"], prepend=0) == 0
        return silent
    images = arrays["images"]
    channels = images.shape[3] if images.ndim == 4 else 1
    rows = images.reshape(len(images), -1)
    parts = (rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK))
    return np.concatenate([(p[:, channels:] == p[:, :-channels]).all(1) for p in parts])
