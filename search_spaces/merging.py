"""Search space of model merging: that of its networks."""

from search_spaces.wake_joint import space

__all__ = ["space"]
