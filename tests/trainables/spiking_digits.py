"""The digits of scikit-learn as spike trains: a pixel of value p of 16 fires in p of 16 steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.streams import SplitStream, StreamInfo
from trainables.streams.datasets import Split

STEPS = 16


class SpikingDigits(SplitStream):
    """Sequences of as many steps as a pixel has values, with evenly spaced spikes."""

    name = "spiking_digits"
    dataset = "digits"
    reference = "the digits of scikit-learn"

    @classmethod
    def describe(cls, scenario: str, options: Any) -> StreamInfo:
        info = super().describe(scenario, options)
        sizes = {"inputs": STEPS * info.inputs, "shape": (STEPS, info.inputs)}
        return replace(info, **sizes, scale=1.0, steps=STEPS, bits=1)

    @classmethod
    def prepare(cls, data: Mapping[str, Split], options: Any) -> dict[str, Split]:
        return {name: split | {"images": spiking(split["images"])} for name, split in data.items()}


def spiking(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [N, 8, 8] as spike trains [N, STEPS * 64]; spike trains as they are."""
    if images.ndim == 2:
        return images
    pixels = images.reshape(len(images), 1, -1).astype(int)
    fired_before = np.arange(STEPS + 1)[:, None] * pixels // STEPS
    return np.diff(fired_before, axis=1).astype(np.uint8).reshape(len(images), -1)
