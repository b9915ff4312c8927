"""Make a timm or torchvision network explainable, without a reshape function."""

import math
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.explain.capture import recorded
from vision_attn.explain.contract import Explainable, Images
from vision_attn.explain.ending import Enough
from vision_attn.explain.layout import lay_map, lay_tokens
from vision_attn.explain.maps import image_size
from vision_attn.explain.places import Places, Size, count_outputs, find
from vision_attn.tape import Attended, Tape

UNKNOWN = Places(
    cam_layer=None, prefix_tokens=None, undefined="layers that adapt does not know how to read"
)


def adapt(
    network: nn.Module,
    *,
    cam_layer: nn.Module | str | None = None,
    prefix_tokens: int | None = None,
    grid: Size | None = None,
) -> Explainable:
    """Wrap a network so that every explainer takes it; nothing in the network is changed.

    `cam_layer` is a layer of the network or its dotted name; by default the last one whose
    gradient reaches the patches. `prefix_tokens` (how many come before the patches) and `grid`
    ((rows, columns) of patches) are for layers that give tokens in a network adapt does not know.
    A network that is explainable already is handed back.

    Raises ValueError if the network is unknown and no `cam_layer` is given, or if an argument
    contradicts what is known.
    """
    inner: Any = network
    while (bare := _unwrapped(inner)) is not inner:
        inner = bare
    if not isinstance(inner, nn.Module):
        raise ValueError(f"adapt takes a torch.nn.Module, got {type(inner).__name__}")
    name = type(inner).__name__
    # By name: a network that has no cam_layer to give says so when it is asked for one.
    if {"cam_layer", "readout", "to_map"} <= {*dir(inner)}:
        if (cam_layer, prefix_tokens, grid) != (None, None, None):
            raise ValueError(f"{name} has its own cam_layer, readout and to_map; change them there")
        return cast(Explainable, inner)
    places = find(inner) or UNKNOWN
    if cam_layer is not None:
        places = replace(places, cam_layer=_layer(inner, cam_layer))
    if places.cam_layer is None:
        raise ValueError(
            f"in {name} it is not known which layer to listen at; pass cam_layer (a layer, or its "
            f"name, that gives one vector a patch and whose patches the head still reads) and, if "
            f"it gives tokens, prefix_tokens (how many come before the patches) and grid ((rows, "
            f"columns) of patches)"
        )
    return Adapted(inner, _told(places, prefix_tokens, grid))


def _unwrapped(network: Any) -> Any:
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return network.module
    return getattr(network, "_orig_mod", network)  # torch.compile's, where no hook is heard


def _layer(network: nn.Module, layer: nn.Module | str) -> nn.Module:
    """Find a layer of the network; advice names them as the adapted network has them."""
    if isinstance(layer, nn.Module):
        if not any(module is layer for module in network.modules()):
            raise ValueError("cam_layer must be a layer of the network, got one from elsewhere")
        return layer
    try:
        return network.get_submodule(layer.removeprefix("network."))
    except AttributeError as error:
        raise ValueError(f"cam_layer must be a layer of the network; {error}") from None


def _told(places: Places, prefix_tokens: int | None, grid: Size | None) -> Places:
    """Add what the user says to what is known."""
    if places.grid is not None and (prefix_tokens, grid) != (None, None):
        raise ValueError(
            f"this network has {places.prefix_tokens} prefix tokens and the grid of its patch "
            f"embedding, got prefix_tokens={prefix_tokens} and grid={grid}; leave them out"
        )
    if places.prefix_tokens is None and (prefix_tokens is None) != (grid is None):
        raise ValueError(
            f"tokens have their places by prefix_tokens and grid together, got "
            f"prefix_tokens={prefix_tokens} and grid={grid}; pass both"
        )
    if prefix_tokens is not None:
        if prefix_tokens < 0:
            raise ValueError(f"prefix_tokens must not be negative, got {prefix_tokens}")
        places = replace(places, prefix_tokens=prefix_tokens)
    if grid is not None:
        if min(grid) < 1:
            raise ValueError(f"grid must be (rows, columns) of patches, got {grid}")
        places = replace(places, grid=lambda size: grid)
    return places


