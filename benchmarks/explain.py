"""What explaining costs: ratios to a plain forward pass, beside grad-cam, torch-cam and captum.

Networks are timm's with random weights, at 224 pixels in fp32; a ratio is the median over turns in
which all subjects run one after the other. Takes a few minutes.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytorch_grad_cam
import timm
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchCam

from benchmarks.timing import ratios
from vision_attn.explain import METHODS, adapt
from vision_attn.explain.ablation import score_cam
from vision_attn.explain.cam import grad_cam_classes
from vision_attn.explain.contract import Explainable
from vision_attn.explain.faithfulness import deletion
from vision_attn.explain.gradients import integrated_gradients, smoothgrad
from vision_attn.explain.perturb import occlusion, rise

RESNET, VIT = "resnet50", "vit_small_patch16_224"
LAYERS = {RESNET: "layer4", VIT: "blocks.11.norm1"}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Run = Callable[[], object]


class Case(NamedTuple):
    """What is timed together, its `forward` first, and how many forwards each may take."""

    name: str
    subjects: dict[str, Run]
    limits: dict[str, float]


def main(repeats: int = 7) -> list[str]:
    """Print one row a subject."""
    torch.manual_seed(0)
    lines = []
    for case in cases():
        for name, (seconds, speed) in ratios(case.subjects, "forward", repeats).items():
            verdict = _verdict(1 / speed, case.limits.get(name))
            cost = f"{seconds:7.3f} s  {1 / speed:6.2f} forwards"
            lines.append(f"{case.name:32} {name:20} {cost}{verdict}")
            print(lines[-1], flush=True)
    for name in LAYERS if CLEAR.exists() else ():
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            extra = fresh.apply(extra_memory, (name,))
        verdict = _verdict(extra, 100)
        lines.append(f"{name:32} Grad-CAM, batch 8    {extra:5.0f} MiB above a forward{verdict}")
        print(lines[-1], flush=True)
    return lines


def _verdict(found: float, limit: float | None) -> str:
    if limit is None:
        return ""
    return f"  limit {limit:g}, {'kept' if found <= limit else 'missed'}"


def cases() -> Iterator[Case]:
    """Give all that is timed, built when it is its turn."""
    for name, limit in ((RESNET, 1.05), (VIT, 1.12)):
        yield Case(f"{name}, batch 8", grad_cams(name), {"Grad-CAM": limit})
    network, images, targets = setting(VIT, 8)
    limits = {"attention": 1.02, "rollout": 1.06, "rollout_max": 1.17, "relevance": 2.3}
    looks = {name: partial(METHODS[name], adapt(network), images, targets) for name in limits}
    yield Case(f"{VIT}, batch 8", {"forward": partial(forward, network, images)} | looks, limits)
    for count, name in product((8, 1), LAYERS):
        yield Case(f"{name}, batch {count}", ten_classes(name, count), {"ten Grad-CAMs": 1.1})
    yield Case(f"{RESNET}, batch 4", eigen_cams(), {"EigenCAM": 1.05})
    yield from many_passes()


def setting(name: str, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Build a network in evaluation mode and random images."""
    network = timm.create_model(name).eval()
    generator = torch.Generator().manual_seed(1)
    return network, torch.randn(count, 3, 224, 224, generator=generator), torch.arange(count)


@torch.no_grad()
def forward(network: nn.Module, images: Tensor, sizes: Sequence[int] = (0,)) -> None:
    """Run plain forward passes: of all images, or of batches as large as `sizes` say."""
    for size in sizes:
        network(images[: size or None])


def grad_cams(name: str) -> dict[str, Run]:
    """Make Grad-CAM by us and by others, at the same layer."""
    network, images, targets = setting(name, 8)
    layer = network.get_submodule(LAYERS[name])

    def torch_cam() -> None:
        with TorchCam(network, layer) as extractor:
            extractor(targets.tolist(), network(images))

    def captum() -> None:
        LayerGradCam(network, layer).attribute(images, target=targets)

    return {
        "forward": partial(forward, network, images),
        "Grad-CAM": partial(METHODS["grad_cam"], adapt(network), images, targets),
        "torch-cam": torch_cam,
        "captum": captum,
        "grad-cam package": partial(package, pytorch_grad_cam.GradCAM, name, network, images),
    }


