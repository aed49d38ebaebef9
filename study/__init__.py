"""Tuned, statistically sound studies of continual-learning methods."""

from importlib.metadata import version

__version__ = version("continual-study")


def software() -> dict[str, str]:
    """Return the versions a result may depend on."""
    names = ("continual-study", "torch", "numpy", "ray", "optuna")
    return {name: version(name) for name in names}
