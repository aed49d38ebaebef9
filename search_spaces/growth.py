"""Search space of SynapticNet: the size of slices, and when and by how much they grow."""

from __future__ import annotations

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.plain import FINETUNE
from search_spaces.space import Space, one_of

GROWTH: Space = {  # without effect where nothing grows
    "threshold": FloatDistribution(0.5, 0.99),
    "growth": FloatDistribution(0.1, 1.0, log=True),
    "probe_epochs": IntDistribution(1, 5),
    "min_gain": FloatDistribution(0.0, 0.05),
    "cap": FloatDistribution(1.0, 8.0, log=True),
}
DISTILLATION: Space = {  # without effect where earlier slices are frozen
    "distillation": FloatDistribution(0.0, 2.0),
    "tau": FloatDistribution(1.0, 6.0, log=True),
}
SYNAPTIC: Space = FINETUNE | {
    "mode": CategoricalDistribution(("isolated", "cumulative")),
    "size": FloatDistribution(0.125, 2.0, log=True),
    "later_sizes": one_of([[0.1], [0.25], [0.5], [1.0], [2.0]]),
    "max_growths": IntDistribution(0, 4),
    **GROWTH,
    "dropout": FloatDistribution(0.0, 0.5),
    "initial": CategoricalDistribution(("small", "kaiming")),
    "thaw": CategoricalDistribution((0.0, 0.01, 0.03, 0.1)),
    **DISTILLATION,
}
