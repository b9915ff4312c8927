import pytest
import torch

from vision_attn.explain.attention import patch_attention, sink_share
from vision_attn.explain.rollout import patch_rollout
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.report.looks import LEVELS, SINKS, grouped, joined, looks, membership
from vision_attn.spec import Spec

SPEC = Spec(image_size=(16, 24), names=("ant", "bee"))
IMAGES = torch.randn(3, 3, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return ViTConfig(dim=8, depth=2, heads=2, patch_size=4, registers=1).build(SPEC)


def decoded(levels, scales):
    return scales.unsqueeze(-1) * (levels / LEVELS) ** 2


def test_looks_are_the_attention_between_patches(model):
    seen = looks(model, IMAGES)
    assert seen.grid == (4, 6)
    for layer in range(2):
        expected = patch_attention(model, IMAGES, layer=layer).flatten(3)
        got = decoded(seen.levels[:, layer], seen.scales[:, layer])
        torch.testing.assert_close(got.sum(-1), expected.sum(-1))
        assert (got - expected).abs().max() < 0.05 * expected.max()
    expected = patch_rollout(model, IMAGES).flatten(2)
    got = decoded(seen.rollout_levels, seen.rollout_scales)
    assert (got - expected).abs().max() < 0.05 * expected.max()


def test_gathering_on_few_patches_is_told(model):
    expected = sink_share(model, IMAGES, patches=SINKS)
    torch.testing.assert_close(looks(model, IMAGES).sinks, expected)
    assert looks(model, IMAGES).patches == (4, 6)


def test_batches_are_joined(model):
    expected, parts = looks(model, IMAGES), [looks(model, IMAGES[:1]), looks(model, IMAGES[1:])]
    for name, part in joined(parts).parts().items():
        torch.testing.assert_close(part, expected.parts()[name])


def test_groups_keep_what_is_looked_at_in_all(model):
    full, small = looks(model, IMAGES), looks(model, IMAGES, budget=4 * 6**2)
    assert small.grid == (2, 3)
    shares = decoded(full.levels, full.scales).unflatten(-1, (2, 2, 3, 2)).sum((-3, -1))
    shares = shares.unflatten(3, (2, 2, 3, 2)).mean((4, 6)).flatten(3, 4).flatten(4)
    got = decoded(small.levels, small.scales)
    torch.testing.assert_close(got, shares, rtol=0.05, atol=0.01)


def test_the_grid_is_the_finest_that_fits_and_keeps_its_shape():
    assert grouped((14, 14), 72, 176_000) == (7, 7)
    assert grouped((8, 8), 8, 176_000) == (8, 8)
    assert grouped((4, 8), 1, 8**2) == (2, 4)
    with pytest.raises(ValueError, match="raise the budget"):
        grouped((4, 4), 10, 9)


def test_every_patch_belongs_to_one_group_and_groups_are_even():
    member = membership((5, 7), (2, 3))
    assert member.shape == (6, 35)
    assert (member.sum(0) == 1).all()
    assert member.sum(1).min() >= 4
    assert member.sum(1).max() <= 9


def test_a_network_without_attention_is_refused():
    model = ResNetConfig(channels=(2, 3, 5, 7), stem="small").build(SPEC)
    with pytest.raises(ValueError, match="attention"):
        looks(model, IMAGES)
