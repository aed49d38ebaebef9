"""What large pages save a training step of a wide network, as workers of a study have them.

    python tests/benchmarks/pages.py

784-4000-4000-10, batch 100, SGD: each step frees gradients of 77 MB and asks for them anew. One
thread; the median of 20 steps, with and without, in processes of their own. Without tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

from study.run import WORKERS


def step() -> float:
    """Median seconds of a step."""
    import torch

    from trainables.nn import MLP

    torch.set_num_threads(1)
    network = MLP(784, (4000, 4000), 10, [torch.Generator().manual_seed(0)], bias=False)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.5, fused=True)
    inputs, taken = torch.rand(1, 100, 784), []
    for _ in range(25):
        started = time.perf_counter()
        optimiser.zero_grad()
        network(inputs).square().mean().backward()
        optimiser.step()
        taken.append(time.perf_counter() - started)
    return median(taken[5:])


def measured(environment: dict[str, str]) -> float:
    """Seconds of a step in a process with this environment."""
    command = [sys.executable, __file__, "--step"]
    shown = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, check=True
    )
    return float(shown.stdout)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:] == ["--step"]:
        print(step())
        return
    plain, large = measured(dict.fromkeys(WORKERS, "0")), measured(WORKERS)
    print(f"a step: {1e3 * plain:.0f} ms, with large pages {1e3 * large:.0f} ({large / plain:.2f})")


if __name__ == "__main__":
    main()
