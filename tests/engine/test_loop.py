import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tiny_training import SPEC, Noise, make_config, make_task, metrics, train, weights

from vision_attn.data.batch import Labelled
from vision_attn.data.loader import Loader, share
from vision_attn.engine.checkpoint import load_weights
from vision_attn.engine.distributed import find
from vision_attn.engine.loop import backward, fit, split
from vision_attn.engine.run import Run
from vision_attn.engine.start import precision, prepare
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.tasks.config import ClassificationConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "losses.json"
WIDER = dataclasses.replace(SPEC, image_size=(6, 8))


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_golden_losses(tmp_path, name):
    models = {
        "vit": ViTConfig(dim=20, depth=2, heads=5, patch_size=2, drop_path=0.1, dropout=0.1),
        "resnet": ResNetConfig(depths=(1, 1, 1, 1), channels=(4, 6, 8, 10), stem="small"),
    }
    torch.manual_seed(0)
    model = models[name].build(WIDER)
    task = ClassificationConfig(mixup=0.2, label_smoothing=0.1).build(model, WIDER)
    optimizer = {"vit": "muon", "resnet": "sgd"}[name]
    config = make_config(log_every=1, steps=7, optimizer=optimizer, ema=0.5)
    valid = share(Noise(17, seed=2, size=(6, 8)), 5)
    run = Run.create(tmp_path, {}, WIDER)
    fit(task, Loader(Noise(29, seed=1, size=(6, 8)), 12, seed=3), valid, config, run, 3)
    losses = [line.get("loss", line.get("valid_loss")) for line in run.metrics()]
    assert losses == pytest.approx(json.loads(GOLDEN.read_text())[name], rel=1e-4)


def test_training_learns_and_keeps_the_best(tmp_path):
    task = train(tmp_path, steps=40)
    lines = [line for line in metrics(tmp_path) if "valid_accuracy" in line]
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 25, 30, 35, 40]
    assert lines[-1]["valid_loss"] < lines[0]["valid_loss"] < 1.2
    best = max(line["valid_accuracy"] for line in lines)
    tensors, spec = load_weights(tmp_path / "best.safetensors")
    assert spec == SPEC
    task.model.load_state_dict(tensors)
    assert task.evaluate(share(Noise(17, seed=7_919), 4))["accuracy"] == pytest.approx(best)


def test_pieces_give_the_gradient_of_the_whole():
    batch = Noise(29, seed=1).__getitems__([(0, index) for index in range(12)])
    gradients = []
    for pieces in (1, 2, 3, 12):
        task = make_task().double()
        exact = Labelled(batch.images.double(), batch.labels)
        autocast = precision(make_config(), torch.device("cpu"))
        loss = backward(task, exact, pieces, autocast)["loss"]
        gradients.append([loss, *(p.grad for p in task.parameters())])
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-12, atol=1e-12)


def test_uneven_pieces_are_refused():
    batch = Noise(29, seed=1).__getitems__([(0, index) for index in range(7)])
    with pytest.raises(ValueError, match=r"accumulate must divide.*accumulate=2 and 7"):
        split(batch, 2)


class Broken(Noise):
    """Images that are not numbers from the second epoch on."""

    def __getitems__(self, keys):
        images, labels = super().__getitems__(keys)
        return Labelled(images / (1 if keys[0][0] == 0 else 0) * 0, labels)


@pytest.mark.parametrize("clip", [1.0, None])
def test_loss_that_is_not_finite_stops_before_the_weights_change(tmp_path, clip):
    task, config = make_task(), make_config(clip=clip, save_every=2)
    run = Run.create(tmp_path, {}, SPEC)
    loader = Loader(Broken(29, seed=1), 12, seed=3)
    message = r"loss nan.* in step 4; last good checkpoint: .*last\.pt \(step 2\)"
    with pytest.raises(FloatingPointError, match=message):
        fit(task, loader, share(Noise(17, seed=2), 5), config, run, 3)
    assert all(p.isfinite().all() for p in task.parameters())
    assert weights(tmp_path)


