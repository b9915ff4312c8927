"""The networks that a command line can name, each with what its images must look like."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.data.transforms import INTERPOLATIONS
from vision_attn.explain.adapted import adapt
from vision_attn.explain.contract import Explainer, Images
from vision_attn.explain.frozen import explained
from vision_attn.explain.looks import look, token_grid
from vision_attn.formats.files import read_state
from vision_attn.formats.hub import timm_network
from vision_attn.models.captioner import Captioner
from vision_attn.recipe import TIMM
from vision_attn.report.digest import of_model
from vision_attn.spec import Spec
from vision_attn.trained import load_model

RANDOM = "_random_weights"
"""Ends the name of a network that nobody trained, and so stands in all that is written of it."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network that can be explained, and what is known of it."""

    name: str
    """Names its folder, and its column in every table."""
    model: Any
    """An Explainable on the device where it shall run."""
    device: torch.device
    spec: Spec
    hash: str
    random: bool
    """Nobody trained it."""
    grid: tuple[int, int] | None
    """Rows and columns of its patches; None where attention over patches is undefined."""

    def blank(self) -> Images:
        """Make one image of nothing, to try things on."""
        return torch.zeros(1, self.spec.channels, *self.spec.image_size, device=self.device)

    def refusal(self, method: Explainer) -> str:
        """Say why a method is undefined for this network; empty where it is not."""
        try:
            method(self.model, self.blank(), torch.zeros(1, dtype=torch.long, device=self.device))
        except ValueError as error:
            return str(error)
        return ""


def open_networks(
    names: list[str], device: torch.device, *, random_weights: bool = False
) -> list[Network]:
    """Load networks, each a run folder or timm:NAME[@CHECKPOINT], to be shown the same images.

    A second network takes the central crop and the resampling of the first, so that both see the
    same picture. Raises ValueError for an unknown name, for weights that cannot be had, and for
    networks that cannot look at one picture or do not tell the same classes.
    """
    networks = [_open(name, device, random_weights) for name in names]
    if random_weights and not any(network.random for network in networks):
        raise ValueError(
            f"--random-weights is for timm:NAME without a checkpoint, got {' and '.join(names)}, "
            f"which have weights; leave it out"
        )
    first, *others = networks
    return [first, *(_beside(first, other) for other in others)]


def probabilities(
    logits: Float[Tensor, "batch output"], spec: Spec
) -> Float[Tensor, "batch output"]:
    """Give the probability of every class: they sum to 1 unless several may apply at once."""
    return logits.float().sigmoid() if spec.several else logits.float().softmax(-1)


class Loaded(NamedTuple):
    """A network as it was found, ready to answer."""

    name: str
    model: nn.Module
    spec: Spec
    random: bool


def load(name: str, device: torch.device, *, random_weights: bool = False) -> Loaded:
    """Load a run folder or timm:NAME[@CHECKPOINT] in evaluation mode.

    Raises ValueError for an unknown name, and for weights that cannot be had.
    """
    random = False
    if name.startswith(TIMM):
        architecture, _, checkpoint = name.removeprefix(TIMM).partition("@")
        random = random_weights and not checkpoint
        network = _timm(architecture, checkpoint, random)
        spec = timm_spec(network)
        name = architecture + (f"_{Path(checkpoint).stem}" if checkpoint else RANDOM * random)
    else:
        network, spec = load_model(name)
        if isinstance(network, Captioner):
            raise ValueError(f"{name} says captions; vision-attn caption shows where it looks")
        name = Path(name).resolve().name
    return Loaded(name, network.eval().to(device), spec, random)


def _open(name: str, device: torch.device, random_weights: bool) -> Network:
    found = explainable(load(name, device, random_weights=random_weights), device)
    return replace(found, grid=_grid(found))


def explainable(loaded: Loaded, device: torch.device) -> Network:
    """Make a loaded network explainable, its grid left open; ValueError where none knows how."""
    return Network(
        name=loaded.name,
        model=adapt(loaded.model),
        device=device,
        spec=loaded.spec,
        hash=of_model(loaded.model),
        random=loaded.random,
        grid=None,
    )


