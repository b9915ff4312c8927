"""What a recipe of captions must keep to across its sections."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from vision_attn.data.caption_config import CaptionsConfig, SceneCaptionsConfig
from vision_attn.data.sequence_config import SequencesConfig
from vision_attn.models.caption_config import CaptionerConfig, GlimpseDecoderConfig
from vision_attn.tasks.caption_config import CaptioningConfig

LOOKS = {  # settings of the task, and the looks that they can have an effect on
    "doubly_stochastic": ("soft", "hard", "gumbel", "transformer"),
    "reinforce": ("hard", "glimpse"),
    "reward": ("hard", "glimpse"),
    "rollouts": ("hard", "glimpse"),
    "entropy": ("hard", "categorical glimpse"),
    "expected_share": ("hard", "categorical glimpse"),
    "value": ("glimpse",),
    "temperature_final": ("gumbel",),
    "self_critical": ("soft", "transformer"),
}
TWOFOLD = (  # what makes another network of one at every use, in training
    ("decoder", "dropout"),
    ("decoder", "feed_dropout"),
    ("encoder", "dropout"),
    ("encoder", "attention_dropout"),
    ("encoder", "drop_path"),
)


def captions_go_together(data: Any, model: Any, task: Any) -> Iterator[str]:
    """Refuse captions without a captioner, and a captioner without captions."""
    captioning = isinstance(task, CaptioningConfig)
    sentences = isinstance(data, SequencesConfig)
    captions = sentences or isinstance(data, CaptionsConfig | SceneCaptionsConfig)
    if captioning != captions:
        yield (
            f"data.name: a set of captions and the task captioning belong together, got "
            f"{data.name} and {task.name}"
        )
    if captioning != isinstance(model, CaptionerConfig):
        yield (
            f"model.name: captioner and the task captioning belong together, got {model.name} and "
            f"{task.name}"
        )
    elif captioning and sentences != (model.encoder.name == "tokens"):
        yield (
            f"model.encoder.name: tokens and made-up sentences belong together, got "
            f"{model.encoder.name} and {data.name}"
        )


def cells_fit_images(data: Any, model: Any) -> Iterator[str]:
    """Refuse a grid of glimpses that is finer than the image."""
    cells = getattr(getattr(model, "decoder", None), "cells", None)
    size = getattr(data, "image_size", None)
    if cells is not None and size is not None and cells > size:
        yield (
            f"model.decoder.grid: must have no more cells a side than the image has pixels, got "
            f"{cells} and {size}; lower it"
        )


def looks_take_settings(model: Any, task: Any) -> Iterator[str]:
    """Refuse settings of the task that this captioner's looks cannot heed."""
    if not (isinstance(task, CaptioningConfig) and isinstance(model, CaptionerConfig)):
        return
    looks = [getattr(model.decoder, "look", model.decoder.name)]
    if isinstance(model.decoder, GlimpseDecoderConfig):
        looks.append(f"{model.decoder.policy} glimpse")
    defaults = {field.name: field.default for field in fields(task)}
    for name, kinds in LOOKS.items():
        if getattr(task, name) != defaults[name] and not {*looks} & {*kinds}:
            known, own = " or ".join(kinds), looks[-1]
            yield f"task.{name}: is for looks of {known}, got {own}; leave it out"
    if task.attention_target != defaults["attention_target"] and not task.doubly_stochastic:
        yield "task.attention_target: belongs to doubly_stochastic, which is 0; leave it out"
    if task.samples != defaults["samples"] and task.self_critical == "none":
        yield "task.samples: belongs to self_critical, which is none; leave it out"
    if task.self_critical != "none":
        for part, name in TWOFOLD:
            if share := getattr(getattr(model, part), name, 0):
                yield (
                    f"model.{part}.{name}: captions are drawn and judged by one network, and this "
                    f"would make two of it, got {share} with self_critical={task.self_critical}; "
                    f"leave it out"
                )
    if {"hard", "glimpse"} & {*looks} and not (task.reinforce and task.expected_share < 1):
        for name in ("reinforce", "reward", "rollouts", "value"):
            value = getattr(task, name)
            if value and value != defaults[name]:
                yield (
                    f"task.{name}: teaches drawn looks, and none learns here, got {value} with "
                    f"reinforce={task.reinforce} and expected_share={task.expected_share}; leave "
                    "it out"
                )
    if task.rollouts > 1 and task.value != defaults["value"]:
        yield (
            f"task.value: rollouts are held against each other, not against a value, got "
            f"{task.value} with rollouts={task.rollouts}; leave it out"
        )
    if task.penalty and task.beams == 1:
        yield "task.penalty: a single beam has nothing to rank; leave it out, or set task.beams"
