"""What a trial measured, raw: confusion counts after every task, from which every metric is
computed later.

S seeds, I tasks learnt so far (rows), T tasks, C outputs, E evaluations between tasks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Columns = dict[str, list[Array]]


@dataclass(frozen=True)
class Stored:
    """Arrays, and arrays by name, that are kept in an HDF5 file."""

    def to_bytes(self) -> bytes:
        """Return the HDF5 file that holds it."""
        import h5py

        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for field in fields(self):
                value = getattr(self, field.name)
                if not isinstance(value, dict):
                    file[field.name] = value
                    continue
                group = file.create_group(field.name, track_order=True)
                for name, array in value.items():
                    # counts are mostly zeros
                    packed = (
                        {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                        if array.size > 64
                        else {}
                    )
                    group.create_dataset(_escaped(name), data=array, **packed)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read what :meth:`to_bytes` returned; ``OSError`` or ``KeyError`` when it is damaged."""
        import h5py

        with h5py.File(io.BytesIO(content)) as file:
            values: dict[str, Any] = {}
            for field in fields(cls):
                item = file[field.name]
                mapping = isinstance(item, h5py.Group)
                values[field.name] = (
                    {unquote(k): v[()] for k, v in item.items()} if mapping else item[()]
                )
        return cls(**values)


@dataclass(frozen=True)
class Outcome(Stored):
    """Arrays of a trial; those with an axis S can be joined over trials of the same configuration.

    Attributes:
        seeds: [S].
        counts: of each readout, [S, I, T, C, C]: seed, after learning task i, tested on task j,
            true and predicted class; zeros where a task was not tested.
        initial: the same before the first task, [S, T, C, C].
        finite: whether a seed's outputs were all finite, [S, I].
        seconds, samples, trained: of each task, [I]: time of the whole stack, new samples and
            samples trained on by a seed.
        footprint: bytes a seed holds after each task, [I], by kind.
        extras: what the learner measured about itself after each task, by ``"diagnostic: label"``:
            [S, I], or [S, I, R, C] of a map; NaN where a label was not there after that task.
        between: counts of the primary readout within tasks, [S, E, T, C, C], and the task being
            learnt then, [E].
    """

    seeds: Array
    counts: dict[str, Array]
    initial: dict[str, Array]
    finite: Array
    seconds: Array
    samples: Array
    trained: Array
    footprint: dict[str, Array]
    between: dict[str, Array]
    extras: dict[str, Array]

    @property
    def rows(self) -> int:
        """Number of tasks learnt so far."""
        return len(self.seconds)

    def seeds_from(self, first: int, last: int) -> Self:
        """Return the outcome of the seeds at positions ``first`` to ``last`` - 1."""
        part = slice(first, last)
        return replace(
            self,
            seeds=self.seeds[part],
            counts={name: c[part] for name, c in self.counts.items()},
            initial={name: c[part] for name, c in self.initial.items()},
            finite=self.finite[part],
            between=self.between | {"counts": self.between["counts"][part]},
            extras={name: values[part] for name, values in self.extras.items()},
        )


def _escaped(name: str) -> str:
    """Return a name as HDF5 takes it: there "/" opens a group and "." is the group itself."""
    safe = name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return "%2E" if safe == "." else safe


def united(rows: Sequence[Mapping[str, Array]], leads: Sequence[tuple[int, ...]]) -> Columns:
    """Return, of each name that any row has, its arrays in order; NaN where a row lacks it.

    Args:
        leads: of each row, the first axes of its arrays; the others are those of the name.
    """
    sizes = {
        name: array.shape[len(lead) :]
        for row, lead in zip(rows, leads, strict=True)
        for name, array in row.items()
    }
    return {
        name: [
            row[name] if name in row else np.full(lead + size, np.nan)
            for row, lead in zip(rows, leads, strict=True)
        ]
        for name, size in sizes.items()
    }


def stacked(parts: Sequence[Outcome]) -> Outcome:
    """Join outcomes of different seeds along S; times add up, the rest is the same for all."""
    if len(parts) == 1:
        return parts[0]

    def join(name: str) -> dict[str, Array]:
        return {
            k: np.concatenate([getattr(p, name)[k] for p in parts]) for k in getattr(parts[0], name)
        }

    first = parts[0]
    extras = united([p.extras for p in parts], [p.finite.shape for p in parts])
    between = {
        "task": first.between["task"],
        "counts": np.concatenate([p.between["counts"] for p in parts]),
    }
    return Outcome(
        seeds=np.concatenate([p.seeds for p in parts]),
        counts=join("counts"),
        initial=join("initial"),
        finite=np.concatenate([p.finite for p in parts]),
        seconds=np.sum([p.seconds for p in parts], axis=0),
        samples=first.samples,
        trained=first.trained,
        footprint=first.footprint,
        between=between,
        extras={name: np.concatenate(arrays) for name, arrays in extras.items()},
    )
