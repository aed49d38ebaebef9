"""GEM and A-GEM against exact quadratic programming, and against one seed trained by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize, nnls

from trainables import InputError
from trainables.methods.agem import AGEM
from trainables.methods.finetune import Finetune
from trainables.methods.gem import GEM, multipliers, products, project, project_one
from trainables.methods.replay import Replay
from trainables.nn import assign_gradients, flat
from trainables.rng import generator
from trainables.streams import StreamInfo
from trainables.testing import SEEDS, build, learn, make_stream

QUICK = {"hidden": [16, 12], "epochs": 1, "batch_size": 16}
LENGTH = 40  # numbers in a gradient


# -- the quadratic programme


def exact(old, gradient, gamma):
    """Solve for v by non-negative least squares, which ends after finitely many exact steps."""
    matrix = old @ old.T + 1e-3 * np.eye(len(old))
    root = np.linalg.cholesky(matrix)
    linear = old @ gradient + gamma * matrix.sum(1)
    above, _ = nnls(root.T, -np.linalg.solve(root, linear), maxiter=10_000)
    return gamma + above


def all_active_sets(old, gradient, gamma):
    """Solve for v by trying every set of entries held at gamma; the others solve the equations."""
    size = len(old)
    matrix, linear = old @ old.T + 1e-3 * np.eye(size), old @ gradient
    best, found = np.inf, None
    for held in itertools.product((False, True), repeat=size):
        free = ~np.array(held)
        v = np.full(size, gamma)
        rest = linear[free] + matrix[np.ix_(free, ~free)] @ v[~free]
        v[free] = np.linalg.solve(matrix[np.ix_(free, free)], -rest)
        value = v @ matrix @ v / 2 + linear @ v
        if (v >= gamma).all() and value < best:
            best, found = value, v
    return found


def conflicts(tasks, parallel, scale, count=50):
    """Return old gradients [count, tasks, D] and gradients [count, D] against some of them.

    ``parallel``: size of what the old gradients do not share, next to what they do.
    """
    draw = generator(0, "conflicts", tasks)
    normal = lambda *shape: torch.randn(*shape, dtype=torch.double, generator=draw)  # noqa: E731
    shared = normal(count, 1, LENGTH)
    own = normal(count, tasks, LENGTH) * (0.1 + 3 * torch.rand(count, tasks, 1, generator=draw))
    old = scale * (shared + parallel * own)
    gradient = scale * (normal(count, LENGTH) - torch.rand(count, 1, generator=draw) * shared[:, 0])
    against = ((old @ gradient.unsqueeze(2)).squeeze(2) < 0).any(1)
    assert against.sum() >= count / 3
    return old[against], gradient[against]


def rows(old):
    """Give a stack of old gradients [S, K, P] as a learner does, one after the other."""
    return list(old.unbind(1))


def corrected_exactly(old, gradient, gamma, solve=exact):
    """Correct the gradient of each seed in turn, in double precision."""
    pairs = zip(old.double().numpy(), gradient.double().numpy(), strict=True)
    return torch.from_numpy(np.stack([g + solve(k, g, gamma) @ k for k, g in pairs]))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("scale", [0.003, 0.3, 30.0])
@pytest.mark.parametrize("parallel", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("tasks", [1, 2, 4, 9, 19])
def test_corrections_are_those_of_an_exact_solver(tasks, parallel, scale, gamma):
    old, gradient = conflicts(tasks, parallel, scale)
    expected = corrected_exactly(old, gradient, gamma)
    found = project(gradient, rows(old), gamma)
    error = (found - expected).norm(dim=1) / gradient.norm(dim=1)
    assert error.max() < 1e-5
    single = project(gradient.float(), rows(old.float()), gamma).double()
    assert ((single - expected).norm(dim=1) / gradient.norm(dim=1)).max() < 1e-4


@pytest.mark.parametrize("gamma", [0.0, 0.5])
@pytest.mark.parametrize("tasks", [1, 3, 5])
def test_corrections_are_the_best_over_all_active_sets(tasks, gamma):
    old, gradient = conflicts(tasks, parallel=0.3, scale=0.2)
    expected = corrected_exactly(old, gradient, gamma, all_active_sets)
    torch.testing.assert_close(project(gradient, rows(old), gamma), expected, rtol=1e-5, atol=1e-6)


def test_without_strength_the_nearest_gradient_that_harms_no_old_task_is_taken():
    old, gradient = conflicts(tasks=3, parallel=1.0, scale=30.0, count=20)  # 1e-3 is nothing here
    found = project(gradient, rows(old), 0.0)
    for k, g, mine in zip(old.numpy(), gradient.numpy(), found.numpy(), strict=True):
        unit = np.linalg.norm(g)
        k = k / np.linalg.norm(k, axis=1, keepdims=True)
        nearest = minimize(
            lambda x, g=g / unit: ((x - g) ** 2).sum() / 2,
            np.zeros(LENGTH),
            jac=lambda x, g=g / unit: x - g,
            constraints={"type": "ineq", "fun": lambda x, k=k: k @ x, "jac": lambda x, k=k: k},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert nearest.success
        np.testing.assert_allclose(mine / unit, nearest.x, atol=2e-5)


@pytest.mark.parametrize("scale", [0.003, 1.0, 30.0])
@pytest.mark.parametrize("parallel", [1.0, 0.03])
@pytest.mark.parametrize("tasks", [2, 9, 19])
def test_without_strength_no_old_task_is_harmed_beyond_the_ridge(tasks, parallel, scale):
    old, gradient = conflicts(tasks, parallel, scale)
    found = project(gradient, rows(old), 0.0)
    along = (old @ found.unsqueeze(2)).squeeze(2)
    v = multipliers(old @ old.mT, (old @ gradient.unsqueeze(2)).squeeze(2), 0.0)
    slack = 1e-6 * old.norm(dim=2) * gradient.norm(dim=1, keepdim=True)
    assert (v >= 0).all()
    assert (along >= -1e-3 * v - slack).all()
    assert ((old @ gradient.unsqueeze(2)).squeeze(2) < -1e-3 * v - slack).any(1).all()


def test_all_old_tasks_enter_once_one_is_violated():
    old = torch.eye(3)[None, :2]
    found = project(torch.tensor([[-1.0, 1.0, 1.0]]), rows(old), 0.5)
    # v = (1 / 1.001, 0.5): the first is the solution of its equation, the second the least allowed
    torch.testing.assert_close(found, torch.tensor([[-1 + 1 / 1.001, 1.5, 1.0]]), atol=1e-6, rtol=0)


def test_a_gradient_that_harms_no_old_task_is_left_as_it_is():
    old, _ = conflicts(tasks=4, parallel=0.5, scale=1.0)
    gradient = old.sum(1)
    gradient[::2] *= -1
    fine = ((old @ gradient.unsqueeze(2)) >= 0).flatten(1).all(1)
    assert fine.any()
    assert not fine.all()
    found = project(gradient, rows(old), 0.5)
    assert torch.equal(found[fine], gradient[fine])
    assert (found[~fine] != gradient[~fine]).any(1).all()
    nothing = torch.zeros_like(gradient)
    assert torch.equal(project(nothing, rows(old), 0.5), nothing)


def test_each_seed_is_corrected_for_itself():
    old, gradient = conflicts(tasks=4, parallel=0.3, scale=1.0)
    gradient[::3] = old[::3].sum(1)  # most of these go against no task
    whole = project(gradient, rows(old), 0.5)
    for seed in range(len(old)):
        alone = project(gradient[seed : seed + 1], rows(old[seed : seed + 1]), 0.5)
        torch.testing.assert_close(whole[seed], alone[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_seed_with_no_number_for_a_gradient_shows_it_and_leaves_the_others_alone(value):
    old, gradient = conflicts(tasks=4, parallel=0.3, scale=1.0)
    expected = project(gradient, rows(old), 0.5)
    old[1, 2, 0] = value
    found = project(gradient, rows(old), 0.5)
    others = torch.arange(len(old)) != 1
    assert torch.equal(found[others], expected[others])
    assert not found[1].isfinite().all()


def test_products_are_those_of_all_pairs_whatever_the_length(monkeypatch):
    monkeypatch.setattr("trainables.methods.gem.CHUNK", 7)
    numbers = torch.randn(5, 3, LENGTH, generator=generator(0, "rows"))
    expected = torch.einsum("asp,bsp->sab", numbers.double(), numbers.double())
    torch.testing.assert_close(products(list(numbers)), expected)


# -- A-GEM


def test_a_gradient_against_the_reference_loses_that_part_and_no_other():
    old, gradient = conflicts(tasks=1, parallel=1.0, scale=1.0)
    reference = old[:, 0]
    found = project_one(gradient, reference)
    dots = (found * reference).sum(1) / (found.norm(dim=1) * reference.norm(dim=1))
    torch.testing.assert_close(dots, torch.zeros_like(dots), rtol=0, atol=1e-12)
    taken = F.cosine_similarity(gradient - found, reference)
    torch.testing.assert_close(taken, -torch.ones_like(taken))


def test_a_gradient_along_the_reference_is_left_as_it_is():
    old, gradient = conflicts(tasks=1, parallel=1.0, scale=1.0)
    reference = -old[:, 0]
    assert torch.equal(project_one(gradient, reference), gradient)
    assert torch.equal(project_one(gradient, torch.zeros_like(gradient)), gradient)
    mixed = torch.where(torch.arange(len(gradient)).unsqueeze(1) % 2 == 0, reference, -reference)
    found = project_one(gradient, mixed)
    assert torch.equal(found[::2], gradient[::2])
    assert (found[1::2] != gradient[1::2]).any(1).all()


def test_one_constraint_by_hand():
    found = project_one(torch.tensor([[1.0, -2.0], [1.0, 2.0]]), torch.tensor([[3.0, 4.0]] * 2))
    torch.testing.assert_close(found, torch.tensor([[1.6, -1.2], [1.0, 2.0]]))


# -- a step


def plain_gradient(weights, inputs, labels, allowed):
    """Gradient of the mean cross-entropy of one seed's samples, in double precision."""
    weights = [w.detach().double().requires_grad_() for w in weights]
    hidden = inputs.double() / 16
    for matrix, bias in zip(weights[::2], weights[1::2], strict=True):
        logits = hidden @ matrix + bias
        hidden = logits.relu()
    losses = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        rivals = allowed[label]
        losses.append(F.cross_entropy(row[rivals], torch.tensor(rivals.index(label))))
    gradients = torch.autograd.grad(torch.stack(losses).mean(), weights)
    return torch.cat([g.flatten() for g in gradients]).numpy()


