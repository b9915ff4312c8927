"""All explainers and metrics by name, and the settings they run with."""

import inspect
from collections.abc import Callable
from functools import partial

from torch import Tensor

from vision_attn.explain import (
    ablation,
    attention,
    baselines,
    cam,
    faithfulness,
    flow,
    fullgrad,
    glimpses,
    gradients,
    perturb,
    randomisation,
    relevance,
    removal,
    road,
    rollout,
    stability,
    weighing,
)
from vision_attn.explain.contract import Explainer, Metric

METHODS: dict[str, Explainer] = {
    "attention": attention.attention,
    "rollout": rollout.rollout,
    "rollout_max": partial(rollout.rollout, fusion="max", discard=0.9),
    "gradient_rollout": relevance.gradient_rollout,
    "relevance": relevance.relevance,
    "attention_gradient": relevance.attention_gradient,
    "attention_flow": flow.attention_flow,
    "cam": cam.cam,
    "grad_cam": cam.grad_cam,
    "grad_cam_plus_plus": cam.grad_cam_plus_plus,
    "hires_cam": cam.hires_cam,
    "layer_cam": cam.layer_cam,
    "xgrad_cam": cam.xgrad_cam,
    "eigen_cam": cam.eigen_cam,
    "score_cam": ablation.score_cam,
    "score_cam_top32": partial(ablation.score_cam, channels=32),
    "ablation_cam": ablation.ablation_cam,
    "full_grad": fullgrad.full_grad,
    "saliency": gradients.saliency,
    "input_x_gradient": gradients.input_x_gradient,
    "smoothgrad": gradients.smoothgrad,
    "integrated_gradients": gradients.integrated_gradients,
    "jacobian": gradients.jacobian_map,
    "occlusion": perturb.occlusion,
    "rise": perturb.rise,
    "glimpses": glimpses.glimpses,
}

SIGNED = frozenset(
    {
        "cam",
        "hires_cam",
        "xgrad_cam",
        "eigen_cam",
        "input_x_gradient",
        "integrated_gradients",
        "jacobian",
        "occlusion",
    }
)
"""Methods whose maps speak for and against: drawn with a diverging colour map around 0."""

AGNOSTIC = frozenset(
    {"attention", "rollout", "rollout_max", "attention_flow", "eigen_cam", "random", "centre"}
)
"""Methods and baselines whose map of an image is the same for every class."""

CLASS_MAPS: dict[str, Callable[..., Tensor]] = {
    "grad_cam": cam.grad_cam_classes,
    "grad_cam_plus_plus": partial(cam.class_maps, weighing.by_alpha),
    "hires_cam": partial(cam.class_maps, weighing.by_gradient),
    "layer_cam": partial(cam.class_maps, weighing.by_positive_gradient),
    "xgrad_cam": partial(cam.class_maps, weighing.by_share_of_activation),
}
"""The same methods for (batch, class) targets, from one forward pass."""

BASELINES: dict[str, Explainer] = {
    "random": baselines.random_map,
    "centre": baselines.centre_map,
}
"""Maps that know nothing, to be scored beside every method."""

METRICS: dict[str, Metric] = {
    "deletion": faithfulness.deletion,
    "insertion": faithfulness.insertion,
    "positive_perturbation": removal.positive_perturbation,
    "negative_perturbation": removal.negative_perturbation,
    "road": road.road,
    "sensitivity_n": removal.sensitivity_n,
}

CHECKS: dict[str, Callable[..., Tensor]] = {
    "max_sensitivity": stability.max_sensitivity,
    "randomisation": randomisation.randomisation,
}
"""Metrics that explain again: `partial(CHECKS[check], explainer=METHODS[method])` is a Metric."""


def settings(function: Callable) -> dict[str, object]:
    """List the settings a method or metric runs with when called by its name alone.

    A setting that is a function is given by its name; what has no default is none.
    """
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty]
    values = {p.name: p.default for p in named}
    return {name: getattr(value, "__name__", value) for name, value in values.items()}
