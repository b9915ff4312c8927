"""The network with a moving eye: look, join, answer, choose the next place, look again."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.models.core import LSTMCore, RecurrentCore, TransformerCore
from vision_attn.models.eye import RetinalEye, Seen, SoftEye
from vision_attn.models.glimpse_config import SAMPLED, SOFT, GlimpseConfig
from vision_attn.models.patch_encoder import patch_encoder
from vision_attn.spec import Spec
from vision_attn.tape import Tape

NO_FEATURES = "a network with a moving eye has no features that lie over the image; use glimpses"


class Sensor(nn.Module):
    """Make one vector of what was seen and where.

    Mnih 2014, section 4's glimpse network (arXiv:1406.6247); with `widths`, convolutions see.
    """

    def __init__(self, size: int, channels: int, widths: Sequence[int], where: int, dim: int):
        super().__init__()
        self.what: nn.Module | None = None
        if widths:
            self.what = patch_encoder(size, channels, widths, dim)
        else:
            self.what1 = nn.Linear(channels * size**2, dim // 2)
            self.what2 = nn.Linear(dim // 2, dim)
        self.where1, self.where2 = nn.Linear(where, dim // 2), nn.Linear(dim // 2, dim)

    def forward(
        self,
        patches: Float[Tensor, "batch channel row column"],
        where: Float[Tensor, "batch number"],
    ) -> Float[Tensor, "batch dim"]:
        return F.relu(self._what(patches) + self.where2(F.relu(self.where1(where))))

    def _what(self, patches: Tensor) -> Float[Tensor, "batch dim"]:
        if self.what is not None:
            return self.what(patches)
        return self.what2(F.relu(self.what1(patches.flatten(1))))


class GlimpseNet(nn.Module):
    """Classify images from a few glimpses.

    A tape gets the place and the patches of every glimpse and the answer after it; of every place
    that a policy chose in training the log-probability, and the reward then expected; and, if the
    network may stop, the probability of that after every glimpse. The policy draws only in
    training. In evaluation an image that has seen enough keeps its answer. Places and patches are
    computed in float32 at least, whatever the type of weights and images.

    Mnih 2014 (arXiv:1406.6247).
    """

    def __init__(self, config: GlimpseConfig, spec: Spec):
        super().__init__()
        self.config, self.spec = config, spec
        dim = config.hidden
        soft = config.policy in SOFT
        self.eye = SoftEye(config) if soft else RetinalEye(config, spec.channels)
        channels = config.scales * spec.channels
        self.sensor = Sensor(config.size, channels, config.channels, self.eye.numbers, dim)
        self.core: RecurrentCore | LSTMCore | TransformerCore
        match config.core:
            case "rnn":
                self.core = RecurrentCore(dim)
            case "lstm":
                self.core = LSTMCore(dim)
            case "transformer":
                self.core = TransformerCore(dim, config.depth, config.heads, config.glimpses)
        self.head = nn.Linear(dim, spec.outputs)
        self.value = nn.Linear(dim, 1) if config.policy in SAMPLED else None
        self.enough = nn.Linear(dim, 1) if config.stop else None

    def forward(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch output"]:
        tape = Tape() if tape is None else tape
        view = self.eye.open(images)
        memory = self.core.start(images)
        looking = images.new_ones(len(images))
        for step in range(self.config.glimpses):
            seen = self.eye(view, step, memory[0])
            memory = self.core(self.sensor(seen.patches.to(images), seen.where.to(images)), memory)
            latest = self.head(memory[0])
            if step == 0 or self.training or self.enough is None:
                answer = latest
            else:
                answer = torch.where(looking[:, None] >= 0.5, latest, answer)
            self._record(seen, answer, tape)
            if self.enough is not None:
                tape.stops.append(self.enough(memory[0]).sigmoid().squeeze(-1))
                looking = looking * (1 - tape.stops[-1])
        return answer

    def _record(self, seen: Seen, answer: Tensor, tape: Tape) -> None:
        tape.centres.append(seen.centre)
        tape.extents.append(seen.extent)
        tape.patches.append(seen.patches)
        tape.answers.append(answer)
        if seen.choice is None or seen.state is None:
            return
        if seen.choice.weights is not None:
            tape.looks.append(seen.choice.weights)
        if seen.choice.log_prob is not None:
            tape.log_probs.append(seen.choice.log_prob)
        if self.training:
            assert self.value is not None  # where a policy chooses, there is one
            # What is expected must not shape what is seen.
            tape.values.append(self.value(seen.state.detach()).squeeze(-1).float())

    readout = None
    """There are no tokens that the head reads."""

    @property
    def cam_layer(self) -> nn.Module:
        """Raise ValueError: no layer gives features that lie over the image."""
        raise ValueError(NO_FEATURES)

    def to_map(
        self, activation: Tensor, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """Raise ValueError: no activation lies over the image."""
        raise ValueError(NO_FEATURES)

    def anneal(self, progress: float, *, pathwise: bool = False) -> None:
        """Set what changes while training, of which a share `progress` in [0, 1] is done.

        `pathwise` lets gradients pass through the places instead of rewarding them.
        """
        policy = getattr(self.eye, "policy", None)
        if policy is not None:
            policy.anneal(progress)
            policy.pathwise = pathwise
