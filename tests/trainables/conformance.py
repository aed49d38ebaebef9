"""What every learner has to keep, whatever its method.

A package that adds a learner inherits the checks in a test module of its own::

    class TestMine(LearnerConformance):
        learner = Mine
        options = {"hidden": [32], "epochs": 3, "batch_size": 16}

They run on ``split_digits``, real data that needs no download, or on another stream of its tasks
that is made from it, in every scenario that the learner supports, on one thread.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import math
import multiprocessing
import random
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor

from search_spaces import space_on
from search_spaces.space import decoded, encoded
from trainables import STREAMS, InputError, Learner, contract, find_learner
from trainables.engine.evaluation import evaluate
from trainables.methods.finetune import Finetune
from trainables.streams import SCENARIOS, Stream, Task
from trainables.streams.datasets import Split, load

SEEDS = (11, 12, 13)
DIGITS = STREAMS["split_digits"]
TASKS = DIGITS.tasks
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
) -> Stream:
    """Return the digits stream, learnt on all training data and scored on the test data."""
    return kind(_digits(), scenario, seeds, "confirm", device=device)


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


@dataclass(frozen=True)
class Run:
    """A learner after the whole stream, its accuracies [S, T, T], its state after each task."""

    learner: Learner
    matrix: Tensor
    saved: tuple[bytes, ...]


@functools.cache
def _run(
    kind: type[Learner],
    options: str,
    scenario: str,
    seeds: tuple[int, ...],
    device: str,
    source: type[Stream] = DIGITS,
) -> Run:
    stream = make_stream(scenario, seeds, device, source)
    learner = build(kind, json.loads(options), stream, device)
    rows, saved = [], []
    for index in range(TASKS):
        learn(learner, stream, index, index + 1)
        rows.append(accuracies(learner, stream, index + 1))
        buffer = io.BytesIO()
        torch.save(learner.state(), buffer)
        saved.append(buffer.getvalue())
    return Run(learner, torch.stack(rows, dim=1), tuple(saved))


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


def global_states() -> list[Any]:
    """Return the states of the global random number generators."""
    return [torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()]


class LearnerConformance:
    """Checks that a learner inherits.

    Attributes:
        learner: the class under test.
        options: configuration values that make it quick on ``split_digits``.
        forgets: whether it does not claim to remember in the class scenario.
        only: the scenarios these options support, where they are fewer than the learner's own.
        device: where it runs.
        source: the stream, of ``TASKS`` tasks of two digits.
    """

    learner: ClassVar[type[Learner]]
    options: ClassVar[dict[str, Any]] = {}
    forgets: ClassVar[bool] = False
    only: ClassVar[tuple[str, ...] | None] = None
    device: ClassVar[str] = "cpu"
    source: ClassVar[type[Stream]] = DIGITS

    # -- tools
    # ----------------------------------------------------------------------------------------------

    @classmethod
    def supported(cls) -> tuple[str, ...]:
        return cls.learner.scenarios if cls.only is None else cls.only

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "scenario" in metafunc.fixturenames:
            metafunc.parametrize("scenario", self.supported())

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

    def auxiliary_bytes(self, learner: Learner) -> int:
        """Bytes of the method's own tensors for one seed; by default what else its state has."""
        rest = {"network": None, "optimiser": None, "memory": None}
        own = {name: v for name, v in learner.state().items() if name not in rest}
        return tensor_bytes(own) // len(learner.seeds)

    # -- results
    # --------------------------------------------------------------------------------------------

    def test_same_seed_gives_the_same_result(self, scenario: str) -> None:
        run, stream = self.run(scenario), self.stream(scenario)
        again = self.build(stream)
        learn(again, stream)
        assert_same_state(again.state(), run.learner.state())
        assert torch.equal(accuracies(again, stream, TASKS), run.matrix[:, -1])

    def test_a_first_task_learnt_by_another_trial_leaves_the_same(self, scenario: str) -> None:
        shared = self.learner.pretraining(self.learner.Config.parse(self.options))
        if shared is None:
            pytest.skip("has no first task in common with other trials")
        stream = self.stream(scenario)
        kind = self.learner if shared[0] == self.learner.name else find_learner(shared[0])
        other = build(kind, shared[1], stream, self.device)
        learn(other, stream, 0, 1)
        alone, given = self.build(stream), self.build(stream)
        given.pretrained = {name: tensor.clone() for name, tensor in other.foundation().items()}
        tasks = [task_of(each, stream, 0) for each in (alone, given)]
        for each, task in zip((alone, given), tasks, strict=True):
            each.learn(task)
        assert tasks[1].samples == tasks[0].samples
        assert given.footprint() == alone.footprint()
        assert_same_state(given.state(), alone.state())

    def test_different_seeds_give_different_results(self, scenario: str) -> None:
        self.needs_a_stack()
        network = self.run(scenario).learner.network
        weight = max(network.parameters(), key=lambda p: p.numel())
        assert not torch.equal(weight[0], weight[1])

    @pytest.mark.parametrize("company", [(12,), (13, 11, 12)], ids=str)
    def test_a_seed_learns_the_same_in_any_stack(
        self, scenario: str, company: tuple[int, ...]
    ) -> None:
        self.needs_a_stack()
        run, other = self.run(scenario), self.run(scenario, company)
        for seed in set(self.stack) & set(company):
            here, there = self.stack.index(seed), company.index(seed)
            torch.testing.assert_close(
                other.matrix[there], run.matrix[here], rtol=0, atol=1e-3, equal_nan=True
            )
            for mine, theirs in zip(
                run.learner.network.parameters(), other.learner.network.parameters(), strict=True
            ):
                torch.testing.assert_close(theirs[there], mine[here], rtol=1e-2, atol=1e-3)

    def test_beats_chance(self, scenario: str) -> None:
        matrix = self.run(scenario).matrix
        learnt = matrix[:, -1] if self.learner.offline else matrix.diagonal(dim1=1, dim2=2)
        assert (learnt.mean(1) > CHANCE[scenario] + 0.25).all()

    def test_remembers_more_than_finetune(self) -> None:
        if self.forgets or "class" not in self.supported():
            pytest.skip("makes no claim to remember in the class scenario")
        options = {k: v for k, v in self.options.items() if k in Finetune.Config.fields()}
        floor = _run(Finetune, json.dumps(options), "class", self.stack, self.device)
        kept = self.run("class").matrix[:, -1].mean(1)
        assert (kept > floor.matrix[:, -1].mean(1) + 0.1).all()

    # -- continuing
    # -----------------------------------------------------------------------------------------

    @pytest.fixture(scope="class")
    @classmethod
    def resumed(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Save a state after every task, and let another process go on from each; some seconds."""
        folder = tmp_path_factory.mktemp(cls.__name__)
        for scenario in cls.supported():
            for learnt, content in enumerate(cls.run(scenario).saved, start=1):
                (folder / f"{scenario}-{learnt}.pt").write_bytes(content)
        seeds = SEEDS[: cls.learner.max_stack]
        source = None if cls.source is DIGITS else cls.source  # made on the fly: not pickled
        other = PROCESSES.Process(
            target=go_on,
            args=(folder, cls.learner, cls.options, cls.supported(), seeds, cls.device, source),
        )
        other.start()
        other.join(300)
        error = folder / "error.txt"
        assert other.exitcode == 0, error.read_text() if error.exists() else "no answer"
        return folder

    @pytest.mark.parametrize("learnt", range(1, TASKS + 1))
    def test_resume_in_a_new_process_equals_uninterrupted(
        self, scenario: str, learnt: int, resumed: Path
    ) -> None:
        learner = self.run(scenario).learner
        found = torch.load(resumed / f"{scenario}-{learnt}-done.pt", weights_only=True)
        assert_same_state(found["state"], learner.state())
        expected = predictions(learner, self.stream(scenario))
        assert len(found["predictions"]) == len(expected)
        assert all(map(torch.equal, found["predictions"], expected))
        if learnt < TASKS:  # a trial asks after a task it has learnt, and after no other
            exactly = {"rtol": 0, "atol": 0, "equal_nan": True}
            torch.testing.assert_close(found["diagnosis"], learner.diagnose(), **exactly)

    def test_state_survives_a_round_trip(self, scenario: str) -> None:
        run, stream = self.run(scenario), self.stream(scenario)
        learner, other = run.learner, self.build(stream)
        other.load(torch.load(io.BytesIO(run.saved[-1]), weights_only=True))
        assert_same_state(other.state(), learner.state())
        assert all(map(torch.equal, predictions(other, stream), predictions(learner, stream)))
        assert other.footprint() == learner.footprint()

    def test_what_it_tells_of_itself_is_declared_and_of_every_seed(self, scenario: str) -> None:
        learner = self.run(scenario).learner
        for name, labels in learner.diagnose().items():
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
    # ---------------------------------------------------------------------------------------

    def test_footprint_is_what_is_held(self, scenario: str) -> None:
        stream = self.stream(scenario)
        learner = self.build(stream)
        for learnt in range(TASKS + 1):
            networks = {id(m): m for m in vars(learner).values() if isinstance(m, torch.nn.Module)}
            parameters = (p for m in networks.values() for p in m.parameters())
            live = {id(p): p for p in parameters if not p.is_meta}  # those have no values
            held = {
                "parameters": tensor_bytes(list(live.values())) // len(stream.seeds),
                "memory": self.memory_bytes(learner),
                "auxiliary": self.auxiliary_bytes(learner),
            }
            assert learner.footprint() == held, f"after {learnt} tasks"
            if learnt < TASKS:
                learn(learner, stream, learnt, learnt + 1)

    def test_footprint_is_that_of_one_seed(self, scenario: str) -> None:
        alone = self.run(scenario, (12,)).learner
        assert alone.footprint() == self.run(scenario).learner.footprint()

    # -- the scenario's rules
    # ---------------------------------------------------------------------------------------

    def test_declares_its_scenarios(self) -> None:
        assert not contract.misdeclared(self.learner)
        assert len(set(self.learner.scenarios)) == len(self.learner.scenarios)
        assert set(self.learner.scenarios) <= set(SCENARIOS)

    def test_options_that_a_scenario_rules_out_are_refused(self) -> None:
        for scenario in set(self.learner.scenarios) - set(self.supported()):
            with pytest.raises(InputError):
                self.build(self.stream(scenario))

    def test_hooks_are_called_as_the_scenario_allows(
        self, scenario: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stream = self.stream(scenario)
        learner = self.build(stream)
        calls: list[str] = []

        def spy(name: str) -> None:
            original = getattr(learner, name)

            def called(given: Any) -> Any:
                calls.append(name)
                return original(given)

            monkeypatch.setattr(learner, name, called)

        for name in ("begin_task", "end_task", "observe"):
            spy(name)
        learn(learner, stream, 0, 2)
        if scenario == "task_free":
            assert set(calls) == {"observe"}
            return
        marks = [i for i, name in enumerate(calls) if name != "observe"]
        assert [calls[i] for i in marks] == ["begin_task", "end_task"] * 2
        assert marks[0] == 0
        assert marks[1] < marks[2] == marks[1] + 1
        assert marks[3] == len(calls) - 1

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
        original, given = learner.readout_logits, []

        def spy(inputs: Tensor, task_id: int | None) -> dict[str, Tensor]:
            given.append(task_id)
            logits = original(inputs, task_id)
            shape = (*inputs.shape[:2], stream.info.outputs)
            assert all(found.shape == shape for found in logits.values())
            assert tuple(logits) == learner.readouts
            return logits

        monkeypatch.setattr(learner, "readout_logits", spy)
        evaluate(learner, stream, 1)
        assert set(given) == (set(range(TASKS)) if scenario == "task" else {None})

    # -- steps
    # ----------------------------------------------------------------------------------------------

    def _observed(
        self, scenario: str, monkeypatch: pytest.MonkeyPatch, around: Callable[..., Any]
    ) -> int:
        """Learn two tasks, each step taken by ``around(observe, batch)``; return how many."""
        stream = self.stream(scenario)
        learner = self.build(stream)
        original, steps = learner.observe, 0

        def step(batch: Any) -> Any:
            nonlocal steps
            steps += 1
            return around(original, batch)

        monkeypatch.setattr(learner, "observe", step)
        learn(learner, stream, 0, 2)
        return steps

    def test_a_step_returns_a_finite_loss_of_each_seed(
        self, scenario: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def around(observe: Callable[..., Tensor], batch: Any) -> Tensor:
            loss = observe(batch)
            assert loss.shape == (len(self.stack),)
            assert loss.isfinite().all()
            assert not loss.requires_grad
            return loss

        self._observed(scenario, monkeypatch, around)

    def test_a_step_moves_nothing_to_the_host(
        self, scenario: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transfers = "item cpu numpy tolist nonzero __bool__ __int__ __float__ __index__ __array__"

        def refuse(*of: Any, **named: Any) -> Any:
            raise AssertionError("a step asked for a value of a tensor")

        seen: list[Any] = []

        def around(observe: Callable[..., Tensor], batch: Any) -> Tensor:
            seen.append(batch)
            if len(seen) <= 2 or batch.task is not seen[-2].task:  # first steps may prepare things
                return observe(batch)
            with pytest.MonkeyPatch.context() as patch:
                for name in transfers.split():
                    patch.setattr(Tensor, name, refuse)
                return observe(batch)

        assert self._observed(scenario, monkeypatch, around) > 10

    def test_losses_add_up_to_what_the_steps_returned(
        self, scenario: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        learner = self.build(self.stream(scenario))
        original, total = learner.observe, torch.zeros(len(self.stack))

        def observe(batch: Any) -> Tensor:
            loss = original(batch)
            total.add_(loss)
            return loss

        monkeypatch.setattr(learner, "observe", observe)
        learn(learner, self.stream(scenario), 0, 1)
        torch.testing.assert_close(learner.losses, total)

    def test_a_diverged_seed_leaves_the_others_alone(self, scenario: str) -> None:
        self.needs_a_stack()
        stream = self.stream(scenario)
        sane, hurt = self.build(stream), self.build(stream)
        for learner in (sane, hurt):
            learn(learner, stream, 0, 1)
            if learner is hurt:
                with torch.no_grad():
                    for weight in hurt.network.parameters():
                        weight[1] = math.nan
            learn(learner, stream, 1, 3)
        weights = zip(sane.network.parameters(), hurt.network.parameters(), strict=True)
        outputs = zip(predictions(sane, stream), predictions(hurt, stream), strict=True)
        for mine, theirs in [*weights, *outputs]:
            assert torch.equal(mine[[0, 2]], theirs[[0, 2]])
        assert evaluate(hurt, stream, 3).finite.tolist() == [True, False, True]

    def test_global_random_numbers_are_left_alone(self, scenario: str) -> None:
        before = global_states()
        stream = self.stream(scenario)
        learner = self.build(stream)
        learn(learner, stream, 0, 2)
        evaluate(learner, stream, 2)
        assert global_states() == before

    # -- configuration
    # --------------------------------------------------------------------------------------

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

    # -- search space
    # ---------------------------------------------------------------------------------------

    def test_the_search_space_gives_valid_configurations(self, scenario: str) -> None:
        info, kinds = self.stream(scenario).info, self.learner.Config.kinds()
        space = space_on(self.learner.name, info)
        assert space, "an empty search space: nothing would be tuned"
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=5))
        for _ in range(20):
            params = search.ask(dict(space)).params
            values = {name: decoded(value, kinds[name]) for name, value in params.items()}
            config = self.learner.Config.parse({**self.learner.published(info), **values})
            self.learner.check(config, info)

    def test_the_search_space_contains_the_published_defaults(self, scenario: str) -> None:
        info = self.stream(scenario).info
        space = space_on(self.learner.name, info)
        defaults = self.learner.Config.parse(self.learner.published(info)).plain()
        optuna.trial.create_trial(  # refuses a value out of its range
            state=optuna.trial.TrialState.WAITING,
            params={name: encoded(defaults[name]) for name in space},
            distributions=dict(space),
        )


def go_on(
    folder: Path,
    kind: type[Learner],
    options: Mapping[str, Any],
    scenarios: Sequence[str],
    seeds: Sequence[int],
    device: str,
    source: type[Stream] | None,
) -> None:
    """Load each saved state into a new learner, learn the tasks left, save what came of it."""
    torch.set_num_threads(1)
    try:
        for scenario, learnt in itertools.product(scenarios, range(1, TASKS + 1)):
            stream = make_stream(scenario, seeds, device, source or DIGITS)
            learner = build(kind, options, stream, device)
            learner.load(torch.load(folder / f"{scenario}-{learnt}.pt", weights_only=True))
            learn(learner, stream, learnt)
            found = {
                "state": learner.state(),
                "predictions": predictions(learner, stream),
                "diagnosis": learner.diagnose(),
            }
            torch.save(found, folder / f"{scenario}-{learnt}-done.pt")
    except BaseException:
        (folder / "error.txt").write_text(traceback.format_exc())
        raise
