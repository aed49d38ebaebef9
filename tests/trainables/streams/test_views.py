"""Random views against torchvision's transforms, image by image."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.functional as transforms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainables.rng import Draws, generator
from trainables.streams.views import PADDING, Views, crop_flip

CPU = torch.device("cpu")
SEEDS = (3, 5, 8)


def images(*shape, name="images"):
    return torch.randint(1, 256, shape, generator=generator(0, name)).to(torch.uint8)


def with_torchvision(image, top, left, mirrored):
    """Cut one image [height, width, channels] as RandomCrop and RandomHorizontalFlip do."""
    height, width, _ = image.shape
    padded = transforms.pad(image.permute(2, 0, 1), [PADDING])
    cut = transforms.crop(padded, top, left, height, width)
    return (transforms.hflip(cut) if mirrored else cut).permute(1, 2, 0)


def test_every_shift_and_flip_equals_torchvisions():
    cases = [(top, left, flip) for top in range(9) for left in range(9) for flip in (False, True)]
    pictures = images(len(cases), 6, 5, 3)
    shifts = torch.tensor([case[:2] for case in cases])
    found = crop_flip(pictures, shifts, torch.tensor([case[2] for case in cases]))
    for view, picture, case in zip(found, pictures, cases, strict=True):
        assert torch.equal(view, with_torchvision(picture, *case)), case


def view_by_view(pictures, shape, seeds, name):
    """Draw views one by one in plain Python: three numbers an image."""
    expected = torch.empty_like(pictures)
    for row, seed in enumerate(seeds):
        numbers = Draws([seed], name, CPU).uniform(3 * pictures.shape[1])[0].tolist()
        for place in range(pictures.shape[1]):
            down, right, flip = numbers[3 * place : 3 * place + 3]
            image = pictures[row, place].view(*shape[:2], -1)
            view = with_torchvision(image, int(down * 9), int(right * 9), flip < 0.5)
            expected[row, place] = view.flatten()
    return expected


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    st.sampled_from([(8, 8), (5, 7), (9, 6, 1), (4, 4, 3), (1, 2, 3)]),
    st.integers(0, 6),
)
@settings(max_examples=40, deadline=None)
def test_views_are_those_of_the_numbers_drawn(seeds, shape, count):
    pictures = images(len(seeds), count, torch.Size(shape).numel())
    found = Views("crop_flip", shape, seeds, "toy", CPU)(pictures)
    assert found.dtype == torch.uint8
    assert torch.equal(found, view_by_view(pictures, shape, seeds, "toy"))


def test_without_augmentation_images_are_given_back_and_nothing_is_drawn():
    views, pictures = Views("none", (8, 8), SEEDS, "toy", CPU), images(3, 4, 64)
    assert views(pictures) is pictures
    assert views.draws.position == 0


def test_shifts_are_uniform_and_every_other_view_is_mirrored():
    """A picture whose pixels tell their place: where they went tells the shift."""
    picture = torch.arange(1, 122, dtype=torch.uint8).expand(1, 4000, -1)  # 11 x 11
    found = Views("crop_flip", (11, 11), (3,), "toy", CPU)(picture).view(-1, 11, 11).long()
    centre = found[:, 5, 5] - 1  # never from outside
    mirrored = found[:, 5, 6] < found[:, 5, 5]
    # mirrored, the centre shows what the same column of the window shows unmirrored
    cells = centre * 2 + mirrored.long()
    counts = torch.bincount(cells, minlength=242).view(11, 11, 2)
    assert counts[1:10, 1:10].sum() == 4000
    assert stats.chisquare(counts[1:10, 1:10].flatten().numpy()).pvalue > 0.001


@pytest.mark.parametrize("stack", [(5,), (6, 5), (7, 5, 9)])
def test_a_seeds_views_do_not_depend_on_its_stack(stack):
    pictures = images(1, 10, 64)
    alone = Views("crop_flip", (8, 8), (5,), "toy", CPU)
    together = Views("crop_flip", (8, 8), stack, "toy", CPU)
    for _ in range(3):
        mine = together(pictures.expand(len(stack), -1, -1))
        assert torch.equal(mine[stack.index(5)], alone(pictures)[0])
    assert alone.draws.position == together.draws.position == 3 * 3 * 10


def test_views_are_new_each_time_and_differ_by_seed_and_name():
    pictures = images(1, 10, 64).expand(2, -1, -1)
    views, other = (Views("crop_flip", (8, 8), (1, 2), name, CPU) for name in ("a", "b"))
    first, second, third = views(pictures), views(pictures), other(pictures)
    found = [first[0], first[1], second[0], second[1], third[0], third[1]]
    assert len({tuple(view.flatten().tolist()) for view in found}) == 6
    views.draws.position = 0
    assert torch.equal(views(pictures), first)
