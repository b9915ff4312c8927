"""Networks of timm and torchvision, as small as they can be built, with weights that are felt."""

import timm
import torch
import torchvision
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock

SQUARE, WIDE, TALL = (16, 16), (8, 28), (24, 8)
GRIDS = {SQUARE: (4, 4), WIDE: (2, 7), TALL: (6, 2)}
PLAIN = {"patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 2, "num_classes": 5}
CLASS_TOKEN, DISTILLED = "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"
REGISTERS = "vit_small_patch14_reg4_dinov2"
SEQUENCES = {  # architecture, settings, prefix tokens
    "class token": (CLASS_TOKEN, {}, 1),
    "distilled": (DISTILLED, {}, 2),
    "registers": (REGISTERS, {}, 5),
    "mean": (CLASS_TOKEN, {"global_pool": "avg", "class_token": False}, 0),
    "mean beside a class token": (CLASS_TOKEN, {"global_pool": "avg"}, 1),
    "mean with prefix": (REGISTERS, {"global_pool": "avg", "pool_include_prefix": True}, 5),
    "attention pool": ("vit_base_patch16_siglip_224", {}, 0),
    "attention pool with registers": ("vit_base_patch16_siglip_224", {"reg_tokens": 3}, 3),
    "qk norm": (CLASS_TOKEN, {"qk_norm": True}, 1),
    "norm after attention": (CLASS_TOKEN, {"block_fn": ResPostBlock}, 1),
    "parallel mlp": (CLASS_TOKEN, {"block_fn": ParallelScalingBlock}, 1),
    "rotary": ("eva02_tiny_patch14_224", {"embed_dim": 16}, 1),
    "rotary with registers": ("vit_small_patch16_dinov3", {"embed_dim": 16}, 5),
    "rotary, class token": ("eva02_tiny_patch14_224", {"embed_dim": 16, "global_pool": "token"}, 1),
    "relative bias": ("beit_base_patch16_224", {}, 1),
    "relative position by mlp": ("vit_relpos_small_patch16_224", {}, 0),
}


def awake(network):
    """Give fresh weights, some of them zero by design, values that every token feels."""
    generator = torch.Generator().manual_seed(31)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.add_(0.2 * noise if parameter.ndim > 1 else 0.05 * noise)
    return network.eval()


def foreign(name, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(29)
        return awake(timm.create_model(name, pretrained=False, **settings))


def sequence(kind, size=WIDE):
    name, settings, _ = SEQUENCES[kind]
    return foreign(name, **{**PLAIN, "img_size": size, **settings})


def batch(size=WIDE, count=3):
    generator = torch.Generator().manual_seed(37)
    images = torch.randn(count, 3, *size, generator=generator)
    return images, torch.randint(5, (count,), generator=generator)


def heard(adapted, images):
    """Give what cam_layer puts out, and its gradient."""
    kept = []
    handle = adapted.cam_layer.register_forward_hook(lambda *run: kept.append(run[2]))
    logits = adapted(images.clone().requires_grad_())
    handle.remove()
    return kept[0], torch.autograd.grad(logits[:, 1].sum(), kept[0])[0]


def swin():
    return foreign(
        "swin_tiny_patch4_window7_224",
        img_size=(16, 32),
        window_size=2,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(2, 2),
        num_classes=5,
    )


def torchvision_swin():
    return awake(
        torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [2, 2], num_classes=5)
    )


def torchvision_vit():
    return awake(torchvision.models.VisionTransformer(16, 4, 3, 2, 12, 24, num_classes=5))


MAPS = {  # how to build, image size
    "swin": (swin, (16, 32)),
    "torchvision swin": (torchvision_swin, (16, 32)),
    "convnext": (lambda: foreign("test_convnext", num_classes=5), (64, 96)),
    "resnet": (lambda: foreign("test_resnet", num_classes=5), (64, 96)),
    "efficientnet": (lambda: foreign("test_efficientnet", num_classes=5), (64, 96)),
    "torchvision shufflenet": (
        lambda: awake(torchvision.models.shufflenet_v2_x0_5(num_classes=5)),
        (64, 96),
    ),
}
