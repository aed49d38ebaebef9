"""Search space of joint: that of finetune, on the union of the tasks."""

from search_spaces.finetune import space

__all__ = ["space"]
