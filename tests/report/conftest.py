import pytest
import torch
from tiny_subjects import CONFIGS, subject

from vision_attn.data.batch import Labelled
from vision_attn.report.measure import Evidence


@pytest.fixture
def subjects(tmp_path):
    return [subject(tmp_path, name) for name in CONFIGS]


@pytest.fixture
def evidence():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(11, 3, 16, 12, generator=generator) / 2
    labels = torch.randint(3, (11,), generator=generator)
    masks = torch.zeros(11, 16, 12, dtype=torch.bool)
    masks[:, 3:8, 5:12] = True
    batches = [Labelled(images[:7], labels[:7]), Labelled(images[7:], labels[7:])]
    return Evidence(batches, images, labels, masks)
