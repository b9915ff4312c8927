import copy

import pytest
import torch
import torchvision
from foreign import CLASS_TOKEN, PLAIN, WIDE, awake, batch, foreign, heard, sequence, swin
from torch import nn

from vision_attn.explain import METHODS, adapt
from vision_attn.explain.cam import grad_cam
from vision_attn.explain.frozen import explained
from vision_attn.explain.maps import upsample
from vision_attn.explain.targets import score
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec
from vision_attn.tape import Tape


def test_squeezed_or_shifted_attention_is_refused_by_name():
    images, targets = batch((16, 32))
    windows = adapt(swin())
    for name in ("rollout", "relevance", "attention"):
        with pytest.raises(ValueError, match="SwinTransformer has attention within shifted win"):
            METHODS[name](windows, images, targets)
    settings = {**PLAIN, "img_size": (16, 32)}
    xcit = adapt(foreign("xcit_nano_12_p8_224", **{**settings, "patch_size": 8}))
    with pytest.raises(ValueError, match=r"cross-covariance attention.*\(XCA\); use grad_cam"):
        METHODS["rollout"](xcit, images, targets)
    assert grad_cam(xcit, images, targets).any()
    maximum = adapt(foreign(CLASS_TOKEN, **settings, global_pool="max"))
    with pytest.raises(ValueError, match=r"global_pool='max'.*; use grad_cam"):
        METHODS["rollout"](maximum, images, targets)
    assert grad_cam(maximum, images, targets).any()


def test_a_layer_that_is_chosen_must_be_one_whose_patches_are_read():
    network, (images, targets) = sequence("class token"), batch()
    for layer in (network.blocks[-1], "blocks.2"):
        with pytest.raises(ValueError, match=r"reaches prefix tokens only.*use network\.blocks"):
            grad_cam(adapt(network, cam_layer=layer), images, targets)
    better = adapt(network, cam_layer="network.blocks.1")  # named as the advice names it
    assert better.cam_layer is network.blocks[1]
    assert grad_cam(better, images, targets).any()
    with pytest.raises(ValueError, match="must be a layer of the network"):
        adapt(network, cam_layer="blocks.3")
    with pytest.raises(ValueError, match="from elsewhere"):
        adapt(network, cam_layer=nn.Linear(2, 2))


def test_windows_never_pass_for_images():
    adapted = adapt(swin(), cam_layer="layers.0.blocks.0.attn.proj")
    with pytest.raises(ValueError, match="one activation an image, got 24 for 3"):
        grad_cam(adapted, *batch((16, 32)))


class Homemade(nn.Module):
    """Tokens after two prefix tokens, under names of no library."""

    def __init__(self):
        super().__init__()
        self.cut = nn.Conv2d(3, 6, 4, 4)
        self.look = nn.Linear(6, 6)
        self.out = nn.Linear(6, 5)

    def forward(self, images):
        tokens = self.cut(images).flatten(2).mT
        tokens = torch.cat([tokens[:, :2] * 0 + 1, tokens], 1)
        return self.out(self.look(tokens).mean(1))


def test_an_unknown_network_is_asked_for_three_things():
    network, (images, targets) = awake(Homemade()), batch()
    with pytest.raises(ValueError, match=r"Homemade.*pass cam_layer.*prefix_tokens.*grid"):
        adapt(network)
    with pytest.raises(ValueError, match="pass both"):
        adapt(network, cam_layer="look", grid=(2, 7))
    with pytest.raises(ValueError, match=r"16 tokens.*pass prefix_tokens and grid"):
        grad_cam(adapt(network, cam_layer="look"), images, targets)
    with pytest.raises(ValueError, match="must fill one grid"):
        grad_cam(adapt(network, cam_layer="look", prefix_tokens=1, grid=(2, 7)), images, targets)
    adapted = adapt(network, cam_layer="look", prefix_tokens=2, grid=(2, 7))
    activation, _ = heard(adapted, images)
    laid = adapted.to_map(activation, WIDE)
    torch.testing.assert_close(laid, network.look(network.cut(images).movedim(1, 3)).movedim(3, 1))
    grad_cam(adapted, images, targets)
    with pytest.raises(ValueError, match="does not know how to read; use grad_cam"):
        METHODS["rollout"](adapted, images, targets)
    assert grad_cam(adapt(network, cam_layer="cut"), images, targets).shape == (3, *WIDE)


