"""Encoders: grids of several sizes, what is frozen, and no weight without a gradient."""

from dataclasses import replace

import pytest
import torch
from tiny_captioner import DECODERS, EYE, RESNET, SPEC, VIT, captions, images, make

from vision_attn.models.caption_config import CaptionerConfig, LSTMDecoderConfig, TimmConfig
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.models.resnet import ResNet
from vision_attn.models.timm_encoder import TimmEncoder
from vision_attn.models.weights import load_weights
from vision_attn.spec import Spec
from vision_attn.tape import Tape

SMALL = LSTMDecoderConfig(dim=8)


@pytest.mark.parametrize(
    "encoder",
    [
        RESNET,
        VIT,
        ViTConfig(dim=8, depth=1, heads=2, patch_size=4, pool="sequence", tokenizer="conv"),
        ViTConfig(dim=8, depth=1, heads=2, patch_size=4, pool="attention", registers=2),
    ],
)
@pytest.mark.parametrize("kind", ["soft", "transformer"])
def test_every_weight_of_a_captioner_gets_a_gradient(encoder, kind):
    model = make(kind, encoder=encoder).train()
    loss = model(images(3), captions(3, 2, 4)).log_softmax(-1)[..., 5].sum()
    loss.backward()
    assert [name for name, x in model.named_parameters() if x.grad is None] == []


@pytest.mark.parametrize("encoder", [RESNET, VIT])
@pytest.mark.parametrize("size", [(12, 20), (8, 12), (16, 16)])
def test_looks_cover_the_grid_of_any_image_size(encoder, size):
    model = make("soft", encoder=encoder)
    tape = Tape()
    model(images(2, size=size), captions(2, 1, 3), tape)
    rows, columns = model.region_grid(size)
    assert (rows, columns) == (size[0] // 4, size[1] // 4)
    assert tape.looks[0].shape == (2, 1, 3, rows * columns)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (ResNetConfig(depths=(1, 1, 1, 1), channels=(2, 3, 4, 5)), (45, 61)),
        (RESNET, (13, 21)),
        (ResNetConfig(depths=(1, 1, 1, 1), channels=(2, 3, 4, 5), stem="small"), (17, 9)),
    ],
)
def test_a_resnet_knows_its_grid(config, size):
    model = ResNet(config, SPEC).eval()
    rows, columns = model.forward_features(images(1, size=size)).shape[2:]
    assert model.region_grid(size) == (rows, columns)
    assert model.regions(images(1, size=size)).shape == (1, rows * columns, model.region_dim)


def test_location_is_bound_to_the_grid_of_training():
    model = make("soft", decoder=LSTMDecoderConfig(dim=8, score="location"))
    with pytest.raises(ValueError, match="got 6 keys for 15 places"):
        model(images(1, size=(8, 12)), captions(1, 1, 2))


def moved(model, before):
    return {name for name, x in model.state_dict().items() if not torch.equal(x, before[name])}


@pytest.mark.parametrize(
    ("first", "learning"), [(None, ()), (4, ("layer4",)), (3, ("layer3", "layer4"))]
)
def test_frozen_parts_keep_weights_and_statistics(first, learning):
    model = make("soft", freeze=True, unfreeze_from=first).train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    optimizer = torch.optim.SGD([x for x in model.parameters() if x.requires_grad], lr=0.5)
    model(images(3), captions(3, 2, 4)).log_softmax(-1)[..., 5].sum().neg().backward()
    optimizer.step()
    inside = {x.split(".")[2] for x in moved(model, before) if x.startswith("encoder.network.")}
    assert inside == set(learning)
    assert any(name.startswith("decoder.") for name in moved(model, before))


def test_blocks_of_a_transformer_are_counted_from_one():
    model = make("soft", encoder=VIT, freeze=True, unfreeze_from=2)
    learning = {x for x, p in model.encoder.network.named_parameters() if p.requires_grad}
    assert {name.rsplit(".", 3)[0].split(".")[0] for name in learning} == {"blocks"}
    assert all(name.startswith("blocks.1.") for name in learning)
    with pytest.raises(ValueError, match="at most 2, the encoder's blocks or stages, got 3"):
        make("soft", encoder=VIT, freeze=True, unfreeze_from=3)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet10t", (64, 96)),
        ("regnetx_002", (64, 64)),
        ("vit_tiny_patch16_224", (224, 224)),
        ("vit_tiny_patch16_224", (48, 80)),
        ("swin_tiny_patch4_window7_224", (64, 96)),
        ("test_vit", (160, 160)),
    ],
)
def test_networks_of_timm_give_regions(name, size):
    spec = Spec(image_size=size, names=SPEC.names)
    encoder = TimmEncoder(TimmConfig(network=name), spec).eval()
    rows, columns = encoder.region_grid(size)
    with torch.no_grad():
        regions = encoder.regions(images(1, size=size))
    assert regions.shape == (1, rows * columns, encoder.region_dim)
    assert encoder.stages


