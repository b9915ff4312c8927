"""Weights go to every library and come back; the library has the same logits."""

import json
from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from tiny_formats import NAMES, SPEC, VARIANTS, VIT, awake, files, noise, reopened, tiny, write

from vision_attn.formats.checkpoint import open_path
from vision_attn.formats.targets import TARGETS
from vision_attn.formats.timm import unseen_of
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.spec import Spec

HELD = {
    "timm": set(VARIANTS) - {"coarse"},
    "hf": set(VARIANTS) - {"mean", "attention", "nowhere"},
    "torchvision": {"plain", "narrow", "unplaced_class", "basic", "bottleneck"},
    "jax": {"plain", "narrow", "unplaced_class"},
}
"""What each format can express."""
BACK = {"placed_registers": "registers", "unplaced_class": "plain"}
"""What comes back from all but timm as another kind of network with the same logits."""
PAIRS = [(to, variant) for to in HELD for variant in VARIANTS]


@pytest.mark.filterwarnings("ignore:.*")  # of the libraries, while they are opened
@pytest.mark.parametrize(
    ("to", "variant"), [pair for pair in PAIRS if pair[1] in HELD[pair[0]]], ids=str
)
def test_the_library_has_our_logits_and_our_weights_come_back(to, variant, tmp_path):
    pytest.importorskip(TARGETS[to].package)
    model, trained = tiny(variant)
    folder = write(tmp_path, files(to, trained))
    with torch.no_grad():
        expected = model(noise())
        torch.testing.assert_close(
            TARGETS[to].reopen(folder, trained)(noise()), expected, atol=1e-5, rtol=1e-5
        )
    again, _, told = reopened(folder, variant if to == "timm" else BACK.get(variant, variant))
    with torch.no_grad():
        torch.testing.assert_close(again(noise()), expected, atol=1e-6, rtol=1e-6)
    assert to == "torchvision" or told.unseen.keys() >= {*VARIANTS[variant].unseen} - {"position"}
    if to in ("timm", "hf"):
        assert (told.mean, told.std, told.image_size) == (SPEC.mean, SPEC.std, SPEC.image_size)
        assert told.interpolation == SPEC.interpolation
        assert told.crop == pytest.approx(SPEC.crop, abs=0.01)


@pytest.mark.parametrize(
    ("to", "variant"), [pair for pair in PAIRS if pair[1] not in HELD[pair[0]]], ids=str
)
def test_what_a_format_cannot_hold_is_refused_by_name(to, variant):
    with pytest.raises(ValueError, match=r"cannot hold this network: .*--to onnx"):
        files(to, tiny(variant)[1])


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("to", ["timm", "torchvision", "jax"])
def test_a_smaller_epsilon_than_the_library_has_makes_no_difference(to, tmp_path):
    model, trained = tiny(ViTConfig(**VIT, norm_eps=1e-12))
    network = TARGETS[to].reopen(write(tmp_path, files(to, trained)), trained)
    with torch.no_grad():
        torch.testing.assert_close(network(noise()), model(noise()), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("to", ["timm", "hf", "jax"])
def test_images_need_not_be_square(to, tmp_path):
    pytest.importorskip(TARGETS[to].package)
    spec = replace(SPEC, image_size=(21, 42))
    model, trained = tiny("plain", spec)
    folder = write(tmp_path, files(to, trained))
    with torch.no_grad():
        found = TARGETS[to].reopen(folder, trained)(noise(spec))
        torch.testing.assert_close(found, model(noise(spec)), atol=1e-5, rtol=1e-5)


def test_dinov2_takes_square_images_alone():
    with pytest.raises(ValueError, match="square"):
        files("hf", tiny("scaled", replace(SPEC, image_size=(21, 42)))[1])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (ViTConfig(**VIT, position="rotary"), "position=rotary"),
        (ViTConfig(**VIT, tokenizer="conv"), "tokenizer=conv"),
        (ResNetConfig(stem="small"), "got small"),
        (ResNetConfig(strides=(1, 2, 2, 1)), r"strides \(1, 2, 2, 2\)"),
        (ResNetConfig(downsample="average"), "downsample=stride, got .* average"),
        (ResNetConfig(channels=(32, 64, 128, 256)), r"channels=\(32, 64, 128, 256\)"),
    ],
)
def test_timm_refuses_by_setting(config, reason):
    with pytest.raises(ValueError, match=reason):
        files("timm", tiny(config)[1])


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (Spec(image_size=(28, 35), names=NAMES), "square, got 28x35"),
        (Spec(image_size=(28, 28), names=NAMES, channels=1, mean=(0,), std=(1,)), "RGB"),
    ],
)
def test_torchvision_refuses_images_that_its_classes_do_not_take(spec, reason):
    with pytest.raises(ValueError, match=reason):
        files("torchvision", tiny("plain", spec)[1])


def test_torchvision_weights_of_today_and_of_the_first_release_load(tmp_path):
    reference = awake(
        torchvision.models.VisionTransformer(35, 7, 2, 3, 12, 48, num_classes=len(NAMES))
    )
    state = reference.state_dict()
    first = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): x
        for name, x in state.items()
    }
    for names in (state, first):
        torch.save(names, tmp_path / "vit.pth")
        model, said, _ = reopened(tmp_path / "vit.pth", "plain")
        assert not said
        with torch.no_grad():
            torch.testing.assert_close(model(noise()), reference(noise()), atol=1e-5, rtol=1e-5)


