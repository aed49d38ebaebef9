"""Every learner in every scenario at the ends of what may be asked of it: what cannot be done is
refused in a sentence, and a seed with numbers that are not finite is marked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from own_data import NEEDED
from spike_files import speech
from torch import nn

from analysis.metrics import PRIMARY
from trainables import LEARNERS, STREAMS, InputError
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.methods.spiking.recurrent import RecurrentLearner
from trainables.streams import SplitStream
from trainables.streams.datasets import load
from trainables.testing import assert_same_state

SEEDS = (0, 2**63 - 1)  # the least and the greatest that a study file may name
TASKS = 2
PAIRS = [(name, scenario) for name, kind in LEARNERS.items() for scenario in kind.scenarios]

# small and short; of these a learner has those that are its options
QUICK = {
    "hidden": [4],
    "slow_hidden": [4],
    "epochs": 1,
    "pretrain_epochs": 1,
    "passes": 2,
    "consolidation_epochs": 1,
    "batch_size": 8,
    "memory_total": 20,
    "sleep_steps": 5,
    "depth": 1,
}
# by default they have convolutions; one holds samples out
LEAKY = {"network": "mlp", "steps": 3}
OWN = {
    "synaptic": {"network": "mlp", "held_out": 0.0},
    "spiking_finetune": LEAKY,
    "spiking_joint": LEAKY,
    "spiking_replay": LEAKY,
}
# what an option does nothing without
WITH = {
    "momentum": {"optimiser": "sgd"},
    "gamma": {"online": True},
    "neurons": {"gated": True},
    "rounds": {"gated": True},
    "top_k": {"gated": True},
    "mask_window": {"mask": "window"},
    "replay_ratio": {"memory_total": 20},
    "max_growths": {"held_out": 0.1},
    "later_sizes": {"mode": "cumulative"},
}
# not trained with at their greatest, which takes long by itself: lengths of loops, and units of
# recurrent layers, whose weights grow with their square. The limits are tested with all others.
LONG = {"epochs", "pretrain_epochs", "passes", "consolidation_epochs", "sleep_steps"}
LONG_OF_SPIKES = LONG | {"hidden"}
# refused at an end by `check`, which knows the stream and the other options
REFUSED = {
    "memory_total": "the smallest is less than a sample a task, or a class",
    "memory_per_task": "the smallest is less than a sample a class; task-free streams have none",
    "memory_batches": "the greatest is more than a million samples",
    "memory_bytes": "the smallest is less than a sample, the greatest more than a million",
    "depth": "the greatest is deeper than the network",
    "ratio": "the greatest does not divide the steps of the stream",
    "mask_window": "the greatest is larger than an image",
    "rank": "networks of low rank cannot sleep",
    "channels": "no option of a dense network",
    "kernel": "no option of a dense network",
}
# what makes weights grow beyond all numbers
DIVERGING = [
    {"lr": 100.0, "lr_slow": 100.0, "optimiser": "sgd", "momentum": 1.0, "grad_clip": 0.0},
    {"lam": 1e15, "c": 1e10, "alpha": 1e6, "beta": 1e6, "lr": 100.0, "optimiser": "sgd"},
    {"loss": "squared_relu", "lr": 100.0, "optimiser": "sgd", "momentum": 1.0},
    {"inc": 100.0, "dec_ratio": 1e3, "gate": "multiplicative", "beta_last": 0.0, "max_rate": 1e6},
    {"weight_scale": 100.0, "slope": 0.0, "pretrain_lr": 100.0},
]
# options of the same name with other values
LEAKY_ALONE = ("beta", "loss", "slope")
REFUSING = dict.fromkeys(("spiking_finetune", "spiking_joint", "spiking_replay"), LEAKY_ALONE)


# -- tiny streams


def digits(each):
    """The first images of every digit, so many to learn, and one to score."""
    return {name: first(split, n) for (name, split), n in zip(ALL.items(), (each, 1), strict=True)}


ALL = load("digits", Path())


def first(split, each):
    rows = [np.flatnonzero(split["labels"] == c)[:each] for c in range(10)]
    rows = np.sort(np.concatenate(rows))
    return {key: values[rows] for key, values in split.items()}


class Halves(SplitStream):
    """Two tasks of five digits each."""

    name = "halves"
    dataset = "digits"
    reference = "the digits of scikit-learn"
    tasks = TASKS


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setitem(STREAMS, Halves.name, Halves)


DIGITS, ONE_EACH = digits(2), digits(1)
SPEECH = {"domain": speech(6), "class": speech(1)}
SPIKING = {
    "domain": "speaker_incremental_spoken_digits",
    "class": "class_incremental_one_spoken_digits",
}


def is_spiking(name):
    return issubclass(LEARNERS[name], RecurrentLearner)


# -- a run, and what is wrong with it


def quick(name, scenario, **changes):
    """Options of a learner: small, with the changes that concern it."""
    values, known = QUICK | OWN.get(name, {}) | changes, LEARNERS[name].Config.fields()
    if scenario == "task_free":
        values |= {"epochs": 1, "memory_policy": "reservoir"}
    return {key: value for key, value in values.items() if key in known}


def begun(name, scenario, options, data=DIGITS, **given):
    """A course of two seeds that has learnt nothing yet; ``given`` are options of the stream."""
    stream = Halves.name
    if is_spiking(name):
        data, stream = SPEECH[scenario], SPIKING[scenario]
        given = {"steps": 6, "seconds": 0.7} | given
    work = Assignment(name, options, stream, scenario, given, "confirm", SEEDS, TASKS)
    return Course(work, SEEDS, data)


def learnt(name, scenario, options, **given):
    """The course of two seeds through two tasks."""
    course = begun(name, scenario, options, **given)
    while not course.done:
        course.advance()
    return course


def unmarked(course):
    """Numbers of seeds that count as finite, and are not."""
    outcome = course.outcome()
    sane = outcome.finite.all(1)
    counts = next(iter(outcome.counts.values()))[sane]
    found = [f"metric {name}" for name in PRIMARY if not np.isfinite(PRIMARY[name](counts)).all()]
    tensors = {"losses": course.learner.losses}
    for name, held in vars(course.learner).items():
        if isinstance(held, nn.Module):
            tensors |= {f"{name}.{key}": w for key, w in held.named_parameters() if not w.is_meta}
    rows = torch.from_numpy(sane)
    return found + [name for name, t in tensors.items() if not t.detach()[rows].isfinite().all()]


def outcome_of(name, scenario, options, **given):
    """Say how a run went: "" for well, a sentence of ours, or what must not be."""
    try:
        wrong = unmarked(learnt(name, scenario, options, **given))
    except InputError as error:
        return f"refused: {error}" if str(error).strip() else "refused without a word"
    except Exception as error:
        return f"FAULT: {type(error).__name__}: {error}"
    return f"FAULT: not marked: {', '.join(wrong)}" if wrong else ""


def outcomes(name, scenario, cases, **given):
    """How the runs of some cases went, by case, of those that did not simply go well."""
    found = {
        label: outcome_of(name, scenario, options, **given) for label, options in cases.items()
    }
    return {label: said for label, said in found.items() if said}


def faults(found):
    return {label: said for label, said in found.items() if not said.startswith("refused: ")}


# -- the matrix


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_the_ordinary_case_of_the_others_goes_well(name, scenario):
    assert outcome_of(name, scenario, quick(name, scenario)) == ""


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_a_batch_of_one_is_learnt(name, scenario):
    assert outcome_of(name, scenario, quick(name, scenario, batch_size=1)) == ""


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_a_batch_larger_than_any_task_is_as_one_of_the_largest(name, scenario):
    """Not filled up with copies: what is learnt, replayed and counted is the same."""
    stream = begun(name, scenario, quick(name, scenario)).stream
    sizes = [stream.task(index).size for index in range(TASKS)]
    largest, huge = (
        learnt(name, scenario, quick(name, scenario, batch_size=size, memory_total=40))
        for size in (max(sizes), 1_000_000)
    )
    assert_same_state(huge.learner.state(), largest.learner.state())
    assert huge.outcome().samples.tolist() == largest.outcome().samples.tolist()
    assert huge.outcome().trained.tolist() == largest.outcome().trained.tolist()
    if name != "gdumb" and not is_spiking(name):  # those go through it more than once
        assert huge.outcome().samples.tolist() == sizes


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_one_sample_of_each_class_is_learnt(name, scenario):
    data = {} if is_spiking(name) else {"data": ONE_EACH}
    said = outcome_of(name, scenario, quick(name, scenario), **data)
    assert said == ""


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_no_hidden_layer_is_a_linear_network_or_refused(name, scenario):
    found = outcomes(
        name,
        scenario,
        {
            key: quick(name, scenario) | {key: []}
            for key in ("hidden", "slow_hidden")
            if key in LEARNERS[name].Config.fields()
        },
    )
    assert found.keys() == ({"hidden"} if name == "fssg" or is_spiking(name) else set())
    assert all(said.startswith("refused: hidden = [] leaves no layer") for said in found.values())


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_the_smallest_memory_is_kept_to_and_a_smaller_one_refused(name, scenario):
    kind = LEARNERS[name]
    if "memory_total" not in kind.Config.fields():
        pytest.skip("has no memory")
    one = outcome_of(name, scenario, quick(name, scenario, memory_total=1))
    assert one == "" or one.startswith(("refused: memory_total = 1", "refused: a memory of 1 "))
    smallest = next(n for n in range(1, 100) if accepted(name, scenario, n))
    assert outcome_of(name, scenario, quick(name, scenario, memory_total=smallest)) == ""


def accepted(name, scenario, memory):
    stream = STREAMS[SPIKING[scenario]] if is_spiking(name) else Halves
    given = {"steps": 6} if is_spiking(name) else {}
    info = stream.describe(scenario, stream.Options.parse(given))
    kind = LEARNERS[name]
    try:
        kind.check(kind.Config.parse(quick(name, scenario, memory_total=memory)), info)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_every_number_at_its_greatest_is_learnt_with_or_refused(name, scenario):
    left_out = LONG_OF_SPIKES if is_spiking(name) else LONG
    assert_learnt_or_refused(name, scenario, "high", left_out)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_number_at_its_smallest_is_learnt_with_or_refused(name):
    assert_learnt_or_refused(name, LEARNERS[name].scenarios[-1], "low", set())


def assert_learnt_or_refused(name, scenario, end, left_out):
    known, cases = LEARNERS[name].Config.fields(), {}
    for key, field in known.items():
        value = field.metadata[end]
        if value is not None and key not in left_out:
            given = quick(name, scenario, **WITH.get(key, {}))
            cases[key] = given | {key: [value] if isinstance(field.default, tuple) else value}
    found = outcomes(name, scenario, cases)
    assert faults(found) == {}
    assert found.keys() <= REFUSED.keys()
    assert len(found) < len(cases)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_seed_that_diverges_is_marked(name):
    known, scenario = LEARNERS[name].Config.fields(), LEARNERS[name].scenarios[-1]
    cases = {
        place: diverging(name, scenario, changes)
        for place, changes in enumerate(DIVERGING)
        if (changes.keys() & known.keys()) - {"optimiser", "momentum"}
        and not any(key in REFUSING.get(name, ()) for key in changes)
    }
    assert cases
    assert outcomes(name, scenario, cases, **steps_to_diverge(name)) == {}


@pytest.mark.parametrize(
    ("name", "scenario", "place"),
    [("si", "domain", 1), ("sleep_replay", "task", 3)]
    + [(name, "class", 4) for name in LEARNERS if is_spiking(name)],
)
def test_there_are_seeds_to_mark(name, scenario, place):
    options = diverging(name, scenario, DIVERGING[place])
    course = learnt(name, scenario, options, **steps_to_diverge(name))
    assert not course.outcome().finite[:, -1].any()


def diverging(name, scenario, changes):
    """Options that may make weights grow, and as long as the learner allows it."""
    longer = {} if name == "gdumb" else {"epochs": 6}
    return quick(name, scenario, sleep_steps=40, beta_first=0.0, **changes | longer)


def steps_to_diverge(name):
    return {"steps": 60} if is_spiking(name) else {}


# -- streams


def blank(each, shape, classes):
    """Random images in place of a data set that is not bundled."""
    rng = np.random.default_rng(2)
    labels = np.tile(np.arange(classes), each).astype(np.uint8)
    images = rng.integers(0, 256, (len(labels), *shape)).astype(np.uint8)
    return {split: {"images": images, "labels": labels} for split in ("train", "test")}


# what a data set has not: so short a sample with spikes; so many classes, words or speakers
NOT_THERE = {"low": {"seconds"}, "high": {"tasks", "left_out", "first"}}


def data_of(stream):
    known = stream.data_set(stream.Options.parse(NEEDED.get(stream.name, {})))
    if known.speakers:
        return speech(known.speakers, known.classes)
    return DIGITS if known.bundled else blank(2, known.shape, known.classes)


# those of Heidelberg's digits are as those of the spoken digits, with more words and speakers
@pytest.mark.parametrize("name", [name for name in STREAMS if not name.endswith("_shd")])
@pytest.mark.parametrize("end", ["low", "high"])
def test_every_number_of_a_stream_at_its_ends_gives_tasks_or_is_refused(name, end):
    """Built, and asked for a batch to learn and for what is scored: what follows is learners'."""
    kind, data, refused = STREAMS[name], data_of(STREAMS[name]), set()
    values = {key: field.metadata[end] for key, field in kind.Options.fields().items()}
    for key, value in values.items():
        if value is None:
            continue
        listed = isinstance(kind.Options.fields()[key].default, tuple)
        given = {key: [value] if listed else value}
        options = kind.Options.parse(NEEDED.get(name, {}) | given)
        for scenario in kind.scenarios:
            try:
                assert_gives_samples(kind, scenario, data, options)
            except InputError:
                refused.add(key)
    assert refused <= NOT_THERE[end]


def assert_gives_samples(kind, scenario, data, options):
    stream = kind(data, scenario, SEEDS, "confirm", options)
    for index in (0, stream.tasks - 1):
        batch = next(stream.task(index).batches(1, 4))
        inputs, labels = stream.gather(stream.scored(index)[0][:, :4], scored=True)
        for samples, names in ((batch.inputs, batch.labels), (inputs, labels)):
            assert samples.shape == (*names.shape, stream.info.inputs)
            assert int(names.max()) < stream.info.outputs


@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_the_least_and_the_greatest_seed_have_orders_and_batches_of_their_own(order):
    stream = STREAMS["split_digits"]
    found = stream(DIGITS, "class", SEEDS, "confirm", stream.Options.parse({"class_order": order}))
    one, other = (row.flatten().tolist() for row in found.task_classes)
    assert sorted(one) == sorted(other) == list(range(10))
    assert (one == other) == (order == "fixed")
    batch = next(found.task(0).batches(1, 6))
    assert not torch.equal(batch.inputs[0], batch.inputs[1])