def package(kind: type, name: str, network: nn.Module, images: Tensor, label: int = 0) -> None:
    """Explain a class by the grad-cam package."""
    layers, reshape = [network.get_submodule(LAYERS[name])], None
    if name == VIT:

        def reshape(tokens: Tensor) -> Tensor:
            return tokens[:, 1:].mT.unflatten(2, (14, 14))

    with kind(network, layers, reshape_transform=reshape) as explainer:
        explainer(images, [ClassifierOutputTarget(label)] * len(images))


def ten_classes(name: str, count: int) -> dict[str, Run]:
    """Explain ten classes of every image; the package, which takes them in turn, only of one."""
    network, images, _ = setting(name, count)
    classes = torch.arange(10).expand(count, -1)

    def one_by_one() -> None:
        for label in range(10):
            package(pytorch_grad_cam.GradCAM, name, network, images, label)

    ours = partial(grad_cam_classes, adapt(network), images, classes)
    subjects: dict[str, Run] = {
        "forward": partial(forward, network, images),
        "ten Grad-CAMs": ours,
    }
    return subjects | ({"grad-cam package": one_by_one} if count == 1 else {})


def eigen_cams() -> dict[str, Run]:
    """Find the first principal component of the last stage."""
    network, images, targets = setting(RESNET, 4)
    return {
        "forward": partial(forward, network, images),
        "EigenCAM": partial(METHODS["eigen_cam"], adapt(network), images, targets),
        "grad-cam package": partial(package, pytorch_grad_cam.EigenCAM, RESNET, network, images),
    }


def many_passes() -> Iterator[Case]:
    """Explain and score by many passes, beside as many bare ones in batches of the same sizes."""
    network, images, targets = setting("resnet18", 2)
    given: tuple[Explainable, Tensor, Tensor] = adapt(network), images, targets
    maps = METHODS["grad_cam"](*given)
    full = images[:1].repeat(32, 1, 1, 1)
    few = {"batch_size": 32}
    subjects: dict[str, tuple[list[int], Run]] = {
        "RISE": ([32, 32], partial(rise, *given, samples=32, **few)),
        "Score-CAM": ([2, 32, 32], partial(score_cam, *given, channels=31, **few)),
        "occlusion": ([2, 32, 32, 8], partial(occlusion, *given, window=56, stride=35, **few)),
        "deletion": ([32, 32], partial(deletion, *given, maps, steps=31, **few)),
    }
    for name, (sizes, run) in subjects.items():
        bare = partial(forward, network, full, sizes)
        yield Case("resnet18, S forwards", {"forward": bare, name: run}, {name: 1.1})

    def gradients() -> None:
        for _ in range(2):
            leaf = full.detach().requires_grad_()
            torch.autograd.grad(network(leaf)[:, 0].sum(), leaf)

    with_gradient: dict[str, Run] = {
        "forward": gradients,
        "SmoothGrad": partial(smoothgrad, *given, samples=32, **few),
        "integrated gradients": partial(integrated_gradients, *given, steps=32, **few),
    }
    limits = {name: 1.1 for name in with_gradient if name != "forward"}
    yield Case("resnet18, S gradients", with_gradient, limits)


def extra_memory(name: str) -> float:
    """Measure the peak of Grad-CAM above that of a plain forward pass, in MiB; Linux only."""
    network, images, targets = setting(name, 8)
    adapted = adapt(network)
    peaks = []
    for run in (forward, forward, METHODS["grad_cam"]):
        CLEAR.write_text("5")  # forgets the peak so far
        run(*((adapted, images, targets) if run is not forward else (network, images)))
        (peak,) = (x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM"))
        peaks.append(int(peak.split()[1]) / 1024)
    return peaks[-1] - peaks[-2]


if __name__ == "__main__":
    main()