def test_a_deit_file_loads(tmp_path):
    reference = awake(
        timm.create_model(
            "deit_tiny_distilled_patch16_224",
            img_size=35,
            patch_size=7,
            embed_dim=12,
            depth=2,
            num_heads=3,
            num_classes=len(NAMES),
        )
    )
    torch.save({"model": reference.state_dict(), "epoch": 299}, tmp_path / "deit.pth")
    model, said, _ = reopened(tmp_path / "deit.pth", "distilled")
    assert not said
    with torch.no_grad():
        torch.testing.assert_close(model(noise()), reference(noise()), atol=1e-5, rtol=1e-5)


TRANSFORMERS = {
    "plain": ("ViTForImageClassification", "ViTConfig", {"intermediate_size": 48}),
    "distilled": (
        "DeiTForImageClassificationWithTeacher",
        "DeiTConfig",
        {"intermediate_size": 48},
    ),
    "coarse": (
        "ViTForImageClassification",
        "ViTConfig",
        {"intermediate_size": 48, "layer_norm_eps": 0.01},
    ),
    "basic": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [1, 2, 1, 1]},
    ),
}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("variant", TRANSFORMERS)
def test_what_transformers_saves_loads_with_its_logits(variant, tmp_path):
    transformers = pytest.importorskip("transformers")
    model_class, config_class, settings = TRANSFORMERS[variant]
    if variant != "basic":
        settings = settings | {"hidden_size": 12, "num_hidden_layers": 2, "image_size": 35}
        settings = {"layer_norm_eps": 1e-6} | settings
        settings |= {"num_attention_heads": 3, "patch_size": 7}
    config = getattr(transformers, config_class)(num_labels=len(NAMES), **settings)
    reference = awake(getattr(transformers, model_class)(config))
    reference.save_pretrained(tmp_path)
    model, said, told = reopened(tmp_path, variant)
    assert not said
    assert told.unseen == VARIANTS[variant].unseen
    with torch.no_grad():
        logits = reference(noise()).logits
        torch.testing.assert_close(model(noise()), logits, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*")
def test_the_epsilon_of_transformers_is_not_taken_for_ours(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    sizes |= {"intermediate_size": 48, "image_size": 35, "patch_size": 7}
    config = transformers.ViTConfig(num_labels=len(NAMES), **sizes)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model\.norm_eps: 1e-12 there, the model has 1e-06"):
        reopened(tmp_path, "plain")


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu_tanh"])
def test_another_activation_of_timm_is_refused(activation, tmp_path):
    folder = write(tmp_path, files("timm", tiny("plain")[1]))
    about = json.loads((folder / "config.json").read_text())
    about["model_args"]["act_layer"] = activation
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"must have the activation gelu .* got .*GELU"):
        open_path(folder)


@pytest.mark.parametrize("name", ["resnetaa50", "resnetblur50"])
def test_a_resnet_of_timm_that_blurs_is_refused_though_its_weights_would_fit(name):
    with pytest.raises(ValueError, match="must halve its maps by strides to be like ours"):
        unseen_of({"architecture": name})
    with pytest.raises(ValueError, match=r"got AvgPool2d; .*encoder\.name=timm"):
        unseen_of({"architecture": "resnet18", "model_args": {"avg_down": True}})
    assert unseen_of({"architecture": "resnet50"}) == {"stem_stride": 1, "strides": [1, 2, 2, 2]}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize(
    ("variant", "kind"), [("scaled", "Dinov2"), ("registers", "Dinov2WithRegisters")]
)
def test_a_dinov2_backbone_loads_with_its_features(variant, kind, tmp_path):
    transformers = pytest.importorskip("transformers")
    settings = {"num_register_tokens": 2} if variant == "registers" else {}
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=35,
        patch_size=7,
        **settings,
    )
    reference = awake(getattr(transformers, f"{kind}Model")(config))
    reference.save_pretrained(tmp_path)
    model, said, _ = reopened(tmp_path, variant)
    assert "mask_token" in said[0]
    assert any("head.weight: fresh weights, the checkpoint has none" in line for line in said)
    with torch.no_grad():
        expected = reference(noise()).last_hidden_state
        torch.testing.assert_close(model.forward_features(noise()), expected, atol=1e-5, rtol=1e-5)


def test_a_dinov2_head_that_reads_the_mean_patch_is_left_out(tmp_path):
    _, trained = tiny("scaled")
    folder = write(tmp_path, files("hf", trained))
    state = load_file(folder / "model.safetensors")
    state["classifier.weight"][:, 12:] = 1
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    _, said, _ = reopened(folder, "scaled")
    assert "classifier: left out, it reads the mean patch beside the class token" in said


def test_weights_in_several_files_are_put_together_or_missed_by_name(tmp_path):
    model, trained = tiny("plain")
    folder = write(tmp_path, files("hf", trained))
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(state)}
    index = {"metadata": {}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for file in set(shards.values()):
        save_file({name: state[name] for name in state if shards[name] == file}, folder / file)
    again, _, _ = reopened(folder, "plain")
    assert all(torch.equal(x, again.state_dict()[name]) for name, x in model.state_dict().items())
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model-1\.safetensors is missing"):
        open_path(folder)
