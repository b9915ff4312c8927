"""The Vision Transformer: tokens, positions, blocks, a pooled reading, a head."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vision_attn.attention.multihead import Rotation
from vision_attn.models.config import ViTConfig
from vision_attn.models.embed import (
    ConvTokenizer,
    Grid,
    PatchEmbed,
    axial_rotation,
    resize_positions,
    sincos_positions,
)
from vision_attn.models.pool import AttentionPool, SequencePool
from vision_attn.models.transformer import Block
from vision_attn.spec import Spec
from vision_attn.tape import Attended, Tape


class ViT(nn.Module):
    """Classify images from a sequence of patches; parameters are named as in timm.

    Any image whose sides the patch size divides will do: positions are resampled to its grid.

    Dosovitskiy 2021 (arXiv:2010.11929); Touvron 2021 for the distillation token
    (arXiv:2012.12877); Darcet 2024 for registers (arXiv:2309.16588).
    """

    def __init__(self, config: ViTConfig, spec: Spec):
        super().__init__()
        self.config, self.spec = config, spec
        dim, depth, heads = config.shape
        patch_size = config.patch_size_for(spec.image_size)
        tokenizer = ConvTokenizer if config.tokenizer == "conv" else PatchEmbed
        self.patch_embed = tokenizer(patch_size, spec.channels, dim)
        self.grid = self.patch_embed.grid(spec.image_size)

        def table(rows: int) -> nn.Parameter | None:
            return nn.Parameter(torch.zeros(1, rows, dim)) if rows else None

        self.cls_token = table(config.pool == "cls")
        self.dist_token = table(config.distilled)
        self.reg_token = table(config.registers)
        self.num_prefix_tokens = (config.pool == "cls") + config.distilled + config.registers
        places = self.position_prefix + self.grid[0] * self.grid[1]
        self.pos_embed = table(places if config.position == "learned" else 0)
        self.pos_drop = nn.Dropout(config.dropout)

        rates = torch.linspace(0, config.drop_path, depth).tolist()
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads,
                config.mlp_ratio,
                qkv_bias=config.qkv_bias,
                qk_norm=config.qk_norm,
                norm_eps=config.norm_eps,
                layer_scale=config.layer_scale,
                drop_path=rate,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
            )
            for rate in rates
        )
        norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.norm = nn.Identity() if config.fc_norm else norm
        self.attn_pool: AttentionPool | SequencePool | None = None
        if config.pool == "attention":
            self.attn_pool = AttentionPool(dim, heads, config.mlp_ratio, config.norm_eps)
        elif config.pool == "sequence":
            self.attn_pool = SequencePool(dim)
        self.fc_norm = norm if config.fc_norm else nn.Identity()
        self.head = nn.Linear(dim, spec.outputs)
        self.head_dist = nn.Linear(dim, spec.outputs) if config.distilled else None
        self.grad_checkpointing = False
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for table in (self.pos_embed, self.dist_token):
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)
        for token in (self.cls_token, self.reg_token):
            if token is not None:
                nn.init.normal_(token, std=1e-6)

    def forward(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch output"]:
        return self.forward_head(self.forward_features(images, tape), tape)

    def forward_features(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch token dim"]:
        """Give all tokens after the last block, prefix tokens first."""
        grid = self.patch_embed.grid(images.shape[-2:])
        tokens = self._place(self.patch_embed(images), grid)
        rotation = self._rotation(grid, tokens)
        record = None if tape is None else tape.attention
        for block in self.blocks:
            if self.grad_checkpointing and self.training and record is None:
                tokens = checkpoint(block, tokens, None, rotation, use_reentrant=False)
            else:
                tokens = block(tokens, record, rotation)
        return self.norm(tokens)

    def forward_head(
        self, tokens: Float[Tensor, "batch token dim"], tape: Tape | None = None
    ) -> Float[Tensor, "batch output"]:
        """Read the tokens and give the logits."""
        logits = self.head(self._reading(tokens, tape))
        if self.head_dist is not None:
            logits = (logits + self.head_dist(self.fc_norm(tokens[:, 1]))) / 2
        return logits

    def features(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Give what the head reads: one vector an image, the class token's if it is distilled."""
        return self._reading(self.forward_features(images, tape), tape)

    def _reading(self, tokens: Tensor, tape: Tape | None) -> Float[Tensor, "batch dim"]:
        return self.fc_norm(self._pool(tokens, tape))

    def _pool(self, tokens: Tensor, tape: Tape | None) -> Float[Tensor, "batch dim"]:
        if self.config.pool == "cls":
            return tokens[:, 0]
        if self.attn_pool is None:
            return tokens[:, self.num_prefix_tokens :].mean(1)
        record: list[Attended] | None = None if tape is None else tape.attention
        return self.attn_pool(tokens, record)

    def regions(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch region dim"]:
        """Give the patch tokens alone, row by row."""
        return self.forward_features(images, tape)[:, self.num_prefix_tokens :]

    @property
    def region_dim(self) -> int:
        """Width of a region."""
        return self.config.shape[0]

    def region_grid(self, image_size: tuple[int, int]) -> Grid:
        """Tell the grid of regions of an image of (rows, columns) pixels."""
        return self.patch_embed.grid(image_size)

    @property
    def position_prefix(self) -> int:
        """Count the prefix tokens that have rows in the learned table."""
        return self.num_prefix_tokens if self.config.prefix_position else 0

    def _place(self, patches: Tensor, grid: Grid) -> Float[Tensor, "batch token dim"]:
        """Add positions and prefix tokens."""
        positions = self._positions(grid, patches)
        if positions is not None and not self.position_prefix:
            patches, positions = patches + positions, None
        prefix = [self.cls_token, self.dist_token, self.reg_token]
        prefix_tokens = [x.expand(len(patches), -1, -1) for x in prefix if x is not None]
        tokens = torch.cat([*prefix_tokens, patches], dim=1)
        return self.pos_drop(tokens if positions is None else tokens + positions)

    def _positions(self, grid: Grid, patches: Tensor) -> Float[Tensor, "1 token dim"] | None:
        if self.pos_embed is not None:
            return resize_positions(self.pos_embed, self.grid, grid, self.position_prefix)
        if self.config.position == "sincos":
            table = sincos_positions(grid, patches.shape[-1]).to(patches)
            return nn.functional.pad(table, (0, 0, self.position_prefix, 0))
        return None

    def _rotation(self, grid: Grid, tokens: Tensor) -> Rotation | None:
        if self.config.position != "rotary":
            return None
        dim, _, heads = self.config.shape
        cosines, sines = axial_rotation(grid, dim // heads, self.num_prefix_tokens)
        return cosines.to(tokens.device), sines.to(tokens.device)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        self.grad_checkpointing = enable

    @property
    def cam_layer(self) -> nn.Module:
        """Where CAM methods listen: the last place whose gradient reaches every patch."""
        last = self.blocks[-1]
        assert isinstance(last, Block)
        return last.norm1

    @property
    def last_look(self) -> nn.Module | None:
        """The layer after which nothing attends any more; None if that is the head.

        A subclass may read its tokens in another way, and has none.
        """
        last = self.blocks[-1]
        assert isinstance(last, Block)
        return last.attn if self.attn_pool is None and type(self) is ViT else None

    @property
    def readout(self) -> Float[Tensor, " token"] | None:
        """Which tokens the head reads; None if it attends (the last record on the tape)."""
        if self.attn_pool is not None:
            return None
        patches = self.grid[0] * self.grid[1]
        return self.readout_for(patches)

    def readout_for(self, patches: int) -> Float[Tensor, " token"]:
        """Give the readout for an image of so many patches."""
        reads = torch.zeros(self.num_prefix_tokens + patches, device=self.head.weight.device)
        if self.config.pool == "mean":
            reads[self.num_prefix_tokens :] = 1 / patches
        else:
            tokens_read = 2 if self.config.distilled else 1
            reads[:tokens_read] = 1 / tokens_read
        return reads

    def to_map(
        self, activation: Tensor, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """Lay tokens out as an image, prefix tokens dropped; ValueError if they do not fit."""
        rows, columns = self.patch_embed.grid(image_size)
        expected = self.num_prefix_tokens + rows * columns
        if activation.ndim != 3 or activation.shape[1] != expected:
            raise ValueError(
                f"on {image_size[0]}x{image_size[1]} pixels an activation has shape "
                f"(batch, {expected}, dim), got {tuple(activation.shape)}"
            )
        patches = activation[:, self.num_prefix_tokens :]
        return patches.transpose(1, 2).unflatten(2, (rows, columns))
