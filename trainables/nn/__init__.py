"""Seed-stacked layers: every parameter and activation has a leading axis of length S, one slice per
seed.
"""

from trainables.nn.dense import MLP, LayerNorm, Linear, Stacked

__all__ = ["MLP", "LayerNorm", "Linear", "Stacked"]
