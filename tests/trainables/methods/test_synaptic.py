"""SynapticNet: what a task cannot forget, when it grows, and what masks with zeros do."""

from __future__ import annotations

import pytest
import torch

from trainables import InputError
from trainables.engine.evaluation import evaluate
from trainables.methods.synaptic import Synaptic
from trainables.streams.stream import PHASES
from trainables.testing import SEEDS, TASKS, accuracies, build, learn, make_stream

QUICK = {
    "network": "conv",
    "channels": [6, 6],
    "hidden": [16],
    "epochs": 4,
    "probe_epochs": 1,
    "batch_size": 16,
    "lr": 5e-3,
    "initial": "kaiming",
}
MODES = [{"mode": "isolated"}, {"mode": "cumulative"}]
GROWING = {"max_growths": 3, "threshold": 1.0, "min_gain": -1.0, "cap": 10.0, "growth": 0.25}


def learnt(last=TASKS, scenario="task", seeds=SEEDS, **options):
    """A learner after the first tasks, and its stream."""
    stream = make_stream(scenario, seeds)
    learner = build(Synaptic, QUICK | options, stream)
    learn(learner, stream, 0, last)
    return learner, stream


def logits_of(learner, stream, task):
    """The logits on the samples of a task, with and without the task told."""
    inputs, _ = stream.gather(stream.scored(task)[0], scored=True)
    with torch.no_grad():
        return learner.readout_logits(inputs, task)


def growths(options, last=2, seeds=SEEDS):
    """How often each seed grew in each task, [tasks, S]."""
    stream = make_stream("task", seeds)
    learner, rows = build(Synaptic, QUICK | options, stream), []
    for task in range(last):
        learn(learner, stream, task, task + 1)
        rows.append(learner.diagnose()["growths"][f"task {task + 1}"])
    return torch.stack(rows)


# -- what is not forgotten


@pytest.mark.parametrize("mode", MODES)
def test_logits_of_earlier_tasks_are_the_same_bits_after_growth_and_training(mode):
    learner, stream = learnt(2, **mode, **GROWING)
    before = [logits_of(learner, stream, task)["main"] for task in range(2)]
    learn(learner, stream, 2, TASKS)
    grown = learner.diagnose()["growths"]
    assert any(grown[f"task {number}"].any() for number in (3, 4, 5))
    for task, logits in enumerate(before):
        assert torch.equal(logits_of(learner, stream, task)["main"], logits)


@pytest.mark.parametrize("mode", MODES)
def test_the_accuracy_on_a_task_never_changes_after_it(mode):
    stream = make_stream("task")
    learner, rows = build(Synaptic, QUICK | mode | GROWING, stream), []
    for task in range(TASKS):
        learn(learner, stream, task, task + 1)
        rows.append(accuracies(learner, stream, task + 1))
    matrix = torch.stack(rows)
    for task in range(TASKS):
        assert (matrix[task:, :, task] == matrix[task, :, task]).all()
    assert matrix[-1].mean() > 0.9


def test_a_task_without_a_slice_is_answered_by_guessing():
    learner, stream = learnt(1)
    found = accuracies(learner, stream, 1)
    assert (found[:, 0] > 0.8).all()
    assert ((found[:, 1:] > 0.4) & (found[:, 1:] < 0.6)).all()


def test_the_best_epoch_counts_for_thawed_slices_too(monkeypatch):
    """With given accuracies of two tasks: the second epoch of each is the best."""
    told = iter([0.5, 0.6, 0.5, 0.5] * 2)
    weights = []

    def accuracy(self, task):
        weights.append([w.detach().clone() for w in self.network.parameters()])
        return torch.full((len(SEEDS),), next(told))

    monkeypatch.setattr(Synaptic, "accuracy_held_out", accuracy)
    learner, _ = learnt(2, mode="cumulative", thaw=0.5)
    assert all(map(torch.equal, learner.network.parameters(), weights[5]))


