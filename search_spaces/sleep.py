"""Search spaces of learners that sleep, and of the same network without sleep."""

from __future__ import annotations

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.rehearsal import ICARL
from search_spaces.space import Space, one_of

# Both options decide how much a sleep can recover. The authors' network is 1200 wide, that of the
# Python port 4000.
WAKE_JOINT: Space = {
    "lr": FloatDistribution(1e-4, 0.3, log=True),
    "hidden": one_of([[width, width] for width in (400, 1200, 4000)]),
}
MERGING = WAKE_JOINT

# Only the ratio of a layer's factor alpha to its threshold beta matters: alpha is not searched.
# Below a beta of 3 half of the units fire at every step; the authors' values, scaled to the default
# alpha, lie between 8 and 960. The range of mask_keep is for a mask of pixels: fix mask_keep for
# another mask.
SLEEP: Space = {
    "sleep_steps": IntDistribution(50, 2000, log=True),
    "sleep_growth": one_of([0.0, 1 / 3, 0.5]),
    "inc": FloatDistribution(1e-4, 0.1, log=True),
    "dec_ratio": FloatDistribution(1e-3, 1.0, log=True),
    "beta_first": FloatDistribution(3.0, 1000.0, log=True),
    "beta_hidden": FloatDistribution(3.0, 1000.0, log=True),
    "beta_last": FloatDistribution(3.0, 1000.0, log=True),
    "max_rate": FloatDistribution(20.0, 500.0, log=True),
    "mask_keep": FloatDistribution(0.05, 1.0),
    "decay": one_of([0.9, 0.99, 0.999, 1.0]),
    "gate": one_of(["logistic", "matlab", "none"]),
    "normalisation": one_of(["fixed", "consistent", "reference_code"]),
}
SLEEP_REPLAY = WAKE_JOINT | SLEEP
ICARL_SLEEP = ICARL | SLEEP
