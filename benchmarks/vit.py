"""Our ViT-S/16 at 224 pixels against timm's: images/s in training and inference, fp32 and bf16.

A ratio above 1 means faster than timm in eager fp32. Targets: fp32 training never below 0.98; on a
CPU with native bf16, training at least 1.85 and at least 1.2 times timm under bf16 autocast.
"""

from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F

from benchmarks.timing import ratios
from vision_attn.attention.multihead import has_native_bf16
from vision_attn.models.config import ViTConfig
from vision_attn.spec import Spec

BATCH = 8


def main(repeats: int = 7) -> list[str]:
    """Print one row a case."""
    torch.manual_seed(0)
    reference = timm.create_model("vit_small_patch16_224")
    ours = ViTConfig(size="S").build(Spec(image_size=(224, 224), names=("x",) * 1000))
    ours.load_state_dict(reference.state_dict())
    networks = {"timm": reference, "vision_attn": ours}
    types = {"fp32": torch.float32}
    if has_native_bf16():
        types["bf16"] = torch.bfloat16
    else:
        print("bf16 left out: this CPU has no native bf16, so nobody would train with it here")

    ceiling = matrix_ceiling()
    lines = [f"matrix products of this machine: {ceiling / 1e9:.0f} GFLOP/s in fp32"]
    for mode, factor, build in (("training", 3, training), ("inference", 1, inference)):
        subjects = {
            f"{name} {dtype}": build(network, types[dtype])
            for dtype in types
            for name, network in networks.items()
        }
        for name, (seconds, ratio) in ratios(subjects, "timm fp32", repeats).items():
            share = factor * flops(ours) * BATCH / seconds / ceiling
            lines.append(
                f"{mode:10} {name:18} {BATCH / seconds:7.1f} images/s  "
                f"ratio {ratio:5.2f}  {share:4.0%} of the fp32 ceiling"
            )
    print("\n".join(lines))
    return lines


def training(network: torch.nn.Module, dtype: torch.dtype) -> Callable[[], None]:
    """Build one training step without the optimizer, which is the same for all."""
    images = torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(BATCH)

    def step() -> None:
        network.train()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(network(images), labels)
        loss.backward()
        network.zero_grad()

    return step


def inference(network: torch.nn.Module, dtype: torch.dtype) -> Callable[[], None]:
    """Build one forward pass in evaluation mode."""
    images = torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(1))

    @torch.inference_mode()
    def step() -> None:
        network.eval()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            network(images)

    return step


def flops(network: torch.nn.Module) -> int:
    """Count floating-point operations of one forward pass of one image."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    return counter.get_total_flops()


def matrix_ceiling(size: int = 2048) -> float:
    """Measure the floating-point operations a second of a large fp32 matrix product."""
    a = torch.randn(size, size)
    seconds, _ = ratios({"product": lambda: a @ a}, "product")["product"]
    return 2 * size**3 / seconds


if __name__ == "__main__":
    main()
