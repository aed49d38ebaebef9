"""Search spaces of recurrent spiking networks; parts of them depend on the stream.

Pre-training is not searched, because all methods share it. The size of the memory is a budget: a
study file fixes it or gives a range (`memory_total`, `memory_per_class` or `memory_bytes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space, one_of

if TYPE_CHECKING:
    from trainables.streams import StreamInfo

RATIOS = (1, 2, 5, 10, 20)  # compression ratios
TRAINING: Space = {
    "lr": FloatDistribution(5e-5, 1e-2, log=True),
    "epochs": IntDistribution(5, 100, log=True),
}
NEW_CLASSES: Space = {  # initial weights of the outputs of new classes
    "new_class_mean": FloatDistribution(1e-4, 3e-2, log=True),
    "new_class_std": FloatDistribution(1e-4, 3e-2, log=True),
}


def naive(stream: StreamInfo) -> Space:
    """Return the space without a memory; in the scenario ``domain`` there are no new classes.

    >>> from trainables import find_stream
    >>> speakers = find_stream("speaker_incremental_spoken_digits")
    >>> list(naive(speakers.describe("domain", speakers.Options.parse({}))))
    ['lr', 'epochs']
    """
    return TRAINING if stream.scenario == "domain" else TRAINING | NEW_CLASSES


def rehearsal(stream: StreamInfo) -> Space:
    """Return the space with a memory; only ratios that divide the stream's steps are searched."""
    return naive(stream) | {
        "ratio": one_of([ratio for ratio in RATIOS if (stream.steps or 1) % ratio == 0]),
        "order": one_of(["sequential", "interleaved", "mixed"]),
    }


def latent_replay(stream: StreamInfo) -> Space:
    """Return the space with a memory of spikes: the layer that is stored, and its compression.

    Depth 0 is left out: it stores floats, three times the bytes of the inputs.
    """
    return rehearsal(stream) | {"depth": one_of([1, 2, 3]), "codec": one_of(["binary", "sums"])}
