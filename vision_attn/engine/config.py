"""The settings of a training run; read and checked before torch is imported."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vision_attn.rules import Config


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How long, how fast and with what to optimise; time is counted in updates (steps)."""

    steps: int = 1000
    """Optimizer updates in all."""
    batch_size: int = 128
    """Images an update sees, over all ranks and accumulated pieces."""
    balanced: bool = False
    """Show every class equally often, for skewed sets, instead of every image once an epoch."""
    accumulate: int = 1
    """Pieces a rank's share of the batch is split into, to save memory."""
    optimizer: Literal[
        "adamw", "sgd", "lion", "muon", "nadamw", "radamw", "adan", "lamb", "lars"
    ] = "adamw"
    """timm's optimizers by timm's names; muon is for hidden matrices, and AdamW does the rest."""
    rate: float = 1e-3
    """Peak learning rate; for muon try 0.01, for its matrices and for AdamW's part alike."""
    schedule: Literal["cosine", "linear", "constant", "step"] = "cosine"
    """Shape of the rate after warm-up; step divides by 10 at 1/2 and 3/4 of the run."""
    warmup: int = 0
    """Steps of linear warm-up from 0."""
    final_rate: float = 0.0
    """Rate at the end of cosine and linear schedules, as a share of the peak, [0, 1]."""
    weight_decay: float = 0.05
    """For matrices only: biases, norms, tokens and positions do not decay."""
    momentum: float = 0.9
    """For sgd, lars and muon, (0, 1); the others have betas of their own."""
    layer_decay: float | None = None
    """Factor on the rate per layer from the head back, (0, 1]; None for one rate."""
    head_rate: float = 1.0
    """Factor on the rate of the output layer, for one that starts fresh on a trained network."""
    policy_rate: float = 1.0
    """Factor on the rate of a policy that chooses where to look: rewards are noise at first, and at
    the full rate of the network it may drift to the border, where it stays."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None for no clipping."""
    ema: float | None = None
    """Decay of the moving average of the weights, (0, 1), which is then evaluated and kept as best;
    the decay warms up as (1 + step) / (10 + step). None for no average."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 is autocast; auto takes it where the device has it natively, else fp32. Muon, too,
    multiplies in it where it is native, unless fp32 is asked for."""
    channels_last: bool = False
    """Memory format of images and convolutions; faster for convolutional networks."""
    checkpointing: bool = False
    """Recompute blocks in the backward pass to save memory."""
    compile: bool = False
    """torch.compile the model; gains nothing on the CPU for small networks."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What the ranks of torchrun hold: ddp all weights each; fsdp a part of weights, gradients and
    optimizer each, for networks too large for one device."""
    device: str = "auto"
    """auto takes an accelerator where there is one, else the CPU; or cpu, cuda, cuda:1, mps ..."""
    evaluate_every: int = 500
    """Steps between evaluations on the validation split; the last step always evaluates."""
    patience: int | None = None
    """Evaluations in a row without a better score after which the run ends, before its last step if
    need be; None to go on."""
    save_every: int = 500
    """Steps between checkpoints (last.pt); the last step always saves."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Mirror of metrics.jsonl; its failure never ends a run."""
    tensorboard: bool = False
    """Write TensorBoard events beside metrics.jsonl (extra `tensorboard`)."""

    def _broken(self) -> Iterator[str]:
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "evaluate_every",
            "save_every",
            "log_every",
        ):
            if getattr(self, name) < 1:
                yield f"{name} must be 1 or more, got {getattr(self, name)}"
        if self.accumulate > 0 and self.batch_size % self.accumulate:
            yield (
                f"accumulate must divide batch_size, got batch_size={self.batch_size} and "
                f"accumulate={self.accumulate}"
            )
        yield from self._broken_rate()
        yield from self._broken_optimizer()
        for name in ("channels_last", "compile"):
            if self.parallel == "fsdp" and getattr(self, name):
                yield (
                    f"parallel=fsdp trains weights of plain layout without compilation, got "
                    f"{name}=true; set {name}=false or parallel=ddp"
                )
        if not re.fullmatch(r"[a-z]+(:\d+)?", self.device):
            yield f"device must be auto or like cpu, cuda or cuda:1, got {self.device}"
        if self.patience is not None and self.patience < 1:
            yield f"patience must be 1 or more evaluations, or null, got {self.patience}"

    def _broken_rate(self) -> Iterator[str]:
        if not 0 < self.rate < math.inf:
            yield f"rate must be positive, got {self.rate}"
        if not 0 <= self.warmup < self.steps:
            yield f"warmup must be in [0, steps), got warmup={self.warmup} and steps={self.steps}"
        if not 0 <= self.final_rate <= 1:
            yield f"final_rate must be in [0, 1], got {self.final_rate}"
        if self.final_rate and self.schedule not in ("cosine", "linear"):
            yield (
                f"final_rate ends cosine and linear schedules only, got final_rate="
                f"{self.final_rate} and schedule={self.schedule}"
            )

    def _broken_optimizer(self) -> Iterator[str]:
        if not 0 <= self.weight_decay < math.inf:
            yield f"weight_decay must be 0 or more, got {self.weight_decay}"
        if not 0 < self.momentum < 1:
            yield f"momentum must be in (0, 1), got {self.momentum}"
        if self.momentum != 0.9 and self.optimizer not in ("sgd", "lars", "muon"):
            yield (
                f"momentum is for sgd, lars and muon, got momentum={self.momentum} and "
                f"optimizer={self.optimizer}; leave it at 0.9"
            )
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            yield f"layer_decay must be in (0, 1] or null, got {self.layer_decay}"
        if not 0 < self.head_rate < math.inf:
            yield f"head_rate must be positive, got {self.head_rate}"
        if not 0 < self.policy_rate < math.inf:
            yield f"policy_rate must be positive, got {self.policy_rate}"
        if self.clip is not None and not 0 < self.clip < math.inf:
            yield f"clip must be positive or null, got {self.clip}"
        if self.ema is not None and not 0 < self.ema < 1:
            yield f"ema must be in (0, 1) or null, got {self.ema}"
