"""A vector that moves all patches has the sum of their gradients for its own."""

from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vision_attn.attention.multihead import MultiHeadAttention
from vision_attn.explain.call import Call
from vision_attn.explain.shifting import Shifting, is_linear

PATCHES = torch.tensor([1, 2, 3, 5])
FIRST = torch.arange(6) == 0


class Following(TorchFunctionMode):
    """Have what attends ask a vector that moves patches."""

    def __init__(self, attending, copies=1):
        super().__init__()
        self.shifting = Shifting(attending, lambda count: PATCHES, FIRST, copies)
        self.several = copies > 1

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        call = Call(*args, **(kwargs or {}))
        if self.several:
            call = call._replace(query=call.query[:, :, :1])
        return self.shifting.answer(call, self.several)


@contextmanager
def following(attending, copies=1):
    with Following(attending, copies) as mode, mode.shifting:
        yield mode.shifting


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
        return self.proj(mixed.transpose(-3, -2).flatten(-2))


class Unbiased(Biased):
    def forward(self, tokens):
        return self.join(F.scaled_dot_product_attention(*self.split(tokens)))


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
    with following(attending) as shifting:
        total = read(attending(shifting.tell(tokens)))
        (found,) = torch.autograd.grad(total, shifting.vector)
    leaf = tokens.clone().requires_grad_()
    expected_total = read(attending(leaf))
    (gradient,) = torch.autograd.grad(expected_total, leaf)
    torch.testing.assert_close(total, expected_total)
    torch.testing.assert_close(found, gradient[:, PATCHES].sum(1, keepdim=True))


def test_each_copy_has_the_gradient_of_what_is_answered_with_it():
    attending, tokens, weights = layer(Unbiased), drawn(3, 6, 8), drawn(5, 3, 1, 8)
    with following(attending, copies=5) as shifting:
        mixed = attending(shifting.tell(tokens))
        (found,) = torch.autograd.grad((mixed * weights).sum(), shifting.vector)
    leaf = tokens.clone().requires_grad_()
    expected = attending(leaf)[:, :1]
    for copy in range(5):
        torch.testing.assert_close(mixed[copy], expected)
        total = (expected * weights[copy]).sum()
        (gradient,) = torch.autograd.grad(total, leaf, retain_graph=True)
        torch.testing.assert_close(found[:, copy], gradient[:, PATCHES].sum(1))


def test_the_gradient_of_no_single_patch_is_multiplied():
    rows = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.name() in ("aten::mm", "aten::addmm"):
                rows.append(args[-2].shape[0])
            return func(*args, **(kwargs or {}))

    attending, tokens = layer(Asked), drawn(3, 6, 8)
    with following(attending) as shifting:
        total = read(attending(shifting.tell(tokens)))
    with Watch():
        torch.autograd.grad(total, shifting.vector)
    assert rows
    assert max(rows) <= 6  # a row an image and head; there are 18 tokens


def untouched(attending, *run):
    """Tell whether a layer that is not to be followed runs as it does alone."""
    tokens = drawn(3, 6, 8).requires_grad_()
    with following(attending) as shifting:
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


class OneHead(MultiHeadAttention):
    def forward(self, tokens):
        return F.scaled_dot_product_attention(*self.qkv(tokens).chunk(3, -1))


class Fixed(Biased):
    """Take six tokens, no more and no fewer."""

    def forward(self, tokens):
        query, key, value = self.split(tokens.reshape(-1, 6, 8))
        return self.join(F.scaled_dot_product_attention(query, key, value))


class Placed(Biased):
    """Say of six tokens where they are, also where there is but one."""

    def forward(self, tokens):
        query, key, value = self.split(tokens + drawn(6, 8))
        return self.join(F.scaled_dot_product_attention(query, key, value))


@pytest.mark.parametrize("kind", [WrittenOut, Causal, OneHead, Fixed, Placed])
def test_a_layer_that_attends_in_another_way_runs_as_ever(kind):
    assert untouched(layer(kind))


def test_a_layer_that_is_told_more_than_its_tokens_runs_as_ever():
    rotation = drawn(6, 4), drawn(6, 4)
    assert untouched(layer(), None, rotation)


class Normalised(Biased):
    """Attend by directions alone, which are not linear in a token though all parts are."""

    def forward(self, tokens):
        query, key, value = self.split(tokens)
        return self.join(F.scaled_dot_product_attention(query, F.normalize(key, dim=-1), value))


class Masked(Biased):
    """Hide tokens from each other where there are several."""

    def forward(self, tokens):
        query, key, value = self.split(tokens)
        mask = torch.ones(6, 6).tril().bool() if tokens.shape[1] > 1 else None
        return self.join(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


class Twice(Biased):
    def forward(self, tokens):
        query, key, value = self.split(tokens)
        once = F.scaled_dot_product_attention(query, key, value)
        return self.join(F.scaled_dot_product_attention(query, value, once))


@pytest.mark.parametrize("kind", [Normalised, Masked, Twice])
def test_what_turns_out_not_to_be_linear_is_told(kind):
    attending, tokens = layer(kind), drawn(3, 6, 8)
    with following(attending) as shifting:
        found = attending(shifting.tell(tokens))
    assert not shifting.holds
    torch.testing.assert_close(found, attending(tokens))


def test_only_layers_linear_in_their_tokens_are_followed():
    assert is_linear(layer())
    assert not is_linear(layer(qk_norm=True))
    gated = layer()
    gated.gate = nn.Linear(8, 8)
    assert not is_linear(gated)
