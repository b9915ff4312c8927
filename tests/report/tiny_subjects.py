"""Tiny untrained networks in run folders, to be reported on."""

import torch

from vision_attn.engine.run import Run
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.report.measure import Subject
from vision_attn.spec import Spec

SPEC = Spec(image_size=(16, 12), names=("ant", "bee", "cat"), mean=(0.2, 0.3, 0.4), std=(0.5,) * 3)
CONFIGS = {
    "vit": ViTConfig(dim=8, depth=2, heads=2, patch_size=4),
    "resnet": ResNetConfig(depths=(1, 1, 1, 1), channels=(2, 3, 5, 7), stem="small"),
}
METHODS = {"vit": ("grad_cam", "rollout", "relevance"), "resnet": ("grad_cam",)}


def subject(folder, name):
    run = Run.create(folder / name, {"model": name}, SPEC)
    for step in (10, 20):
        run.log(step, loss=1.0, seconds=step / 5)
        run.log(step, valid_accuracy=step / 50, seconds=step / 5)
    with torch.random.fork_rng([]):
        torch.manual_seed(len(name))
        model = CONFIGS[name].build(SPEC)
    return Subject(name, run, model, METHODS[name])
