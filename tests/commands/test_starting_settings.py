"""A training starts from weights only where the settings agree that no weight shows."""

from dataclasses import replace

import pytest
import torch

from vision_attn.commands.starting import open_start, start_from
from vision_attn.engine.checkpoint import save_weights
from vision_attn.formats.told import from_transformers
from vision_attn.language.vocabulary import SPECIALS
from vision_attn.models.caption_config import CaptionerConfig, LSTMDecoderConfig
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.recipe import read
from vision_attn.spec import Spec

CONFIG = ViTConfig(dim=12, depth=1, heads=3, patch_size=4)
SPEC = Spec(image_size=(24, 24), names=("a", "b", "c"))
WORDS = (*SPECIALS, "red", "ring")


@pytest.fixture
def run(tmp_path):
    """A run folder of that model."""
    torch.manual_seed(5)
    section = "model: {name: vit, dim: 12, depth: 1, heads: 3, patch_size: 4}\n"
    (tmp_path / "config.yaml").write_text(f"data: {{name: scenes}}\n{section}")
    save_weights(tmp_path / "best.safetensors", CONFIG.build(SPEC), SPEC)
    return tmp_path


@pytest.mark.parametrize("init", ["", "best.safetensors"])
def test_settings_that_no_weight_shows_are_held_against_the_checkpoint(init, run):
    model = replace(CONFIG, heads=2, norm_eps=1e-5).build(SPEC)
    with pytest.raises(ValueError) as caught:
        start_from(model, open_start(str(run / init)))
    lines = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "model.heads: 3 there, the model has 2",
        "model.norm_eps: 1e-06 there, the model has 1e-05",
        "these weights fit model.name=vit model.depth=1 model.dim=12 model.patch_size=4 "
        "model.heads=3 model.norm_eps=1e-06",
    ]


def test_the_way_positions_are_told_must_be_that_of_the_run(tmp_path):
    turned = replace(CONFIG, position="rotary").build(SPEC)
    save_weights(tmp_path / "w.safetensors", turned, SPEC)
    start = open_start(str(tmp_path / "w.safetensors"))
    with pytest.raises(ValueError, match=r"model\.position: rotary there, the model has sincos"):
        start_from(replace(CONFIG, position="sincos").build(SPEC), start)
    assert start_from(replace(CONFIG, position="rotary").build(SPEC), start) == []


def test_strides_must_be_those_of_the_run(tmp_path):
    config = ResNetConfig(channels=(4, 6, 8, 10), depths=(1, 1, 1, 1), stem="small")
    save_weights(tmp_path / "w.safetensors", config.build(SPEC), SPEC)
    start = open_start(str(tmp_path / "w.safetensors"))
    assert start_from(config.build(SPEC), start) == []
    finer = replace(config, strides=(1, 1, 2, 2)).build(SPEC)
    with pytest.raises(ValueError, match=r"model\.strides: \[1,2,2,2\] there") as caught:
        start_from(finer, start)
    assert "model.stem_stride=1 model.strides=[1,2,2,2]" in str(caught.value)


def test_what_an_encoder_must_be_is_written_as_a_recipe_has_it(run):
    encoder = replace(CONFIG, norm_eps=1e-5)
    decoder = LSTMDecoderConfig(dim=8)
    model = CaptionerConfig(encoder=encoder, decoder=decoder).build(replace(SPEC, names=WORDS))
    with pytest.raises(ValueError) as caught:
        start_from(model, open_start(str(run)))
    assert "model.encoder.norm_eps: 1e-06 there, the model has 1e-05" in str(caught.value)
    assert str(caught.value).endswith("model.encoder.heads=3 model.encoder.norm_eps=1e-06")


def test_an_encoder_may_go_on_with_finer_strides_and_that_is_said(tmp_path):
    config = ResNetConfig(channels=(4, 6, 8, 10), depths=(1, 1, 1, 1), stem="small")
    torch.manual_seed(5)
    network = config.build(SPEC)
    save_weights(tmp_path / "w.safetensors", network, SPEC)
    encoder = replace(config, strides=(1, 2, 2, 1))
    decoder = LSTMDecoderConfig(dim=8)
    model = CaptionerConfig(encoder=encoder, decoder=decoder).build(replace(SPEC, names=WORDS))
    told = start_from(model, open_start(str(tmp_path / "w.safetensors")))
    assert "model.encoder.strides: [1,2,2,2] there, the model has [1,2,2,1]" in told
    assert not any("stem_stride" in line for line in told)
    first = model.encoder.network.state_dict()["conv1.weight"]
    assert torch.equal(first, network.state_dict()["conv1.weight"])


@pytest.mark.parametrize("name", ["soft", "hard", "transformer"])
def test_captions_of_photographs_start_from_what_their_recipes_say(name, tmp_path):
    torch.manual_seed(5)
    ten = Spec(image_size=(32, 32), names=tuple("abcdefghij"))
    network = read("configs/cifar10_resnet.yaml").model.build(ten)
    save_weights(tmp_path / "w.safetensors", network, ten)
    recipe = read(f"configs/flickr8k_caption_{name}.yaml", f"data.root={tmp_path}")
    model = recipe.model.build(Spec(image_size=(64, 64), names=WORDS))
    start_from(model, open_start(str(tmp_path / "w.safetensors")))
    found = model.encoder.network.state_dict()
    for entry, value in network.state_dict().items():
        assert entry.startswith("fc.") or torch.equal(found[entry], value)


def test_a_captioner_that_looked_first_goes_on_so(tmp_path):
    spec = replace(SPEC, names=WORDS)
    config = CaptionerConfig(encoder=CONFIG, decoder=LSTMDecoderConfig(dim=8, order="look_first"))
    save_weights(tmp_path / "w.safetensors", config.build(spec), spec)
    start = open_start(str(tmp_path / "w.safetensors"))
    assert start_from(config.build(spec), start) == []
    reads = replace(config, decoder=replace(config.decoder, order="read_first"))
    with pytest.raises(ValueError, match=r"model\.decoder\.order: look_first there") as caught:
        start_from(reads.build(spec), start)
    assert "model.decoder.order=look_first" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"model_type": "vit", "hidden_act": "relu"}, "hidden_act=gelu"),
        ({"model_type": "resnet", "hidden_act": "gelu"}, "hidden_act=relu"),
        ({"model_type": "resnet", "downsample_in_bottleneck": True}, "in_bottleneck=False"),
    ],
)
def test_what_no_setting_of_ours_computes_is_refused(settings, wrong):
    with pytest.raises(ValueError, match=wrong):
        from_transformers(settings, {})
