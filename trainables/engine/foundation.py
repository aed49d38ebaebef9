"""What a long first task leaves behind, for the trials that have it in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.engine.outcome import Array, Stored


@dataclass(frozen=True)
class Foundation(Stored):
    """What the first task of some seeds left behind.

    Attributes:
        seeds: [S].
        arrays: by name, [S, ...].
    """

    seeds: Array
    arrays: dict[str, Array]

    def of(self, seeds: Sequence[int]) -> dict[str, Array] | None:
        """Return the arrays of these seeds in their order; None where one of them is missing."""
        places = {seed: place for place, seed in enumerate(self.seeds.tolist())}
        if not places.keys() >= set(seeds):
            return None
        chosen = [places[seed] for seed in seeds]
        return {name: array[chosen] for name, array in self.arrays.items()}


def joined(parts: Sequence[Foundation]) -> Foundation:
    """Join what different seeds left behind."""
    return Foundation(
        seeds=np.concatenate([part.seeds for part in parts]),
        arrays={
            name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays
        },
    )
