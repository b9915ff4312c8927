"""Any network of timm as an encoder that gives regions."""

import math

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vision_attn.models.caption_config import TimmConfig
from vision_attn.models.embed import Grid
from vision_attn.spec import Spec
from vision_attn.tape import Tape


class TimmEncoder(nn.Module):
    """Give the last feature map, or the patch tokens, of a timm network without its head.

    Networks of a fixed size are made for that of the images. Raises ValueError if timm does not
    know the network, or if it gives no regions of images of that size.
    """

    def __init__(self, config: TimmConfig, spec: Spec):
        super().__init__()
        try:
            known = timm.get_pretrained_cfg(config.network)
            sized = {"img_size": spec.image_size} if known and known.fixed_input_size else {}
            self.network = timm.create_model(
                config.network,
                pretrained=config.pretrained,
                in_chans=spec.channels,
                num_classes=0,
                **sized,
            )
        except RuntimeError as error:
            raise ValueError(f"timm has no network {config.network}: {error}") from error
        except AssertionError as error:
            raise _unfit(config, spec, error) from error
        self.config = config
        self.region_dim: int = self.network.num_features
        self.stride: int = self.network.feature_info[-1]["reduction"]
        self.prefix: int = getattr(self.network, "num_prefix_tokens", 0)
        self._try(spec)

    def region_grid(self, image_size: tuple[int, int]) -> Grid:
        """Tell the grid of regions of an image of (rows, columns) pixels."""
        return math.ceil(image_size[0] / self.stride), math.ceil(image_size[1] / self.stride)

    def regions(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch region dim"]:
        """Give the regions row by row; the tape stays empty.

        Raises ValueError if they do not fill the grid that the network's stride makes.
        """
        features = self.network.forward_features(images)
        if features.ndim == 4:
            channels_last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
            features = features.flatten(1, 2) if channels_last else features.flatten(2).mT
        else:
            features = features[:, self.prefix :]
        rows, columns = self.region_grid((images.shape[-2], images.shape[-1]))
        if features.shape[1] != rows * columns:
            raise ValueError(
                f"{self.config.network} must give {rows}x{columns} regions of "
                f"{images.shape[-2]}x{images.shape[-1]} pixels, got {features.shape[1]}; choose "
                f"another network, or an image size that its stride of {self.stride} divides"
            )
        return features

    @torch.no_grad()
    def _try(self, spec: Spec) -> None:
        """Look at one empty image, so that an unfit network is refused when it is made."""
        weight = next(self.parameters())
        rows, columns = spec.image_size
        training = self.network.training
        try:
            self.network.eval()
            self.regions(weight.new_zeros(1, spec.channels, rows, columns))
        except (RuntimeError, AssertionError, AttributeError) as error:
            raise _unfit(self.config, spec, error) from error
        finally:
            self.network.train(training)

    @property
    def stages(self) -> list[nn.Module]:
        """Give the blocks or stages, first to last, as far as timm's usual names tell."""
        for name in ("blocks", "stages", "layers"):
            if isinstance(found := getattr(self.network, name, None), nn.Module):
                return list(found.children())
        names = (f"{stem}{number}" for stem in ("layer", "s") for number in range(1, 5))
        named = (getattr(self.network, name, None) for name in names)
        return [stage for stage in named if stage is not None]


def _unfit(config: TimmConfig, spec: Spec, error: Exception) -> ValueError:
    rows, columns = spec.image_size
    return ValueError(
        f"{config.network} gives no regions of {rows}x{columns} pixels ({error}); choose another "
        "network or image size"
    )