class Adapted(nn.Module):
    """Stand before a network and say where its patches are; the network runs as it always does."""

    def __init__(self, network: nn.Module, places: Places):
        super().__init__()
        self.network = network
        self.training = network.training
        self._places = places

    def forward(self, images: Images, tape: Tape | None = None) -> Float[Tensor, "batch output"]:
        if tape is None:
            return self._logits(images)
        if self._places.undefined:
            raise ValueError(
                f"rollout, relevance and all that follows attention need one sequence of tokens "
                f"and a head that reads a mean of it, but {self._name} has "
                f"{self._places.undefined}; use grad_cam"
            )
        ended = None
        try:
            with recorded(self.network) as records:
                logits = self._logits(images)
        except Enough as enough:
            ended = enough
        tape.attention.extend(self._checked(records, image_size(images)))
        if ended is not None:
            raise ended
        return logits

    @property
    def cam_layer(self) -> nn.Module:
        """Where CAM methods listen: the last layer whose gradient reaches the patches."""
        assert self._places.cam_layer is not None  # adapt made sure
        return self._places.cam_layer

    @property
    def readout(self) -> Float[Tensor, " token"] | None:
        """Which tokens the head reads, at the image size that the network was built for.

        A network built for no size in particular gives that of a single patch.
        """
        readout, weight = self._places.readout, next(self.network.parameters(), None)
        return readout if readout is None or weight is None else readout.to(weight.device)

    @property
    def last_look(self) -> nn.Module | None:
        """The layer after which this network attends no more, as it is now.

        None where its head reads other tokens than when it was adapted, or is not linear.
        """
        readout = self._places.readout
        if readout is None or self.outputs is None:
            return None
        now = find(self.network)
        if now is None or now.readout is None or not torch.equal(now.readout, readout):
            return None
        return now.last_look

    @property
    def outputs(self) -> int | None:
        """How many classes a library's own network has; None unless it ends in a linear layer."""
        return count_outputs(self.network)

    def to_map(
        self, activation: Tensor, image_size: Size
    ) -> Float[Tensor, "batch channel row column"]:
        """Lay an activation out as an image; ValueError if it does not fit `image_size`."""
        if activation.ndim == 4:
            return lay_map(activation, image_size, self._places.channels_last)
        if activation.ndim != 3:
            raise ValueError(
                f"a map is made of tokens (batch, token, dim) or features of four axes, got shape "
                f"{tuple(activation.shape)}; choose another cam_layer"
            )
        return self._lay_tokens(activation, image_size)

    @property
    def _name(self) -> str:
        return type(self.network).__name__

    def _logits(self, images: Images) -> Float[Tensor, "batch output"]:
        logits = self.network(images)
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"an adapted network must give one tensor of logits, got "
                f"{type(logits).__name__} from {self._name}; wrap it so that it does"
            )
        return logits

    def _lay_tokens(
        self, tokens: Float[Tensor, "batch token dim"], size: Size
    ) -> Float[Tensor, "batch channel row column"]:
        places, count = self._places, tokens.shape[1]
        if places.prefix_tokens is None:
            raise ValueError(
                f"this layer of {self._name} gives {count} tokens, and a number of tokens does not "
                f"tell their places; pass prefix_tokens and grid to adapt"
            )
        grid = places.grid(size) if places.grid else None
        return lay_tokens(tokens, places.prefix_tokens, grid, size)

    def _checked(self, records: list[Attended], size: Size) -> list[Attended]:
        """Make sure that every layer was seen, and all of them over the tokens of the image."""
        expected, grid = self._places.attention_layers, self._places.grid
        if len(records) != expected:
            raise ValueError(
                f"{self._name} has {expected} attention layers, but {len(records)} looks were seen "
                f"in scaled_dot_product_attention; where a layer computes its weights on its own, "
                f"or several times, use grad_cam"
            )
        if not records:
            return records
        assert grid is not None  # networks with layers of attention are sequences
        tokens = (self._places.prefix_tokens or 0) + math.prod(grid(size))
        if self._places.readout is None:  # pooling by attention may look at the patches alone
            records[-1] = _with_hidden_keys(records[-1], tokens - records[-1].key.shape[2])
        wrong = [x.key.shape[2] for x in records if x.key.shape[2] != tokens]
        if wrong:
            raise ValueError(
                f"{self._name} must attend over {tokens} tokens on {size[0]}x{size[1]} pixels, got "
                f"{sorted(set(wrong))}; use grad_cam"
            )
        return records


def _with_hidden_keys(record: Attended, count: int) -> Attended:
    """Put keys first that no query sees; the weights of all others stay."""
    if count < 1:
        return record
    key, value = (F.pad(x, (0, 0, count, 0)) for x in (record.key, record.value))
    seen = record.key.shape[2]
    bias = record.key.new_zeros(1, seen) if record.bias is None else record.bias
    return record._replace(key=key, value=value, bias=F.pad(bias, (count, 0), value=-torch.inf))