def _timm(name: str, checkpoint: str, random: bool) -> nn.Module:
    if checkpoint:
        return _from_checkpoint(name, Path(checkpoint))
    if random:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)  # the same network in every call, so that work is resumed
            return timm_network(name, pretrained=False)
    return timm_network(name, remedy=_remedy(name))


def _remedy(name: str) -> str:
    return (
        f"give a file of weights, {TIMM}{name}@FILE, or --random-weights to look at an untrained "
        f"network"
    )


def _from_checkpoint(name: str, path: Path) -> nn.Module:
    """Build a network with as many classes as the checkpoint has, and load it strictly."""
    import timm  # takes seconds, and run folders of transformers do without

    state = read_state(path)
    known = timm.get_pretrained_cfg(name)
    heads = known.classifier if known else None
    head = heads[0] if isinstance(heads, tuple | list) else heads
    weight = state.get(f"{head}.weight")
    settings = {} if weight is None else {"num_classes": len(weight)}
    network = timm_network(name, pretrained=False, settings=settings)
    own = {key: tensor.shape for key, tensor in network.state_dict().items()}
    others = {key: tensor.shape for key, tensor in state.items()}
    if wrong := [key for key in own | others if own.get(key) != others.get(key)]:
        raise ValueError(
            f"{path} must hold weights of {name}, but {len(wrong)} of their names or shapes "
            f"differ: {', '.join(wrong[:3])}{' ...' if len(wrong) > 3 else ''}"
        )
    network.load_state_dict(state)
    return network


def timm_spec(network: Any) -> Spec:
    """Read how a timm network wants its images, and what its outputs are called.

    A network without a head gives features, and these are numbered.
    """
    from timm.data import ImageNetInfo, resolve_data_config

    wanted = resolve_data_config(model=network)
    if wanted["interpolation"] not in INTERPOLATIONS:
        wanted["interpolation"] = "bicubic"  # the nearest to lanczos and to a random choice
    channels, *size = wanted["input_size"]
    weight = next(network.parameters())
    with torch.no_grad():
        outputs = network(weight.new_zeros(1, channels, *size)).shape[-1]
    if network.num_classes == 1000:
        info = ImageNetInfo()
        names = [info.index_to_description(index).partition(",")[0] for index in range(outputs)]
    else:
        names = [f"{'' if network.num_classes else 'feature '}{index}" for index in range(outputs)]
    return Spec(
        image_size=(size[0], size[1]),
        names=tuple(names),
        channels=channels,
        mean=tuple(wanted["mean"]),
        std=tuple(wanted["std"]),
        crop=wanted["crop_pct"],
        interpolation=wanted["interpolation"],
    )


def _grid(network: Network) -> tuple[int, int] | None:
    """Find the grid of patches that attend to each other, if there is one."""
    size = network.spec.image_size
    try:
        with explained(network.model), torch.no_grad():
            tokens = look(network.model, network.blank(), "attention").layers[-1].key.shape[2]
            rows, columns = token_grid(network.model, tokens, size, network.device).shape
    except ValueError:
        return None
    return rows, columns


def _beside(first: Network, second: Network) -> Network:
    """Let the second network see what the first one sees."""
    if second.hash == first.hash:
        raise ValueError(f"two different networks can be compared, got {first.name} twice")
    for what in ("image_size", "channels", "names"):
        own, other = getattr(first.spec, what), getattr(second.spec, what)
        if own != other:
            got = " and ".join(f"{len(x)}" if what == "names" else f"{x}" for x in (own, other))
            raise ValueError(
                f"networks side by side must have the same {what}, got {got}; explain each to a "
                f"folder of its own"
            )
    name = second.name if second.name != first.name else f"{second.name}_2"
    spec = replace(second.spec, crop=first.spec.crop, interpolation=first.spec.interpolation)
    return replace(second, name=name, spec=spec)
