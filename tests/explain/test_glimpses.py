"""The map of a moving eye against sums written out, and its refusal of other networks."""

import math

import pytest
import torch
from torch import nn

from vision_attn.explain.glimpses import glimpses
from vision_attn.models.config import ResNetConfig
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.spec import Spec
from vision_attn.tape import Tape

SPEC = Spec(image_size=(9, 13), names=("a", "b", "c"), channels=1, mean=(0,), std=(1,))
IMAGES = torch.randn(3, 1, 9, 13, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([2, 0, 1])


class Scripted(nn.Module):
    """Look where it is told, and answer what it is told."""

    cam_layer, readout, to_map = None, None, None

    def __init__(self, centres, answers, extent=(0.5, 0.7)):
        super().__init__()
        self.centres, self.answers, self.extent = centres, answers, extent

    def forward(self, images, tape=None):
        if tape is not None:
            for centre, answer in zip(self.centres, self.answers, strict=True):
                tape.centres.append(torch.tensor([centre]).expand(len(images), -1))
                tape.extents.append(torch.tensor([self.extent]).expand(len(images), -1))
                tape.answers.append(torch.tensor([answer]).expand(len(images), -1))
        return torch.tensor([self.answers[-1]]).expand(len(images), -1)


def test_a_map_is_the_sum_of_gaussians_weighted_by_gains():
    logits = [[0.0, 1.0, 3.0], [2.0, 0.0, 1.0], [0.0, 0.0, 4.0]]
    centres = [(0.2, -0.4), (-0.6, 0.5), (0.9, 0.9)]
    (found,) = glimpses(Scripted(centres, logits), IMAGES[:1], torch.tensor([2]), spread=0.3)
    chance = [math.exp(row[2]) / sum(map(math.exp, row)) for row in logits]
    gains = [after - before for before, after in zip([1 / 3, *chance], chance, strict=False)]
    assert gains[1] < 0
    for row in range(9):
        for column in range(13):
            y, x = (row + 0.5) * 2 / 9 - 1, (column + 0.5) * 2 / 13 - 1
            expected = sum(
                max(gain, 0)
                * math.exp(-(((x - cx) / 0.15) ** 2 + ((y - cy) / 0.21) ** 2) / 2)
                / (2 * math.pi * 0.15 * 0.21)
                for gain, (cx, cy) in zip(gains, centres, strict=True)
            )
            assert found[row, column].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_highest_pixel_is_where_the_glimpse_that_told_most_was():
    logits = [[0.1, 0.0, 0.0], [5.0, 0.0, 0.0], [5.1, 0.0, 0.0]]
    eye = Scripted([(0.0, 0.0), (0.54, -0.45), (-0.8, 0.8)], logits)
    (found,) = glimpses(eye, IMAGES[:1], torch.tensor([0]))
    assert divmod(found.argmax().item(), 13) == (2, 10)


def test_glimpses_that_say_nothing_for_the_target_leave_no_map():
    eye = Scripted([(0.0, 0.0), (0.5, 0.5)], [[-1.0, 1.0, 1.0], [-2.0, 1.0, 1.0]])
    assert not glimpses(eye, IMAGES, torch.zeros(3, dtype=torch.long)).any()


@pytest.mark.parametrize("policy", ["gaussian", "random", "draw"])
def test_a_trained_eye_is_followed(policy):
    torch.manual_seed(2)
    network = GlimpseConfig(size=3, hidden=8, glimpses=3, policy=policy).build(SPEC)
    maps = glimpses(network, IMAGES, TARGETS)
    assert maps.shape == (3, 9, 13)
    assert (maps >= 0).all()
    tape = Tape()
    network.eval()(IMAGES, tape)
    best = torch.stack(tape.answers).softmax(-1)[:, torch.arange(3), TARGETS]
    raised = best.diff(dim=0, prepend=torch.full((1, 3), 1 / 3)).amax(0) > 0
    assert torch.equal(maps.amax((1, 2)) > 0, raised)


def test_a_network_that_sees_the_whole_image_is_refused():
    network = ResNetConfig(depths=(1,) * 4, channels=(2,) * 4, stem="small").build(SPEC)
    with pytest.raises(ValueError, match="took no glimpses; use grad_cam"):
        glimpses(network, IMAGES, TARGETS)