def rivals_of(stream, seed):
    """Outputs that compete with each label, for one seed."""
    if stream.info.scenario == "task":
        return {c: pair for pair in stream.task_classes[seed].tolist() for c in pair}
    every = list(range(stream.info.outputs))
    return dict.fromkeys(every, every)


def after_two_tasks(kind, scenario, **options):
    stream = make_stream(scenario)
    learner = build(kind, QUICK | {"optimiser": "sgd", "lr": 0.1} | options, stream)
    learn(learner, stream, 0, 2)
    return learner, stream, next(iter(stream.task(2).batches(1, 16)))


def moved(learner, batch):
    """Take a step; return by how much it moved the weights of each seed, as a gradient."""
    before = flat([w.detach().clone() for w in learner.network.parameters()])
    learner.observe(batch)
    after = flat([w.detach() for w in learner.network.parameters()])
    return ((before - after) / learner.config.lr).double().numpy(), before


def weights_of(learner, seed):
    return [w[seed].detach().clone() for w in learner.network.parameters()]


@pytest.mark.parametrize("gamma", [0.0, 0.5])
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_a_step_of_gem_is_that_of_one_seed_by_hand(scenario, gamma):
    learner, stream, batch = after_two_tasks(GEM, scenario, memory_per_task=500, gamma=gamma)
    shares = learner.memory.shares
    assert shares == [stream.task(0).size, stream.task(1).size]
    assert shares[0] != shares[1]
    weights = [weights_of(learner, seed) for seed in range(len(SEEDS))]
    found, _ = moved(learner, batch)
    violated = 0
    for seed in range(len(SEEDS)):
        allowed = rivals_of(stream, seed)
        gradient = plain_gradient(weights[seed], batch.inputs[seed], batch.labels[seed], allowed)
        held = learner.memory.inputs[seed], learner.memory.labels[seed]
        old = np.stack(
            [
                plain_gradient(weights[seed], *(h[part] for h in held), allowed)
                for part in (slice(0, shares[0]), slice(shares[0], None))
            ]
        )
        if (old @ gradient < 0).any():
            violated += 1
            gradient = gradient + exact(old, gradient, gamma) @ old
        np.testing.assert_allclose(found[seed], gradient, atol=2e-4 * np.abs(gradient).max())
    assert violated


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_a_step_of_agem_is_that_of_one_seed_by_hand(scenario, monkeypatch):
    learner, stream, batch = after_two_tasks(AGEM, scenario, memory_total=100, ref_batch=30)
    drawn, original = [], learner.memory.sample
    monkeypatch.setattr(learner.memory, "sample", lambda n: drawn.append(original(n)) or drawn[-1])
    violated = 0
    for _ in range(5):
        weights = [weights_of(learner, seed) for seed in range(len(SEEDS))]
        found, _ = moved(learner, batch)
        inputs, labels = drawn[-1]
        assert labels.shape[1] == 30
        for seed in range(len(SEEDS)):
            sides = (batch.inputs, batch.labels), (inputs, labels)
            gradient, reference = (
                plain_gradient(weights[seed], x[seed], y[seed], rivals_of(stream, seed))
                for x, y in sides
            )
            if gradient @ reference < 0:
                violated += 1
                gradient = gradient - gradient @ reference / (reference @ reference) * reference
            np.testing.assert_allclose(found[seed], gradient, atol=2e-4 * np.abs(gradient).max())
    assert violated


