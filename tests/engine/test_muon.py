import pytest
import torch
from timm.optim.muon import Muon as TimmMuon
from torch import nn

from vision_attn.engine.config import TrainConfig
from vision_attn.engine.muon import Muon, orthogonal
from vision_attn.engine.optim import build_optimizer


@pytest.mark.parametrize("shape", [(3, 5, 11), (2, 11, 5), (1, 7, 7)])
def test_singular_values_come_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    before = torch.linalg.svd(matrices, full_matrices=False)
    after = orthogonal(matrices)
    values = torch.linalg.svdvals(after)
    assert values.min() > 0.3
    assert values.max() < 1.3
    # the singular vectors stay: only the values between them change
    inner = before.U.mT @ after @ before.Vh.mT
    assert (inner - torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-3


def test_zero_gradient_gives_zero():
    assert torch.equal(orthogonal(torch.zeros(1, 5, 3)), torch.zeros(1, 5, 3))


def groups(parameters: list[nn.Parameter]) -> list[dict]:
    matrices = [p for p in parameters if p.ndim > 1]
    rest = [p for p in parameters if p.ndim == 1]
    return [
        {"params": matrices, "weight_decay": 0.1, "use_fallback": False},
        {"params": rest, "weight_decay": 0.0, "use_fallback": True},
    ]


def test_agrees_with_timm_to_its_bfloat16():
    # timm mixes momentum and gradient as Nesterov does for matrices, but then has NAdamW for the
    # rest, so the rest is compared with torch's AdamW.
    draw = torch.Generator().manual_seed(2)
    start = [torch.randn(s, generator=draw) for s in [(7, 5), (7, 5), (11, 3, 2, 2), (5,)]]
    mine, timms = ([nn.Parameter(x.clone()) for x in start] for _ in range(2))
    torchs = nn.Parameter(start[-1].clone())
    ours = Muon(groups(mine), 0.02, 0.9)
    jordan = {"nesterov": True, "ns_coefficients": "original", "momentum": 0.9}
    theirs = TimmMuon(groups(timms[:-1])[:1], lr=0.02, **jordan)
    rest = torch.optim.AdamW([torchs], lr=0.02, betas=(0.9, 0.95), weight_decay=0)
    for _ in range(3):
        for one, other in zip(mine, [*timms[:-1], torchs], strict=True):
            one.grad = torch.randn(one.shape, generator=draw)
            other.grad = one.grad.clone()
        for optimizer in (ours, theirs, rest):
            optimizer.step()
    for one, other, before in zip(mine[:-1], timms[:-1], start[:-1], strict=True):
        moved = (other - before).norm()
        assert (one - other).norm() < 0.03 * moved
    torch.testing.assert_close(mine[-1], torchs)


def test_update_has_the_size_of_adamws():
    parameter = nn.Parameter(torch.zeros(64, 32))
    parameter.grad = torch.randn(64, 32, generator=torch.Generator().manual_seed(3)) * 1e-4
    Muon(groups([parameter])[:1], 0.5, 0.9).step()
    assert parameter.square().mean().sqrt().item() == pytest.approx(0.2 * 0.5, rel=0.2)


@pytest.mark.parametrize(
    ("precision", "native", "dtype"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("fp32", True, torch.float32),
        ("bf16", True, torch.bfloat16),
        ("bf16", False, torch.float32),
    ],
)
def test_it_multiplies_in_bf16_only_where_that_is_native_and_fp32_is_not_asked_for(
    monkeypatch, precision, native, dtype
):
    monkeypatch.setattr("vision_attn.engine.optim.native_bf16", lambda device: native)
    config = TrainConfig(steps=3, warmup=0, optimizer="muon", precision=precision)
    optimizer = build_optimizer(nn.Linear(3, 5), config)
    assert isinstance(optimizer, Muon)
    assert optimizer.dtype == dtype