def test_a_captioner_looks_through_a_network_of_timm():
    spec = Spec(image_size=(64, 96), names=SPEC.names)
    config = CaptionerConfig(encoder=TimmConfig(network="resnet10t"), decoder=SMALL)
    model = config.build(spec).eval()
    tape = Tape()
    model(images(1, size=(64, 96)), captions(1, 1, 2), tape)
    assert tape.looks[0].shape == (1, 1, 2, 6)


def test_a_network_that_timm_does_not_know_is_refused():
    with pytest.raises(ValueError, match="timm has no network resnet11"):
        TimmEncoder(TimmConfig(network="resnet11"), SPEC)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # timm, before it asks
@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("vit_tiny_patch16_224", (8, 24), "Kernel size"),
        ("xcit_nano_12_p16_224", (24, 24), "divide image dimensions"),
        ("coat_tiny", (64, 64), "'list'"),
    ],
)
def test_a_network_of_timm_without_regions_of_such_images_is_refused(name, size, reason):
    spec = Spec(image_size=size, names=SPEC.names)
    message = rf"{name} gives no regions of {size[0]}x{size[1]} pixels \(.*{reason}.*\); choose"
    with pytest.raises(ValueError, match=message):
        TimmEncoder(TimmConfig(network=name), spec)


def test_looking_once_leaves_a_network_of_timm_as_it_is_made():
    encoder = TimmEncoder(TimmConfig(network="resnet10t"), SPEC)
    assert encoder.network.training
    assert all(part.training for part in encoder.network.modules())
    assert encoder.network.bn1.num_batches_tracked == 0
    assert encoder.network.bn1.running_mean.count_nonzero() == 0


@pytest.mark.parametrize(
    ("own", "other", "told"),
    [
        (RESNET, replace(RESNET, downsample="average"), r"encoder\.downsample=stride"),
        (VIT, replace(VIT, depth=VIT.depth + 1), rf"encoder\.depth={VIT.depth}"),
    ],
)
def test_weights_of_a_captioner_tell_what_its_encoder_was(own, other, told):
    state = make("soft", encoder=own).state_dict()
    with pytest.raises(
        ValueError, match=rf"these weights fit model\.encoder\.name=.* model\.{told}"
    ):
        load_weights(make("soft", encoder=other), state)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"encoder": replace(EYE, downsample="max")}, r"encoder\.downsample=stride"),
        ({"encoder": replace(EYE, channels=(3, 7))}, r"encoder\.channels=\[3,5\]"),
        ({"decoder": DECODERS["glimpse"]}, r"decoder\.policy=categorical"),
    ],
)
def test_weights_of_a_captioner_tell_what_its_eye_was(other, told):
    state = make("cells").state_dict()
    with pytest.raises(
        ValueError, match=rf"these weights fit model\.encoder\.name=retina .*{told}"
    ):
        load_weights(make("cells", **other), state)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"encoder": replace(EYE, growth=3.0)}, r"model.encoder.growth: 2.0 there, .* has 3.0"),
        ({"decoder": replace(DECODERS["cells"], grid=7)}, r"model.decoder.grid: 3 there, .* has 7"),
    ],
)
def test_settings_of_an_eye_that_no_weight_shows_are_refused(other, told):
    own = make("cells")
    with pytest.raises(ValueError, match=told):
        load_weights(make("cells", **other), own.state_dict(), unseen=own.config.unseen)


def test_positions_tell_regions_apart():
    with_positions = make("soft")
    without = make("soft", positions=False)
    flat = torch.zeros(1, 3, 12, 20)
    corners = [0, 4, 10, 14]
    spread = [m.encoder(flat)[0][0, corners].std(0).max().item() for m in (with_positions, without)]
    assert spread[0] > 0.3 > spread[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder": DECODERS["glimpse"]}, "encoder retina and decoder glimpse belong together"),
        ({"unfreeze_from": 2}, "unfreeze_from belongs to freeze=true"),
        ({"freeze": True, "unfreeze_from": 0}, "unfreeze_from counts from 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CaptionerConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 10}, "dim must be a positive multiple of 4, got 10"),
        ({"dim": 8, "heads": 3}, "heads must divide dim"),
        ({"feed_dropout": 1.0}, r"feed_dropout must be in \[0, 1\), got 1.0"),
        ({"reach": 2}, "reach belongs to a local window"),
        ({"window": "predictive", "pace": 2.0}, "pace belongs to window=monotonic"),
        ({"window": "monotonic", "pace": 0.0}, "pace must be positive"),
        ({"window": "predictive", "reach": 0}, "reach must be 1 or more"),
    ],
)
def test_decoders_refuse_settings_without_effect(settings, message):
    with pytest.raises(ValueError, match=message):
        LSTMDecoderConfig(**settings)
