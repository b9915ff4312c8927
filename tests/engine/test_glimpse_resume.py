"""Exact resume with a moving eye: draws, spread and phase are functions of the step."""

import signal
from pathlib import Path

import pytest
import torch
from tiny_training import SEED, Killed, in_process, make_config, metrics, weights

from vision_attn.data.canvas_config import CanvasConfig
from vision_attn.data.loader import share
from vision_attn.engine.loop import fit
from vision_attn.engine.run import Run
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.tasks.glimpse_config import GlimpseTaskConfig


def train(folder: Path, policy: str, kill: tuple[int, int] = (signal.SIGKILL, -1)) -> None:
    """Train an eye that first learns pathwise, then from rewards, while its draws get narrower."""
    data = CanvasConfig(
        source="scenes", scenes=29, image_size=30, picture_size=24, clutter=2
    ).build()
    torch.manual_seed(3)
    narrower = {"sigma_final": 0.05} if policy == "gaussian" else {}
    model = GlimpseConfig(
        policy=policy, glimpses=3, size=4, hidden=8, grid=3, first="random", **narrower
    ).build(data.spec)
    task = GlimpseTaskConfig(rollouts=2, baseline="both", normalise=True, pathwise=0.4).build(
        model, data.spec
    )
    config = make_config(ema=0.9)
    loader = Killed(data.train, config.batch_size, seed=SEED)
    loader.signal, loader.step = kill
    run = Run.create(folder, {"policy": policy}, data.spec)
    valid = list(share(data.valid, 50))[:1]
    fit(task, loader, valid, config, run, SEED)


@pytest.mark.parametrize(("policy", "step"), [("gaussian", 6), ("categorical", 3)])
def test_a_killed_eye_ends_as_an_uninterrupted_one(tmp_path, policy, step):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert in_process(train, whole, policy) == 0
    assert in_process(train, cut, policy, (signal.SIGTERM, step)) == 143
    assert in_process(train, cut, policy) == 0
    found, expected = weights(cut), weights(whole)
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
    assert metrics(cut) == metrics(whole)
