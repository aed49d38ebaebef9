"""Tuned, statistically sound studies of continual-learning methods."""

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__version__ = version("continual-study")


PACKAGES = ("continual-study", "torch", "numpy", "ray", "optuna")
NO_PACKAGES = ("python", "git")  # other names in what `software` returns
NO_COMMIT = "unknown: "  # before the reason why a commit is not known


def software(learner: str = "") -> dict[str, str]:
    """Return the versions that a result may depend on.

    These are Python, packages, the package of a plugged-in learner, and the commit of this
    checkout, or why it is unknown.
    """
    from trainables import plugins

    found = dict(_packages())
    for group in ("study.learners", "study.search_spaces"):
        for point in plugins(group).get(learner, ()):
            if point.dist:
                found[point.dist.name] = point.dist.version
    return {"python": platform.python_version(), **found, "git": commit()}


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
    """Return the commit of this checkout, and whether files were changed; or why it is unknown."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return f"{NO_COMMIT}the program was not run from a git checkout"
    git = ["git", "--no-optional-locks", "-C", str(root)]
    try:
        head, changed = (  # as bytes: the name of a file need not be valid text
            subprocess.run([*git, *arguments], capture_output=True, check=True).stdout
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except OSError:
        return f"{NO_COMMIT}git is not installed"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").splitlines() or ["it says nothing"]
        return f"{NO_COMMIT}git failed ({lines[0]})"
    return head.decode().strip()[:12] + (" with uncommitted changes" if changed.strip() else "")
