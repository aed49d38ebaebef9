"""Tuned, statistically sound studies of continual-learning methods."""

import functools
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__version__ = version("continual-study")


PACKAGES = ("continual-study", "torch", "numpy", "ray", "optuna")


def software(learner: str = "") -> dict[str, str]:
    """Return the versions that a result may depend on.

    These are packages, the package of a plugged-in learner, and the commit of a checkout.
    """
    from trainables import plugins

    found = dict(_packages())
    for group in ("study.learners", "study.search_spaces"):
        for point in plugins(group).get(learner, ()):
            if point.dist:
                found[point.dist.name] = point.dist.version
    return found | ({"git": commit()} if commit() else {})


@functools.cache
def _packages() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def installed(package: str) -> bool:
    """Whether a package is installed."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


@functools.cache
def commit() -> str:
    """Return the commit of this checkout, and whether files were changed; empty outside of one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    git = ["git", "--no-optional-locks", "-C", str(root)]
    try:
        head, changed = (  # as bytes: the name of a file need not be valid text
            subprocess.run([*git, *arguments], capture_output=True, check=True).stdout
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.decode().strip()[:12] + (" with uncommitted changes" if changed.strip() else "")
