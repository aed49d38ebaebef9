"""Options of the sleep of a dense network, and checks of their combinations."""

from __future__ import annotations

from trainables.errors import InputError
from trainables.memory import Remembering
from trainables.nn.spiking_sleep import GATES
from trainables.options import FACTOR, Options, option
from trainables.streams import StreamInfo

PROBED = 2000  # largest number of probe samples per seed: the time grows with the cube


class SleepOptions(Options):
    """Options of the sleep phase; defaults of the Python port of the authors' code."""

    sleep_steps: int = option(
        500, "steps of the sleep after the first task; 0: no sleep", low=0, high=1_000_000
    )
    sleep_growth: float = option(
        1 / 3,
        "increase of the number of sleep steps per later task, relative to sleep_steps",
        low=0.0,
        high=10.0,
    )
    inc: float = option(
        1e-3,
        "weight increase if the input and its unit both spike, before the gate",
        low=0.0,
        high=100.0,
    )
    dec_ratio: float = option(
        0.1,
        "weight decrease if the unit spikes but not the input, relative to inc",
        low=0.0,
        high=1e3,
    )
    gate: str = option(
        "logistic",
        "factor of the change of a weight w; logistic (the port): 1/(1+exp(-w)); matlab (the "
        "authors' code): 2/(1+exp(w/0.001)); multiplicative: w; none: 1",
        choices=tuple(GATES),
    )
    decay: float = option(
        0.999, "factor of the membrane potential per step (leak)", low=0.0, high=1.0
    )
    reset: str = option(
        "zero",
        "membrane potential after a spike; zero: 0; subtract: reduced by the threshold",
        choices=("zero", "subtract"),
    )
    beta_first: float = option(
        14.548273, "spike threshold of the first layer", low=0.0, high=FACTOR
    )
    beta_hidden: float = option(
        44.560317, "spike threshold of the other hidden layers", low=0.0, high=FACTOR
    )
    beta_last: float = option(38.046326, "spike threshold of the outputs", low=0.0, high=FACTOR)
    alpha_scale: float = option(
        55.882454, "factor alpha of the input current of every layer", low=0.0, high=FACTOR
    )
    normalisation: str = option(
        "fixed",
        "additional factor of the input current of each layer; fixed: the constants of the port; "
        "consistent: from the largest weight or activity, as in Diehl et al. 2015; reference_code: "
        "likewise, with the recursion of the authors' code",
        choices=("fixed", "consistent", "reference_code"),
    )
    max_rate: float = option(
        239.515363,
        "half the firing rate, in spikes per second, of an input of value 1",
        low=0.0,
        high=FACTOR,
    )
    mask: str = option(
        "pixels",
        "part of the mean image that drives a step; pixels: random pixels; window: a square at a "
        "random place",
        choices=("pixels", "window"),
    )
    mask_keep: float = option(
        0.25, "share of the pixels that drive a step (mask = pixels)", low=0.0, high=1.0
    )
    mask_window: int = option(
        11, "side of the square that drives a step, in pixels (mask = window)", low=1, high=1024
    )
    sleep_data: str = option(
        "current",
        "data of the mean image and of the normalisation; current: the samples of the last task; "
        "mean: a running mean image of all tasks so far, normalisation from the last task; seen: "
        "all samples so far, stored without labels in addition to the memory (not with "
        "memory_bytes)",
        choices=("current", "mean", "seen"),
    )
    images_per_step: int = option(
        10,
        "random samples averaged into the mean image of each step (sleep_data = current); 0: one "
        "mean image of all samples",
        low=0,
        high=10_000,
    )
    probe: int = option(
        0,
        "samples per class for comparing activity before and after sleep; never trained on, and "
        "counted as auxiliary bytes; 0: no comparison",
        low=0,
        high=100,
    )


class Sleeping(Remembering, SleepOptions):
    """Options of a dense learner with sleep and, optionally, a memory."""


def check_sleep(config: Sleeping, stream: StreamInfo) -> None:
    """Raise :class:`InputError` for sleep options that the network, memory or stream rule out."""
    if not config.sleep_steps:
        return
    if config.layer_norm:
        raise InputError("layer_norm = true: a network with layer normalisation cannot sleep")
    if config.standardise:
        raise InputError("standardise = true: sleep needs inputs from 0 to 1 as firing rates")
    low, high = stream.extremes
    if low < 0 or high > 1:
        raise InputError(
            f"sleep needs inputs from 0 to 1 as firing rates; those of {stream.name} are from "
            f"{low:.3g} to {high:.3g}: shift and divide them, or set sleep_steps = 0"
        )
    if config.sleep_data == "seen" and config.memory_bytes is not None:
        raise InputError(
            f'memory_bytes = {config.memory_bytes}: sleep_data = "seen" stores all samples so far '
            'and exceeds any budget in bytes; give sleep_data = "mean" or "current", or a budget '
            "in samples (memory_total, memory_per_task), which counts only samples with labels"
        )
    if config.probe * stream.outputs > PROBED:
        raise InputError(
            f"probe = {config.probe}: too many samples with {stream.outputs} classes; allowed: 0 "
            f"to {PROBED // stream.outputs}"
        )
    side = min(stream.shape[:2]) if len(stream.shape) > 1 else 0
    if config.mask == "window" and config.mask_window > side:
        raise InputError(
            f"mask_window = {config.mask_window} does not fit in inputs of {stream.shape}"
        )


def sleep_steps(config: SleepOptions, task: int) -> int:
    """Number of steps of the sleep after a task (from 0)."""
    return config.sleep_steps + task * int(config.sleep_growth * config.sleep_steps + 1e-9)


def keeps_mean_image(config: SleepOptions) -> bool:
    """Whether sleep stores a mean image of all tasks so far."""
    return config.sleep_steps > 0 and config.sleep_data == "mean"


def mean_image_bytes(config: SleepOptions, stream: StreamInfo) -> int:
    """Bytes of the stored mean image and its number of samples; 0 if none is stored."""
    return 4 * (stream.inputs + 1) if keeps_mean_image(config) else 0
