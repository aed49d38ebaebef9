"""Foundations: the result of a long first task, for the trials that share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.engine.outcome import Array, Stored


@dataclass(frozen=True)
class Foundation(Stored):
    """The tensors that the first task left behind, for some seeds.

    Attributes:
        seeds: [S].
        arrays: by name, [S, ...].
    """

    seeds: Array
    arrays: dict[str, Array]

    def of(self, seeds: Sequence[int]) -> dict[str, Array] | None:
        """Return the arrays of the given seeds in order; None if a seed is missing."""
        places = {seed: place for place, seed in enumerate(self.seeds.tolist())}
        if not places.keys() >= set(seeds):
            return None
        chosen = [places[seed] for seed in seeds]
        return {name: array[chosen] for name, array in self.arrays.items()}


def joined(parts: Sequence[Foundation]) -> Foundation:
    """Join foundations of different seeds."""
    return Foundation(
        seeds=np.concatenate([part.seeds for part in parts]),
        arrays={
            name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays
        },
    )
