import math

import pytest
import torch
from torch import nn

from vision_attn.data.batch import Labelled
from vision_attn.spec import Spec
from vision_attn.tasks.config import ClassificationConfig


def make_task(outputs: int = 7, **config):
    names = tuple("abcdefgh"[:outputs])
    spec = Spec(image_size=(1, outputs), names=names, channels=1, mean=(0,), std=(1,))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(outputs, outputs))
    return ClassificationConfig(**config).build(model, spec)


def make_batch(count: int, outputs: int = 7) -> Labelled:
    draw = torch.Generator().manual_seed(count)
    labels = torch.randint(outputs, (count,), generator=draw)
    return Labelled(torch.randn(count, 1, 1, outputs, generator=draw), labels)


def test_loss_is_smoothed_in_training_only():
    task, batch = make_task(label_smoothing=0.2), make_batch(5)
    task.model[1] = nn.Identity()
    log_probs = task.model(batch.images).double().log_softmax(1)
    plain = -log_probs[torch.arange(5), batch.labels].mean().item()
    smoothed = 0.8 * plain - 0.2 * log_probs.mean().item()
    assert task(batch)["loss"].item() == pytest.approx(smoothed, rel=1e-5)
    assert task.eval()(batch)["loss"].item() == pytest.approx(plain, rel=1e-5)


def test_mixing_is_in_training_only_and_follows_the_global_generator():
    task, batch = make_task(mixup=0.8, cutmix=0.8), make_batch(5)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(task(batch)["loss"].item())
    assert losses[0] == losses[1] != losses[2]
    task.eval()
    assert task(batch)["loss"].item() == task(batch)["loss"].item()


def test_evaluation_counts_over_uneven_batches():
    task = make_task()
    batches = [make_batch(5), make_batch(5), make_batch(3)]
    numbers = task.evaluate(batches)
    task.eval()
    ranks, losses = [], []
    for images, labels in batches:
        for row, label in zip(task.model(images).double(), labels, strict=True):
            ranks.append(sorted(row.tolist(), reverse=True).index(row[label]))
            losses.append(-row.log_softmax(0)[label].item())
    assert numbers == pytest.approx(
        {
            "accuracy": sum(rank < 1 for rank in ranks) / 13,
            "accuracy_top5": sum(rank < 5 for rank in ranks) / 13,
            "loss": sum(losses) / 13,
            "images": 13,
        },
        rel=1e-5,
    )


def test_five_classes_have_no_top_five():
    assert make_task(5).evaluate([make_batch(3, 5)]).keys() == {"accuracy", "loss", "images"}
    assert "accuracy_top5" in make_task(6).evaluate([make_batch(3, 6)])


def test_evaluation_leaves_modes_and_gradients_as_they_were():
    task = make_task().train()
    task.model[1].eval()
    task.evaluate([make_batch(3)])
    assert task.training
    assert not task.model[1].training
    assert all(p.grad is None and p.requires_grad for p in task.parameters())

    def fail():
        raise OSError("disk")
        yield

    with pytest.raises(OSError):
        task.evaluate(fail())
    assert task.training


def test_empty_split_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        make_task().evaluate([])


def test_loss_that_is_not_a_number_is_shown():
    task = make_task()
    with torch.no_grad():
        task.model[2].weight.fill_(math.nan)
    assert math.isnan(task.evaluate([make_batch(3)])["loss"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"label_smoothing": 1.0}, "label_smoothing"), ({"mixup": -0.1}, "mixup and cutmix")],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ClassificationConfig(**settings)
