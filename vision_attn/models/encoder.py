"""From an image to regions of one width that know their place; which part of this learns."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.attention.window import Grid, Places
from vision_attn.models.caption_config import (
    CaptionerConfig,
    RetinaConfig,
    TimmConfig,
    TokensConfig,
)
from vision_attn.models.embed import resize_positions, sincos_positions
from vision_attn.models.timm_encoder import TimmEncoder
from vision_attn.models.token_encoder import TokenEncoder
from vision_attn.models.weights import differing, load_weights
from vision_attn.spec import Spec
from vision_attn.tape import Tape

HEADS = ("head", "head_dist", "fc", "attn_pool")
"""What reads the regions for a label, and nothing else does; by timm's names."""


STRIDES = ("stem_stride", "strides")
"""Settings of a ResNet that say how coarsely it sees."""


class Encoder(Protocol):
    """A network that gives regions of an image and says where they lie."""

    @property
    def region_dim(self) -> int:
        """Width of a region."""

    def region_grid(self, image_size: tuple[int, int]) -> Grid:
        """Tell the grid of regions of an image of (rows, columns) pixels."""

    def regions(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch region dim"]:
        """Give the regions row by row."""


def bare(network: nn.Module) -> nn.Module:
    """Take the head off a network, whose weights would otherwise never get a gradient."""
    for name in HEADS:
        if isinstance(getattr(network, name, None), nn.Module):
            setattr(network, name, None)
    return network


class Regions(nn.Module):
    """Encode images into regions of width `dim`, with positions added to them if wanted.

    Positions are those of the training grid; another grid's are resampled from them.
    """

    def __init__(self, config: CaptionerConfig, spec: Spec, dim: int):
        super().__init__()
        assert not isinstance(config.encoder, RetinaConfig)
        if isinstance(config.encoder, TokensConfig):
            self.network: nn.Module = TokenEncoder(config.encoder, spec)
        elif isinstance(config.encoder, TimmConfig):
            self.network = TimmEncoder(config.encoder, spec)
        else:
            self.network = bare(config.encoder.build(spec))
        encoder: Encoder = self.network  # type: ignore[assignment]
        self.grid = encoder.region_grid(spec.image_size)
        self.proj = nn.Linear(encoder.region_dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.positions: Tensor | None
        placed = config.positions and not isinstance(config.encoder, TokensConfig)
        table = sincos_positions(self.grid, dim) if placed else None
        self.register_buffer("positions", table, persistent=False)
        self.frozen = config.freeze
        self.learning = self._freeze(config.unfreeze_from) if config.freeze else []

    def forward(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> tuple[Float[Tensor, "batch region dim"], Places]:
        encoder: Encoder = self.network  # type: ignore[assignment]
        grid = self.region_grid((images.shape[-2], images.shape[-1]))
        # Only training saves the gradient of a frozen network: explainers ask for that of pixels.
        learns = not self.training or not self.frozen or bool(self.learning)
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            features = encoder.regions(images, tape)
        regions = self.norm(self.proj(features))
        if isinstance(self.network, TokenEncoder):
            return regions, Places(grid, self.network.padding(images))
        if self.positions is not None:
            regions = regions + resize_positions(self.positions, self.grid, grid, 0)
        return regions, Places(grid)

    def region_grid(self, image_size: tuple[int, int]) -> Grid:
        """Tell the grid of regions of an image of (rows, columns) pixels."""
        encoder: Encoder = self.network  # type: ignore[assignment]
        return encoder.region_grid(image_size)

    def train(self, mode: bool = True) -> "Regions":
        """Switch modes; frozen parts stay in evaluation, so that their statistics stay, too."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
            for stage in self.learning:
                stage.train(mode)
        return self

    def _freeze(self, first: int | None) -> list[nn.Module]:
        """Freeze the network but for its stages from `first` on, and give these."""
        stages = _stages(self.network)
        if first is not None and first > len(stages):
            raise ValueError(
                f"unfreeze_from must be at most {len(stages)}, the encoder's blocks or stages, got "
                f"{first}"
            )
        self.network.requires_grad_(False)
        learning = [] if first is None else list(stages[first - 1 :])
        for stage in learning:
            stage.requires_grad_(True)
        return learning


def _stages(network: nn.Module) -> list[nn.Module]:
    for name in ("blocks", "stages"):
        if (found := getattr(network, name, None)) is not None:
            return list(found)
    return []


def start_encoder(
    model: nn.Module,
    state: dict[str, Tensor],
    *,
    grid: Grid | None = None,
    unseen: Mapping[str, Any] | None = None,
) -> list[str]:
    """Load the weights of a network that tells labels into a captioner's encoder.

    Lists in words what had to be fitted; what only reads for a label is left out. `unseen` are the
    settings of that network that no weight shows. Strides may differ, which is listed as well: what
    convolutions learned on one scale they can go on with on another. Raises ValueError if the
    weights do not belong to such an encoder.
    """
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, Regions):
        raise ValueError("a retina has no weights to start from; set init=null")
    network = encoder.network
    network = network.network if isinstance(network, TimmEncoder) else network
    heads = [name for name in state if name.startswith(tuple(f"{head}." for head in HEADS))]
    kept = {name: value for name, value in state.items() if name not in heads}
    left_out = [f"{name}: left out, a captioner has no head for labels" for name in heads]
    strides = {name: x for name, x in (unseen or {}).items() if name in STRIDES}
    others = {name: x for name, x in (unseen or {}).items() if name not in STRIDES}
    fitted = load_weights(network, kept, grid=grid, unseen=others, place="model.encoder")
    return fitted + differing(network, strides, "model.encoder") + left_out
