"""A transformer and a convolutional network small enough to follow by hand, in float64."""

import torch
from torch import nn

from vision_attn.tape import Attended, Tape

OUTPUTS, CHANNELS, PATCH = 7, 3, 2
SIZE = (6, 10)  # a grid of 3 x 5 patches


class Layer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU())
        self.drop = nn.Dropout(0.5)
        self.matrices = None

    def forward(self, tokens, tape=None):
        qkv = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scale = query.shape[-1] ** -0.5
        weights = (scale * query @ key.mT).softmax(-1)
        self.matrices = weights  # what a textbook takes; explainers never see it
        output = weights @ value
        if tape is not None:
            tape.attention.append(Attended(query, key, value, output, scale))
        tokens = tokens + self.drop(self.proj(output.transpose(1, 2).flatten(2)))
        return tokens + self.mlp(tokens)


class Transformer(nn.Module):
    """Three layers over 3 x 5 patches, with prefix tokens; the head reads by `pool`."""

    def __init__(self, prefix=1, pool="cls", dim=12, heads=2, depth=3):
        super().__init__()
        self.prefix, self.pool = prefix, pool
        with torch.random.fork_rng():
            torch.manual_seed(19)
            self.embed = nn.Conv2d(CHANNELS, dim, PATCH, PATCH)
            self.extra = nn.Parameter(torch.randn(1, prefix, dim))
            self.layers = nn.ModuleList(Layer(dim, heads) for _ in range(depth))
            self.latent = nn.Parameter(torch.randn(1, 2, 1, dim // 2))
            self.norm = nn.LayerNorm(dim)
            self.head = nn.Linear(dim, OUTPUTS)
            for layer in self.layers:  # so that looks differ from token to token
                nn.init.normal_(layer.qkv.weight, std=0.6)
        self.pooling = None
        self.double()

    def forward(self, images, tape=None):
        tokens = self.embed(images).flatten(2).mT
        tokens = torch.cat([self.extra.expand(len(images), -1, -1), tokens], 1)
        for layer in self.layers:
            tokens = layer(tokens, tape)
        tokens = self.norm(tokens)
        return self.head(self.read(tokens, tape))

    def read(self, tokens, tape):
        if self.pool == "cls":
            return tokens[:, 0]
        if self.pool == "mean":
            return tokens[:, self.prefix :].mean(1)
        keys = tokens.unflatten(-1, (2, -1)).transpose(1, 2)
        query = self.latent.expand(len(tokens), -1, -1, -1)
        self.pooling = (query @ keys.mT).softmax(-1)
        output = self.pooling @ keys
        if tape is not None:
            tape.attention.append(Attended(query, keys, keys, output, 1.0))
        return output.transpose(1, 2).flatten(1)

    @property
    def cam_layer(self):
        return self.layers[-1].norm1

    @property
    def readout(self):
        if self.pool == "attention":
            return None
        patches = (SIZE[0] // PATCH) * (SIZE[1] // PATCH)
        reads = torch.zeros(self.prefix + patches, dtype=torch.float64)
        if self.pool == "cls":
            reads[0] = 1
        else:
            reads[self.prefix :] = 1 / patches
        return reads

    def to_map(self, activation, image_size):
        grid = (image_size[0] // PATCH, image_size[1] // PATCH)
        if activation.ndim != 3 or activation.shape[1] != self.prefix + grid[0] * grid[1]:
            raise ValueError(f"tokens must fit the grid {grid}, got {tuple(activation.shape)}")
        return activation[:, self.prefix :].mT.unflatten(2, grid)


class Convolutional(nn.Module):
    """Two convolutions with an in-place ReLU after the layer, then a linear head of the average."""

    def __init__(self, hidden=13, linear=True):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(23)
            self.first = nn.Conv2d(CHANNELS, hidden, 3, stride=2)
            self.norm = nn.BatchNorm2d(hidden)
            self.relu = nn.ReLU(inplace=True)
            self.second = nn.Conv2d(hidden, 11, 2)
            self.last = nn.ReLU()
            self.drop = nn.Dropout(0.5)
            layers = [nn.Linear(11, OUTPUTS)]
            if not linear:
                layers = [nn.Linear(11, 11), nn.Tanh(), *layers]
            self.head = nn.Sequential(*layers)
            nn.init.normal_(self.head[-1].weight, std=3)
        self.double()
        self.cam_layer, self.readout = self.last, None

    def forward(self, images, tape=None):
        hidden = self.relu(self.norm(self.first(images)))
        hidden = self.last(self.second(hidden))
        return self.head(self.drop(hidden).mean((2, 3)))

    def to_map(self, activation, image_size):
        return activation


def batch(count=4, seed=3, size=SIZE):
    """Give images with a target each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, CHANNELS, *size, generator=generator, dtype=torch.float64)
    return images, torch.randint(OUTPUTS, (count,), generator=generator)


def looks_and_gradients(network, image, target):
    """Differentiate one image's logit by its weights the slow way: (head, query, key) a layer."""
    network.eval()
    logits = network(image[None], tape=Tape())
    weights = [layer.matrices for layer in network.layers]
    if network.pool == "attention":
        weights.append(network.pooling)
    gradients = torch.autograd.grad(logits[0, target], weights)
    return [w[0].detach() for w in weights], [g[0] for g in gradients]


def upsampled(row, prefix, size=SIZE):
    """Lay a row of tokens out and resize it, one image alone."""
    grid = row[prefix:].view(1, 1, size[0] // PATCH, size[1] // PATCH)
    return nn.functional.interpolate(grid, size=size, mode="bilinear")[0, 0]
