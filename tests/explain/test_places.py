import pytest
import torch
from foreign import GRIDS, MAPS, SEQUENCES, WIDE, batch, foreign, heard, sequence

from vision_attn.explain import METHODS, adapt
from vision_attn.explain.cam import grad_cam


@pytest.mark.parametrize("size", GRIDS)
@pytest.mark.parametrize("kind", SEQUENCES)
def test_a_sign_planted_in_one_cell_shows_there_and_its_gradient_reaches_all(kind, size):
    adapted = adapt(sequence(kind, size))
    rows, columns = GRIDS[size]
    (image, *_), _ = batch(size)
    plain, gradient = heard(adapted, image[None])
    on_map = adapted.to_map(gradient, size)
    assert on_map.shape[2:] == (rows, columns)
    assert on_map.flatten(2).any(1).all()
    for row, column in [(0, 0), (rows - 1, 1), (1, columns - 1)]:
        planted = image.clone()
        planted[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] *= -7
        change = adapted.to_map(heard(adapted, planted[None])[0] - plain, size).norm(dim=1)[0]
        assert divmod(change.argmax().item(), columns) == (row, column)


@pytest.mark.parametrize("kind", SEQUENCES)
def test_the_tokens_laid_out_are_those_that_timm_lays_out(kind):
    network, (images, _) = sequence(kind), batch()
    adapted = adapt(network)
    kept = []
    handle = network.blocks[1].register_forward_hook(lambda *run: kept.append(run[2]))
    (expected,) = network.forward_intermediates(
        images, indices=[1], intermediates_only=True, output_fmt="NCHW"
    )
    handle.remove()
    torch.testing.assert_close(adapted.to_map(kept[0], WIDE), expected, rtol=0, atol=0)
    assert kept[0].shape[1] - 14 == SEQUENCES[kind][2]


@pytest.mark.parametrize("kind", SEQUENCES)
def test_the_readout_is_what_the_head_depends_on(kind):
    network = sequence(kind)
    adapted, tokens = adapt(network), torch.randn(1, SEQUENCES[kind][2] + 14, network.embed_dim)
    tokens.requires_grad_()
    gradient = torch.autograd.grad(network.forward_head(tokens)[0, 1], tokens)[0][0]
    size = gradient.norm(dim=1)
    if adapted.readout is None:
        assert "attention pool" in kind
        return
    assert adapted.readout.sum() == pytest.approx(1)
    assert torch.equal(adapted.readout > 0, size > 0)
    if "mean" in kind:
        torch.testing.assert_close(size / size.sum(), adapted.readout, rtol=1e-4, atol=1e-5)


HYBRID = {"patch_size": 1, "img_size": (32, 48), "embed_dim": 12, "depth": 2, "num_heads": 2}


def test_a_hybrid_has_the_grid_of_its_convolutions_and_then_patches():
    adapted = adapt(foreign("vit_tiny_r_s16_p8_224", num_classes=5, **HYBRID))
    images, targets = batch((32, 48), count=1)
    activation, _ = heard(adapted, images)
    assert adapted.to_map(activation, (32, 48)).shape == (1, 12, 8, 12)
    assert METHODS["relevance"](adapted, images, targets).any()


@pytest.mark.parametrize("kind", MAPS)
def test_networks_of_maps_are_heard_where_the_head_reads(kind):
    build, size = MAPS[kind]
    network = build()
    images, targets = batch(size)
    adapted = adapt(network)
    activation, gradient = heard(adapted, images)
    laid = adapted.to_map(activation, size)
    assert laid.shape[2] < laid.shape[3]
    assert adapted.to_map(gradient, size).flatten(2).any(1).all()
    if hasattr(network, "forward_features"):
        features = network.forward_features(images)
        last = -1 if kind == "swin" else 1
        assert laid.shape[1] == features.shape[last]
        torch.testing.assert_close(laid if last == 1 else laid.permute(0, 2, 3, 1), features)
    assert grad_cam(adapted, images, targets).shape == (3, *size)
