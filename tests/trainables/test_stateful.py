"""What outlives a task: saved, restored and counted as it is named, whatever it is."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables import InputError
from trainables.rng import Draws
from trainables.stateful import Stateful
from trainables.testing import assert_same_state

CPU = torch.device("cpu")
STACK = 2
numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
tensors = st.integers(0, 3).map(lambda size: torch.arange(STACK * size).view(STACK, size))
values = st.recursive(
    numbers | tensors,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=8,
)


class Holder(Stateful):
    """Holds one value of past data."""

    def __init__(self, value, device=CPU):
        super().__init__(STACK, device)
        self.value = value
        self.keep("value", kind="memory")


class Whole(Stateful):
    """One of everything that a method may keep."""

    def __init__(self):
        super().__init__(STACK, CPU)
        self.network = nn.Linear(3, 2)
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        self.draws = Draws((3, 5), "state", CPU)
        self.part = Holder(torch.zeros(STACK, 4))
        self.teacher: dict[str, torch.Tensor] = {}  # none at first
        self.optional = None
        self.passing = torch.zeros(STACK, 7)  # of a step
        self.keep("network", "optimiser", "draws", "part", "teacher", "optional")

    def step(self):
        """Change everything that is kept."""
        self.optimiser.zero_grad()
        self.network(torch.ones(1, 3)).sum().backward()
        self.optimiser.step()
        self.draws.uniform(5)
        self.part.value = torch.cat([self.part.value, torch.ones(STACK, 1)], 1)
        self.teacher = {n: w.detach().clone() for n, w in self.network.named_parameters()}
        self.optional = torch.full((STACK, 1), 3.0)


def saved(holder):
    """A state as it comes back from a file."""
    buffer = io.BytesIO()
    torch.save(holder.state(), buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


@given(values)
def test_any_value_comes_back_as_it_was(value):
    other = Holder(None)
    other.load(saved(Holder(value)))
    assert_same_state({"value": other.value}, {"value": value})


def test_a_fresh_object_goes_on_as_the_saved_one():
    one, other = Whole(), Whole()
    one.step()
    other.load(saved(one))
    assert_same_state(other.state(), one.state())
    assert other.footprint() == one.footprint()
    for each in (one, other):
        each.step()
    assert_same_state(other.state(), one.state())
    assert torch.equal(other.draws.uniform(3), one.draws.uniform(3))


def test_what_is_replaced_in_place_stays_the_object_that_others_hold():
    """Dropout draws from the learner's numbers; an optimiser moves the network's weights."""
    one = Whole()
    network, optimiser, draws, part = one.network, one.optimiser, one.draws, one.part
    one.load(saved(Whole()))
    assert (one.network, one.optimiser, one.draws, one.part) == (network, optimiser, draws, part)


def test_what_is_restored_is_a_copy():
    one, other = Holder({"a": [torch.zeros(STACK, 2)]}), Holder({})
    other.load(one.state())
    other.value["a"][0] += 1
    other.value["b"] = 3
    assert one.value["a"][0].sum() == 0
    assert set(one.value) == {"a"}


def test_what_is_restored_goes_to_the_device_of_what_holds_it():
    """Another one than that of the state; a part may be elsewhere than the whole."""
    whole = Holder(Holder(None), "meta")
    whole.aside = {}
    whole.keep("aside")
    whole.load({"value": {"value": torch.zeros(STACK)}, "aside": {"a": torch.zeros(STACK)}})
    assert whole.aside["a"].device.type == "meta"
    assert whole.value.value.device.type == "cpu"


def test_bytes_by_hand():
    """Of one seed: floats of 4 bytes; nothing for an optimiser, numbers and what is not kept."""
    whole = Whole()
    weights = 4 * (3 * 2 + 2) // STACK
    assert whole.footprint() == {"parameters": weights, "memory": 16, "auxiliary": 0}
    whole.step()
    assert whole.footprint() == {"parameters": weights, "memory": 20, "auxiliary": weights + 4}


@given(values)
def test_bytes_are_those_of_the_tensors(value):
    def count(value):
        if isinstance(value, torch.Tensor):
            return value.nbytes
        parts = value.values() if isinstance(value, dict) else value
        return sum(map(count, parts)) if isinstance(value, list | tuple | dict) else 0

    expected = {"parameters": 0, "memory": count(value) // STACK, "auxiliary": 0}
    assert Holder(value).footprint() == expected


def test_a_state_that_lacks_a_part_is_refused():
    """A trial then takes an older checkpoint."""
    state = saved(Whole())
    del state["teacher"]
    with pytest.raises(KeyError):
        Whole().load(state)


def test_a_name_that_is_misspelled_is_refused_at_once():
    with pytest.raises(AttributeError, match="valeu"):
        Holder(None).keep("valeu")


def test_a_kind_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"Holder\.keep: unknown kind 'memry'.*'memory'"):
        Holder(None).keep("value", kind="memry")
