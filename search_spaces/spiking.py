"""Search spaces of recurrent spiking networks; parts of them depend on the stream.

Pre-training is not searched: it is the same for all. Nor is the memory, which is a budget: fix it,
or give it a range (`memory_total`, `memory_per_class` or `memory_bytes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space, one_of

if TYPE_CHECKING:
    from trainables.streams import StreamInfo

RATIOS = (1, 2, 5, 10, 20)  # of compression
TRAINING: Space = {
    "lr": FloatDistribution(5e-5, 1e-2, log=True),
    "epochs": IntDistribution(5, 100, log=True),
}
NEW_CLASSES: Space = {  # the weights that their outputs begin with
    "new_class_mean": FloatDistribution(1e-4, 3e-2, log=True),
    "new_class_std": FloatDistribution(1e-4, 3e-2, log=True),
}


def naive(stream: StreamInfo) -> Space:
    """Return what is searched without a memory: the weights of new classes where classes are new.

    >>> from trainables import find_stream
    >>> speakers = find_stream("speaker_incremental_spoken_digits")
    >>> list(naive(speakers.describe("domain", speakers.Options.parse({}))))
    ['lr', 'epochs']
    """
    return TRAINING if stream.scenario == "domain" else TRAINING | NEW_CLASSES


def rehearsal(stream: StreamInfo) -> Space:
    """Return what is searched with a memory: ratios are those that divide the stream's steps."""
    return naive(stream) | {
        "ratio": one_of([ratio for ratio in RATIOS if (stream.steps or 1) % ratio == 0]),
        "order": one_of(["sequential", "interleaved", "mixed"]),
    }


def latent_replay(stream: StreamInfo) -> Space:
    """Return what is searched with a memory of spikes: where to cut the network, and how to
    compress. Depth 0 is left out: it keeps floats, three times what the inputs take.
    """
    return rehearsal(stream) | {"depth": one_of([1, 2, 3]), "codec": one_of(["binary", "sums"])}
