"""Latent replay and its baselines on digits as spike trains: what is frozen, kept and learnt."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter

import pytest
import torch
from spiking_digits import STEPS, SpikingDigits

from trainables import STREAMS, InputError
from trainables.methods.spiking.latent_replay import LatentReplay
from trainables.methods.spiking.recurrent import ORDERS
from trainables.methods.spiking.spiking_naive import SpikingNaive
from trainables.methods.spiking.spiking_rehearsal import SpikingRehearsal
from trainables.rng import generator
from trainables.testing import accuracies, build, learn, make_stream

SEEDS = (11, 12)
HIDDEN = [24, 16]
DEPTHS = range(len(HIDDEN) + 1)
QUICK = {
    "hidden": HIDDEN,
    "weight_scale": 1.0,
    "batch_size": 32,
    "pretrain_epochs": 1,
    "pretrain_lr": 0.005,
    "epochs": 2,
    "lr": 0.01,
}
KEPT = QUICK | {"memory_total": 100, "depth": 1}


def stream_of(scenario="class"):
    return make_stream(scenario, SEEDS, kind=SpikingDigits)


def learner_of(kind=LatentReplay, scenario="class", tasks=1, **options):
    """A learner after the first tasks, and its stream."""
    stream = stream_of(scenario)
    known = {k: v for k, v in (KEPT | options).items() if k in kind.Config.fields()}
    found = build(kind, known, stream)
    learn(found, stream, 0, tasks)
    return found, stream


def copies(learner):
    return {name: w.detach().clone() for name, w in learner.network.named_parameters()}


# -- the cut


@pytest.mark.parametrize("depth", DEPTHS)
def test_replaying_what_was_kept_in_full_gives_the_scores_of_the_whole_network(depth):
    """Each seed's own samples, found again by what of them crosses the cut."""
    learner, stream = learner_of(depth=depth)
    task = stream.task(0)
    inputs = task.sample(task.size, "all").inputs
    with torch.no_grad():
        sequences, _ = learner.memory.held.gather(torch.arange(40).expand(2, -1))
        replayed = learner.network.above(sequences.transpose(1, 2).contiguous(), depth)
        crossing = learner.network.below(learner.encode(inputs), depth).transpose(1, 2)
        whole = learner.predict(inputs, None)
    for seed in range(2):
        gaps = (crossing[seed] - sequences[seed].unsqueeze(1)).abs().flatten(2).amax(2)
        nearest, own = gaps.min(1)
        assert nearest.max() < 1e-5
        assert len(set(own.tolist())) > 1
        assert (replayed[seed] - whole[seed, own]).abs().max() < 1e-5
        assert replayed[seed].any()


def trained_above(depth):
    """Names of the weights that learn after the first task."""
    layers = range(len(HIDDEN))
    forward = {f"forward_weights.{k}" for k in layers if k >= max(depth, 1)}
    return forward | {f"recurrent_weights.{k}" for k in layers if k >= depth} | {"readout"}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_what_is_below_the_cut_stays_bit_by_bit_and_what_is_above_learns(depth, order):
    learner, stream = learner_of(depth=depth, order=order, ratio=2)
    before = copies(learner)
    learn(learner, stream, 1, 3)
    changed = {name for name, w in copies(learner).items() if not torch.equal(w, before[name])}
    assert changed == trained_above(depth)


@pytest.mark.parametrize("kind", [SpikingNaive, SpikingRehearsal])
def test_baselines_learn_with_all_weights(kind):
    learner, stream = learner_of(kind)
    before = copies(learner)
    learn(learner, stream, 1, 2)
    assert not any(torch.equal(w, before[name]) for name, w in copies(learner).items())


def test_the_first_task_is_the_same_for_all():
    """They begin with the networks of one pre-training."""
    first = copies(learner_of(SpikingNaive)[0])
    for kind in (SpikingRehearsal, LatentReplay):
        assert all(torch.equal(w, first[name]) for name, w in copies(learner_of(kind)[0]).items())


# -- the readout of new classes


