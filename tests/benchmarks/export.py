"""How long the export of a large study takes: 10,000 tuning trials of three seeds, in a ledger.

python tests/benchmarks/export.py                  seconds, processor seconds, rows, bytes
python tests/benchmarks/export.py --json           the same for a script
python tests/benchmarks/export.py --trials 1000    of a smaller study
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np

from study.check import resolve
from study.design import Design, Method
from study.export import export_study
from study.folder import Folder
from study.ledger import Entry, entry_for
from study.search import SweepSearch, entry_fields
from study.spec import read
from trainables.engine.outcome import Outcome

TASKS, CLASSES, SAMPLES = 5, 10, 70


def outcome(seeds: tuple[int, ...], rng: np.random.Generator) -> Outcome:
    """Return made-up measurements: the confusion counts are as many and as dense as real ones."""
    shape = (len(seeds), TASKS, TASKS, CLASSES, CLASSES)
    counts = rng.multinomial(SAMPLES, np.full(4, 0.25), shape[:3]).astype(np.uint32)
    whole = np.zeros(shape, np.uint32)
    whole[..., :2, :2] = counts.reshape(*shape[:3], 2, 2)
    held = {kind: np.full((len(seeds), TASKS), 4000) for kind in ("parameters", "memory")}
    return Outcome(
        seeds=np.array(seeds),
        counts={"main": whole},
        initial={"main": whole[:, 0]},
        finite=np.ones(shape[:2], bool),
        seconds=np.full(TASKS, 0.5),
        samples=np.full(TASKS, 100),
        trained=np.full(TASKS, 200),
        footprint=held,
        between={"task": np.zeros(0, int), "counts": np.zeros((len(seeds), 0, *shape[2:]))},
        extras={},
    )


def trial(design: Design, method: Method, number: int) -> Entry:
    """Return a complete trial of a sweep, at a random place in the search space."""
    asked = SweepSearch(method.space, ["maximize"], "random", f"{method.name}/{number}").ask(0)
    work = design.assignment(method, method.configuration(asked.params), "tune")
    entry = dataclasses.replace(entry_for(work, method.name, number), **entry_fields(asked))
    steps = {str(task): 0.5 for task in range(1, TASKS + 1)}
    return dataclasses.replace(entry, state="complete", values=[0.5], steps=steps, seconds=1.0)


def fill(place: Path, trials: int) -> None:
    """Make the folder of a study whose sweeps have ended."""
    spec, source = read("digits", [f"tune.trials={trials // 4}"])  # it has four methods
    design, folder, rng = resolve(spec, source), Folder(place), np.random.default_rng(0)
    with folder.claim(), patch.object(os, "fsync"):
        ledger = folder.ledger(repair=True)
        folder.admit(spec, "benchmark", ledger)
        for method in design.methods.values():
            for number in range(spec.tune.trials):
                entry = trial(design, method, number)
                ledger.finish(entry, outcome(entry.seeds, rng).to_bytes())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--trials", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place, out = Path(folder) / "digits", Path(folder) / "export"
        fill(place, arguments.trials)
        started, processor = time.perf_counter(), time.process_time()
        content = export_study(place, out)
        found = {
            "seconds": round(time.perf_counter() - started, 2),
            "processor_seconds": round(time.process_time() - processor, 2),
            **{Path(path).name: text for path, text in content.items()},
            **{f"bytes of {path.name}": path.stat().st_size for path in out.iterdir()},
        }
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:30} {value}")


if __name__ == "__main__":
    main()
