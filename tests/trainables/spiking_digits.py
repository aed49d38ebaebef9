"""The digits of scikit-learn as spike trains: a pixel of value p of 16 fires in p of 16 steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

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

    def hold(self, split: Split) -> Tensor:
        pixels = split["images"].reshape(len(split["labels"]), 1, -1).astype(int)
        fired_before = np.arange(STEPS + 1)[:, None] * pixels // STEPS
        spikes = np.diff(fired_before, axis=1).astype(np.uint8)
        return torch.from_numpy(spikes.reshape(len(spikes), -1))