def test_what_is_known_is_not_overruled():
    network = sequence("class token")
    with pytest.raises(ValueError, match="1 prefix tokens and the grid of its patch embedding"):
        adapt(network, grid=(7, 2))
    with pytest.raises(ValueError, match="leave them out"):
        adapt(network, prefix_tokens=0)
    ours = ViTConfig(patch_size=4, dim=8, depth=1, heads=2).build(Spec(image_size=WIDE, names="ab"))
    assert adapt(ours) is ours
    with pytest.raises(ValueError, match="has its own cam_layer"):
        adapt(ours, cam_layer="norm")
    with pytest.raises(ValueError, match=r"takes a torch\.nn\.Module, got function"):
        adapt(batch)


def test_tokens_of_another_size_never_fold_into_a_wrong_grid():
    adapted = adapt(sequence("class token"))
    with pytest.raises(ValueError, match="got 17 tokens"):
        adapted.to_map(torch.zeros(1, 17, 12), WIDE)
    with pytest.raises(ValueError, match=r"tokens .* or features"):
        adapted.to_map(torch.zeros(1, 15), WIDE)
    pit = adapt(foreign("pit_ti_224", img_size=64, num_classes=5))  # its norm sees the class alone
    with pytest.raises(ValueError, match="more than the prefix"):
        grad_cam(pit, *batch((64, 64)))


def test_an_output_that_is_no_tensor_is_refused():
    network = sequence("class token")
    network.head.forward = lambda tokens: {"logits": tokens}
    with pytest.raises(ValueError, match="one tensor of logits, got dict from VisionTransformer"):
        grad_cam(adapt(network), *batch())


@pytest.mark.parametrize("method", ["grad_cam", "rollout", "relevance"])
def test_a_network_compiled_earlier_is_read(method):
    network, (images, targets) = sequence("class token"), batch()
    expected = METHODS[method](adapt(network), images, targets)
    wrapped, in_place = torch.compile(network, backend="eager"), copy.deepcopy(network)
    in_place.compile(backend="eager")
    for compiled in (wrapped, in_place):
        with torch.no_grad():
            compiled(images)
        torch.testing.assert_close(METHODS[method](adapt(compiled), images, targets), expected)
    tape = Tape()
    adapt(in_place)(images, tape=tape)
    assert len(tape.attention) == 3


def test_a_network_that_recomputes_its_blocks_is_read():
    network, (images, targets) = sequence("class token"), batch()
    expected = METHODS["relevance"](adapt(network), images, targets)
    network.set_grad_checkpointing()
    torch.testing.assert_close(METHODS["relevance"](adapt(network), images, targets), expected)
    METHODS["grad_cam"](adapt(network), images, targets)
    assert network.grad_checkpointing


def test_a_network_that_was_spread_over_devices_is_taken_out():
    network = sequence("class token")
    assert adapt(nn.DataParallel(network)).network is network


def test_images_made_for_inference_are_explained():
    network, (images, targets) = adapt(sequence("class token")), batch()
    expected = METHODS["relevance"](network, images, targets)
    with torch.inference_mode():
        images = images.clone()
    torch.testing.assert_close(METHODS["relevance"](network, images, targets), expected)


@pytest.mark.parametrize("method", ["grad_cam", "rollout"])
def test_a_network_that_was_not_adapted_is_refused(method):
    with pytest.raises(ValueError, match=r"has no (cam_layer|readout).*explain adapt\(network\)"):
        METHODS[method](sequence("class token"), *batch())


def test_the_place_of_training_does_not_matter():
    network = sequence("class token").train()
    adapted = adapt(network)
    assert adapted.training
    with explained(adapted):
        assert not network.training
    assert network.training
    twin = copy.deepcopy(adapted)
    assert twin.cam_layer is twin.network.blocks[-1].norm1


def test_features_that_are_changed_in_place_later_are_kept():
    network = awake(torchvision.models.DenseNet(4, (2, 2), 8, num_classes=5)).double()
    images, targets = (x.double() if x.is_floating_point() else x for x in batch((64, 96)))
    kept = []
    adapted = adapt(network)
    assert adapted.cam_layer is network.features
    # The network changes what `features` gives by an in-place ReLU.
    handle = network.features.register_forward_hook(lambda *run: kept.append(run[2].clone()))
    network(images)
    handle.remove()
    leaf = kept[0].detach().requires_grad_()
    logits = network.classifier(leaf.relu().mean((2, 3)))
    (gradient,) = torch.autograd.grad(score(logits, targets).sum(), leaf)
    assert (leaf < 0).any()
    expected = torch.einsum("bcij,bc->bij", leaf.detach(), gradient.mean((2, 3))).relu()
    torch.testing.assert_close(grad_cam(adapted, images, targets), upsample(expected, (64, 96)))
