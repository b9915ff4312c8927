"""The retina against a sum over pixels in float64."""

import pytest
import torch
from torch import Tensor

from vision_attn.models.retina import Retina, retina

SIZES = {  # size, scales, growth
    "one fine patch": (4, 1, 2.0),
    "doubling": (4, 3, 2.0),
    "odd side": (3, 3, 2.0),
    "tripling": (5, 2, 3.0),
    "growth that is no whole number": (4, 3, 1.7),
    "one pixel": (1, 4, 2.0),
    "wider than the image": (6, 4, 2.5),
}


def overlap(low: float, high: float, pixel: int) -> float:
    return max(0.0, min(high, pixel + 1) - max(low, pixel))


def slow(images: Tensor, centres: Tensor, size: int, scales: int, growth: float) -> Tensor:
    """Average over every cell pixel by pixel, one image, channel and scale after the other."""
    batch, channels, height, width = images.shape
    seen = torch.zeros(batch, scales * channels, size, size, dtype=torch.float64)
    for image in range(batch):
        x, y = (centres[image].double() + 1) / 2 * torch.tensor([width, height])
        for scale in range(scales):
            cell = growth**scale
            for row in range(size):
                top = y.item() + (row - size / 2) * cell
                for column in range(size):
                    left = x.item() + (column - size / 2) * cell
                    for channel in range(channels):
                        total = sum(
                            images[image, channel, j, i].item()
                            * overlap(top, top + cell, j)
                            * overlap(left, left + cell, i)
                            for j in range(height)
                            for i in range(width)
                            if overlap(top, top + cell, j) and overlap(left, left + cell, i)
                        )
                        seen[image, scale * channels + channel, row, column] = total / cell**2
    return seen


def noise(*shape: int, dtype=torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


def places(columns: list[float], rows: list[float], height: int, width: int) -> Tensor:
    """Turn pixel edges into centres in [-1, 1]."""
    pixels = torch.tensor([columns, rows], dtype=torch.float64).T
    return pixels / torch.tensor([width, height]) * 2 - 1


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ([4.0, 6.0], [5.0, 3.0]),
        ([4.3, 7.71], [5.9, 2.5]),
        ([0.0, 11.0], [0.4, 13.0]),
        ([-9.0, 30.0], [2.0, 40.0]),
    ],
    ids=["integer", "fractional", "at the border", "outside"],
)
def test_every_cell_is_the_mean_of_what_lies_under_it(name, columns, rows):
    images, centres = noise(2, 2, 13, 11), places(columns, rows, 13, 11)
    size, scales, growth = SIZES[name]
    seen = retina(images, centres, size=size, scales=scales, growth=growth)
    assert seen.shape == (2, scales * 2, size, size)
    assert torch.allclose(seen, slow(images, centres, size, scales, growth), atol=1e-12)


def test_a_fine_patch_at_a_whole_place_is_the_pixels_themselves():
    images = noise(1, 1, 12, 14)
    seen = retina(images, places([7.0], [4.0], 12, 14), size=4, scales=1)
    assert torch.allclose(seen[0, 0], images[0, 0, 2:6, 5:9], atol=1e-12)


def test_nothing_is_seen_outside():
    seen = retina(noise(1, 3, 7, 7) + 5, torch.tensor([[9.0, 0.0]]), size=4, scales=1)
    assert not seen.any()


def test_a_batch_is_its_images_one_by_one():
    images, centres = noise(5, 3, 11, 13), noise(5, 2)
    together = retina(images, centres, size=3, scales=2)
    for row in range(5):
        alone = retina(images[row : row + 1], centres[row : row + 1], size=3, scales=2)
        assert torch.allclose(together[row], alone[0], atol=1e-12)


def test_gradients_reach_centres_and_images():
    images, centres = noise(2, 1, 7, 5), 0.4 * noise(2, 2)
    images.requires_grad_()
    centres.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda images, centres: retina(images, centres, size=3, scales=2, growth=1.5),
        (images, centres),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types_keep_their_digits_on_bright_images(dtype):
    images = (noise(2, 1, 61, 53) + 5).to(dtype)
    centres = places([13.0, 40.2], [21.6, 60.0], 61, 53)
    seen = retina(images, centres.to(torch.float32), size=5, scales=2)
    assert seen.dtype == torch.float32
    assert torch.allclose(seen.double(), slow(images, centres, 5, 2, 2.0), atol=2e-4)


def test_one_retina_serves_several_glimpses():
    images, settings = noise(2, 1, 9, 9), {"size": 3, "scales": 2}
    look = Retina(images, **settings)
    for centres in (noise(2, 2), -noise(2, 2)):
        assert torch.equal(look(centres), retina(images, centres, **settings))


def test_several_places_of_an_image_are_seen_as_each_alone():
    images, centres, settings = noise(2, 3, 9, 11), noise(2, 7, 5, 2), {"size": 3, "scales": 2}
    seen = Retina(images, **settings)(centres.transpose(1, 2))
    assert seen.shape == (2, 5, 7, 6, 3, 3)
    for row in range(7):
        for column in range(5):
            alone = retina(images, centres[:, row, column], **settings)
            assert torch.allclose(seen[:, column, row], alone, atol=1e-12)


def test_no_images_are_seen_at_no_place():
    images, settings = noise(0, 3, 9, 11), {"size": 3, "scales": 2}
    assert retina(images, noise(0, 2), **settings).shape == (0, 6, 3, 3)
    assert Retina(images, **settings)(noise(0, 5, 2)).shape == (0, 5, 6, 3, 3)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"scales": 0}, {"growth": 0.5}])
def test_wrong_sizes_are_named(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        retina(noise(1, 1, 5, 5), torch.zeros(1, 2), **({"size": 3, "scales": 1} | wrong))