def test_isolated_slices_stay_frozen_whatever_the_thaw():
    found = [logits_of(*learnt(2, thaw=thaw), 0)["main"] for thaw in (0.0, 0.5)]
    assert torch.equal(*found)


def test_thawed_slices_change_and_distillation_keeps_their_logits():
    changes = []
    for weight in (0.0, 1.0):
        options = {"mode": "cumulative", "thaw": 0.3, "distillation": weight, "dropout": 0.0}
        learner, stream = learnt(1, **options)
        before = logits_of(learner, stream, 0)["main"].softmax(-1)
        learn(learner, stream, 1, 2)
        after = logits_of(learner, stream, 0)["main"].softmax(-1)
        changes.append((after - before).abs().mean().item())
    assert changes[0] > 2 * changes[1] > 0


# -- the leak of masks with zeros


@pytest.mark.parametrize(("outside", "right"), [("excluded", True), ("zero", False)])
def test_zeros_outside_a_slice_beat_negative_logits_once_there_is_another_task(outside, right):
    """The labels of the first task alone do not decide the level of its logits: lowered below
    zero, they answer the same, until a second task adds outputs whose masked logits are zero.
    """
    learner, stream = learnt(1, outside=outside)
    accuracy = accuracies(learner, stream, 1)[:, 0]
    with torch.no_grad():
        learner.network.slice_of(0)[-1].sub_(1000.0)
    assert torch.equal(accuracies(learner, stream, 1)[:, 0], accuracy)
    learn(learner, stream, 1, 2)
    after = accuracies(learner, stream, 2)[:, 0]
    assert torch.equal(after, accuracy) if right else not after.any()


def test_training_with_zeros_competes_with_the_outputs_of_earlier_tasks():
    """The loss of a slice then depends on the level of its logits, which -inf leaves free."""
    for outside, depends in (("zero", True), ("excluded", False)):
        learner, stream = learnt(2, outside=outside, dropout=0.0)
        batch = next(stream.task(1).batches(1, 8))
        losses = []
        for _ in range(2):
            inputs = learner.encode(batch.inputs)
            logits = learner.among_all(learner.network(inputs, 1, 2), 1).detach()
            losses.append(torch.logsumexp(logits, -1) - logits.amax(-1))
            with torch.no_grad():
                learner.network.slice_of(1)[-1].add_(3.0)
        assert torch.allclose(losses[0], losses[1], atol=1e-5) is not depends


# -- growth


def test_threshold_0_never_grows_and_1_grows_up_to_the_largest_number():
    none = growths(GROWING | {"threshold": 0.0, "lr": 0.0})
    assert not none.any()
    all_grow = growths(GROWING | {"lr": 0.0})  # no seed is perfect without learning
    assert (all_grow == GROWING["max_growths"]).all()


def test_growth_stops_at_the_cap():
    options = GROWING | {"lr": 0.0, "cap": 1.7}
    learner, _ = learnt(1, **options)
    network, first = learner.network, torch.tensor([[6, 6, 16, 2]])
    allowed = 1.7 * network.count(first, first)
    assert (network.count_used() <= allowed).all()
    larger = network.units[0] + torch.tensor([2, 2, 4, 0])
    assert (network.count(larger, larger) > allowed).all()
    assert 0 < growths(options, 1).max() < GROWING["max_growths"]


def test_the_cap_does_not_count_what_a_slice_reads_of_others():
    grown = growths(GROWING | {"lr": 0.0, "mode": "cumulative", "cap": 6.0}, TASKS)
    assert (grown == GROWING["max_growths"]).all()


def test_growths_are_monotone_in_the_threshold():
    levels = (0.0, 0.3, 0.6, 0.7, 0.8, 1.0)
    slow = GROWING | {"lr": 2e-4}
    found = torch.stack([growths(slow | {"threshold": level}, 1) for level in levels])
    assert (found.diff(dim=0) >= 0).all()
    assert len(found.unique()) > 2


