"""Grad-CAM of several classes at once is that of whole gradients, whatever the network is."""

import pytest
import timm
import torch
import torch.nn.functional as F
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

from vision_attn.explain import adapt, cam
from vision_attn.explain.cam import class_maps, grad_cam_classes
from vision_attn.explain.shifting import Shifting
from vision_attn.explain.weighing import by_mean_gradient
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec

CLASSES = torch.tensor([[0, 3], [1, 1], [4, 2]])
THREE = torch.tensor([[0, 3, 1], [1, 1, 2], [4, 2, 0]])


def check(network, images):
    """Hold the maps against those of the gradient of every patch."""
    found = grad_cam_classes(network, images, CLASSES)
    torch.testing.assert_close(found, class_maps(by_mean_gradient, network, images, CLASSES))


FOLLOWED = {"class token", "distilled", "registers", "ours"}
IN_VAIN = {"norm after attention"}
"""Where others read the layer too."""


@pytest.mark.parametrize("kind", [*SEQUENCES, "torchvision", "ours"])
def test_grad_cam_of_several_classes_is_that_of_whole_gradients(kind, monkeypatch):
    made, tell = [], Shifting.tell
    monkeypatch.setattr(Shifting, "tell", lambda self, x: made.append(self) or tell(self, x))
    images, _ = batch(SQUARE)
    if kind == "ours":
        spec = Spec(image_size=SQUARE, names=tuple("abcde"))
        network = ViTConfig(dim=16, depth=2, heads=2, patch_size=8, pool="cls").build(spec).eval()
    else:
        network = adapt(torchvision_vit() if kind == "torchvision" else sequence(kind, SQUARE))
    check(network, images)
    followed = [shifting.vector is not None and shifting.holds for shifting in made]
    assert followed == [True] if kind in FOLLOWED | IN_VAIN else not any(followed)


def normed_head(network):
    network.head = nn.Sequential(nn.BatchNorm1d(12), nn.Flatten(), nn.Linear(12, 5)).eval()


def normed_by_the_batch(network):
    norm = nn.BatchNorm1d(12, track_running_stats=False)
    network.head = nn.Sequential(norm, nn.Linear(12, 5)).eval()


def scaled(network):
    for block in network.blocks:
        block.ls1, block.ls2 = timm.layers.LayerScale(12, 0.7), timm.layers.LayerScale(12, 0.3)


def scaled_in_place(network):
    network.blocks[-1].ls1 = timm.layers.LayerScale(12, 0.7, inplace=True)


@pytest.mark.parametrize(
    ("change", "copies"),
    [(None, True), (normed_head, True), (scaled, True), (scaled_in_place, False)],
)
def test_all_classes_go_back_at_once_unless_a_part_takes_all_tokens(change, copies, monkeypatch):
    network, (images, _), batched = sequence("class token", SQUARE), batch(SQUARE), []
    if change is not None:
        change(network)
    adapted, one_by_one = adapt(network), cam._gradients
    monkeypatch.setattr(cam, "_gradients", lambda *run: batched.append(1) or one_by_one(*run))
    monkeypatch.setattr(cam, "AT_ONCE", 2)
    found = grad_cam_classes(adapted, images, THREE)
    assert bool(batched) != copies
    torch.testing.assert_close(found, class_maps(by_mean_gradient, adapted, images, THREE))


def test_no_class_is_mixed_with_another_where_the_head_mixes_images():
    network, (images, _) = sequence("class token", SQUARE), batch(SQUARE)
    normed_by_the_batch(network)
    check(adapt(network), images)


def test_no_class_is_mixed_with_another_where_a_part_takes_all_tokens(monkeypatch):
    network = sequence("class token", SQUARE)
    last, forward = network.blocks[-1], type(network.blocks[-1]).forward

    def run(block, tokens, **named):
        if block is not last:
            return forward(block, tokens, **named)
        mixed = block.attn(block.norm1(tokens))
        tokens = tokens + (mixed.tanh() + mixed)
        return tokens + block.mlp(block.norm2(tokens))

    monkeypatch.setattr(type(last), "forward", run)
    check(adapt(network), batch(SQUARE)[0])


def test_images_of_another_size_than_the_network_was_built_for():
    network = foreign(CLASS_TOKEN, **PLAIN, img_size=SQUARE, dynamic_img_size=True)
    check(adapt(network), batch(WIDE)[0])


def test_who_changes_gradients_finds_all_of_them():
    network = sequence("class token", SQUARE)
    network.blocks[-1].attn.qkv.register_full_backward_hook(
        lambda layer, to_inputs, of_outputs: (to_inputs[0].clamp_min(0),)
    )
    adapted, (images, _) = adapt(network), batch(SQUARE)
    found = grad_cam_classes(adapted, images, CLASSES)
    alone = [grad_cam_classes(adapted, images, one[:, None]) for one in CLASSES.unbind(1)]
    torch.testing.assert_close(found, torch.cat(alone, 1))


def test_attention_that_somebody_rewrote_is_explained_as_it_is(monkeypatch):
    network = sequence("class token", SQUARE)
    attention = type(network.blocks[-1].attn)

    def forward(self, tokens, attn_mask=None, is_causal=False):
        shape = (*tokens.shape[:2], 3, self.num_heads, -1)
        query, key, value = self.qkv(tokens).view(shape).permute(2, 0, 3, 1, 4)
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=8.0)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    monkeypatch.setattr(attention, "forward", forward)
    check(adapt(network), batch(SQUARE)[0])


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
    check(adapt(network), batch(SQUARE)[0])
    assert made == [None]


def test_a_score_that_hangs_on_no_patch_is_explained_the_long_way():
    network = adapt(sequence("class token", SQUARE))
    network.network.head.weight.data[2] = 0
    images, _ = batch(SQUARE)
    maps = grad_cam_classes(network, images, torch.tensor([[2, 0]]).expand(3, -1))
    assert not maps[:, 0].any()
    assert maps[:, 1].any()
