import time

import torch
import torch.nn.functional as F
from torch import nn

from vision_attn.report.cost import at_rest, flops, parameters, speeds


class Attention(nn.Module):
    def __init__(self, heads=3, head_dim=5):
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.qkv = nn.Linear(7, 3 * heads * head_dim)

    def forward(self, images):
        tokens = images.flatten(2).transpose(1, 2)
        qkv = self.qkv(tokens).unflatten(2, (3, self.heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(*qkv)


def test_flops_count_a_convolution_in_closed_form():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(5))
    assert flops(model, torch.zeros(2, 3, 11, 7)) == 2 * 11 * 7 * 5 * 3 * 9


def test_flops_count_fused_attention():
    tokens, width = 4 * 13, 3 * 5
    expected = 2 * tokens * 7 * 3 * width + 2 * 2 * tokens * tokens * width
    assert flops(Attention(), torch.zeros(2, 7, 4, 13)) == expected


def test_parameters_count_shared_weights_once():
    layer = nn.Linear(7, 11)
    assert parameters(nn.Sequential(layer, nn.ReLU(), layer)) == 7 * 11 + 11


def test_counting_and_timing_leave_no_trace():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), nn.Conv2d(3, 2, 1)).train()
    model[1].eval()
    flops(model, torch.ones(2, 3, 5, 5))
    speeds({"a": model}, {"a": torch.ones(2, 3, 5, 5)}, repeats=1, seconds=0.0)
    assert [module.training for module in model] == [True, False, True]
    assert model[0].num_batches_tracked == 0
    assert all(weight.grad is None for weight in model.parameters())


def test_at_rest_restores_after_an_error():
    model = nn.Sequential(nn.Dropout())
    try:
        with at_rest(model):
            assert not model[0].training
            assert not torch.is_grad_enabled()
            raise KeyError
    except KeyError:
        pass
    assert model[0].training
    assert torch.is_grad_enabled()


class Sleeper(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.calls = seconds, []

    def forward(self, images):
        self.calls.append(time.perf_counter())
        time.sleep(self.seconds)


def test_speed_is_images_over_seconds_and_models_take_turns():
    models = {"slow": Sleeper(0.02), "fast": Sleeper(0.01)}
    images = {"slow": torch.zeros(13, 1, 2, 2), "fast": torch.zeros(7, 1, 3, 5)}
    got = speeds(models, images, repeats=3, seconds=0.0)
    assert 13 / 0.04 < got["slow"].median <= 13 / 0.02
    assert 7 / 0.02 < got["fast"].median <= 7 / 0.01
    assert got["slow"].low <= got["slow"].median <= got["slow"].high
    order = sorted((call, name) for name, model in models.items() for call in model.calls)
    assert [name for _, name in order] == ["slow", "fast"] * 4
