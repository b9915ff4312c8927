"""The types that models, explainers and metrics agree on; nothing here runs."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from vision_attn.tape import Tape

Images: TypeAlias = Float[Tensor, "batch channel height width"]
Targets: TypeAlias = Int[Tensor, " batch"]
Maps: TypeAlias = Float[Tensor, "batch height width"]


@runtime_checkable
class Explainable(Protocol):
    """A network whose looks can be read: ours, an adapted one, or the user's own module."""

    @property
    def cam_layer(self) -> nn.Module:
        """The layer where CAM methods listen; its gradient reaches every patch or position."""

    @property
    def readout(self) -> Float[Tensor, " token"] | None:
        """Which tokens the head reads: one-hot on the class token, 1/n each for a mean.

        None where the reading is itself the last record on the tape (attention or sequence
        pooling), and for networks without tokens.
        """

    def __call__(self, images: Images, tape: Tape | None = None) -> Float[Tensor, "batch output"]:
        """Give the logits; with a tape, also what was looked at."""

    def to_map(
        self, activation: Tensor, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """Lay any activation of this network out as an image: prefix tokens dropped.

        `image_size` (rows, columns in pixels) is that of the images the activation came from; a
        token count alone does not tell a grid. Raises ValueError if the tokens do not fit it.
        """


Explainer: TypeAlias = Callable[[Explainable, Images, Targets], Maps]
"""Raw maps (not normalised) at image resolution."""
Metric: TypeAlias = Callable[[Explainable, Images, Targets, Maps], Float[Tensor, " batch"]]
