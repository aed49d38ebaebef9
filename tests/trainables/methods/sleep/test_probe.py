"""What is told of activity and weights before and after sleep, against scikit-learn, singular
values and loops.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from trainables.methods.sleep.probe import Probe, activities, principal_axes, stable_rank
from trainables.nn import MLP, Dropout
from trainables.rng import Draws, generator
from trainables.testing import make_stream

SEEDS = (3, 5)
CLASSES, COUNT = 6, 7


def probe(known=CLASSES, count=COUNT, classes=CLASSES):
    """A probe that has met the first classes; seed 1 has met one less."""
    found = Probe(count, len(SEEDS), classes, 20)
    found.known[:, :known] = True
    found.known[1, known - 1] = False
    return found


def random_activity(width, name, count=COUNT, classes=CLASSES):
    """[S, C, N, width], with directions of unlike spread, not around nought."""
    drawn = torch.randn(2, classes, count, width, generator=generator(0, name))
    return drawn * torch.linspace(3, 0.2, width) + 1.5


def layers(name, widths=(15, 12, 4), **sizes):
    return [random_activity(width, f"{name}{width}", **sizes) for width in widths]


# -- change


def test_change_is_one_less_the_mean_cosine_of_each_class():
    before, after = layers("before"), layers("after")
    found = probe(4).moved(before, after)
    assert found.shape == (2, 3, CLASSES)
    for seed in range(2):
        for n, (old, new) in enumerate(zip(before, after, strict=True)):
            for label in range(4 - seed):
                cosines = [
                    np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
                    for a, b in zip(old[seed, label].numpy(), new[seed, label].numpy(), strict=True)
                ]
                assert found[seed, n, label].item() == pytest.approx(1 - np.mean(cosines), abs=1e-5)


def test_change_is_none_for_activity_of_other_length_and_two_for_the_opposite():
    before = layers("before")
    for factor, expected in ((1.0, 0.0), (3.0, 0.0), (-0.5, 2.0)):
        found = probe().moved(before, [factor * layer for layer in before])
        known = found.isfinite()
        torch.testing.assert_close(
            found[known], torch.full_like(found[known], expected), rtol=0, atol=1e-5
        )


# -- principal components


def oracle(before, after, known, seed):
    """Class means by scikit-learn: one decomposition of before, after and difference, stacked."""
    parts = [before[seed], after[seed], after[seed] - before[seed]]
    parts = [part[known[seed]].double().numpy() for part in parts]  # [classes, N, width]
    rows = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    fitted = PCA(min(10, *rows.shape), svd_solver="full").fit(rows)
    means = [
        np.stack([fitted.transform(samples).mean(0) for samples in part], axis=1) for part in parts
    ]
    means[2] = means[1] - means[0]  # from zero on
    return fitted, means  # [components, classes] each


@pytest.mark.parametrize("width", [15, 200], ids=["fewer features", "fewer samples"])
@pytest.mark.parametrize("known", [CLASSES, 3])
def test_components_are_those_of_scikit_learn_up_to_sign(known, width):
    looked = probe(known)
    before, after = random_activity(width, "before"), random_activity(width, "after")
    found = looked.components(before, after)
    assert [part.shape for part in found] == [(2, 10, CLASSES)] * 3
    for seed in range(2):
        _, expected = oracle(before, after, looked.known, seed)
        mine = torch.stack([part[seed] for part in found])[..., looked.known[seed]].double()
        theirs = torch.tensor(np.stack(expected))
        signs = (mine * theirs).sum((0, 2)).sign()
        torch.testing.assert_close(mine, theirs * signs.view(1, -1, 1), rtol=1e-3, atol=1e-3)
        assert theirs.abs().max() > 0.5


def test_axes_have_unit_length_a_sign_and_are_nought_where_there_are_fewer():
    rows = torch.randn(2, 5, 8, dtype=torch.double, generator=generator(0, "rows"))
    rows -= rows.mean(1, keepdim=True)  # rank 4
    found = principal_axes(rows, 10)
    assert found.shape == (2, 8, 10)
    gram = found.mT @ found
    expected = torch.diag(torch.tensor([1.0] * 4 + [0.0] * 6, dtype=torch.double))
    torch.testing.assert_close(gram, expected.expand(2, -1, -1), rtol=0, atol=1e-9)
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))[..., :4]
    assert (largest > 0).all()
    spread = (rows @ found).square().sum(1)[:, :4]
    assert (spread.diff(dim=1) < 0).all(), "the first component is not the widest"


def test_a_layer_that_answers_nothing_has_no_components():
    flat = torch.zeros(2, CLASSES, COUNT, 12)
    for part in probe(3).components(flat, flat):
        assert (part[0, :, :3] == 0).all()
        assert part[..., 3:].isnan().all()


# -- classes, and seeds that diverged


def test_classes_not_seen_have_no_values():
    looked = probe(3)
    found = looked.maps(layers("before"), layers("after"))
    assert list(found["components"]) == [
        f"layer {n} {when}" for n in (1, 2) for when in ("before", "after", "difference")
    ], "the outputs are not hidden"
    for panels in found.values():
        for values in panels.values():
            for seed in range(2):
                assert values[seed, :, : 3 - seed].isfinite().all()
                assert values[seed, :, 3 - seed :].isnan().all()


def test_what_is_told_does_not_depend_on_samples_of_classes_not_seen():
    looked, found = probe(3), []
    for filling in (0.0, 100.0):
        before, after = layers("before"), layers("after")
        for layer in (*before, *after):
            layer[:, 3:] = filling
            layer[1, 2] = filling
        found.append(looked.maps(before, after))
    for name, panels in found[0].items():
        for label, values in panels.items():
            torch.testing.assert_close(values, found[1][name][label], equal_nan=True)


@pytest.mark.parametrize("sizes", [{}, {"classes": 2, "count": 3}], ids=["many", "few"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_seed_that_diverged_has_no_values_and_leaves_the_others_alone(value, sizes):
    looked = probe(sizes.get("classes", CLASSES), **sizes)
    before, after = (layers(name, **sizes) for name in ("before", "after"))
    expected = looked.maps(before, after)
    for layer in after:
        layer[1, 0] = value
    found = looked.maps(before, after)
    for name, panels in expected.items():
        for label, values in panels.items():
            torch.testing.assert_close(
                found[name][label][0], values[0], equal_nan=True, rtol=1e-4, atol=1e-5
            )
    assert all(found["components"][label][1].isnan().all() for label in found["components"])
    weight = torch.rand(2, 6, 5, generator=generator(0, "weight"))
    expected = stable_rank(weight, SEEDS)
    weight[1, 2, 3] = value
    found = stable_rank(weight, SEEDS)
    assert torch.equal(found[0], expected[0])
    assert not found[1].isfinite()


# -- what is looked at


def test_the_first_samples_of_every_class_met_are_kept():
    stream = make_stream("class", SEEDS)
    looked = Probe(4, 2, 10, 64)
    assert looked.footprint()["auxiliary"] == 10 * (4 * 64 + 1)
    for index in range(2):
        looked.store(stream.task(index))
    assert looked.known.tolist() == [[label < 4 for label in range(10)]] * 2
    for label in range(4):
        rows = stream.pools_learnt[label][:4]
        images = stream.gather(rows.unsqueeze(0))[0][0]
        assert torch.equal(looked.samples[0, label], images)
        assert torch.equal(looked.samples[1, label], images)
    assert (looked.samples[:, 4:] == 0).all()
    other = Probe(4, 2, 10, 64)
    other.load(looked.state())
    assert torch.equal(other.samples, looked.samples)
    assert torch.equal(other.known, looked.known)
    other.store(stream.task(3))
    assert not looked.known[:, 6].any(), "what was loaded is shared"


@pytest.mark.parametrize("dropout", [None, 0.5])
def test_activity_is_what_each_layer_answers_before_it_is_rectified(dropout):
    draws = [generator(seed, "weights") for seed in SEEDS]
    noise = Draws(SEEDS, "dropout", torch.device("cpu"))
    drop = None if dropout is None else Dropout(dropout, noise, inverted=False)
    network = MLP(20, [9, 8], 5, draws, dropout=drop, bias=False)
    looked = Probe(COUNT, 2, CLASSES, 20)
    looked.samples.random_(256, generator=generator(0, "samples"))
    network.train()
    found = looked.activities(network, lambda samples: samples / 255)
    assert [layer.shape for layer in found] == [(2, CLASSES, COUNT, width) for width in (9, 8, 5)]
    first, second, last = (layer.weight.detach() for layer in network.dense)
    keep = 1 - (dropout or 0)
    flat = looked.samples.flatten(1, 2) / 255
    one = flat @ first
    two = one.relu() * keep @ second
    for mine, theirs in zip(found, (one, two, two.relu() * keep @ last), strict=True):
        torch.testing.assert_close(mine.flatten(1, 2), theirs)
        assert (mine < 0).any()
    assert noise.position == 0
    assert len(activities(network, flat)) == 3


# -- stable rank


def test_stable_rank_equals_that_of_the_singular_values():
    draw = generator(0, "weights")
    spectrum = torch.tensor([5.0, 3.0, 1.0, 0.5])
    left = torch.linalg.qr(torch.randn(2, 30, 4, generator=draw)).Q
    right = torch.linalg.qr(torch.randn(2, 12, 4, generator=draw)).Q
    known = left * spectrum @ right.mT
    drawn = torch.randn(2, 60, 40, generator=draw)
    for weight, tolerance in ((known, 1e-4), (drawn, 0.03), (drawn.mT, 0.03), (drawn + 0.5, 1e-3)):
        singular = torch.linalg.svdvals(weight.double())
        expected = singular.square().sum(1) / singular[:, 0].square()
        torch.testing.assert_close(
            stable_rank(weight, SEEDS).double(), expected, rtol=tolerance, atol=0
        )
    assert stable_rank(known, SEEDS)[0].item() == pytest.approx(35.25 / 25, rel=1e-4)


def test_stable_rank_of_a_product_of_two_vectors_is_one():
    draw = generator(0, "vectors")
    weight = torch.rand(2, 9, 1, generator=draw) @ torch.rand(2, 1, 7, generator=draw)
    torch.testing.assert_close(stable_rank(weight, SEEDS), torch.ones(2))


def test_stable_rank_of_a_seed_is_its_own():
    weight = torch.randn(2, 9, 7, generator=generator(0, "weights"))
    together = stable_rank(weight, SEEDS)
    assert torch.equal(stable_rank(weight[1:], SEEDS[1:]), together[1:])
