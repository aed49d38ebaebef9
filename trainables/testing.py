"""The conformance suite: what every learner keeps to, whatever its method, as tests to inherit.

A package that adds a learner has a test module such as this one, and pytest runs the suite::

    from my_package import MyLearner
    from trainables.testing import LearnerConformance

    class TestMyLearner(LearnerConformance):
        learner = MyLearner
        options = {"hidden": [32], "epochs": 2, "batch_size": 6, "lr": 5e-3}
        forgets = True  # no claim to remember classes without old data

The options are those that let the method learn ``split_digits`` in a second or two: real data,
bundled with scikit-learn. Every scenario that the learner declares is tested, with a stack of three
seeds. The suite needs pytest.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import math
import multiprocessing
import random
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables import STREAMS, InputError, Learner, contract, find_learner
from trainables.engine.evaluation import evaluate
from trainables.methods.finetune import Finetune
from trainables.streams import SCENARIOS, Batch, Stream, Task
from trainables.streams.datasets import Split, load

SEEDS = (11, 12, 13)
DIGITS = STREAMS["split_digits"]
TASKS = DIGITS.tasks
# methods of a tensor that bring a value to the host
TRANSFERS = (
    *("item", "cpu", "numpy", "tolist", "nonzero", "__bool__", "__int__", "__float__"),
    *("__index__", "__array__"),
)
# new processes that need not import these again, a matter of seconds each time
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["sklearn.datasets", "torch", "torch._dynamo"])
CHANCE = {"task": 0.5, "domain": 0.5, "class": 0.1, "task_free": 0.1}


@functools.cache
def _digits() -> dict[str, Split]:
    return load("digits", Path())


def make_stream(
    scenario: str,
    seeds: Sequence[int] = SEEDS,
    device: str = "cpu",
    kind: type[Stream] = DIGITS,
    phase: str = "confirm",
    **options: Any,
) -> Stream:
    """Return the digits stream, by default learnt on all training data and scored on test data."""
    return kind(_digits(), scenario, seeds, phase, kind.Options.parse(options), device)


def build(
    kind: type[Learner], options: Mapping[str, Any], stream: Stream, device: str = "cpu"
) -> Learner:
    """Return a new learner for a stream."""
    return kind(kind.Config.parse(options), stream.info, stream.seeds, device)


def learn(learner: Learner, stream: Stream, first: int = 0, last: int = TASKS) -> None:
    """Learn tasks ``first`` to ``last`` - 1."""
    for index in range(first, last):
        learner.learn(task_of(learner, stream, index))


def task_of(learner: Learner, stream: Stream, index: int) -> Task:
    """Return a task as the learner is given it: an offline one draws from all of them."""
    return stream.task(index, union=stream.tasks if learner.offline else 0)


def accuracies(learner: Learner, stream: Stream, learnt: int) -> Tensor:
    """Return the accuracy of each seed on each task, [S, T], with the primary readout."""
    shown = stream.tasks if learner.offline else learnt
    counts = evaluate(learner, stream, shown).counts[learner.readouts[0]].double()
    return counts.diagonal(dim1=2, dim2=3).sum(-1) / counts.sum((2, 3))


def predictions(learner: Learner, stream: Stream) -> list[Tensor]:
    """Return the logits [S, N, C] of each readout on the scored samples of each task."""
    found = []
    for task in range(stream.tasks):
        inputs, _ = stream.gather(stream.scored(task)[0], scored=True)
        with torch.no_grad():
            task_id = task if stream.info.scenario == "task" else None
            found += list(learner.readout_logits(inputs, task_id).values())
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk a state: every tensor and number in it with its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from leaves(item, f"{path}/{position}")
    else:
        yield path, value


def assert_same_state(one: Any, other: Any) -> None:
    """Compare two states bit for bit."""
    mine, theirs = dict(leaves(one)), dict(leaves(other))
    assert mine.keys() == theirs.keys()
    for place, value in mine.items():
        if isinstance(value, Tensor):
            assert value.dtype == theirs[place].dtype, place
            assert torch.equal(value, theirs[place]), place
        else:
            assert value == theirs[place], place


def tensor_bytes(value: Any) -> int:
    """Count the bytes of all tensors in a nested value."""
    return sum(t.numel() * t.element_size() for _, t in leaves(value) if isinstance(t, Tensor))


def parameter_bytes(learner: Learner) -> int:
    """Count the bytes of one seed in all networks of a learner; a meta tensor has no values."""
    networks = {id(m): m for m in vars(learner).values() if isinstance(m, torch.nn.Module)}
    tensors = [t for n in networks.values() for t in (*n.parameters(), *n.buffers())]
    weights = {id(w): w for w in tensors}
    return tensor_bytes([w for w in weights.values() if not w.is_meta]) // len(learner.seeds)


def bytes_of_seed(footprint: Mapping[str, Any], position: int) -> dict[str, int]:
    """Return the bytes by kind of the seed at a position of the stack."""
    return {k: v[position] if isinstance(v, list) else v for k, v in footprint.items()}


def global_states() -> list[Any]:
    """Return the states of the global random number generators."""
    return [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]


@dataclass(frozen=True)
class Snapshot:
    """A learner after a task.

    Attributes:
        state: as saved, for ``torch.load``.
        steps: number of losses that ``observe`` has returned so far.
        losses: the learner's own sums of each seed's losses so far, [S].
        samples: number of samples of the task that each seed has drawn.
        accuracies: of each seed on each task, [S, T].
        predictions: logits of each readout on each task, [S, N, C] each.
        diagnosis: as ``diagnose`` returns it.
        footprint: as ``footprint`` returns it.
        parameter_bytes: bytes of one seed in all networks of the learner.
    """

    state: bytes
    steps: int
    losses: Tensor
    samples: int
    accuracies: Tensor
    predictions: list[Tensor]
    diagnosis: dict[str, dict[str, Tensor]]
    footprint: dict[str, int]
    parameter_bytes: int


class Recorder:
    """A record of a learner's hooks: calls in their order, losses that ``observe`` returned, and
    methods of tensors that brought a value to the host in a step.
    """

    def __init__(self, learner: Learner, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.losses: list[Tensor] = []
        self.transfers: list[str] = []
        self.task: Task | None = None
        for name in ("begin_task", "end_task", "observe"):
            hook = functools.partial(self._call, name, getattr(learner, name))
            patch.setattr(learner, name, hook)

    def _call(self, name: str, hook: Callable[[Any], Any], argument: Any) -> Any:
        self.calls.append(name)
        if name != "observe":
            return hook(argument)
        self.losses.append(self._step(hook, argument))
        return self.losses[-1]

    def _step(self, observe: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        first = len(self.losses) < 2 or batch.task is not self.task  # it may prepare things
        self.task = batch.task
        if first:
            return observe(batch)
        with pytest.MonkeyPatch.context() as patch:
            for name in TRANSFERS:
                patch.setattr(Tensor, name, self._noted(name, getattr(Tensor, name)))
            return observe(batch)

    def _noted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            caller = traceback.extract_stack(limit=2)[0]
            self.transfers.append(f"{name} in {caller.filename}, line {caller.lineno}")
            return method(*args, **options)

        return call


@dataclass(frozen=True)
class Run:
    """A learner that has learnt the whole stream, with a snapshot after each task."""

    learner: Learner
    snapshots: tuple[Snapshot, ...]
    recorder: Recorder
    used_global_draws: bool

    @property
    def matrix(self) -> Tensor:
        """Accuracies after each task, on each task: [S, T, T]."""
        return torch.stack([snapshot.accuracies for snapshot in self.snapshots], dim=1)

    @property
    def last(self) -> Snapshot:
        """The snapshot after the last task."""
        return self.snapshots[-1]


@functools.cache
def _run(
    kind: type[Learner],
    options: str,
    scenario: str,
    seeds: tuple[int, ...],
    device: str,
    source: type[Stream] = DIGITS,
) -> Run:
    _digits()  # scikit-learn draws global random numbers when it is first imported
    before = global_states()
    stream = make_stream(scenario, seeds, device, source)
    learner = build(kind, json.loads(options), stream, device)
    snapshots = []
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(learner, patch)
        for index in range(TASKS):
            task = task_of(learner, stream, index)
            learner.learn(task)
            tested = accuracies(learner, stream, index + 1)
            snapshots.append(_snapshot(learner, stream, task, tested, len(recorder.losses)))
    return Run(learner, tuple(snapshots), recorder, global_states() != before)


def _snapshot(learner: Learner, stream: Stream, task: Task, tested: Tensor, steps: int) -> Snapshot:
    buffer = io.BytesIO()
    torch.save(learner.state(), buffer)
    return Snapshot(
        state=buffer.getvalue(),
        steps=steps,
        losses=learner.losses.clone(),
        samples=task.samples,
        accuracies=tested,
        predictions=predictions(learner, stream),
        diagnosis={
            name: {label: values.detach().clone() for label, values in tensors.items()}
            for name, tensors in learner.diagnose().items()
        },  # copies, because the learner may go on to change its tensors
        footprint=learner.footprint(),
        parameter_bytes=parameter_bytes(learner),
    )


def restored(learner: Learner, snapshot: Snapshot) -> Learner:
    """Give a new learner the state of a snapshot, and return it."""
    learner.load(torch.load(io.BytesIO(snapshot.state), weights_only=True))
    return learner


class LearnerConformance:
    """Checks that a learner's test class inherits.

    Attributes:
        learner: the class under test.
        options: a configuration that learns ``split_digits`` in a second or two.
        forgets: whether the learner makes no claim to remember in the class scenario.
        above_chance: by how much the accuracy on a task just learnt exceeds that of guessing.
        only: scenarios that ``options`` support, where these are fewer than the learner's own.
        tested: scenarios to test, where fewer than those supported are enough: for an option that
            treats all scenarios alike.
        compared: number of tasks after which a seed that learns alone is compared with its stack:
            fewer than all for a deep network, in which rounding errors grow to large ones.
        device: where the learner trains.
        source: the stream, of five tasks of two digits.
    """

    learner: ClassVar[type[Learner]]
    options: ClassVar[dict[str, Any]] = {}
    forgets: ClassVar[bool] = False
    above_chance: ClassVar[float] = 0.25
    only: ClassVar[tuple[str, ...] | None] = None
    tested: ClassVar[tuple[str, ...] | None] = None
    compared: ClassVar[int] = TASKS
    device: ClassVar[str] = "cpu"
    source: ClassVar[type[Stream]] = DIGITS

    # -- tools

    @classmethod
    def supported(cls) -> tuple[str, ...]:
        return cls.learner.scenarios if cls.only is None else cls.only

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "scenario" in metafunc.fixturenames:
            metafunc.parametrize("scenario", self.tested or self.supported())

    @property
    def stack(self) -> tuple[int, ...]:
        """Seeds trained together: three, or as many as the learner stacks."""
        return SEEDS[: self.learner.max_stack]

    def stream(self, scenario: str, seeds: Sequence[int] | None = None) -> Stream:
        seeds = self.stack if seeds is None else seeds
        return make_stream(scenario, seeds, self.device, self.source)

    def build(self, stream: Stream, **changes: Any) -> Learner:
        return build(self.learner, {**self.options, **changes}, stream, self.device)

    @classmethod
    def run(cls, scenario: str, seeds: tuple[int, ...] | None = None) -> Run:
        """Learn the whole stream; kept, so that several checks look at one run."""
        seeds = SEEDS[: cls.learner.max_stack] if seeds is None else seeds
        options = json.dumps(cls.options)
        return _run(cls.learner, options, scenario, seeds, cls.device, cls.source)

    def needs_a_stack(self) -> None:
        if len(self.stack) < len(SEEDS):
            pytest.skip("this learner does not stack so many seeds")

    def memory_bytes(self, learner: Learner) -> int:
        """Bytes of past data of one seed; by default the filled slots of ``learner.memory``, as
        far as they are its state: what it can compute again is not past data.
        """
        memory = getattr(learner, "memory", None)
        if memory is None:
            return 0
        tensors = [t for _, t in leaves(memory.state()) if isinstance(t, Tensor)]
        slots = [t for t in tensors if t.dim() >= 2]
        assert slots, "a memory without tensors: override memory_bytes"
        return sum(t[0, : len(memory)].numel() * t.element_size() for t in slots)

    def parameter_bytes(self, learner: Learner, position: int, allocated: int) -> int:
        """Bytes of the parameters of the seed at a position of the stack: by default all that its
        networks have allocated.
        """
        return allocated

    def auxiliary_bytes(self, learner: Learner) -> int:
        """Bytes of the method's own tensors for one seed; by default what else its state has."""
        rest = {"network": None, "optimiser": None, "memory": None}
        own = {name: v for name, v in learner.state().items() if name not in rest}
        return tensor_bytes(own) // len(learner.seeds)

    def restored(self, scenario: str, learnt: int) -> Learner:
        """Return a new learner with the state after ``learnt`` tasks."""
        learner = self.build(self.stream(scenario))
        return restored(learner, self.run(scenario).snapshots[learnt - 1])

    def weights(self, learner: Learner, position: int) -> list[Tensor]:
        """Weights of the network of the seed at a position of the stack."""
        return [weight[position] for weight in learner.network.parameters()]

    def spoil(self, learner: Learner) -> None:
        """Make the second seed diverge; by default all weights of its network become NaN."""
        with torch.no_grad():
            for weight in learner.network.parameters():
                weight[1] = math.nan

    # -- results

    def test_different_seeds_give_different_results(self, scenario: str) -> None:
        self.needs_a_stack()
        learner = self.run(scenario).learner
        pairs = zip(self.weights(learner, 0), self.weights(learner, 1), strict=True)
        mine, theirs = max(pairs, key=lambda pair: pair[0].numel())
        assert not torch.equal(mine, theirs)

    def test_a_seed_learns_the_same_alone(self, scenario: str) -> None:
        """Seed 13, the last of its stack, is the first and only one here."""
        self.needs_a_stack()
        stacked, alone = self.run(scenario), self.run(scenario, SEEDS[-1:])
        # rounding, which differs with the size of the stack, may turn one answer in a hundred
        torch.testing.assert_close(
            alone.matrix[0, : self.compared],
            stacked.matrix[-1, : self.compared],
            rtol=0,
            atol=1e-2,
            equal_nan=True,
        )
        learners = [
            restored(self.build(self.stream(scenario, seeds)), run.snapshots[self.compared - 1])
            for seeds, run in ((SEEDS[-1:], alone), (None, stacked))
        ]
        alone_weights, stacked_weights = self.weights(learners[0], 0), self.weights(learners[1], -1)
        for mine, theirs in zip(alone_weights, stacked_weights, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3)

    def test_a_first_task_learnt_by_another_trial_leaves_the_same(self, scenario: str) -> None:
        shared = self.learner.pretraining(self.learner.Config.parse(self.options))
        if shared is None:
            pytest.skip("has no first task in common with other trials")
        stream, alone = self.stream(scenario), self.run(scenario).snapshots[0]
        kind = self.learner if shared[0] == self.learner.name else find_learner(shared[0])
        other = build(kind, shared[1], stream, self.device)
        learn(other, stream, 0, 1)
        given = self.build(stream)
        given.pretrained = {name: tensor.clone() for name, tensor in other.foundation().items()}
        task = task_of(given, stream, 0)
        given.learn(task)
        assert task.samples == alone.samples
        assert given.footprint() == alone.footprint
        assert_same_state(given.state(), self.restored(scenario, 1).state())

    def test_beats_chance(self, scenario: str) -> None:
        matrix = self.run(scenario).matrix
        learnt = matrix[:, -1] if self.learner.offline else matrix.diagonal(dim1=1, dim2=2)
        assert (learnt.mean(1) > CHANCE[scenario] + self.above_chance).all()

    def test_remembers_more_than_finetune(self) -> None:
        if self.forgets or "class" not in (self.tested or self.supported()):
            pytest.skip("makes no claim to remember in the class scenario")
        options = {k: v for k, v in self.options.items() if k in Finetune.Config.fields()}
        floor = _run(Finetune, json.dumps(options), "class", self.stack, self.device)
        kept = self.run("class").matrix[:, -1].mean(1)
        assert (kept > floor.matrix[:, -1].mean(1) + 0.1).all()

    # -- continuing

    @pytest.fixture(scope="class")
    @classmethod
    def resumed(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Save the state after every task, and let another process go on from each."""
        folder = tmp_path_factory.mktemp(cls.__name__)
        for scenario in cls.tested or cls.supported():
            for learnt, snapshot in enumerate(cls.run(scenario).snapshots, start=1):
                (folder / f"{scenario}-{learnt}.pt").write_bytes(snapshot.state)
        seeds = SEEDS[: cls.learner.max_stack]
        tested = cls.tested or cls.supported()
        asked = (cls.learner, cls.options, tested, seeds, cls.device, cls.source)
        process = PROCESSES.Process(target=go_on, args=(folder, *asked))
        process.start()
        process.join(600)
        error = folder / "error.txt"
        process.kill()  # where it hangs
        assert process.exitcode == 0, error.read_text() if error.exists() else "no answer"
        return folder

    def test_same_seed_gives_the_same_result(self, scenario: str, resumed: Path) -> None:
        self._check_resumed(scenario, 0, resumed)

    @pytest.mark.parametrize("learnt", range(1, TASKS + 1))
    def test_resume_in_a_new_process_equals_uninterrupted(
        self, scenario: str, learnt: int, resumed: Path
    ) -> None:
        self._check_resumed(scenario, learnt, resumed)

    def _check_resumed(self, scenario: str, learnt: int, resumed: Path) -> None:
        """Compare a learner that went on from a state with the one that never stopped."""
        reached = min(learnt + 1, TASKS)
        expected = self.run(scenario).snapshots[reached - 1]
        found = torch.load(resumed / f"{scenario}-{learnt}-done.pt", weights_only=True)
        saved = torch.load(io.BytesIO(expected.state), weights_only=True)
        assert_same_state(found["state"], saved)
        assert len(found["predictions"]) == len(expected.predictions)
        assert all(map(torch.equal, found["predictions"], expected.predictions))
        if learnt < TASKS:  # a trial asks for a diagnosis after a task that it has learnt
            torch.testing.assert_close(
                found["diagnosis"], expected.diagnosis, rtol=0, atol=0, equal_nan=True
            )

    def test_state_survives_a_round_trip(self, scenario: str) -> None:
        learner, other = self.run(scenario).learner, self.restored(scenario, TASKS)
        assert_same_state(other.state(), learner.state())
        expected = self.run(scenario).last.predictions
        assert all(map(torch.equal, predictions(other, self.stream(scenario)), expected))
        assert other.footprint() == learner.footprint()

    def test_what_it_tells_of_itself_is_declared_and_of_every_seed(self, scenario: str) -> None:
        learner = self.run(scenario).learner
        for name, labels in self.run(scenario).last.diagnosis.items():
            assert (name in learner.diagnostics) is not (name in learner.maps), name
            axes = 3 if name in learner.maps else 1
            for label, values in labels.items():
                assert values.dim() == axes, f"{name}: {label}"
                assert len(values) == len(self.stack), f"{name}: {label}"

    def test_a_trial_takes_what_it_hands_over(self, scenario: str) -> None:
        learner = self.run(scenario).learner
        contract.check_learnt(learner, trained=0)
        contract.check_footprint(learner, learner.footprint())
        contract.check_state(learner, learner.state())
        contract.check_diagnosis(learner, learner.diagnose())
        if self.learner.pretraining(learner.config) is not None:
            contract.check_foundation(learner, learner.foundation())

    # -- what is held

    def test_footprint_is_what_is_held(self, scenario: str) -> None:
        new = self.build(self.stream(scenario))
        self._assert_held(new, new.footprint(), parameter_bytes(new))
        for learnt, snapshot in enumerate(self.run(scenario).snapshots, start=1):
            learner = self.restored(scenario, learnt)
            self._assert_held(learner, snapshot.footprint, snapshot.parameter_bytes)

    def _assert_held(self, learner: Learner, footprint: Mapping[str, Any], allocated: int) -> None:
        for position in range(len(self.stack)):
            held = {
                "parameters": self.parameter_bytes(learner, position, allocated),
                "memory": self.memory_bytes(learner),
                "auxiliary": self.auxiliary_bytes(learner),
            }
            assert bytes_of_seed(footprint, position) == held

    def test_footprint_is_that_of_one_seed(self, scenario: str) -> None:
        alone = self.run(scenario, SEEDS[-1:]).learner.footprint()
        stacked = self.run(scenario).learner.footprint()
        assert bytes_of_seed(alone, 0) == bytes_of_seed(stacked, -1)

    # -- the scenario's rules

    def test_declares_its_scenarios(self) -> None:
        assert not contract.misdeclared(self.learner)
        assert len(set(self.learner.scenarios)) == len(self.learner.scenarios)
        assert set(self.learner.scenarios) <= set(SCENARIOS)

    def test_options_that_a_scenario_rules_out_are_refused(self) -> None:
        for scenario in set(self.learner.scenarios) - set(self.supported()):
            with pytest.raises(InputError):
                self.build(self.stream(scenario))

    def test_hooks_are_called_as_the_scenario_allows(self, scenario: str) -> None:
        """A learner with a loop of its own need not call ``observe`` in every task."""
        calls = self.run(scenario).recorder.calls
        initials = "".join(name[0] for name in calls)
        allowed = "o+" if scenario == "task_free" else f"(bo*e){{{TASKS}}}"
        assert re.fullmatch(allowed, initials), calls

    def test_a_task_free_task_does_not_tell_its_id(self) -> None:
        if "task_free" not in self.supported():
            pytest.skip("does not support task_free")
        stream = self.stream("task_free")
        assert stream.info.tasks is None
        with pytest.raises(LookupError):
            _ = task_of(self.build(stream), stream, 1).id

    def test_the_task_is_named_when_testing_in_the_task_scenario_only(
        self, scenario: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stream = self.stream(scenario)
        learner = self.build(stream)
        readout_logits, task_ids = learner.readout_logits, []

        def spy(inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
            task_ids.append(task_id)
            logits = readout_logits(inputs, task_id)
            shape = (*inputs.shape[:2], stream.info.outputs)
            assert all(readout.shape == shape for readout in logits.values())
            assert tuple(logits) == learner.readouts
            return logits

        monkeypatch.setattr(learner, "readout_logits", spy)
        evaluate(learner, stream, 1)
        assert set(task_ids) == (set(range(TASKS)) if scenario == "task" else {None})

    # -- steps

    def test_a_step_returns_a_finite_loss_of_each_seed(self, scenario: str) -> None:
        losses = self.run(scenario).recorder.losses
        assert len(losses) > 10
        for loss in losses:
            assert loss.shape == (len(self.stack),)
            assert loss.isfinite().all()
            assert not loss.requires_grad

    def test_a_step_moves_nothing_to_the_host(self, scenario: str) -> None:
        """First steps of a task may; the others would wait for the device each time."""
        assert self.run(scenario).recorder.transfers == []

    def test_losses_add_up_to_what_the_steps_returned(self, scenario: str) -> None:
        run = self.run(scenario)
        first = run.snapshots[0]
        returned = torch.stack(run.recorder.losses[: first.steps]).sum(0)
        torch.testing.assert_close(first.losses, returned, rtol=1e-5, atol=1e-5)

    def test_a_diverged_seed_leaves_the_others_alone(self, scenario: str) -> None:
        self.needs_a_stack()
        stream, sane = self.stream(scenario), self.restored(scenario, 3)
        hurt = self.restored(scenario, 1)
        self.spoil(hurt)
        learn(hurt, stream, 1, 3)
        for position in (0, 2):
            pairs = zip(self.weights(sane, position), self.weights(hurt, position), strict=True)
            assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
        expected = self.run(scenario).snapshots[2].predictions
        for mine, theirs in zip(expected, predictions(hurt, stream), strict=True):
            assert torch.equal(mine[[0, 2]], theirs[[0, 2]])
        assert evaluate(hurt, stream, 3).finite.tolist() == [True, False, True]

    def test_global_random_numbers_are_left_alone(self, scenario: str) -> None:
        assert not self.run(scenario).used_global_draws

    # -- configuration

    def assert_refused(self, key: str, value: Any) -> None:
        with pytest.raises(InputError, match=rf"\b{key}\b"):
            self.learner.Config.parse({key: value}, where="methods.mine")

    def test_an_unknown_option_is_refused_by_name(self) -> None:
        self.assert_refused("no_such_option", 1)

    def test_a_wrong_type_is_refused_by_name(self) -> None:
        for key in self.learner.Config.fields():
            self.assert_refused(key, {"a": "table"})
            default = getattr(self.learner.Config.parse({}), key)
            self.assert_refused(key, 3 if isinstance(default, str | bool) else "three")
            if isinstance(default, int | float) and not isinstance(default, bool):
                self.assert_refused(key, True)
            if isinstance(default, float):
                self.assert_refused(key, math.nan)

    def test_values_out_of_range_are_refused_by_name(self) -> None:
        for key, field in self.learner.Config.fields().items():
            low, high = field.metadata["low"], field.metadata["high"]
            for value in (low - 1 if low is not None else None, high + 1 if high else None):
                if value is not None:
                    listed = isinstance(getattr(self.learner.Config.parse({}), key), tuple)
                    self.assert_refused(key, [value] if listed else value)
            if field.metadata["choices"]:
                self.assert_refused(key, "no_such_choice")

    def test_options_are_documented(self) -> None:
        assert all(field.metadata["help"] for field in self.learner.Config.fields().values())
        assert self.learner.name
        assert self.learner.reference

    def test_a_configuration_survives_a_round_trip(self) -> None:
        config = self.learner.Config.parse(self.options)
        plain = json.loads(json.dumps(config.plain()))
        assert self.learner.Config.parse(plain) == config


def go_on(
    folder: Path,
    kind: type[Learner],
    options: Mapping[str, Any],
    scenarios: Sequence[str],
    seeds: Sequence[int],
    device: str,
    source: type[Stream],
) -> None:
    """Learn one more task after each saved state, and after none; save the result."""
    torch.set_num_threads(1)
    try:
        for scenario, learnt in itertools.product(scenarios, range(TASKS + 1)):
            stream = make_stream(scenario, seeds, device, source)
            learner = build(kind, options, stream, device)
            if learnt:
                learner.load(torch.load(folder / f"{scenario}-{learnt}.pt", weights_only=True))
            reached = min(learnt + 1, TASKS)
            learn(learner, stream, learnt, reached)
            accuracies(learner, stream, reached)  # a diagnosis may tell of what was tested
            found = {
                "state": learner.state(),
                "predictions": predictions(learner, stream),
                "diagnosis": learner.diagnose(),
            }
            torch.save(found, folder / f"{scenario}-{learnt}-done.pt")
    except BaseException:
        (folder / "error.txt").write_text(traceback.format_exc())
        raise
