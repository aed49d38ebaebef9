"""Networks for stacks of seeds: every parameter and activation has a leading axis of length S."""

from trainables.nn.dense import MLP, LayerNorm, Linear, Stacked
from trainables.nn.dropout import Dropout
from trainables.nn.gated import GatedNetwork
from trainables.nn.gradients import assign_gradients, clip_gradients, flat

__all__ = [
    "MLP",
    "Dropout",
    "GatedNetwork",
    "LayerNorm",
    "Linear",
    "Stacked",
    "assign_gradients",
    "clip_gradients",
    "flat",
]
