"""Behind the last look only what the head reads is computed, and nothing else is changed."""

import threading

import pytest
import torch
import torch.nn.functional as F
from foreign import SEQUENCES, SQUARE, batch, sequence, torchvision_vit
from torch import nn
from torch.overrides import TorchFunctionMode

from vision_attn.explain import adapt
from vision_attn.explain.behind import OnlyRead, only_read
from vision_attn.explain.ending import last_look_of
from vision_attn.models.config import ViTConfig
from vision_attn.models.vit import ViT
from vision_attn.spec import Spec


class Count(TorchFunctionMode):
    """Note over how many tokens layers run, and how many ask."""

    def __init__(self):
        super().__init__()
        self.tokens, self.asking = [], []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (F.linear, F.gelu, F.layer_norm) and args[0].ndim == 3:
            self.tokens.append(args[0].shape[1])
        if func is F.scaled_dot_product_attention:
            self.asking.append(args[0].shape[2])
        return func(*args, **(kwargs or {}))


def ours(pool="cls", **settings):
    torch.manual_seed(2)
    config = ViTConfig(dim=16, depth=2, heads=2, patch_size=4, pool=pool, **settings)
    model = config.build(Spec(image_size=(16, 12), names=("a", "b"))).double().eval()
    return model.requires_grad_(False)


def given(*shape):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("settings", [{}, {"distilled": True, "registers": 3}])
def test_the_score_and_its_gradient_are_the_same_with_less_work(settings, together):
    model, images, read = ours(**settings), given(2, 3, 16, 12), 1 + len(settings) // 2
    with Count() as count, only_read(model, together=together):
        model(images)  # a second pass begins anew
        count.asking.clear()
        logits = model(images)
    tokens = 13 + 4 * bool(settings)
    assert count.asking == [tokens, read]
    # The last block's layers to queries, keys and values, its projection, norm2, fc1, GELU and fc2,
    # then the norm before the head. Who follows one gradient may ask for the projection's as well.
    assert count.tokens[-7:] == [tokens, read if together else tokens] + [read] * 5
    torch.testing.assert_close(logits, model(images))
    (found,) = torch.autograd.grad(logits[:, 1].sum(), images)
    (expected,) = torch.autograd.grad(model(images)[:, 1].sum(), images)
    torch.testing.assert_close(found, expected)
    assert not any(x._forward_hooks or x._forward_pre_hooks for x in model.modules())


def steps_back(node):
    """Name the steps of a graph, from the end on."""
    seen, waiting = {}, [node]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen[node] = node.name()
            waiting += [before for before, _ in node.next_functions]
    return list(seen.values())


def test_the_gradient_of_the_token_that_is_read_meets_no_zeros():
    images, network = batch(SQUARE)[0].requires_grad_(), adapt(sequence("class token", SQUARE))
    with only_read(network, together=True):
        logits = network(images)
    # What is filled up with zeros would be cut out of them again on the way back.
    assert not any("CopySlices" in step for step in steps_back(logits.grad_fn))
    torch.testing.assert_close(logits, network(images))


def test_a_scaled_branch_is_run_for_what_is_read_alone():
    model, images = ours(layer_scale=0.7), given(2, 3, 16, 12)
    with Count() as count, only_read(model, together=True):
        logits = model(images)
    assert count.tokens[-6:] == [1] * 6
    torch.testing.assert_close(logits, model(images))


@pytest.mark.parametrize("kind", SEQUENCES)
def test_networks_of_timm_answer_the_same(kind):
    network, (images, _) = adapt(sequence(kind)), batch()
    with Count() as count, only_read(network):
        found = network(images)
    torch.testing.assert_close(found, network(images))
    with Count() as whole:
        network(images)
    reads_one_or_two = network.readout is not None and (network.readout != 0).sum() <= 2
    assert (sum(count.tokens) < sum(whole.tokens)) == (reads_one_or_two and kind != "parallel mlp")