def test_same_seed_same_run_other_seed_other_run(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = Run.create(tmp_path / name, {}, SPEC)
        loader = Loader(Noise(29, seed=1), 12, seed=0)
        fit(make_task(dropout=0.5), loader, share(Noise(7, seed=2), 5), make_config(), run, seed)
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b") != metrics(tmp_path / "c")


def test_clipping_bounds_the_update(tmp_path):
    start = make_task().state_dict()
    changes = {"optimizer": "sgd", "rate": 1.0, "warmup": 0, "steps": 1, "weight_decay": 0.0}
    task = train(tmp_path, clip=0.01, **changes)
    moved = torch.cat([(x - start[name]).flatten() for name, x in task.state_dict().items()])
    assert moved.norm().item() == pytest.approx(0.01 * 1.9, rel=1e-3)  # Nesterov: 1 + momentum


def test_average_is_what_is_evaluated_and_kept(tmp_path):
    plain = train(tmp_path / "plain", steps=10)
    averaged = train(tmp_path / "average", steps=10, ema=0.9)
    for one, other in zip(plain.parameters(), averaged.parameters(), strict=True):
        assert torch.equal(one, other)
    kept = load_weights(tmp_path / "average" / "best.safetensors")[0]["head.weight"]
    assert not torch.equal(kept, averaged.model.head.weight)
    lines = [metrics(tmp_path / name)[-1]["valid_loss"] for name in ("plain", "average")]
    assert lines[0] != lines[1]


def test_bf16_on_hardware_without_it_warns(monkeypatch):
    monkeypatch.setattr("vision_attn.engine.start.native_bf16", lambda device: False)
    with pytest.warns(UserWarning, match="will be slow"):
        assert precision(make_config(precision="bf16"), torch.device("cpu"))._enabled
    assert not precision(make_config(precision="auto"), torch.device("cpu"))._enabled


def test_auto_takes_bf16_where_it_is_native(monkeypatch):
    monkeypatch.setattr("vision_attn.engine.start.native_bf16", lambda device: True)
    assert precision(make_config(precision="auto"), torch.device("cpu"))._enabled
    assert not precision(make_config(precision="fp32"), torch.device("cpu"))._enabled


@pytest.mark.filterwarnings("ignore:precision=bf16 will be slow")
def test_bf16_trains(tmp_path):
    train(tmp_path, precision="bf16", steps=3)
    assert weights(tmp_path)[".task.model.head.weight"].dtype == torch.float32


def test_channels_last_changes_the_layout_only(tmp_path):
    task = train(tmp_path / "last", channels_last=True)
    assert task.model.patch_embed.weight.is_contiguous(memory_format=torch.channels_last)
    train(tmp_path / "first")
    for line, other in zip(metrics(tmp_path / "last"), metrics(tmp_path / "first"), strict=True):
        assert line == pytest.approx(other, rel=1e-4)


def test_checkpointing_changes_no_gradient():
    batch = Noise(29, seed=1, size=(6, 8)).__getitems__([(0, index) for index in range(5)])
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = ViTConfig(dim=20, depth=2, heads=5, patch_size=2, dropout=0.3).build(WIDER)
        task = ClassificationConfig().build(model, WIDER)
        config = make_config(checkpointing=checkpointing)
        prepare(task, config, find("cpu"))
        assert model.grad_checkpointing == checkpointing
        torch.manual_seed(1)
        backward(task, batch, 1, precision(config, torch.device("cpu")))
        gradients.append([p.grad for p in task.parameters()])
    torch.testing.assert_close(*gradients)


def test_checkpointing_of_a_model_without_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Net has none"):
        train(tmp_path, checkpointing=True)


def test_progress_is_on_stderr_only(tmp_path, capsys):
    train(tmp_path, steps=3)
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("3/3", "loss=", "rate=", "images/s=", "<00:0"):
        assert part in shown.err