def test_a_growth_that_does_not_pay_is_the_last():
    """Labels at random cannot be learnt, however large the network."""
    stream = make_stream("task")
    labels = stream.labels[0]
    rows = torch.cat([stream.pools_learnt[0], stream.pools_learnt[1]])
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    labels[rows] = labels[rows[drawn]]
    options = GROWING | {"max_growths": 50, "epochs": 60, "min_gain": 0.05}
    learner = build(Synaptic, QUICK | options, stream)
    learn(learner, stream, 0, 1)
    grown = learner.diagnose()["growths"]["task 1"]
    assert ((grown >= 1) & (grown <= 8)).all()
    asked = learner.grew_at[0]
    for row, count in zip(asked, grown.int().tolist(), strict=True):
        assert (row[:count] >= 0).all()
        assert (row[count:] == -1).all()
        assert (row[:count].diff() >= 0.05 - 1e-6).all()


def test_the_units_are_those_of_the_growths():
    learner, _ = learnt(2, later_sizes=[0.5], **GROWING | {"threshold": 0.9})
    grown, rows = learner.diagnose()["growths"]["task 2"], learner.network.units[1]
    first = torch.tensor([3, 3, 8, 2])
    step = torch.tensor([2, 2, 4, 0])
    assert torch.equal(rows, first + grown.long().unsqueeze(1) * step)
    units = learner.diagnose()["units"]
    assert list(units) == ["convolution 1", "convolution 2", "dense 1"]
    total = sum(learner.network.units)
    assert torch.equal(torch.stack([*units.values()], 1).long(), total[:, :3])


@pytest.mark.parametrize("mode", MODES)
def test_seeds_that_grow_differently_equal_themselves_alone(mode):
    options = mode | GROWING | {"threshold": 0.7, "lr": 2e-4}
    stacked, stream = learnt(3, **options)
    assert len({tuple(row) for units in stacked.network.units for row in units.tolist()}) > 1
    assert stacked.network.units[0][:, 0].unique().numel() > 1
    for place, seed in enumerate(SEEDS):
        alone, own = learnt(3, seeds=(seed,), **options)
        for task in range(3):
            assert torch.equal(alone.network.units[task][0], stacked.network.units[task][place])
            for name, mine in logits_of(alone, own, task).items():
                theirs = logits_of(stacked, stream, task)[name][place]
                torch.testing.assert_close(mine[0], theirs, rtol=1e-3, atol=1e-4)
        bytes_alone = alone.footprint()["parameters"]
        assert bytes_alone == stacked.footprint()["parameters"][place : place + 1]


def test_the_best_weights_since_the_last_growth_are_kept(monkeypatch):
    """With given accuracies: growth after the first epoch, then the third epoch is the best."""
    told = iter([0.6, 0.7, 0.8, 0.7])
    weights = []

    def accuracy(self, task):
        weights.append([w.detach().clone() for w in self.network.slice_of(task.id)])
        return torch.full((len(SEEDS),), next(told))

    monkeypatch.setattr(Synaptic, "accuracy_held_out", accuracy)
    learner, _ = learnt(1, **GROWING | {"max_growths": 1})
    asked = learner.diagnose()["grew_at"]
    assert list(asked) == ["task 1, growth 1"]
    assert asked["task 1, growth 1"].tolist() == pytest.approx([0.6] * len(SEEDS))
    kept = learner.network.slice_of(0)
    assert all(map(torch.equal, kept, weights[2]))
    assert kept[0].shape[1] == weights[0][0].shape[1] + 2


def test_without_samples_held_out_the_last_epoch_counts_and_all_samples_are_learnt():
    seen = []
    for share in (0.0, 0.1):
        learner, stream = learnt(0, held_out=share)
        task = stream.task(0)
        learner.learn(task)
        seen.append(task.size)
    assert seen[0] == stream.task(0).size > seen[1]


# -- samples held out


def test_a_task_of_classes_of_one_sample_has_nothing_to_hold_out():
    stream = make_stream("task", samples_per_task=2)
    learner = build(Synaptic, QUICK, stream)
    with pytest.raises(InputError, match=r"no class has two samples.*samples_per_task"):
        learn(learner, stream, 0, 1)


