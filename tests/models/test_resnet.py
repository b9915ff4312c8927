"""ResNet is timm's, narrower if asked, and takes torchvision's checkpoints."""

import pytest
import timm
import torch
import torchvision

from vision_attn.models.config import ResNetConfig
from vision_attn.spec import Spec
from vision_attn.tape import Tape

DEEP = ResNetConfig(block="bottleneck", depths=(3, 4, 6, 3))
SPEC = Spec(image_size=(64, 96), names=tuple("abcdefg"))
IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (ResNetConfig(), timm.create_model("resnet18", num_classes=7)),
        (DEEP, timm.create_model("resnet50", num_classes=7)),
        (ResNetConfig(), torchvision.models.resnet18(num_classes=7)),
        (DEEP, torchvision.models.resnet50(num_classes=7)),
    ],
    ids=["timm-18", "timm-50", "torchvision-18", "torchvision-50"],
)
def test_checkpoints_load_strictly_and_give_the_same_logits(config, reference):
    model = config.build(SPEC).eval()
    model.load_state_dict(reference.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), reference.eval()(IMAGES), atol=1e-5, rtol=1e-5)


def test_small_images_get_a_stem_that_keeps_their_detail():
    config = ResNetConfig(depths=(1, 1, 1, 1), channels=(6, 10, 14, 22), stem="small")
    model = config.build(Spec(image_size=(24, 32), names=("a", "b", "c"))).eval()
    images = IMAGES[..., :24, :32]
    assert model.forward_features(images).shape == (2, 22, 3, 4)
    assert model.regions(images).shape == (2, 12, 22)
    tape = Tape()
    torch.testing.assert_close(model(images, tape), model(images))
    assert not tape.attention
    assert model.readout is None


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_stage_may_keep_its_grid(block):
    config = ResNetConfig(
        block=block, depths=(1, 2, 1, 1), channels=(6, 10, 14, 22), strides=(1, 2, 1, 1)
    )
    model = config.build(SPEC).eval()
    assert model.forward_features(IMAGES).shape[-2:] == (8, 12)
    plain = ResNetConfig(block=block, depths=(1, 2, 1, 1), channels=(6, 10, 14, 22)).build(SPEC)
    plain.load_state_dict(model.state_dict())


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_means_of_2x2_keep_regions_in_the_middle_of_what_they_see(block):
    middles = {}
    for downsample in ("stride", "average"):
        config = ResNetConfig(
            block=block,
            depths=(1, 1, 1, 1),
            channels=(16, 16, 16, 16),
            stem="small",
            strides=(1, 2, 2, 1),
            downsample=downsample,
        )
        found = [middle_of_what_is_seen(config, seed) for seed in range(6)]
        middles[downsample] = torch.tensor(found).mean(0).tolist()
    assert middles["average"] == pytest.approx((22, 26), abs=0.4)
    assert middles["stride"] == pytest.approx((20.5, 24.5), abs=0.4)


def middle_of_what_is_seen(config, seed):
    """Give the row and column, in pixels, around which gradients of region (5, 6) lie."""
    torch.manual_seed(seed)
    model = config.build(Spec(image_size=(48, 48), names=("a", "b"))).eval()
    for layer in model.modules():  # timm begins with branches that are silent
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(layer.weight)
    images = torch.randn(16, 3, 48, 48, requires_grad=True)
    region = model.forward_features(images)[:, :, 5, 6]
    (seen,) = torch.autograd.grad(region.square().sum(), images)
    shares = seen.abs().sum((0, 1)) / seen.abs().sum()
    pixels = torch.arange(48) + 0.5
    return (shares.sum(1) @ pixels).item(), (shares.sum(0) @ pixels).item()


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
@pytest.mark.parametrize("stem", ["small", "imagenet"])
def test_means_of_2x2_fill_the_grid_of_odd_sizes(block, stem):
    config = ResNetConfig(
        block=block,
        depths=(1, 2, 1, 1),
        channels=(6, 10, 14, 22),
        stem=stem,
        downsample="average",
    )
    model = config.build(SPEC).eval()
    rows, columns = model.region_grid((54, 75))
    assert model.forward_features(IMAGES[..., :54, :75]).shape[-2:] == (rows, columns)


def test_a_resnet_d_of_timm_has_the_same_shortcuts():
    reference = timm.create_model("resnet18d", num_classes=7).state_dict()
    own = ResNetConfig(downsample="average").build(SPEC).state_dict()
    assert {name: x.shape for name, x in own.items() if "layer" in name} == {
        name: x.shape for name, x in reference.items() if "layer" in name
    }


def test_a_token_activation_is_refused():
    model = ResNetConfig(depths=(1, 1, 1, 1), channels=(6, 10, 14, 22)).build(SPEC)
    activation = torch.randn(2, 5, 3, 7)
    assert model.to_map(activation, (64, 96)) is activation
    with pytest.raises(ValueError, match=r"got \(2, 5, 3\)"):
        model.to_map(activation[..., 0], (64, 96))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (2, 2)}, "four numbers"),
        ({"channels": (0, 1, 1, 1)}, "must be positive"),
        ({"strides": (2, 2, 2, 2)}, "1 and then 1s or 2s"),
        ({"strides": (1, 2, 3, 1)}, "1 and then 1s or 2s"),
        ({"channels": (5, 8, 8, 8)}, "even width"),
        ({"stem_stride": 2}, "stem=small"),
        ({"strides": (1, 1, 1, 1), "downsample": "average"}, "needs a stride of 2"),
        ({"drop_path": -0.1}, r"\[0, 1\)"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ResNetConfig(**settings)
