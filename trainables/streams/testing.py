"""The conformance suite of streams: what every stream keeps to, as tests to inherit.

A package that adds a stream has a test module such as this one, and pytest runs the suite::

    from my_package import MyStream
    from trainables.streams.testing import StreamConformance

    class TestMyStream(StreamConformance):
        stream = MyStream
        options = {"tasks": 3}

Every scenario that the stream declares is tested in both phases, on a few made-up samples of each
class. A stream of other data than images and features overrides ``data``. The suite needs pytest.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from trainables.contract import misdeclared_stream
from trainables.streams.datasets import Split
from trainables.streams.stream import PHASES, Batch, Stream

SEEDS = (0, 1, 5)
BATCH = 4
SAMPLES = {"train": 12, "test": 3}  # of each class


class StreamConformance:
    """Checks that a stream's test class inherits.

    Attributes:
        stream: the class under test.
        options: options of the stream that make it small.
    """

    stream: ClassVar[type[Stream]]
    options: ClassVar[dict[str, Any]] = {}

    # -- tools

    @classmethod
    @functools.cache
    def data(cls) -> dict[str, Split]:
        """Return made-up data in the format of the stream's data set."""
        data_set = cls.stream.data_set(cls.chosen())
        kind = cls.stream.describe(cls.stream.scenarios[0], cls.chosen()).dtype
        found, draws = {}, np.random.default_rng(0)
        for split, count in SAMPLES.items():
            labels = draws.permutation(np.arange(data_set.classes).repeat(count))
            images = draws.integers(0, 256, (len(labels), *data_set.shape))
            dtype = np.uint8 if kind == torch.uint8 else np.float32
            found[split] = {"images": images.astype(dtype), "labels": labels.astype(np.uint8)}
        return found

    @classmethod
    def chosen(cls) -> Any:
        return cls.stream.Options.parse(cls.options)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for name, values in (("scenario", self.stream.scenarios), ("phase", PHASES)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values)

    def make(self, scenario: str, phase: str = "confirm", seeds: Sequence[int] = SEEDS) -> Stream:
        """Return the stream, with the data that the phase may read."""
        data = self.data()
        given = data if phase == "confirm" else {"train": data["train"]}
        return self.stream(given, scenario, seeds, phase, self.chosen())

    def batches(self, stream: Stream, index: int, epochs: int = 1) -> list[Batch]:
        return list(stream.task(index).batches(epochs, BATCH))

    # -- what is declared

    def test_attributes_are_declared(self) -> None:
        assert not misdeclared_stream(self.stream)

    def test_options_survive_the_way_to_another_process(self) -> None:
        plain = json.loads(json.dumps(self.chosen().plain()))
        assert self.stream.Options.parse(plain).plain() == self.chosen().plain()

    def test_facts_are_known_without_data_and_hold(self, scenario: str, phase: str) -> None:
        info = self.stream.describe(scenario, self.chosen())
        found = self.make(scenario, phase)
        assert found.info == info
        assert info.tasks == (None if scenario == "task_free" else found.tasks)
        assert found.tasks == self.stream.length(self.chosen())
        batch = self.batches(found, 0)[0]
        assert batch.inputs.shape == (len(SEEDS), BATCH, info.inputs)
        assert batch.inputs.dtype == info.dtype
        assert 0 < self.stream.chance(scenario, self.chosen()) <= 1
        assert 0 < info.sample_bytes <= info.held_bytes

    def test_units_are_known_without_data(self) -> None:
        units = [self.stream.unit_of(seed, self.chosen()) for seed in range(50)]
        if self.stream.unit(self.chosen()) == "seed":
            assert units == list(range(50))
        assert all(isinstance(unit, int) and unit >= 0 for unit in units)

    # -- what is learnt

    def test_labels_are_outputs_of_their_task(self, scenario: str, phase: str) -> None:
        stream = self.make(scenario, phase)
        for index in range(stream.tasks):
            seen = torch.cat([batch.labels for batch in self.batches(stream, index)], 1)
            scored = stream.gather(stream.scored(index)[0], scored=True)[1]
            own = stream.scenario.outputs_of(index).squeeze(1)
            for labels in (seen, scored):
                assert labels.min() >= 0
                assert labels.max() < stream.info.outputs
                assert own.gather(1, labels).all()

    def test_every_sample_of_a_task_is_learnt_in_an_epoch(self, scenario: str, phase: str) -> None:
        stream = self.make(scenario, phase)
        for index in range(stream.tasks):
            orders = torch.cat(list(stream.task(index)._orders(1, BATCH)), 1)
            for row, classes in zip(orders, stream.learnt_by_class(index), strict=True):
                samples = set(torch.cat(list(classes.values())).tolist())
                assert set(row.tolist()) == samples

    def test_all_seeds_take_equally_many_steps(self, scenario: str, phase: str) -> None:
        stream = self.make(scenario, phase)
        alone = [self.make(scenario, phase, [seed]) for seed in SEEDS]
        for index in range(stream.tasks):
            sizes = {one.task(index).size for one in alone}
            assert sizes == {stream.task(index).size}

    def test_the_same_seeds_give_the_same_batches(self, scenario: str) -> None:
        one, other = self.make(scenario), self.make(scenario)
        for index in range(one.tasks):
            assert_same(self.batches(one, index, 2), self.batches(other, index, 2))

    def test_a_seed_is_independent_of_its_stack(self, scenario: str) -> None:
        stack = self.make(scenario)
        for place, seed in enumerate(SEEDS):
            alone = self.make(scenario, seeds=[seed])
            for index in range(stack.tasks):
                own = [
                    Batch(b.inputs[place, None], b.labels[place, None], b.task)
                    for b in self.batches(stack, index)
                ]
                assert_same(own, self.batches(alone, index))

    def test_no_global_random_numbers_are_drawn(self, scenario: str) -> None:
        stream = self.make(scenario)
        before = (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())
        self.batches(stream, 0)
        after = (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())
        assert before == after

    # -- what is scored

    def test_nothing_is_scored_that_was_learnt(self, scenario: str) -> None:
        stream = self.make(scenario, "tune")
        for place in range(len(SEEDS)):
            learnt, scored = (
                {
                    row
                    for index in range(stream.tasks)
                    for rows in stream.members(pools, index)[place].values()
                    for row in rows.tolist()
                }
                for pools in (stream.pools_learnt, stream.pools_scored)
            )
            assert not learnt & scored

    def test_every_class_of_a_task_is_learnt_and_scored(self, scenario: str, phase: str) -> None:
        stream = self.make(scenario, phase)
        for index in range(stream.tasks):
            smallest = stream.smallest_class_of(index)
            assert 0 < stream.smallest_class <= smallest
            for learnt, scored in zip(
                stream.learnt_by_class(index),
                stream.members(stream.pools_scored, index),
                strict=True,
            ):
                assert list(learnt) == list(scored)
                assert min(map(len, learnt.values())) >= smallest
                assert min(map(len, scored.values())) > 0

    # -- the data

    def test_prepared_data_are_returned_unchanged(self) -> None:
        prepared = self.stream.prepare(self.data(), self.chosen())
        again = self.stream.prepare(prepared, self.chosen())
        for split, arrays in prepared.items():
            assert arrays.keys() == again[split].keys()
            for name, array in arrays.items():
                assert np.array_equal(array, again[split][name])


def assert_same(one: Sequence[Batch], other: Sequence[Batch]) -> None:
    """Compare two sequences of batches bit for bit."""
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine.inputs, theirs.inputs)
        assert torch.equal(mine.labels, theirs.labels)
