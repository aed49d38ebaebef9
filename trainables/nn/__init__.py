"""Networks for stacks of seeds: every parameter and activation has a leading axis of length S."""

from trainables.nn.backbones import conv, resnet18
from trainables.nn.dense import MLP, LayerNorm, Linear, Stacked
from trainables.nn.dropout import Dropout
from trainables.nn.gated import GatedNetwork
from trainables.nn.gradients import assign_gradients, clip_gradients, flat, weights_of
from trainables.nn.members import (
    Members,
    has_many_activations,
    is_faster_one_by_one,
    one_by_one,
)

__all__ = [
    "MLP",
    "Dropout",
    "GatedNetwork",
    "LayerNorm",
    "Linear",
    "Members",
    "Stacked",
    "assign_gradients",
    "clip_gradients",
    "conv",
    "flat",
    "has_many_activations",
    "is_faster_one_by_one",
    "one_by_one",
    "resnet18",
    "weights_of",
]
