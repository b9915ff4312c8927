"""What a recipe of glimpses must keep to across its sections."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from vision_attn.data.public_config import FashionMnistConfig, MnistConfig
from vision_attn.models.glimpse_config import SAMPLED, GlimpseConfig
from vision_attn.tasks.glimpse_config import GlimpseTaskConfig

OF_REWARDS = ("reward", "baseline", "normalise", "policy_weight", "value_weight")
"""Settings of the task that only a policy which learns from rewards heeds."""
HEEDED_BY = {"sigma": "gaussian", "grid": "categorical", "temperature_final": "categorical"}
"""Settings of the model that a single policy heeds."""


def glimpses_go_together(model: Any, task: Any) -> Iterator[str]:
    """Refuse a moving eye without its task, and the task without the eye."""
    if isinstance(model, GlimpseConfig) != isinstance(task, GlimpseTaskConfig):
        yield (
            f"model.name: the model glimpse and the task glimpse belong together, got {model.name} "
            f"and {task.name}"
        )


def eyes_take_settings(data: Any, model: Any, task: Any) -> Iterator[str]:
    """Refuse patches wider than the image, and settings that this eye cannot heed."""
    if not (isinstance(model, GlimpseConfig) and isinstance(task, GlimpseTaskConfig)):
        return
    if model.size > getattr(data, "image_size", model.size):  # made-up sentences have none
        yield (
            f"model.size: a glimpse must be smaller than the image, got {model.size} and "
            f"{data.image_size} pixels"
        )
    if task.pathwise and model.policy not in SAMPLED:
        yield f"task.pathwise: is for {' or '.join(SAMPLED)} policies, got {model.policy}"
    if task.entropy_weight and model.policy != "categorical":
        yield f"task.entropy_weight: is for categorical policies, got {model.policy}"
    if task.cost and not model.stop:
        yield "task.cost: a network that never stops early pays nothing; set model.stop=true"
    if task.answers == "all" and model.stop:
        yield "task.answers: a network that may stop is judged where it stops; leave it out"


def unheeded(model: GlimpseConfig, task: GlimpseTaskConfig) -> Iterator[str]:
    """Say which settings wait for another policy or core.

    A remark, not a refusal: a learned policy and one by chance are compared by the same recipe.
    """
    if model.policy not in SAMPLED:
        why = f"policy={model.policy} learns from no rewards"
        yield from _unused("task", task, OF_REWARDS, why)
    others = [name for name, policy in HEEDED_BY.items() if policy != model.policy]
    yield from _unused("model", model, others, f"policy={model.policy} has none")
    if model.core != "transformer":
        yield from _unused("model", model, ["heads"], f"core={model.core} has none")


def _unused(section: str, config: Any, names: Iterable[str], why: str) -> Iterator[str]:
    """Name those of the settings that are not at their defaults."""
    defaults = {field.name: field.default for field in fields(config)}
    changed = [f"{section}.{name}" for name in names if getattr(config, name) != defaults[name]]
    if changed:
        yield f"{', '.join(changed)}: unused, since {why}"


def grounds(data: Any) -> Iterator[str]:
    """Say where the ground of pictures tells the eye where they end: beyond them it sees 0."""
    if isinstance(data, MnistConfig | FashionMnistConfig) and (data.mean is None or any(data.mean)):
        yield (
            f"data.name: the black of {data.name} is not 0 once a mean is subtracted, but beyond "
            f"the border a glimpse sees 0, which tells it where it is; set data.mean=[0], or take "
            f"data.name=canvas data.source={data.name}"
        )
