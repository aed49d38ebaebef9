"""What the tests of learners share: data, small streams, and one thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from trainables.streams.datasets import Split, load

torch.set_num_threads(1)
pytest.register_assert_rewrite("trainables.testing")


@pytest.fixture(scope="session")
def digits() -> dict[str, Split]:
    return load("digits", Path())


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Split]:
    """Real MNIST from the data root, which is only read: a cache is built elsewhere."""
    if not os.environ.get("STUDY_DATA"):
        pytest.skip("STUDY_DATA does not name a data root, and MNIST is not downloaded by tests")
    root = Path(os.environ["STUDY_DATA"])
    if (root / "mnist.h5").exists():
        return load("mnist", root)
    if not (root / "MNIST" / "raw").exists():
        pytest.skip(f"MNIST is not under STUDY_DATA = {root}")
    scratch = tmp_path_factory.mktemp("data")
    (scratch / "MNIST").symlink_to(root / "MNIST", target_is_directory=True)
    return load("mnist", scratch)