def test_columns_of_new_classes_are_drawn_anew_and_no_others():
    learner, stream = learner_of(new_class_mean=0.5, new_class_std=0.25)
    before = copies(learner)
    learner.begin_task(stream.task(1))
    after = copies(learner)
    assert all(torch.equal(w, before[name]) for name, w in after.items() if name != "readout")
    for s, seed in enumerate(SEEDS):
        drawn = torch.randn(HIDDEN[-1], 10, generator=generator(seed, "new classes", 1))
        expected = before["readout"][s].clone()
        expected[:, 2:4] = 0.5 + 0.25 * drawn[:, 2:4]  # the classes of task 1
        torch.testing.assert_close(after["readout"][s], expected)
    assert not torch.equal(*after["readout"])


def test_the_columns_have_their_mean_and_deviation():
    """Over 2 seeds, 16 units and 2 classes: within four standard errors."""
    learner, stream = learner_of(new_class_mean=0.3, new_class_std=0.1)
    learner.begin_task(stream.task(2))
    values = learner.network.readout[:, :, 4:6].flatten()
    assert abs(values.mean().item() - 0.3) < 4 * 0.1 / math.sqrt(64)
    assert abs(values.std().item() - 0.1) < 4 * 0.1 / math.sqrt(128)


def test_where_classes_are_not_new_nothing_is_drawn():
    learner, stream = learner_of(scenario="domain")
    before = copies(learner)
    learner.begin_task(stream.task(1))
    assert all(torch.equal(w, before[name]) for name, w in copies(learner).items())


# -- what a later task trains on


def spy(learner, stream, task=1):
    """Learn a task; return what each step was given, and how many of it were new."""
    steps, original, given = [], learner.step, stream.task(task)

    def step(told, passed, labels, cut):
        steps.append((passed.clone(), labels.clone(), cut))
        return original(told, passed, labels, cut)

    counted = [0]
    given.after_step = lambda done: counted.append(done.samples)
    learner.step = step
    learner.learn(given)
    learner.step = original
    fresh = [after - before for before, after in itertools.pairwise(counted)]
    return [(*step, new) for step, new in zip(steps, fresh, strict=True)]


def rows_of(sequences, labels):
    """Sequences [T, B, units] of a seed and their labels, as bytes."""
    rows = sequences.transpose(0, 1).contiguous()
    return [
        (row.numpy().tobytes(), label) for row, label in zip(rows, labels.tolist(), strict=True)
    ]


def expected_rows(learner, stream, task, seed):
    """What the network passes on of each of a task's samples, asked anew by itself."""
    index = torch.stack(stream.pool(task)[0])
    inputs, labels = stream.gather(index)
    with torch.no_grad():
        passed = learner.network.below(learner.encode(inputs), learner.cut)
    return rows_of(passed[seed], labels[seed])


@pytest.mark.parametrize("scenario", ["class", "domain"])
@pytest.mark.parametrize("depth", [None, *DEPTHS])
def test_steps_see_exactly_what_the_network_passes_on_of_new_samples(depth, scenario):
    """The samples of a task are asked once: what is below the cut does not change. Without a cut
    (None) they are the inputs.
    """
    kind, options = (SpikingNaive, {}) if depth is None else (LatentReplay, {"depth": depth})
    learner, stream = learner_of(kind, scenario, **options)
    steps = [step for step in spy(learner, stream) if step[3]]
    for seed in range(2):
        expected = Counter(expected_rows(learner, stream, 1, seed))
        per_epoch = len(steps) // 2
        for epoch in range(2):
            seen = Counter()
            for passed, labels, cut, new in steps[epoch * per_epoch : (epoch + 1) * per_epoch]:
                assert cut == (-1 if depth is None else depth)
                assert new == 32 == labels.shape[1]
                seen.update(rows_of(passed[seed], labels[seed]))
            assert set(seen) == set(expected)
            size = sum(expected.values())
            assert sum(seen.values()) == 32 * math.ceil(size / 32)
            extra = seen - expected  # the last batch is filled up with the first of the shuffle
            assert sum(extra.values()) == -size % 32
            assert not expected - seen


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [SpikingRehearsal, LatentReplay])
def test_every_new_and_old_sample_is_seen_once_an_epoch_in_the_order_told(kind, order):
    """A task of 242 to 246 samples, 100 old ones, batches of 32: 8 steps with new and 4 with old
    ones; mixed, 23 of 32 are new.
    """
    learner, stream = learner_of(kind, order=order)
    old, size = len(learner.memory), stream.task(1).size
    held = learner.memory.held.gather(torch.arange(old).expand(2, -1))
    kept = [Counter(rows_of(held[0][s].transpose(0, 1), held[1][s])) for s in range(2)]
    assert (old, math.ceil(size / 32), math.ceil(old / 32)) == (100, 8, 4)
    steps = spy(learner, stream)
    share = round(32 * size / (size + old))
    kinds = {
        "sequential": [32] * 8 + [0] * 4,
        # the middles of 8 and of 4 equal parts of an epoch: 1, 3, 5, ... and 2, 6, ... of 16
        "interleaved": [32, 0, 32] * 4,
        "mixed": [share] * math.ceil(size / share),
    }[order]
    assert [new for *_, new in steps] == kinds * 2
    for seed in range(2):
        expected = Counter(expected_rows(learner, stream, 1, seed))
        for epoch in range(2):
            fresh, replayed = Counter(), Counter()
            for passed, labels, _, new in steps[epoch * len(kinds) : (epoch + 1) * len(kinds)]:
                assert labels.shape[1] == 32
                rows = rows_of(passed[seed], labels[seed])
                fresh.update(rows[:new])
                replayed.update(rows[new:])
            assert set(fresh) == set(expected)
            assert not expected - fresh
            assert set(replayed) <= set(kept[seed])
            if order != "mixed":
                assert not kept[seed] - replayed
    orders = [[tuple(labels[0].tolist()) for _, labels, *_ in part] for part in halves(steps)]
    assert orders[0] != orders[1]  # shuffled anew


