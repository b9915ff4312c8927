"""Recipes of captions: sections inside the model, and rules across sections."""

from pathlib import Path

import pytest

from vision_attn.checking.mistakes import RecipeError
from vision_attn.models.caption_config import CaptionerConfig, LSTMDecoderConfig
from vision_attn.models.config import ViTConfig
from vision_attn.recipe import read, reference

GOOD = """\
data: {name: scene_captions, image_size: 28}
model:
  name: captioner
  encoder:
    name: vit
    patch_size: 7
  decoder:
    name: lstm
    dim: 64
task: {name: captioning}
"""
ENCODERS = "vit, resnet, timm, retina or tokens"


def mistakes(folder, text, *overrides):
    (folder / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        read(folder / "r.yaml", *overrides)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_sections_inside_the_model_become_configs(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    recipe = read(tmp_path / "r.yaml", "model.decoder.heads=4", "model.decoder.score=dot")
    assert recipe.model == CaptionerConfig(
        encoder=ViTConfig(patch_size=7), decoder=LSTMDecoderConfig(dim=64, heads=4, score="dot")
    )
    (tmp_path / "s.yaml").write_text(str(recipe.to_dict()).replace("None", "null"))
    assert recipe.to_dict()["model"]["encoder"]["patch_size"] == 7


ONE_LINE = {
    "model.encoder.depht=6": "model.encoder.depht: unknown key; did you mean depth? (got 6)",
    "model.decoder.scores=dot": (
        'model.decoder.scores: unknown key; did you mean score? (got "dot")'
    ),
    "model.freez=true": "model.freez: unknown key; did you mean freeze? (got true)",
    "model.encoder.name=vti": (
        f'model.encoder.name: must be {ENCODERS}; did you mean vit? (got "vti")'
    ),
    "model.encoder={depth: 3}": f"model.encoder.name: missing; choose {ENCODERS}",
    "model.encoder=3": "model.encoder: must be a section of settings (got 3)",
    "model.decoder.score=dots": (
        "model.decoder.score: must be cosine, additive, location, general, dot or scaled_dot; did "
        'you mean dot? (got "dots")'
    ),
    "model.decoder.dim=6.5": "model.decoder.dim: must be a whole number (got 6.5)",
    "model.decoder.dim=66": "model.decoder.dim: must be a positive multiple of 4, got 66",
    "model.encoder.heads=7": "model.encoder.heads: must divide dim, got dim=384 and heads=7",
    "model.encoder={name: timm}": "model.encoder.network: missing; give text",
    "model.encoder.patch_size=5": (
        "model.encoder.patch_size: must divide data.image_size, got 5 and 28 pixels"
    ),
    "model.unfreeze_from=2": "model.unfreeze_from: belongs to freeze=true, got 2; leave it out",
    "task.entropy=0.5": (
        "task.entropy: is for looks of hard or categorical glimpse, got soft; leave it out"
    ),
    "task.reinforce=0.5": "task.reinforce: is for looks of hard or glimpse, got soft; leave it out",
    "task.rollouts=2": "task.rollouts: is for looks of hard or glimpse, got soft; leave it out",
    "task.rollouts=0": "task.rollouts: must be 1 or more, got 0",
    "task.samples=3": "task.samples: belongs to self_critical, which is none; leave it out",
    "task.penalty=1": (
        "task.penalty: a single beam has nothing to rank; leave it out, or set task.beams"
    ),
    "task.attention_target=share": (
        "task.attention_target: belongs to doubly_stochastic, which is 0; leave it out"
    ),
    "task={name: classification}": (
        "data.name: a set of captions and the task captioning belong together, got scene_captions "
        "and classification"
    ),
    "model={name: vit, patch_size: 7}": (
        "model.name: captioner and the task captioning belong together, got vit and captioning"
    ),
    "data={name: scenes, image_size: 28}": (
        "data.name: a set of captions and the task captioning belong together, got scenes and "
        "captioning"
    ),
}


@pytest.mark.parametrize("override", ONE_LINE)
def test_a_mistake_is_one_line(tmp_path, override):
    found = mistakes(tmp_path, GOOD, override)
    if override.startswith("task={"):
        assert len(found) == 2  # the model does not fit the task either
    assert found[0].partition(": ")[2] == ONE_LINE[override]


@pytest.mark.parametrize("name", ["decoder.dropout", "decoder.feed_dropout", "encoder.drop_path"])
def test_self_critical_training_has_one_network_draw_and_judge(tmp_path, name):
    settings = [f"model.{name}=0.5", "task.self_critical=greedy"]
    (found,) = mistakes(tmp_path, GOOD, *settings)
    assert f"model.{name}: captions are drawn and judged by one network, and this would" in found
    assert found.endswith("got 0.5 with self_critical=greedy; leave it out")


@pytest.mark.parametrize(
    ("look", "settings"),
    [
        ("hard", ["task.entropy=0.1", "task.reinforce=0.3", "task.expected_share=0"]),
        ("gumbel", ["task.temperature_final=0.1"]),
        ("soft", ["task.self_critical=greedy", "task.samples=2"]),
    ],
)
def test_settings_are_for_some_looks(tmp_path, look, settings):
    (tmp_path / "r.yaml").write_text(GOOD)
    read(tmp_path / "r.yaml", f"model.decoder.look={look}", *settings)
    other = {"hard": "gumbel", "gumbel": "soft", "soft": "hard"}[look]
    found = mistakes(tmp_path, GOOD, f"model.decoder.look={other}", *settings)
    names = [setting.partition("=")[0] for setting in settings]
    assert all(any(name in line for line in found) for name in names if name != "task.samples")


OF_GLIMPSES = {
    "model.decoder.grid=4": "model.decoder.grid: belongs to policy=categorical, got policy=gaus",
    "task.expected_share=0.2": (
        "task.expected_share: is for looks of hard or categorical glimpse, got gaussian glimpse;"
    ),
    "task.entropy=0.5": (
        "task.entropy: is for looks of hard or categorical glimpse, got gaussian glimpse;"
    ),
    "model.decoder.sigma=0": "model.decoder.sigma: must be positive, got 0.0 and None",
}
OF_CELLS = {
    "model.decoder.grid=1": "model.decoder.grid: must be 2 or more cells a side, got 1",
    "model.decoder.grid=29": (
        "model.decoder.grid: must have no more cells a side than the image has pixels, got 29 an"
    ),
    "model.decoder.sigma=0.3": "model.decoder.sigma: belongs to policy=gaussian, got policy=cat",
    "model.decoder.sigma_final=0.1": "model.decoder.sigma_final: belongs to policy=gaussian",
}


@pytest.mark.parametrize("override", [*OF_GLIMPSES, *OF_CELLS])
def test_settings_are_for_some_policies(tmp_path, override):
    policy = "gaussian" if override in OF_GLIMPSES else "categorical"
    model = ["model.encoder={name: retina}", f"model.decoder={{name: glimpse, policy: {policy}}}"]
    (found,) = mistakes(tmp_path, GOOD, *model, override)
    assert found.partition(": ")[2].startswith((OF_GLIMPSES | OF_CELLS)[override])


def test_cells_take_a_grid_and_expected_values(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    model = ["model.encoder={name: retina}", "model.decoder={name: glimpse, policy: categorical}"]
    settings = ["model.decoder.grid=4", "task.expected_share=0.2", "task.value=0.3"]
    assert read(tmp_path / "r.yaml", *model, *settings).model.decoder.grid == 4


def test_mistakes_in_several_inner_sections_come_at_once(tmp_path):
    found = mistakes(
        tmp_path,
        GOOD,
        "model.encoder.depht=3",
        "model.decoder.dim=x",
        "data.image_size=y",
    )
    assert [line.split(": ")[1] for line in found] == [
        "model.encoder.depht",
        "model.decoder.dim",
        "data.image_size",
    ]


def test_a_misnamed_section_brings_no_mistakes_about_defaults(tmp_path):
    assert mistakes(tmp_path, GOOD, "model.encoder={name: retnia, size: 8}") == [
        f'command line: model.encoder.name: must be {ENCODERS}; did you mean retina? (got "retnia")'
    ]


def test_the_reference_lists_sections_inside_the_model_once():
    text = reference(90)
    for name in ("vit", "resnet", "timm", "retina", "tokens"):
        assert text.count(f"model.encoder.name={name}: ") == 1
    for name in ("lstm", "transformer", "glimpse"):
        assert text.count(f"model.decoder.name={name}: ") == 1
    assert text.count("registers = 0") == 1
    assert "encoder.name = resnet" in text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["task.reinforce=0"], "task.rollouts: teaches drawn looks, and none learns here"),
        (["task.expected_share=1"], "task.rollouts: teaches drawn looks, and none learns here"),
    ],
)
def test_rollouts_that_teach_nothing_are_refused(tmp_path, settings, told):
    (tmp_path / "r.yaml").write_text(GOOD)
    hard = ["model.decoder.look=hard", "task.rollouts=2"]
    read(tmp_path / "r.yaml", *hard)
    found = mistakes(tmp_path, GOOD, *hard, *settings)
    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize("still", ["task.reinforce=0", "task.expected_share=1"])
def test_rewards_that_teach_nothing_are_refused(still):
    recipe = Path("configs/scenes_caption_glimpse.yaml")
    read(recipe, still)
    with pytest.raises(RecipeError) as caught:
        read(recipe, still, "task.reward=caption", "task.value=0.7")
    reward, value = str(caught.value).splitlines()
    assert "task.reward: teaches drawn looks, and none learns here, got caption with" in reward
    assert "task.value: teaches drawn looks, and none learns here, got 0.7 with" in value
    with pytest.raises(RecipeError, match=r"task.reinforce: .* got 0.7 with"):
        read(recipe, "task.reinforce=0.7", "task.expected_share=1")


def test_rollouts_leave_no_use_for_a_value(tmp_path):
    recipe = Path("configs/scenes_caption_glimpse.yaml")
    read(recipe, "task.rollouts=2")
    read(recipe, "task.value=0.7")
    with pytest.raises(RecipeError, match=r"task.value: .* got 0.7 with rollouts=2; leave it out"):
        read(recipe, "task.rollouts=2", "task.value=0.7")