@pytest.mark.parametrize("kind", [GEM, AGEM])
def test_the_first_task_is_learnt_as_finetune_learns_it(kind):
    stream, options = make_stream("class"), QUICK | {"optimiser": "sgd", "lr": 0.1, "momentum": 0.9}
    mine, plain = build(kind, options, stream), build(Finetune, options, stream)
    learn(mine, stream, 0, 1)
    learn(plain, stream, 0, 1)
    for one, other in zip(mine.network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert mine.trained == plain.trained


def test_all_samples_a_step_looks_at_are_counted():
    learner, _, batch = after_two_tasks(GEM, "class", memory_total=100)
    before = learner.trained
    learner.observe(batch)
    assert learner.trained - before == 16 + 2 * 20
    learner, _, batch = after_two_tasks(AGEM, "class", memory_total=100, ref_batch=7)
    before = learner.trained
    learner.observe(batch)
    assert learner.trained - before == 16 + 7


def test_a_small_step_raises_no_loss_on_the_memory_where_finetune_would():
    learner, _, batch = after_two_tasks(GEM, "domain", memory_total=200, gamma=0.0)
    learner.optimiser.param_groups[0]["lr"] = 1e-3
    harmed = [0, 0]
    for _ in range(10):
        parts = torch.split(learner.memory.inputs, learner.memory.shares, dim=1)
        labels = torch.split(learner.memory.labels.long(), learner.memory.shares, dim=1)

        def losses(parts=parts, labels=labels):
            pairs = zip(parts, labels, strict=True)
            return torch.stack([learner.gradient(x, y, batch.task)[0] for x, y in pairs]).double()

        before, start = losses(), [w.detach().clone() for w in learner.network.parameters()]
        learner.observe(batch)
        harmed[0] += int((losses() - before > 1e-5).sum())
        with torch.no_grad():
            for w, s in zip(learner.network.parameters(), start, strict=True):
                w.copy_(s)
        gradient = learner.gradient(batch.inputs, batch.labels, batch.task)[1]
        assign_gradients(learner.network.parameters(), gradient)
        learner.optimiser.step()
        harmed[1] += int((losses() - before > 1e-5).sum())
    assert harmed[0] == 0
    assert harmed[1] > 10


@pytest.mark.parametrize(("kind", "looked_at"), [(GEM, [40, 40]), (AGEM, [7, 7])])
def test_what_is_kept_is_seen_anew_at_every_step_where_the_stream_augments(
    kind, looked_at, monkeypatch
):
    options = {"ref_batch": 7} if kind is AGEM else {}
    learner, _, batch = after_two_tasks(kind, "class", memory_total=100, **options)
    given = []

    def blank(inputs):
        given.append(inputs.shape[1])
        return torch.zeros_like(inputs)

    monkeypatch.setattr(learner.memory, "views", blank)
    seen, original = [], learner.logits
    monkeypatch.setattr(learner, "logits", lambda x: seen.append(x) or original(x))
    learner.observe(batch)
    learner.observe(batch)
    assert given == looked_at
    assert sum(x.shape[1] for x in seen if not x.any()) == sum(looked_at)


def test_a_stored_sample_competes_with_the_outputs_of_its_own_task_where_tasks_are_told():
    learner, stream, batch = after_two_tasks(GEM, "task", memory_total=100)
    inputs, labels = learner.memory.inputs[:, :20], learner.memory.labels[:, :20].long()
    assign_gradients(learner.network.parameters(), learner.gradient(inputs, labels, batch.task)[1])
    head = list(learner.network.parameters())[-2].grad
    mine = stream.scenario.outputs_of(0).expand_as(head)
    assert (head[~mine] == 0).all()
    assert (head[mine] != 0).any()


# -- memory and options


@pytest.mark.parametrize("kind", [GEM, AGEM])
@pytest.mark.parametrize(
    ("options", "share"),
    [({"memory_total": 103}, 20), ({"memory_per_task": 13}, 13), ({"memory_bytes": 65 * 52}, 10)],
)
def test_every_task_has_the_same_share_of_the_memory_from_the_start(kind, options, share):
    stream = make_stream("class")
    learner, kept = build(kind, QUICK | options, stream), []
    for task in range(5):
        learn(learner, stream, task, task + 1)
        assert learner.memory.shares == [share] * (task + 1)
        kept.append(learner.memory.inputs[:, -share:].clone())
        assert learner.footprint()["memory"] == share * (task + 1) * 65
    assert torch.equal(learner.memory.inputs, torch.cat(kept, dim=1))


@pytest.mark.parametrize("kind", [GEM, AGEM])
def test_a_memory_of_less_than_a_sample_a_task_is_refused(kind):
    with pytest.raises(InputError, match="memory_total = 4"):
        build(kind, {"memory_total": 4}, make_stream("class"))


def test_defaults_are_those_of_the_protocols():
    config = GEM.Config.parse({})
    assert (config.optimiser, config.lr, config.momentum) == ("sgd", 0.01, 0.0)
    assert (config.hidden, config.batch_size, config.epochs) == ((400, 400), 128, 4)
    assert (config.gamma, config.memory_total) == (0.5, 1000)
    theirs = Replay.Config.parse({}).plain()
    mine = AGEM.Config.parse({}).plain()
    assert {k: v for k, v in theirs.items() if k in mine}.items() <= mine.items()
    assert mine["ref_batch"] == 128


# -- gradients as rows


@pytest.mark.parametrize("stack", [1, 3])
def test_assigning_rows_is_the_reverse_of_joining_gradients(stack):
    shapes = [(stack, 4, 3), (stack, 1, 3), (stack, 3, 2)]
    given = [torch.randn(s, generator=generator(0, "rows", i)) for i, s in enumerate(shapes)]
    parameters = [torch.nn.Parameter(torch.zeros(s)) for s in shapes]
    assign_gradients(parameters, flat(given))
    for parameter, gradient in zip(parameters, given, strict=True):
        assert torch.equal(parameter.grad, gradient)
        assert parameter.grad.is_contiguous()  # fused optimisers go through memory in order


def test_gem_names_its_scenarios():
    info = StreamInfo("toy", "task_free", inputs=4, outputs=2, scale=1.0, tasks=None)
    assert "task_free" not in GEM.scenarios
    with pytest.raises(InputError):
        GEM(GEM.Config.parse({}), info, SEEDS)
