"""Rules between the sections of a recipe of glimpses."""

from pathlib import Path

import pytest

from vision_attn.checking.mistakes import RecipeError
from vision_attn.data.canvas_config import CanvasConfig
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.recipe import read, remarks
from vision_attn.tasks.glimpse_config import GlimpseTaskConfig

GOOD = """\
data: {name: canvas, source: scenes, image_size: 40, scenes: 9}
model: {name: glimpse, policy: POLICY}
task: {name: glimpse, rollouts: 2, baseline: both, normalise: true}
"""


def write(folder: Path, policy: str = "gaussian") -> Path:
    path = folder / "g.yaml"
    path.write_text(GOOD.replace("POLICY", policy))
    return path


def test_a_recipe_of_glimpses_becomes_configs(tmp_path):
    recipe = read(write(tmp_path), "model.sigma_final=0.05")
    assert recipe.data == CanvasConfig(source="scenes", image_size=40, scenes=9)
    assert recipe.model == GlimpseConfig(sigma_final=0.05)
    assert recipe.task == GlimpseTaskConfig(rollouts=2, baseline="both", normalise=True)
    assert not list(remarks(recipe))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task={name: classification}"], "model.name: the model glimpse and the task glimpse"),
        (["model={name: resnet}"], "model.name: the model glimpse and the task glimpse"),
        (["model.size=41"], "model.size: a glimpse must be smaller than the image, got 41 and 40"),
        (["model.policy=draw", "task.pathwise=0.1"], "task.pathwise: is for gaussian or"),
        (["task.entropy_weight=0.1"], "task.entropy_weight: is for categorical policies, got gaus"),
        (["task.cost=0.1"], "task.cost: a network that never stops early pays nothing"),
        (["task.answers=all", "model.stop=true"], "task.answers: a network that may stop"),
        (["data.root=no/where"], "data.root: belongs to all sources but scenes"),
        (["data.source=mnist", "data.scenes=60000", "data.root=no/where"], "data.root: no such fi"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, overrides, message):
    with pytest.raises(RecipeError) as caught:
        read(write(tmp_path), *overrides)
    (line,) = str(caught.value).splitlines()
    assert message in line


@pytest.mark.parametrize("policy", ["random", "centre", "draw"])
def test_settings_of_rewards_may_stay_where_nothing_learns_from_them(tmp_path, policy):
    (said,) = remarks(read(write(tmp_path, policy)))
    assert said == (
        f"task.baseline, task.normalise: unused, since policy={policy} learns from no rewards"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.sigma=0.2"], None),
        (["model.sigma=0.2", "model.policy=categorical"], "model.sigma: unused, since policy=cat"),
        (["model.grid=5", "model.policy=categorical"], None),
        (
            ["model.grid=5", "model.temperature_final=0.7"],
            "model.grid, model.temperature_final: un",
        ),
        (["model.heads=2", "model.core=transformer"], None),
        (["model.heads=2", "model.core=rnn"], "model.heads: unused, since core=rnn has none"),
    ],
)
def test_settings_of_another_policy_or_core_are_remarked(tmp_path, overrides, message):
    said = list(remarks(read(write(tmp_path), *overrides)))
    assert [line[: len(message or "")] for line in said] == ([message] if message else [])


def test_a_ground_that_tells_of_the_border_is_remarked(tmp_path):
    path, digits = write(tmp_path), f"data={{name: mnist, root: {tmp_path}}}"
    (said,) = remarks(read(path, digits))
    assert said.startswith("data.name: the black of mnist is not 0 once a mean is subtracted")
    assert said.endswith("set data.mean=[0], or take data.name=canvas data.source=mnist")
    assert not list(remarks(read(path, digits, "data.mean=[0]")))