def test_a_network_of_torchvision_answers_the_same():
    network, (images, _) = adapt(torchvision_vit()), batch(SQUARE, count=17)  # as many as tokens
    with Count() as count, only_read(network):
        found = network(images)
    assert min(count.tokens) == 1
    torch.testing.assert_close(found, network(images))


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_a_head_that_reads_all_or_by_attention_leaves_nothing_out(pool):
    model, images = ours(pool), given(2, 3, 16, 12)
    with Count() as count, only_read(model):
        model(images)
    with Count() as whole:
        model(images)
    assert count.tokens == whole.tokens
    assert count.asking == whole.asking


def test_images_of_another_size_than_the_readout_are_computed_in_full():
    model, images = ours(), given(2, 3, 20, 16)
    with Count() as count, only_read(model):
        found = model(images)
    assert min(count.tokens) == 21
    torch.testing.assert_close(found, model(images))


def test_what_a_layer_behind_the_last_look_gives_is_whole():
    model, images, heard = ours(), given(2, 3, 16, 12), []
    handle = model.norm.register_forward_hook(lambda *run: heard.append(run[2]))
    with only_read(model, after=model.norm):
        model(images)
    model(images)
    handle.remove()
    assert torch.equal(*heard)
    assert heard[0].any(2).all()


class InPlace(nn.Module):
    """Attends, then changes in place what only the head's token has."""

    def __init__(self):
        super().__init__()
        self.last_look, self.layer = nn.Identity(), nn.Linear(4, 4).double()
        self.readout = torch.tensor([1.0, 0, 0])

    def forward(self, tokens):
        tokens = self.layer(self.last_look(tokens))
        tokens += 1
        return self.layer(tokens)[:, 0]


def test_what_is_changed_in_place_is_read_anew():
    model, tokens = InPlace().requires_grad_(False), given(2, 3, 4)
    with OnlyRead(model, model.last_look, model.readout != 0, None, together=False) as mode:
        found = model(tokens)
    assert mode._rows
    torch.testing.assert_close(found, model(tokens))


def reset(network):
    network.reset_classifier(5, global_pool="avg")


def another_pool(network):
    network.pool = lambda tokens, *_, **__: tokens.mean(1)


class Mixing(nn.Module):
    def forward(self, tokens):
        return tokens + tokens.mean(1, keepdim=True)


def mixing(network):
    network.norm = Mixing()


def listening(network):
    network.norm.register_forward_hook(lambda *_: None)


def sharing(network):
    network.blocks[0] = network.blocks[1] = network.blocks[2]


@pytest.mark.parametrize("change", [reset, another_pool, mixing, listening, sharing])
def test_a_network_that_somebody_changed_runs_in_full(change):
    network, (images, _) = sequence("class token"), batch()
    adapted = adapt(network)
    assert last_look_of(adapted) is network.blocks[-1].attn
    change(network)
    assert last_look_of(adapted) is None
    with Count() as count, only_read(adapted):
        adapted(images)
    assert min(count.tokens) == 15


def test_a_subclass_that_reads_in_another_way_runs_in_full():
    class Mine(ViT):
        def _pool(self, tokens, tape):
            return tokens.mean(1)

    model = ours()
    assert last_look_of(model) is model.blocks[-1].attn
    model.__class__ = Mine
    assert last_look_of(model) is None


def test_another_thread_that_runs_the_network_is_left_alone():
    model, images, found = ours(), given(2, 3, 16, 12).detach(), []
    with torch.no_grad(), only_read(model, after=model.blocks[-1].norm1):
        other = threading.Thread(target=lambda: found.append((model(images), _depth())))
        other.start()
        other.join()
        mine = model(images)
        assert _depth() == 1
    assert _depth() == 0
    assert found[0][1] == 0
    torch.testing.assert_close(found[0][0], mine)


def _depth():
    return torch._C._len_torch_function_stack()
