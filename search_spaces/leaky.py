"""Search spaces of feed-forward spiking networks: their units, their encoding, and their replay.

The number of steps is searched, because it is what a spiking network costs. The size of the memory
is a budget: a study file fixes it or gives a range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

if TYPE_CHECKING:
    from trainables.streams import StreamInfo

UNITS: Space = {  # without effect in the non-spiking twin
    "steps": IntDistribution(5, 50, log=True),
    "beta": CategoricalDistribution((0.5, 0.8, 0.9, 0.95, 0.99, 0.999)),
    "threshold": FloatDistribution(0.25, 2.0, log=True),
    "surrogate": CategoricalDistribution(("fast_sigmoid", "atan", "sigmoid")),
    "slope": FloatDistribution(2.0, 100.0, log=True),
    "encoding": CategoricalDistribution(("direct", "rate", "static")),
}
TRAINING: Space = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "loss": CategoricalDistribution(("ce_count", "ce_rate", "mse_count")),
    **UNITS,
}
EPOCH_START: Space = {"replay_lr": FloatDistribution(1e-5, 1e-2, log=True)}
REPLAY: Space = TRAINING | {
    "replay_ratio": FloatDistribution(0.25, 2.0, log=True),
    "replay_schedule": CategoricalDistribution(("interleaved", "epoch_start")),
    **EPOCH_START,
}


def replay(stream: StreamInfo) -> Space:
    """Return the space with a memory: heads exist in the scenario ``class`` only, and a task-free
    stream has no epochs.

    >>> from trainables import find_stream
    >>> digits = find_stream("split_digits")
    >>> found = replay(digits.describe("class", digits.Options.parse({})))
    >>> found["head_loss"].choices
    ('own', 'seen')
    """
    if stream.tasks is None:
        of_epochs = {"replay_schedule", *EPOCH_START}
        return {name: space for name, space in REPLAY.items() if name not in of_epochs}
    if stream.scenario != "class":
        return REPLAY
    return REPLAY | {
        "head_loss": CategoricalDistribution(("own", "seen")),
        "alignment": CategoricalDistribution(("after", "off")),
    }
