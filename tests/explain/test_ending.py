"""A network that only has to look runs no further than its last look, and shows the same."""

import threading

import pytest
import timm
import torch
from foreign import (
    CLASS_TOKEN,
    PLAIN,
    SEQUENCES,
    SQUARE,
    WIDE,
    batch,
    foreign,
    sequence,
    torchvision_vit,
)
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from vision_attn.explain import METHODS, adapt
from vision_attn.explain.ending import ending_after, only_looks_now
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec

POOLS_BY_ATTENTION = ("attention pool", "attention pool with registers")
ONLY_LOOKING = ("attention", "rollout")


class Attending(TorchFunctionMode):
    """Count what attends."""

    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        attends = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
        self.count += func in attends or getattr(func, "__name__", "") == "softmax"
        return func(*args, **(kwargs or {}))


def ours(pool="cls"):
    spec = Spec(image_size=SQUARE, names=tuple("abcde"))
    return ViTConfig(dim=12, depth=3, heads=2, patch_size=4, pool=pool).build(spec).eval()


def networks():
    yield ours()
    for kind in ("class token", "distilled", "parallel mlp"):
        yield adapt(sequence(kind, SQUARE))
    yield adapt(torchvision_vit())


class Heads(TorchFunctionMode):
    """Note whether a head ran, which has five outputs."""

    ran = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.ran = self.ran or (func is F.linear and len(args[1]) == 5)
        return func(*args, **(kwargs or {}))


def ran(network, images, targets, methods=ONLY_LOOKING):
    """Give the maps, and whether what follows the last look ran."""
    with Heads() as heads:
        made = [METHODS[method](network, images, targets) for method in methods]
    return torch.stack(made), heads.ran


def test_what_only_looks_ends_at_the_last_look_and_gives_the_same(monkeypatch):
    (images, targets), told = batch(SQUARE), []
    for network in networks():
        ended, whole = ran(network, images, targets)
        assert whole == (network.last_look is None)
        told.append(network.last_look is not None)
        with monkeypatch.context() as patch:
            patch.setattr(type(network), "last_look", None)
            full, whole = ran(network, images, targets)
        assert whole
        assert torch.equal(ended, full)
        assert not any(module._forward_hooks for module in network.modules())
    assert told == [True, True, True, False, True]


@pytest.mark.parametrize("kind", SEQUENCES)
def test_nothing_attends_after_the_last_look(kind):
    network, (images, _) = sequence(kind), batch()
    adapted = adapt(network)
    if kind in (*POOLS_BY_ATTENTION, "parallel mlp"):
        assert adapted.last_look is None
        return
    assert adapted.last_look is not None
    with Attending() as early, ending_after(adapted.last_look):
        network(images)
    with Attending() as late:
        network(images)
    assert early.count == late.count == 3


def test_the_last_look_itself_has_no_output():
    (images, targets), network = batch(SQUARE), adapt(sequence("class token", SQUARE))
    attended = []

    class Outputs(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is F.scaled_dot_product_attention:
                attended.append(result.shape)
            return result

    with Outputs():
        METHODS["attention"](network, images, targets)
    assert len(attended) == 3 - 1
    assert not only_looks_now()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("method", ONLY_LOOKING)
def test_a_last_layer_that_looks_twice_is_refused(method, depth):
    images, targets = batch(SQUARE)
    network = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=SQUARE,
        patch_size=4,
        embed_dim=12,
        depth=depth,
        num_heads=2,
        num_classes=5,
    )
    network.blocks[-1].attn = timm.layers.DiffAttention(12, num_heads=2)
    with pytest.raises(ValueError, match=f"has {depth} attention layers, but {depth + 1} looks"):
        METHODS[method](adapt(network), images, targets)


def test_another_thread_that_runs_the_network_comes_to_its_end():
    (images, _), network, found = batch(SQUARE), adapt(sequence("class token", SQUARE)), []
    with ending_after(network.last_look):
        other = threading.Thread(target=lambda: found.append((network(images), only_looks_now())))
        other.start()
        other.join()
        assert not only_looks_now()
    logits, told = found[0]
    assert not told
    assert torch.equal(logits, network(images))


def test_a_class_that_does_not_exist_is_refused_all_the_same():
    images, targets = batch(SQUARE)
    for network in networks():
        for method in ONLY_LOOKING:
            with pytest.raises(ValueError, match=r"targets must be in \[0, 5\), got \[5\]"):
                METHODS[method](network, images, targets.clamp_min(5))


def test_what_is_not_known_to_end_there_runs_to_its_end():
    images, targets = batch()

    class Mine(type(sequence("class token"))):
        pass

    mine = sequence("class token")
    mine.__class__ = Mine
    headless = sequence("class token")
    headless.head = nn.Identity()
    for network in (mine, headless):
        assert adapt(network).last_look is None
    assert adapt(headless).outputs is None
    assert ours("attention").last_look is None
    assert ran(adapt(mine), images, targets)[1]


def test_the_head_counts_as_it_is_now():
    network = foreign(CLASS_TOKEN, **PLAIN, img_size=WIDE)
    adapted = adapt(network)
    assert adapted.outputs == 5
    network.head = nn.Linear(12, 7)
    assert adapted.outputs == 7


def test_methods_that_need_the_answer_run_to_the_end():
    images, targets = batch()
    assert ran(adapt(sequence("class token")), images, targets, ["relevance"])[1]


def test_no_hook_stays_after_an_error():
    layer = nn.Linear(2, 2)
    after = []
    with ending_after(layer):
        layer(torch.ones(2))
        after.append("nothing runs here")
    assert not after
    with pytest.raises(RuntimeError), ending_after(layer):
        layer(torch.ones(3))
    assert not layer._forward_hooks
    with ending_after(None):
        after.append(layer(torch.ones(2)))
    assert after
