"""Search spaces of learners without a memory: the bounds, and regularisation methods."""

from __future__ import annotations

from optuna.distributions import FloatDistribution

from search_spaces.space import Space

FINETUNE: Space = {"lr": FloatDistribution(1e-4, 1e-2, log=True)}
JOINT = FINETUNE
EWC = FINETUNE | {
    "lam": FloatDistribution(1.0, 1e10, log=True)
}  # published strengths differ as widely
SI = FINETUNE | {
    "c": FloatDistribution(0.1, 1e5, log=True),
    "xi": FloatDistribution(0.01, 1.0, log=True),
}
LWF = FINETUNE | {
    "alpha": FloatDistribution(0.1, 10.0, log=True),
    "tau": FloatDistribution(1.0, 4.0, log=True),
}
