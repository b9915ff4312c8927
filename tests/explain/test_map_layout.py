import pytest
import torch

from vision_attn.explain.layout import fits, lay_map, lay_tokens, possible_grids


def test_tokens_are_laid_out_row_by_row_after_their_prefix():
    tokens = torch.arange(17.0)[None, :, None].expand(2, -1, 3)
    laid = lay_tokens(tokens, 2, (3, 5), (12, 20))
    assert torch.equal(laid[1, 2], torch.arange(2.0, 17).view(3, 5))
    assert torch.equal(lay_tokens(tokens[:, 2:], 2, (3, 5), (12, 20)), laid)
    with pytest.raises(ValueError, match="got 17 tokens"):
        lay_tokens(tokens, 1, (3, 5), (12, 20))


def test_a_grid_is_as_wide_for_its_height_as_the_image():
    assert possible_grids({49}, (224, 224)) == [(7, 7)]
    assert possible_grids({196}, (112, 448)) == [(7, 28)]  # and never 14 x 14
    assert possible_grids({196}, (224, 336)) == []
    assert possible_grids({6, 12}, (32, 100)) == [(2, 6)]
    assert lay_tokens(torch.zeros(1, 196, 3), 0, None, (112, 448)).shape == (1, 3, 7, 28)
    with pytest.raises(ValueError, match=r"grids \[\]"):
        lay_tokens(torch.zeros(1, 195, 3), 0, None, (224, 224))
    with pytest.raises(ValueError, match="more than the prefix"):
        lay_tokens(torch.zeros(1, 1, 3), 1, None, (32, 32))


def test_channels_are_found_by_the_proportions_of_the_image():
    first = torch.randn(2, 64, 7, 14)
    assert torch.equal(lay_map(first, (224, 448), channels_last=False), first)
    assert torch.equal(lay_map(first.permute(0, 2, 3, 1), (224, 448), channels_last=False), first)
    either = torch.randn(2, 7, 7, 7)
    assert torch.equal(lay_map(either, (56, 56), channels_last=False), either)
    assert torch.equal(lay_map(either, (56, 56), channels_last=True), either.permute(0, 3, 1, 2))
    with pytest.raises(ValueError, match="the proportions of the image, 224x224"):
        lay_map(first, (224, 224), channels_last=False)


@pytest.mark.parametrize(("height", "width"), [(7, 3), (224, 448), (299, 97)])
def test_any_stride_and_edge_fits(height, width):
    for stride in (1, 2, 5, 32):
        for edge in (-1, 0, 2):
            shape = torch.Size([max(1, -(-side // stride) - edge) for side in (height, width)])
            assert fits(shape, (height, width))