def test_a_class_alone_in_its_task_is_refused_where_slices_compete():
    stream = make_stream("class")
    task, learner = stream.task(0), build(Synaptic, QUICK, stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(task), "classes", 1)
        with pytest.raises(InputError, match="one class has no other answer"):
            learner.learn(task)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("share", [0.1, 0.25])
def test_samples_held_out_are_the_last_of_each_class_and_never_learnt(phase, share):
    stream = make_stream("task", phase=phase)
    for index in range(stream.tasks):
        task, whole = stream.task(index), stream.learnt_by_class(index)
        task.hold_out(share)
        learnt_rows = torch.cat([*task._orders(1, 16)], 1)
        for seed, classes in enumerate(whole):
            held = set(task._held_out[seed].tolist())
            for rows in classes.values():
                count = int(len(rows) * share)
                assert set(rows[len(rows) - count :].tolist()) <= held
            assert len(held) == sum(int(len(rows) * share) for rows in classes.values())
            rest = {row for rows in classes.values() for row in rows.tolist()} - held
            assert set(learnt_rows[seed].tolist()) == rest
        counted = sum(is_valid.sum(1) for _, is_valid in task.held_out(7))
        assert counted.tolist() == [len(rows) for rows in task._held_out]


# -- the most confident slice


@pytest.mark.parametrize("mode", MODES)
def test_without_the_task_the_most_confident_slice_answers(mode):
    learner, stream = learnt(3, "class", **mode)
    inputs, _ = stream.gather(stream.scored(1)[0], scored=True)
    with torch.no_grad():
        answers = learner.readout_logits(inputs, None)
        encoded = learner.encode(inputs)
        parts = [learner.network(encoded, task, task + 1).softmax(-1) for task in range(3)]
    best = torch.stack([part.amax(-1) for part in parts]).argmax(0)
    within = torch.stack([part.argmax(-1) for part in parts])
    expected = within.gather(0, best.unsqueeze(0))[0] + 2 * best
    assert torch.equal(answers["main"].argmax(-1), expected)
    assert torch.equal(answers["confident"], answers["main"])


def test_in_the_task_scenario_the_confident_slice_is_scored_among_all_classes_seen():
    learner, stream = learnt(3)
    counts = evaluate(learner, stream, 3).counts
    assert not counts["main"][:, 0, :, 2:].any()
    assert counts["confident"][:, 0, :, 2:].any()
    assert not counts["confident"][:, 0, :, 6:].any()


# -- configurations


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"network": "resnet18", "channels": [4]}, "synaptic needs 'conv' or 'mlp'"),
        ({"norm": "batch"}, "norm = 'batch': synaptic needs 'none'"),
        ({"pooling": "average"}, "pooling = 'average': synaptic needs 'max'"),
        ({"layer_norm": True}, "layer_norm = True"),
        ({"later_sizes": []}, "later_sizes = \\[\\]"),
        ({"later_sizes": [1.0, 0.0]}, "later_sizes = 0 needs mode = 'cumulative'"),
        ({"later_sizes": ["big"]}, "later_sizes = .* is not a list of numbers"),
        ({"max_growths": 1, "held_out": 0.0}, "max_growths = 1 needs samples"),
        (
            {"network": "mlp", "channels": None, "hidden": [], "max_growths": 1},
            "hidden = \\[\\] has nothing to grow",
        ),
    ],
)
def test_configurations_that_cannot_be_are_refused(options, problem):
    with pytest.raises(InputError, match=problem):
        build(Synaptic, QUICK | options, make_stream("task"))


def test_sizes_of_slices_may_be_given_for_each_task():
    learner, _ = learnt(4, later_sizes=[2, 0.5], lr=0.0, epochs=1, size=0.5)
    rows = [units[0].tolist()[:3] for units in learner.network.units]
    assert rows == [[3, 3, 8], [6, 6, 16], [2, 2, 4], [2, 2, 4]]
