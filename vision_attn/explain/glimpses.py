"""Where a moving eye went, weighted by what each glimpse did for the answer."""

import torch
from jaxtyping import Float
from torch import Tensor

from vision_attn.explain.contract import Explainable, Images, Maps, Targets
from vision_attn.explain.frozen import explained
from vision_attn.explain.maps import at_least_float32, image_size
from vision_attn.explain.targets import check, check_classes
from vision_attn.tape import Tape


def glimpses(model: Explainable, images: Images, targets: Targets, *, spread: float = 0.25) -> Maps:
    """Lay a Gaussian over every glimpse, as heavy as the rise of the target's probability after it.

    Before the first glimpse all classes are as likely as each other; a glimpse after which the
    target is less likely weighs nothing. The standard deviations are a share `spread` of the finest
    patch's sides. Raises ValueError for a network that takes no glimpses.
    """
    check(model, images, targets)
    size = image_size(images)
    with explained(model), torch.no_grad():
        tape = Tape()
        logits = model(images, tape=tape)
        if not tape.answers:
            raise ValueError(
                "glimpses follows a moving eye, but this network took no glimpses; use grad_cam, "
                "which works for networks that see the whole image"
            )
        check_classes(logits, targets)
        gains = value_gains(tape, targets.to(images.device)).clamp_min(0)
        maps = images.new_zeros(len(images), *size, dtype=gains.dtype)
        for gain, centre, extent in zip(gains.unbind(1), tape.centres, tape.extents, strict=True):
            maps += gain[:, None, None] * bumps(centre, spread * extent, size).to(maps)
        return maps


def value_gains(tape: Tape, targets: Targets) -> Float[Tensor, "batch step"]:
    """Tell by how much each glimpse raised the probability of the target."""
    answers = at_least_float32(torch.stack(tape.answers, 1))
    steps = targets[:, None, None].expand(-1, answers.shape[1], 1)
    after = answers.softmax(-1).gather(2, steps).squeeze(2)
    before = torch.full_like(after[:, :1], 1 / answers.shape[2])
    return after.diff(dim=1, prepend=before)


def bumps(
    centres: Float[Tensor, "batch xy"], deviations: Float[Tensor, "batch xy"], size: tuple[int, int]
) -> Maps:
    """Draw a Gaussian of volume 1 around each centre; both are in units of half the image."""
    rows, columns = size
    down = _middles(rows, centres) - centres[:, 1:]
    across = _middles(columns, centres) - centres[:, :1]
    down, across = down / deviations[:, 1:], across / deviations[:, :1]
    distances = down.square().unsqueeze(2) + across.square().unsqueeze(1)
    return torch.exp(-distances / 2) / (2 * torch.pi * deviations.prod(1)).view(-1, 1, 1)


def _middles(pixels: int, like: Tensor) -> Float[Tensor, " pixel"]:
    """Place the middles of pixels on an axis from -1 to 1."""
    return (torch.arange(pixels, device=like.device, dtype=like.dtype) + 0.5) * 2 / pixels - 1
