"""Search spaces of learners with a memory.

The size of the memory is a budget, not a hyper-parameter: no search space here contains it. A study
file fixes the size, or gives a range for it.
"""

from __future__ import annotations

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.plain import FINETUNE
from search_spaces.space import Space, one_of

REPLAY = FINETUNE | {"replay_ratio": FloatDistribution(0.25, 2.0, log=True)}
DER: Space = {  # plain DER fixes beta at 0
    "lr": FloatDistribution(1e-4, 0.3, log=True),
    "alpha": FloatDistribution(0.05, 2.0, log=True),
    "beta": FloatDistribution(0.1, 2.0, log=True),
}
GEM: Space = {
    "lr": FloatDistribution(3e-3, 0.3, log=True),
    "gamma": FloatDistribution(0.0, 1.0),
}
AGEM = FINETUNE | {"ref_batch": IntDistribution(10, 256, log=True)}
ICARL = FINETUNE
GDUMB: Space = {
    "lr": FloatDistribution(0.01, 0.1, log=True),
    "passes": IntDistribution(30, 256, log=True),  # passes of a fit, which decide the training time
}
FSSG: Space = {
    "lr": FloatDistribution(1e-4, 5e-3, log=True),
    "lr_slow": FloatDistribution(5e-5, 2e-3, log=True),
    "replay_probability": FloatDistribution(0.1, 1.0),
    "replay_ratio": FloatDistribution(0.25, 2.0, log=True),
    "interval": IntDistribution(1, 50, log=True),
    "consolidation_epochs": IntDistribution(0, 20),
    "lam_task": FloatDistribution(0.0, 1.0),
    "lam_consolidation": FloatDistribution(0.0, 1.0),
    "tau": FloatDistribution(1.0, 6.0, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "grad_clip": FloatDistribution(0.1, 10.0, log=True),
    "hidden": one_of([[128, summary, 128, summary] for summary in (16, 32, 64, 128)]),
    "slow_hidden": one_of([[64, 64], [128, 64], [256, 128], [512, 256], [1024, 512]]),
}
