"""What breaks a learner's contract ends its trial, by a sentence that names class and method."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables import LEARNERS, InputError, Learner, Map
from trainables.contract import check_logits, check_losses, misdeclared
from trainables.engine.assignment import Assignment
from trainables.engine.course import Course
from trainables.engine.trial import Trial
from trainables.learner import cross_entropies
from trainables.methods.finetune import Finetune
from trainables.methods.replay import Replay

STACKS = ((11,), (11, 12))  # alone a seed is refused as in company
WORK = Assignment(
    learner="mine",
    configuration={"hidden": [8], "epochs": 1, "batch_size": 64},
    stream="split_digits",
    scenario="class",
    options={},
    phase="tune",
    seeds=(11, 12),
)


@pytest.fixture
def course(digits, monkeypatch):
    """Make the course of a class whose methods are those of another, or some in their place."""

    def course(seeds=STACKS[-1], base=Finetune, scenario="class", work=WORK, **own):
        kind = type("Mine", (base,), {"name": "mine"} | own)
        monkeypatch.setitem(LEARNERS, "mine", kind)
        return Course(replace(work, scenario=scenario), seeds, digits)

    return course


def refused(course, told):
    """Learn the first task, which is to be refused by these words, in one line."""
    with pytest.raises(InputError, match=told) as caught:
        course.advance()
    assert "\n" not in str(caught.value)


def samples_losses(learner, batch):
    """Cross-entropy of each sample, [S, B]."""
    return cross_entropies(learner.logits(batch.inputs), batch.labels)


# -- losses

ONE_A_SEED = r"shape \[{0}\], one per seed: average over the samples of a seed.* never over seeds"

# what observe returns -> how it is described
RETURNED = {
    "mean over seeds": (lambda found: found.mean(), r"a tensor of shape \[\]"),
    "of each sample": (lambda found: found[:, None].repeat(1, 64), r"a tensor of shape \[., 64\]"),
    "with an axis left": (lambda found: found[:, None], r"a tensor of shape \[., 1\]"),
    "whole numbers": (lambda found: found.long(), r"a tensor of shape \[.\] of torch\.int64"),
    "a number": (lambda found: 0.5, r"0\.5"),
    "nothing": (lambda found: None, "None"),
    "an array": (lambda found: found.numpy(), "a value of type ndarray"),
}


@pytest.mark.parametrize("seeds", STACKS, ids=len)
@pytest.mark.parametrize("case", RETURNED)
def test_losses_that_are_not_one_number_a_seed_are_refused_at_the_first_step(case, seeds, course):
    change, shown = RETURNED[case]
    steps = []

    def observe(self, batch):
        steps.append(batch)
        return change(Finetune.observe(self, batch))

    told = rf"^Mine\.observe returned {shown}; losses are .*" + ONE_A_SEED.format(len(seeds))
    refused(course(seeds, observe=observe), told)
    assert len(steps) == 1


@pytest.mark.parametrize("seeds", STACKS, ids=len)
@pytest.mark.parametrize(
    ("average", "shown"),
    [
        (lambda losses: losses.mean(), r"\[\]"),
        (lambda losses: losses, r"\[., 64\]"),
        (lambda losses: losses.mean(0), r"\[64\]"),
    ],
)
def test_a_step_down_what_is_not_one_loss_a_seed_is_refused(average, shown, seeds, course):
    """It would change the weights of a seed by its company, whatever is returned then."""

    def observe(self, batch):
        self.descend(average(samples_losses(self, batch)))
        return torch.zeros(len(self.seeds))

    told = rf"^Mine\.descend was given a tensor of shape {shown}; losses are .*"
    refused(course(seeds, observe=observe), told + ONE_A_SEED.format(len(seeds)))


def test_a_loop_of_ones_own_is_held_to_it_too(course):
    def learn(self, task):
        for batch in task.batches(1, 64):
            self.losses += self.descend(samples_losses(self, batch).mean())

    refused(course(learn=learn), r"^Mine\.descend was given a tensor of shape \[\]")


def test_losses_keep_their_shape_whatever_a_loop_of_ones_own_makes_of_them(course):
    def learn(self, task):
        Finetune.learn(self, task)
        self.losses = self.losses.sum()

    refused(
        course(learn=learn),
        r"^Mine\.learn set `losses` to a tensor of shape \[\]; losses are .*\[2\]",
    )


def test_losses_with_their_graph_are_refused(course):
    def observe(self, batch):
        loss = samples_losses(self, batch).mean(1)
        self.optimiser.zero_grad()
        loss.sum().backward()
        self.optimiser.step()
        return loss

    refused(course(observe=observe), r"^Mine\.observe returned losses attached to .*detach\(\)")


@pytest.mark.parametrize("count", [math.nan, 12.5, -1, torch.tensor(640), True], ids=str)
def test_samples_trained_on_are_counted_in_whole_numbers(count, course):
    def end_task(self, task):
        self.trained = count

    refused(course(end_task=end_task), r"^Mine\.learn set `trained` to .*; `trained` counts")


@given(st.lists(st.integers(0, 4), max_size=3), st.integers(1, 4))
def test_only_one_loss_a_seed_is_accepted(shape, stack):
    learner = Fake(stack)
    if shape == [stack]:
        check_losses(learner, torch.zeros(shape), "observe returned")
        return
    with pytest.raises(InputError, match=rf"Fake\.observe returned .*{re.escape(str(shape))};"):
        check_losses(learner, torch.zeros(shape), "observe returned")


# -- answers


class Fake:
    """Stands in for a learner."""

    readouts = ("main",)

    def __init__(self, stack):
        self.seeds = tuple(range(stack))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.booleans())
def test_only_logits_of_seeds_samples_and_outputs_are_accepted(shape, whole):
    inputs, logits = torch.zeros(2, 3, 5, dtype=torch.uint8), torch.zeros(shape)
    answers = {"main": logits.int() if whole else logits}
    if shape == [2, 3, 3] and not whole:
        check_logits(Fake(2), answers, inputs, 3)
        return
    with pytest.raises(InputError, match=r"^Fake\.predict returned .* \[2, 3, 3\]: seeds, samples"):
        check_logits(Fake(2), answers, inputs, 3)


PREDICTED = {
    "of one seed": (lambda logits: logits[0], r"a tensor of shape \[\d+, 10\]"),
    "an output more": (
        lambda logits: torch.cat([logits, logits[..., :1]], 2),
        r"a tensor of shape \[., \d+, 11\]",
    ),
    "an output less": (lambda logits: logits[..., 1:], r"a tensor of shape \[., \d+, 9\]"),
    "samples first": (lambda logits: logits.transpose(0, 1), r"a tensor of shape \[\d+, ., 10\]"),
    "classes": (lambda logits: logits.argmax(-1), r"a tensor of shape \[., \d+\] of torch\.int64"),
    "an array": (lambda logits: logits.numpy(), "a value of type ndarray"),
}


@pytest.mark.parametrize("scenario", ["task", "class", "task_free"])
@pytest.mark.parametrize("seeds", STACKS, ids=len)
@pytest.mark.parametrize("case", PREDICTED)
def test_predictions_of_a_wrong_shape_are_refused_when_first_asked_for(
    case, seeds, scenario, course
):
    """Before the first step; in the class scenario, where nothing is tested then, after a task."""
    change, shown = PREDICTED[case]

    def predict(self, inputs, task_id):
        return change(Finetune.predict(self, inputs, task_id))

    told = rf"^Mine\.predict returned {shown}; logits are .* shape \[{len(seeds)}, \d+, 10\]"
    found = course(seeds, scenario=scenario, predict=predict)
    refused(found, told)
    assert bool(found.learner.trained) == (scenario == "class")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("slow",), "a dictionary of slow; .*readouts`: slow, fast"),
        (("slow", "fast", "best"), "a dictionary of slow, fast, best; .*: slow, fast"),
        (("slow", "quick"), "a dictionary of slow, quick; "),
        ((), "a dictionary of nothing; "),
        (None, "None; required is a dictionary"),
    ],
    ids=str,
)
def test_readouts_are_those_that_the_class_names(given, told, course):
    def readout_logits(self, inputs, task_id):
        logits = self.predict(inputs, task_id)
        return None if given is None else dict.fromkeys(given, logits)

    own = {"readouts": ("slow", "fast"), "readout_logits": readout_logits}
    refused(course(**own), rf"^Mine\.readout_logits returned {told}")


def test_logits_of_any_readout_have_their_shape(course):
    def readout_logits(self, inputs, task_id):
        logits = self.predict(inputs, task_id)
        return {"slow": logits, "fast": logits[0]}

    own = {"readouts": ("slow", "fast"), "readout_logits": readout_logits}
    refused(course(**own), r"^Mine\.readout_logits, for 'fast', returned .* \[\d+, 10\]; logits")


# -- what is held


BYTES = {"parameters": 100, "memory": 0, "auxiliary": 7}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (BYTES | {"memory": -1}, "-1 for 'memory'; bytes are whole numbers, 0 or more"),
        (BYTES | {"memory": math.nan}, "nan for 'memory'; bytes"),
        (BYTES | {"parameters": 100.0}, "100.0 for 'parameters'; bytes"),
        (BYTES | {"auxiliary": True}, "True for 'auxiliary'; bytes"),
        (BYTES | {"auxiliary": None}, "None for 'auxiliary'; bytes"),
        (BYTES | {"memory": torch.tensor(4)}, r"a tensor of shape \[\] of torch.int64 for 'mem"),
        ({"parameters": 100, "memory": 0}, "a dictionary of parameters, memory; .*, auxiliary"),
        (BYTES | {"buffers": 9}, "a dictionary of parameters, memory, auxiliary, buffers; "),
        (107, "107; required is a dictionary"),
    ],
    ids=str,
)
def test_a_footprint_is_whole_numbers_of_bytes_of_each_kind(found, told, course):
    refused(course(footprint=lambda self: found), rf"^Mine\.footprint returned {told}")


def test_numbers_of_numpy_are_bytes_too(course):
    found = course(footprint=lambda self: {name: np.int64(n) for name, n in BYTES.items()})
    found.advance()
    assert (found.outcome().footprint["auxiliary"] == 7).all()


def test_a_budget_that_is_not_kept_is_found(course):
    """Beside the samples that fill its budget it keeps a mean image."""

    def footprint(self):
        held = Replay.footprint(self)
        return held | {"memory": held["memory"] + 256}

    work = replace(WORK, configuration=WORK.configuration | {"memory_bytes": 1000})
    own = {"base": Replay, "work": work}
    course(**own).advance()
    told = (
        r"^Mine\.footprint returned 1231 bytes of memory, above the budget of memory_bytes = 1000"
    )
    refused(course(**own, footprint=footprint), told)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"rows": np.zeros(3)}, "a value of type ndarray as 'rows', which a checkpoint"),
        ({"past": [{"mean": np.float64(1)}]}, "a value of type float64 as 'past/0/mean'"),
        ({"task": Map("title", "", "row", "column")}, "a value of type Map as 'task'"),
        ([torch.zeros(2)], "a value of type list; required is a dictionary"),
    ],
    ids=str,
)
def test_a_state_that_cannot_be_loaded_is_refused(found, told, course):
    """A checkpoint would be written and left aside, and the trial begin again."""
    refused(course(state=lambda self: found), rf"^Mine\.state returned {told}")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, r"^Mine\.diagnose returned None; required is a dictionary"),
        ({"spikes": torch.ones(2)}, r"^Mine\.diagnose returned a dictionary of spikes; required"),
        ({"spikes": {"all": 3.5}}, r"'spikes: all' of mine: 3\.5; required is \[2\]"),
        ({"spikes": {"all": np.ones(2)}}, "of mine: a value of type ndarray; required is"),
    ],
    ids=str,
)
def test_a_diagnosis_is_tensors_by_name_and_label(found, told, course):
    refused(course(diagnose=lambda self: found), told)


@pytest.mark.parametrize("found", [None, {"weight": np.ones((2, 3))}, {"weight": 1.0}], ids=str)
def test_a_foundation_is_tensors_by_name(found, course):
    first = course(foundation=lambda self: found)
    first.advance()
    with pytest.raises(InputError, match=r"foundation .*of mine: (empty|a value of type|1\.0)"):
        first.foundation()


# -- a whole trial


@pytest.mark.parametrize("stack", [1, 2])
def test_a_trial_fails_with_the_sentence_as_its_reason(stack, digits, tmp_path, monkeypatch):
    class Pooled(Finetune):
        name = "pooled"

        def observe(self, batch):
            return self.descend(samples_losses(self, batch).mean())

    monkeypatch.setitem(LEARNERS, "pooled", Pooled)
    work = asdict(replace(WORK, learner="pooled"))
    settings = {"work": work, "name": "one", "stack": stack, "storage": tmp_path}
    trial = Trial.__new__(Trial)
    trial.setup(settings | {"objectives": ["average_accuracy"], "data": [digits]})
    result = trial.step()
    assert result["done"]
    assert math.isnan(result["score"])
    assert result["reason"] == (
        "InputError: Pooled.descend was given a tensor of shape []; losses are floating-point "
        f"numbers of shape [{stack}], one per seed: average over the samples of a seed, as in "
        "losses.mean(1), never over seeds."
    )


# -- what a class declares


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"scenarios": "class"}, "scenarios = 'class' is not a tuple of names"),
        ({"scenarios": ()}, "scenarios = () is not a tuple of names"),
        (
            {"scenarios": ("classes",)},
            "scenarios: unknown scenario 'classes'. Did you mean 'class'",
        ),
        ({"readouts": "main"}, "readouts = 'main' is not a tuple of names"),
        ({"readouts": ()}, "readouts = () is not"),
        ({"version": "2"}, "version = '2' is not a whole number"),
        ({"max_stack": 0}, "max_stack = 0 is neither None nor at least 1"),
        ({"Config": dict}, "Config is not a subclass of trainables.options.Options"),
    ],
    ids=str,
)
def test_what_a_class_declares_is_looked_at(own, told):
    assert misdeclared(type("Mine", (Finetune,), own)).startswith(f"Mine.{told}")


def test_a_class_without_a_step_is_no_learner():
    kind = type("Mine", (Learner,), {"name": "mine"})
    assert misdeclared(kind) == "Mine does not define observe"


@pytest.mark.parametrize("name", LEARNERS)
def test_our_classes_declare_what_they_should(name):
    assert not misdeclared(LEARNERS[name])
