"""The settings of a training run; read and checked before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, how fast and with what to optimise; time is counted in optimizer updates (steps)."""

    steps: int = 1000
    """Optimizer updates in all."""
    batch_size: int = 128
    """Images an update sees, over all ranks and accumulated pieces."""
    accumulate: int = 1
    """Pieces a rank's share of the batch is split into, to save memory."""
    optimizer: str = "adamw"
    """Any name of timm's optimizer factory: adamw, sgd, lion, muon ..."""
    rate: float = 1e-3
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant", "step"] = "cosine"
    """Shape of the rate after warm-up; step divides by 10 at 1/2 and 3/4 of the run."""
    warmup: int = 0
    """Steps of linear warm-up from 0."""
    final_rate: float = 0.0
    """Rate at the end of cosine and linear schedules, as a share of the peak, [0, 1]."""
    weight_decay: float = 0.05
    """For matrices only: biases, norms, tokens and positions do not decay."""
    momentum: float = 0.9
    """For optimizers that have one (sgd, muon)."""
    layer_decay: float | None = None
    """Factor on the rate per layer from the head back, (0, 1]; None for one rate."""
    clip: float | None = 1.0
    """Largest norm of the gradient; None for no clipping."""
    ema: float | None = None
    """Decay of the exponential moving average of the weights, evaluated and kept as best."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 is autocast; auto takes it where the device has it natively, else fp32."""
    channels_last: bool = False
    """Memory format of images and convolutions; faster for convolutional networks."""
    checkpointing: bool = False
    """Recompute blocks in the backward pass to save memory."""
    compile: bool = False
    """torch.compile the task; gains nothing on the CPU for small networks."""
    device: str = "auto"
    """auto takes an accelerator where there is one, else the CPU."""
    evaluate_every: int = 500
    """Steps between evaluations on the validation split; the last step always evaluates."""
    save_every: int = 500
    """Steps between checkpoints (last.pt); the last step always saves."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl."""
    wandb: Literal["off", "offline", "online"] = "off"
    """Mirror of metrics.jsonl; its failure never ends a run."""
    tensorboard: bool = False
    """Write TensorBoard events beside metrics.jsonl (extra `tensorboard`)."""
