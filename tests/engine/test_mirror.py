import sys
import types

import pytest
from tiny_training import SPEC, metrics, train

from vision_attn.engine.config import TrainConfig
from vision_attn.engine.mirror import Guarded, mirrored
from vision_attn.engine.run import Run


def fake_wandb(log) -> types.ModuleType:
    module = types.ModuleType("wandb")
    module.Settings = dict
    module.init = lambda **_: types.SimpleNamespace(log=log, finish=lambda: None)
    return module


def test_wandb_repeats_the_metrics(tmp_path, monkeypatch):
    lines = []
    record = lambda numbers, step: lines.append({"step": step, **numbers})  # noqa: E731
    monkeypatch.setitem(sys.modules, "wandb", fake_wandb(record))
    train(tmp_path, wandb="offline")
    assert lines == Run.open(tmp_path).metrics()


def test_failing_wandb_is_reported_once_and_ends_nothing(tmp_path, monkeypatch):
    def fail(numbers, step):
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "wandb", fake_wandb(fail))
    train(tmp_path / "without")
    with pytest.warns(UserWarning, match="wandb failed and is off.*no route") as caught:
        train(tmp_path / "with", wandb="online")
    assert len(caught) == 1
    assert metrics(tmp_path / "with") == metrics(tmp_path / "without")


def test_missing_wandb_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.warns(UserWarning, match="wandb failed"):
        train(tmp_path, wandb="offline", steps=3)
    assert (tmp_path / "best.safetensors").exists()


def test_wandb_is_not_imported_when_off(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    train(tmp_path, steps=3)
    assert "wandb" not in sys.modules


def test_tensorboard_writes_events(tmp_path):
    pytest.importorskip("tensorboard")
    run = Run.create(tmp_path, {}, SPEC)
    with mirrored(run, TrainConfig(tensorboard=True)):
        run.log(3, loss=0.5)
    assert list((tmp_path / "tensorboard").glob("events.*"))
    assert not run.mirrors


def test_service_that_cannot_close_is_let_go(recwarn):
    class Stuck:
        def close(self):
            raise TimeoutError("still sending")

    guarded = Guarded("service", Stuck)
    with pytest.warns(UserWarning, match="still sending"):
        guarded.close()
    guarded.close()
