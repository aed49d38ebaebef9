"""Options of the sleep of a dense network, and which of them do not go together."""

from __future__ import annotations

from trainables.errors import InputError
from trainables.memory import Remembering
from trainables.nn.sleep import GATES
from trainables.options import FACTOR, Options, option
from trainables.streams import StreamInfo

PROBED = 2000  # most samples of a seed that are looked at: the time grows with their cube


class SleepOptions(Options):
    """Options of the sleep phase; defaults of the Python port of the authors' code."""

    sleep_steps: int = option(
        500, "steps of the sleep after the first task; 0: no sleep", low=0, high=1_000_000
    )
    sleep_growth: float = option(
        1 / 3, "how much longer each later sleep is, as a share of the first", low=0.0, high=10.0
    )
    inc: float = option(
        1e-3, "weight gained by an input that fires with its unit", low=0.0, high=100.0
    )
    dec_ratio: float = option(
        0.1, "weight lost by an input that does not, as a share of inc", low=0.0, high=1e3
    )
    gate: str = option(
        "logistic",
        "factor of a change, by the weight w: 1/(1+exp(-w)) (the port), 2/(1+exp(w/0.001)) (the "
        "authors' code), w itself, or 1",
        choices=tuple(GATES),
    )
    decay: float = option(0.999, "of a unit's membrane, in a step", low=0.0, high=1.0)
    reset: str = option(
        "zero",
        "membrane after a spike: zero, or less the threshold",
        choices=("zero", "subtract"),
    )
    beta_first: float = option(14.548273, "threshold of the first layer", low=0.0, high=FACTOR)
    beta_hidden: float = option(44.560317, "threshold of layers between", low=0.0, high=FACTOR)
    beta_last: float = option(38.046326, "threshold of the outputs", low=0.0, high=FACTOR)
    alpha_scale: float = option(
        55.882454, "factor of the input of every layer", low=0.0, high=FACTOR
    )
    normalisation: str = option(
        "fixed",
        "factor of each layer: that of the port, or from weights and activity, layer by layer "
        "(consistent) or as the authors' code chains them",
        choices=("fixed", "consistent", "reference_code"),
    )
    max_rate: float = option(
        239.515363, "spikes a second of the brightest input, halved", low=0.0, high=FACTOR
    )
    mask: str = option(
        "pixels",
        "part of the mean image that a step sees: pixels by chance, or a square",
        choices=("pixels", "window"),
    )
    mask_keep: float = option(
        0.25, "share of the pixels seen, for mask = pixels", low=0.0, high=1.0
    )
    mask_window: int = option(11, "side of the square seen, for mask = window", low=1, high=1024)
    sleep_data: str = option(
        "current",
        "what mean image and factors are of: the samples of the task just learnt; all tasks by one "
        "running mean image, factors by the task; or all samples so far, which are then kept, "
        "without labels and besides any memory: not with memory_bytes",
        choices=("current", "mean", "seen"),
    )
    images_per_step: int = option(
        10,
        "random samples in the mean image of a step, for sleep_data = current; 0: all",
        low=0,
        high=10_000,
    )
    probe: int = option(
        0,
        "samples of each class kept to look at activity before and after sleep, not to learn from "
        "(auxiliary bytes); 0: none",
        low=0,
        high=100,
    )


class Sleeping(Remembering, SleepOptions):
    """Options of a dense learner that sleeps, and keeps samples if it is told to."""


def check_sleep(config: Sleeping, stream: StreamInfo) -> None:
    """Raise :class:`InputError` for a sleep that network, memory or stream rule out."""
    if not config.sleep_steps:
        return
    if config.layer_norm:
        raise InputError("layer_norm = true: a network with layer normalisation cannot sleep")
    if config.standardise:
        raise InputError("standardise = true: rates of spikes are inputs from 0 to 1")
    if config.sleep_data == "seen" and config.memory_bytes is not None:
        raise InputError(
            f'memory_bytes = {config.memory_bytes} cannot be kept to with sleep_data = "seen": '
            'all samples so far are kept; give sleep_data = "mean" or "current", or a number '
            "of samples (memory_total, memory_per_task), which counts what is kept with labels"
        )
    if config.probe * stream.outputs > PROBED:
        raise InputError(
            f"probe = {config.probe}: of {stream.outputs} classes that is too much to look at; "
            f"allowed: 0 to {PROBED // stream.outputs}"
        )
    side = min(stream.shape[:2]) if len(stream.shape) > 1 else 0
    if config.mask == "window" and config.mask_window > side:
        raise InputError(
            f"mask_window = {config.mask_window} does not fit in inputs of {stream.shape}"
        )


def sleep_steps(config: SleepOptions, task: int) -> int:
    """Length of the sleep after a task, the first being task 0."""
    return config.sleep_steps + task * int(config.sleep_growth * config.sleep_steps + 1e-9)


def keeps_mean_image(config: SleepOptions) -> bool:
    """Whether a mean image of all tasks so far is kept for sleep."""
    return config.sleep_steps > 0 and config.sleep_data == "mean"


def mean_image_bytes(config: SleepOptions, stream: StreamInfo) -> int:
    """Bytes of the mean image and of the number of samples it is of, if one is kept."""
    return 4 * (stream.inputs + 1) if keeps_mean_image(config) else 0
