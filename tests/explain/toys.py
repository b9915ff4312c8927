"""Networks small enough to differentiate by hand, in float64."""

import torch
from torch import nn

CHANNELS, SIZE, OUTPUTS = 3, (11, 7), 5


class Linear(nn.Module):
    """Logits that are a weighted sum of all values."""

    def __init__(self, outputs=OUTPUTS, channels=CHANNELS, size=SIZE):
        super().__init__()
        generator = torch.Generator().manual_seed(13)
        shape = (outputs, channels, *size)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))

    def forward(self, images, tape=None):
        return torch.einsum("bchw,ochw->bo", images, self.weight) + 2


class Smooth(nn.Module):
    """Two convolutions with what must be still while explaining: batch norm and dropout."""

    def __init__(self, outputs=OUTPUTS):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(17)
            self.first = nn.Conv2d(CHANNELS, 13, 3)
            self.norm = nn.BatchNorm2d(13)
            self.second = nn.Conv2d(13, 2, 3)
            self.drop = nn.Dropout(0.5)
            self.head = nn.Linear(2 * 7 * 3, outputs)
        self.double()
        self.largest = self.seen = 0

    def forward(self, images, tape=None):
        self.largest, self.seen = max(self.largest, len(images)), self.seen + len(images)
        hidden = self.second(self.norm(self.first(images)).tanh()).sigmoid()
        return self.head(self.drop(hidden.flatten(1)))


def batch(count=4, seed=3):
    """Give images with a target each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, CHANNELS, *SIZE, generator=generator, dtype=torch.float64)
    return images, torch.randint(OUTPUTS, (count,), generator=generator)
