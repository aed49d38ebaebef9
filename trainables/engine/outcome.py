"""Raw measurements of a trial: confusion counts after every task, from which all metrics are
computed later.

S seeds, I tasks learnt so far (rows), T tasks, C outputs, E evaluations within tasks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

# objectives of a sweep that are bytes held at the end, by kind of the footprint
OBJECTIVES_IN_BYTES = {"memory_bytes": "memory", "parameter_bytes": "parameters"}
# objectives that are diagnostics of a learner at the end, by their name in the extras
OBJECTIVES_IN_DIAGNOSTICS = {
    name: f"{name}: all layers" for name in ("synaptic_operations", "energy")
}
Array = NDArray[Any]
Columns = dict[str, list[Array]]


@dataclass(frozen=True)
class Stored:
    """Base of dataclasses of arrays, and of dictionaries of arrays, that are stored as HDF5."""

    def to_bytes(self) -> bytes:
        """Return the content of an HDF5 file with all fields."""
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
                    # worth compressing: counts are mostly zeros
                    packed = (
                        {"compression": "gzip", "compression_opts": 1, "shuffle": True}
                        if array.size > 64
                        else {}
                    )
                    group.create_dataset(_escaped(name), data=array, **packed)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read the content that :meth:`to_bytes` returned.

        Raises:
            OSError, KeyError: the content is damaged.
        """
        return cls(**cls.fields_from(content, *(field.name for field in fields(cls))))

    @classmethod
    def fields_from(cls, content: bytes, *names: str) -> dict[str, Any]:
        """Read some fields only, in a part of the time for all.

        Raises:
            OSError, KeyError: the content is damaged.
        """
        import h5py

        with h5py.File(io.BytesIO(content)) as file:
            return {name: _read(file.id, name.encode()) for name in names}


def _read(place: Any, name: bytes) -> Any:
    """Return an array of an HDF5 file, or the arrays of a group by name.

    This is the lower interface of h5py: the other one takes twice the time for small arrays.
    """
    from h5py import h5d, h5o, h5s

    item = h5o.open(place, name)
    if not isinstance(item, h5d.DatasetID):
        return {unquote(key.decode()): _read(item, key) for key in item}
    array = np.empty(item.shape, item.dtype)
    item.read(h5s.ALL, h5s.ALL, array)
    return array[()]


@dataclass(frozen=True)
class Outcome(Stored):
    """Measurements of a trial. Arrays with an axis S can be joined over trials of a configuration.

    Attributes:
        seeds: [S].
        counts: confusion counts by readout, [S, I, T, C, C]: seed, last task learnt, task
            evaluated, true class, predicted class; zeros for a task that was not evaluated.
        initial: the same before the first task, [S, T, C, C].
        finite: whether all outputs, losses and weights of a seed were finite, [S, I].
        seconds: time of each task for the whole stack, [I].
        samples: new samples per seed in each task, [I].
        trained: samples per seed trained on in each task, replayed samples included, [I].
        footprint: bytes of each seed after each task, [S, I], by kind.
        extras: the learner's diagnostics after each task, by ``"diagnostic: label"``: [S, I], or
            [S, I, R, C] for a map; NaN where a label was missing after a task.
        between: evaluations within tasks: ``counts`` of the primary readout, [S, E, T, C, C], and
            ``task``, the index of the task in progress, [E].
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

    def __post_init__(self) -> None:
        """Give each seed the bytes of an outcome of old, which has one number for all seeds."""
        for kind, held in self.footprint.items():
            if held.ndim == 1:
                self.footprint[kind] = np.tile(held, (len(self.seeds), 1))

    @property
    def rows(self) -> int:
        """Number of tasks learnt so far."""
        return len(self.seconds)

    def diverged_on(self, position: int) -> int | None:
        """Return the number, from 1, of the first task on which a seed diverged; None if none."""
        diverged = np.flatnonzero(~self.finite[position])
        return int(diverged[0]) + 1 if len(diverged) else None

    def seeds_from(self, first: int, last: int) -> Self:
        """Return the outcome of the seeds at positions ``first`` to ``last`` - 1."""
        part = slice(first, last)
        return replace(
            self,
            seeds=self.seeds[part],
            counts={name: c[part] for name, c in self.counts.items()},
            initial={name: c[part] for name, c in self.initial.items()},
            finite=self.finite[part],
            footprint={kind: held[part] for kind, held in self.footprint.items()},
            between=self.between | {"counts": self.between["counts"][part]},
            extras={name: values[part] for name, values in self.extras.items()},
        )


def _escaped(name: str) -> str:
    """Return a name escaped for HDF5, where "/" separates groups and "." is the group itself."""
    escaped = name.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
    return "%2E" if escaped == "." else escaped


def united(
    rows: Sequence[Mapping[str, Array]], leading_shapes: Sequence[tuple[int, ...]]
) -> Columns:
    """Return the arrays of every name in the order of the rows; NaN for a row without the name.

    Args:
        leading_shapes: for each row, the shape of the leading axes of its arrays; the shape of the
            other axes depends on the name alone.
    """
    trailing_shapes = {
        name: array.shape[len(leading) :]
        for row, leading in zip(rows, leading_shapes, strict=True)
        for name, array in row.items()
    }
    return {
        name: [
            row[name] if name in row else np.full(leading + trailing, np.nan)
            for row, leading in zip(rows, leading_shapes, strict=True)
        ]
        for name, trailing in trailing_shapes.items()
    }


def stacked(parts: Sequence[Outcome]) -> Outcome:
    """Join outcomes of different seeds along S. Seconds are summed; samples and trained are equal
    in all parts.
    """
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
        footprint=join("footprint"),
        between=between,
        extras={name: np.concatenate(arrays) for name, arrays in extras.items()},
    )
