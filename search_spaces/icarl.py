"""Search space of iCaRL: that of finetune. The number of exemplars is a budget, not a choice."""

from search_spaces.finetune import space

__all__ = ["space"]