def halves(steps):
    return steps[: len(steps) // 2], steps[len(steps) // 2 :]


@pytest.mark.parametrize(("memory", "size"), [(4, 32), (3000, 2), (100, 1)])
def test_mixed_batches_have_new_and_old_samples_however_few(memory, size):
    """But for batches of one sample, which is new."""
    changes = {"memory_per_class": memory // 2, "order": "mixed", "epochs": 1, "depth": 2}
    learner, stream = learner_of(**changes)
    learner.config = learner.Config.parse(KEPT | changes | {"batch_size": size})
    for _, labels, _, new in spy(learner, stream):
        assert labels.shape[1] == size
        assert 0 < new < size or new == size == 1


@pytest.mark.parametrize("order", ORDERS)
def test_a_batch_larger_than_what_there_is_has_each_new_sample_once(order):
    learner, stream = learner_of(order=order)
    learner.config = learner.Config.parse(KEPT | {"order": order, "batch_size": 10_000})
    old, size = len(learner.memory), stream.task(1).size
    steps = spy(learner, stream)
    both = {"mixed": [(size + old, size)]}.get(order, [(size, size), (size, 0)])
    assert [(labels.shape[1], new) for _, labels, _, new in steps] == both * 2
    for seed in range(2):
        expected = Counter(expected_rows(learner, stream, 1, seed))
        passed, labels, *_ = steps[0]
        assert Counter(rows_of(passed[seed][:, :size], labels[seed][:size])) == expected


# -- how much is kept

PER_SEQUENCE = {  # bytes of a sequence of 16 steps, by depth: of spikes a bit, of currents a float
    0: 16 * 24 * 4,
    1: 16 * 24 // 8,
    2: 16 * 16 // 8,
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("ratio", [1, 4])
def test_a_budget_in_bytes_is_filled_and_kept_to(ratio, depth):
    """By the classes seen, with a byte for each label; 60 samples are seven eights and four."""
    bits = PER_SEQUENCE[depth] // ratio * 8
    budget = 8 * bits + 60
    learner, stream = learner_of(tasks=0, memory_bytes=budget, depth=depth, ratio=ratio)
    for task in range(3):
        learn(learner, stream, task, task + 1)
        classes = 2 * (task + 1)
        assert len(learner.memory) == classes * (60 // classes)
        held = len(learner.memory)
        assert learner.footprint()["memory"] == math.ceil(held / 8) * bits + held <= budget


def test_raw_samples_and_sums_take_their_bits():
    """Pixels of one bit; with 4 steps in a window, numbers up to 4: three bits each."""
    raw, sums = (SpikingRehearsal, 64, {}), (LatentReplay, 16, {"codec": "sums", "depth": 2})
    for kind, units, options in (raw, sums):
        learner, _ = learner_of(kind, ratio=4, **options)
        assert learner.footprint()["memory"] == 13 * (STEPS // 4 * units * 3) + 100


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({"memory_total": 50}, [25, 12]),
        ({"memory_total": 50, "memory_per_class": 7}, [7, 7]),
        ({"memory_total": 50, "memory_per_class": 7, "memory_bytes": 522}, [5, 2]),  # ten
    ],
)
def test_which_budget_goes_before_which(options, held):
    learner, stream = learner_of(tasks=0, depth=2, **options)
    for task in range(2):
        learn(learner, stream, task, task + 1)
        assert learner.memory.shares == [held[task]] * 2 * (task + 1)


# -- what is refused

ENOUGH = {"memory_bytes": 2 * 256 + 10, "depth": 2}  # ten labels, and two eights of 256 bits


@pytest.mark.parametrize(
    ("kind", "options", "scenario", "told"),
    [
        (LatentReplay, {"ratio": 3}, "class", "ratio = 3 .* 16 steps.* allowed: 1, 2, 4, 8, 16"),
        (LatentReplay, {"ratio": 32}, "class", "ratio = 32 .* allowed: 1, 2, 4, 8, 16"),
        (SpikingRehearsal, {"ratio": 5}, "class", "ratio = 5 "),
        (LatentReplay, {"depth": 3}, "class", r"depth = 3: .*\[24, 16\].* allowed: 0 to 2"),
        (LatentReplay, {"memory_total": 9}, "class", "memory_total = 9 .*each of the 10 classes"),
        (LatentReplay, {"memory_total": 9}, "domain", "= 9 .* 10 classes of all tasks"),
        (LatentReplay, ENOUGH | {"memory_bytes": 521}, "class", r"= 521 .*\(256 bits"),
        (SpikingRehearsal, {"memory_bytes": 2057}, "class", r"= 2057 .*\(1024 bits"),
        (LatentReplay, {"order": "mixed", "batch_size": 1}, "class", "batch_size = 1: "),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(kind, options, scenario, told):
    known = {k: v for k, v in (KEPT | options).items() if k in kind.Config.fields()}
    with pytest.raises(InputError, match=told):
        kind.check(kind.Config.parse(known), stream_of(scenario).info)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LatentReplay, {"ratio": 16}),
        (LatentReplay, {"depth": 2}),
        (LatentReplay, {"memory_total": 10}),
        (LatentReplay, {"memory_total": 1, "memory_per_class": 1}),
        (LatentReplay, ENOUGH),
        (LatentReplay, ENOUGH | {"memory_total": 1}),
        (SpikingRehearsal, {"memory_bytes": 2 * 1024 + 10}),
    ],
)
@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_what_just_fits_is_allowed(kind, options, scenario):
    known = {k: v for k, v in (KEPT | options).items() if k in kind.Config.fields()}
    config, info = kind.Config.parse(known), stream_of(scenario).info
    kind.check(config, info)
    assert kind.samples_per_class(config, info, 10) >= 1


@pytest.mark.parametrize("kind", [SpikingNaive, SpikingRehearsal, LatentReplay])
def test_a_stream_without_steps_is_refused(kind):
    pictures = STREAMS["split_digits"]
    info = pictures.describe("class", pictures.Options.parse({}))
    with pytest.raises(
        InputError, match=r"'split_digits' has no sequences in time, which .* needs"
    ):
        kind.check(kind.Config.parse({}), info)


# -- what it is for


LONGER = {
    "hidden": [64, 32],
    "pretrain_epochs": 8,
    "epochs": 6,
    "memory_total": 200,
    "order": "interleaved",
}


@functools.cache
def after_two(kind, **options):
    """Accuracies of each seed on two tasks of two digits, after both; chance is a quarter."""
    learner, stream = learner_of(kind, tasks=2, **LONGER, **options)
    return accuracies(learner, stream, 2)[:, :2]


@pytest.mark.parametrize(("depth", "ratio"), [(1, 1), (1, 4), (2, 1)])
def test_replay_keeps_what_training_without_it_forgets(depth, ratio):
    forgot, kept = after_two(SpikingNaive), after_two(LatentReplay, depth=depth, ratio=ratio)
    assert (forgot[:, 0] < 0.1).all()
    assert (forgot[:, 1] > 0.8).all()
    assert (kept[:, 0] > 0.7).all()
    assert (kept[:, 1] > 0.5).all()
