"""A vector that moves all patches has the sum of their gradients for its own."""

import pytest
import torch
import torch.nn.functional as F
from foreign import SEQUENCES, SQUARE, batch, sequence, torchvision_vit
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vision_attn.attention.multihead import MultiHeadAttention
from vision_attn.explain import adapt, cam
from vision_attn.explain.cam import class_maps, grad_cam_classes
from vision_attn.explain.shifting import Shifting, is_linear
from vision_attn.explain.weighing import by_mean_gradient

PATCHES = torch.tensor([1, 2, 3, 5])
FIRST = torch.arange(6) == 0


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


class Biased(MultiHeadAttention):
    """Attend with a bias of its own, as some networks do to say where tokens are."""

    def forward(self, tokens):
        query, key, value = self.split(tokens)
        return self.join(
            F.scaled_dot_product_attention(query, key, value, attn_mask=drawn(2, 6, 6))
        )

    def split(self, tokens):
        return self.qkv(tokens).unflatten(-1, (3, 2, 4)).movedim((2, 3), (0, 2))

    def join(self, mixed):
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Asked(Biased):
    """Answer the first token alone."""

    def forward(self, tokens):
        query, key, value = self.split(tokens)
        return self.join(F.scaled_dot_product_attention(query[:, :, :1], key, value))


def layer(kind=MultiHeadAttention, **settings):
    torch.manual_seed(0)
    made = kind(8, 2, **settings).double()
    for parameter in made.parameters():
        parameter.data = drawn(*parameter.shape) / 2
    return made.requires_grad_(False)


def read(mixed):
    return (mixed * drawn(*mixed.shape)).square().sum()


@pytest.mark.parametrize("kind", [MultiHeadAttention, Biased, Asked])
def test_the_sum_over_patches_is_that_of_their_gradients(kind):
    attending, tokens = layer(kind), drawn(3, 6, 8)
    shifting = Shifting(attending, lambda count: PATCHES, FIRST)
    with shifting:
        total = read(attending(shifting.tell(tokens)))
        (found,) = torch.autograd.grad(total, shifting.vector)
    leaf = tokens.clone().requires_grad_()
    expected_total = read(attending(leaf))
    (gradient,) = torch.autograd.grad(expected_total, leaf)
    torch.testing.assert_close(total, expected_total)
    torch.testing.assert_close(found, gradient[:, PATCHES].sum(1, keepdim=True))


def test_the_gradient_of_no_single_patch_is_multiplied():
    rows = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.name() in ("aten::mm", "aten::addmm"):
                rows.append(args[-2].shape[0])
            return func(*args, **(kwargs or {}))

    attending, tokens = layer(Asked), drawn(3, 6, 8)
    shifting = Shifting(attending, lambda count: PATCHES, FIRST)
    with shifting:
        total = read(attending(shifting.tell(tokens)))
    with Watch():
        torch.autograd.grad(total, shifting.vector)
    assert rows
    assert max(rows) <= 6  # a row an image and head; there are 18 tokens


def untouched(attending, *run):
    """Tell whether a layer that is not to be followed runs as it does alone."""
    tokens = drawn(3, 6, 8).requires_grad_()
    shifting = Shifting(attending, lambda count: PATCHES, FIRST)
    with shifting:
        found = attending(shifting.tell(tokens), *run)
        (gradient,) = torch.autograd.grad(read(found), tokens)
    (expected,) = torch.autograd.grad(read(attending(tokens, *run)), tokens)
    torch.testing.assert_close(gradient, expected)
    return shifting.vector is None


class WrittenOut(MultiHeadAttention):
    def forward(self, tokens):
        query, key, value = self.qkv(tokens).chunk(3, -1)
        return self.proj((query @ key.mT).softmax(-1) @ value)


class Causal(MultiHeadAttention):
    def forward(self, tokens):
        query, key, value = self.qkv(tokens).unsqueeze(1).chunk(3, -1)
        return F.scaled_dot_product_attention(query, key, value, is_causal=True).squeeze(1)


@pytest.mark.parametrize("kind", [WrittenOut, Causal])
def test_a_layer_that_attends_in_another_way_runs_as_ever(kind):
    assert untouched(layer(kind))


def test_a_layer_that_is_told_more_than_its_tokens_runs_as_ever():
    rotation = drawn(6, 4), drawn(6, 4)
    assert untouched(layer(), None, rotation)


def test_only_layers_linear_in_their_tokens_are_followed():
    assert is_linear(layer())
    assert not is_linear(layer(qk_norm=True))
    gated = layer()
    gated.gate = nn.Linear(8, 8)
    assert not is_linear(gated)


def networks():
    for kind in SEQUENCES:
        yield adapt(sequence(kind, SQUARE))
    yield adapt(torchvision_vit())


def test_grad_cam_of_several_classes_is_that_of_whole_gradients(monkeypatch):
    made, from_sums = [], cam._from_sums
    monkeypatch.setattr(cam, "_from_sums", lambda *run: made.append(from_sums(*run)) or made[-1])
    images, _ = batch(SQUARE)
    classes = torch.tensor([[0, 3], [1, 1], [4, 2]])
    for network in networks():
        found = grad_cam_classes(network, images, classes)
        expected = class_maps(by_mean_gradient, network, images, classes)
        torch.testing.assert_close(found, expected)
    assert sum(maps is not None for maps in made) > 3


def test_who_else_reads_the_layer_is_not_forgotten(monkeypatch):
    network = sequence("class token", SQUARE)
    last, forward = network.blocks[-1], type(network.blocks[-1]).forward

    def run(block, tokens, **named):
        if block is not last:
            return forward(block, tokens, **named)
        known = block.norm1(tokens)
        return tokens + block.attn(known) + block.mlp(known)

    made, from_sums = [], cam._from_sums
    monkeypatch.setattr(cam, "_from_sums", lambda *run: made.append(from_sums(*run)) or made[-1])
    monkeypatch.setattr(type(last), "forward", run)
    images, _ = batch(SQUARE)
    classes = torch.tensor([[0, 3], [1, 1], [4, 2]])
    adapted = adapt(network)
    found = grad_cam_classes(adapted, images, classes)
    assert made == [None]
    torch.testing.assert_close(found, class_maps(by_mean_gradient, adapted, images, classes))


def test_a_score_that_hangs_on_no_patch_is_explained_the_long_way():
    network = adapt(sequence("class token", SQUARE))
    network.network.head.weight.data[2] = 0
    images, _ = batch(SQUARE)
    maps = grad_cam_classes(network, images, torch.tensor([[2, 0]]).expand(3, -1))
    assert not maps[:, 0].any()
    assert maps[:, 1].any()
