"""What a forward pass looked at, written down on request."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from jaxtyping import Float, Int64
from torch import Tensor


class Attended(NamedTuple):
    """Keep what one attention layer computed from, so that its weights can be had when asked for.

    Storing q, k, v and the output instead of the weights keeps the fused kernel in use and makes
    gradients with respect to the weights one product: dY/dA = (dY/dO) · Vᵀ.
    """

    query: Float[Tensor, "batch head query head_dim"]
    key: Float[Tensor, "batch head key head_dim"]
    value: Float[Tensor, "batch head key value_dim"]
    output: Float[Tensor, "batch head query value_dim"]
    scale: float
    bias: Tensor | None = None
    """Added to the scores before the softmax, if any; -inf where a key is hidden."""

    def weights(self) -> Float[Tensor, "batch head query key"]:
        """Compute the attention weights; every row sums to 1."""
        scores = (self.query * self.scale) @ self.key.transpose(-2, -1)
        if self.bias is not None:
            scores = scores + self.bias
        return scores.softmax(-1)

    def weight_gradients(
        self, output_gradient: Float[Tensor, "batch head query value_dim"]
    ) -> Float[Tensor, "batch head query key"]:
        """Turn the gradient with respect to `output` into that with respect to the weights."""
        return output_gradient @ self.value.transpose(-2, -1)


@dataclass
class Tape:
    """Collect, in order of execution, where a forward pass looked; entries are never detached."""

    attention: list[Attended] = field(default_factory=list)
    """One record a self-attention block; last, if pooling attends too, one with a single query."""
    looks: list[Float[Tensor, "batch head word region"]] = field(default_factory=list)
    """From a word to the image: one entry per decoding step or block."""
    log_probs: list[Float[Tensor, " batch"]] = field(default_factory=list)
    """Log-probability of each sampled (hard) look."""
    entropies: list[Float[Tensor, " batch"]] = field(default_factory=list)
    """In nats, of the cells that each glimpse of a caption was drawn from."""
    centres: list[Float[Tensor, "batch xy"]] = field(default_factory=list)
    """Glimpse centres in [-1, 1]: x to the right, y down."""
    values: list[Float[Tensor, " batch"]] = field(default_factory=list)
    """What a policy expected of the reward before each of its looks: a learned baseline."""
    extents: list[Float[Tensor, "batch xy"]] = field(default_factory=list)
    """Width and height of each glimpse at its finest, where the image is 2 by 2."""
    patches: list[Float[Tensor, "batch channel row column"]] = field(default_factory=list)
    """What each glimpse saw: its scales one after the other, each with all channels."""
    answers: list[Float[Tensor, "batch output"]] = field(default_factory=list)
    """Logits after each glimpse; the last are the network's."""
    stops: list[Float[Tensor, " batch"]] = field(default_factory=list)
    """Probability of stopping after each glimpse, of those that are still looking."""


class Looked(Protocol):
    """A caption that knows where it looked before each word: at regions, or through a retina."""

    @property
    def weights(self) -> Float[Tensor, "word head region"] | None:
        """Of its looks at regions."""

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the regions."""

    @property
    def places(self) -> Int64[Tensor, "word head"] | None:
        """Numbers of the regions that hard looks took."""

    @property
    def centres(self) -> Float[Tensor, "word xy"] | None:
        """Of its glimpses, in [-1, 1]."""

    @property
    def extents(self) -> Float[Tensor, "word xy"] | None:
        """Width and height of its glimpses at their finest, where the image is 2 by 2."""
