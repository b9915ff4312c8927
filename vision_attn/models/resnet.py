"""ResNet: timm's network behind the same contract as the Vision Transformer."""

import math

from jaxtyping import Float
from timm.models import resnet as timm_resnet
from torch import Tensor, nn

from vision_attn.models.config import ResNetConfig
from vision_attn.spec import Spec
from vision_attn.tape import Tape

BLOCKS = {"basic": timm_resnet.BasicBlock, "bottleneck": timm_resnet.Bottleneck}


class ResNet(timm_resnet.ResNet):
    """Classify images by residual convolutions; checkpoints of timm and torchvision load.

    He 2016 (arXiv:1512.03385). Means instead of strides: He 2019, section 4.2, ResNet-D
    (arXiv:1812.01187), and Zhang 2019 (arXiv:1904.11486), with a filter of 2x2.
    """

    def __init__(self, config: ResNetConfig, spec: Spec):
        width, averages = config.channels[0], config.downsample == "average"
        super().__init__(
            BLOCKS[config.block],
            config.depths,
            num_classes=spec.outputs,
            in_chans=spec.channels,
            channels=config.channels,
            drop_rate=config.dropout,
            drop_path_rate=config.drop_path,
            # timm's plain stem is always 64 wide, its deep one as wide as asked: take the deep
            # one for the width of everything behind it, then put the stem of the paper in place.
            stem_type="deep",
            stem_width=width // 2,
            aa_layer=nn.AvgPool2d if averages else None,
            avg_down=averages,
        )
        self.config, self.spec = config, spec
        if config.stem == "imagenet":
            self.conv1 = nn.Conv2d(spec.channels, width, 7, stride=2, padding=3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(
                spec.channels, width, 3, stride=config.stem_stride, padding=1, bias=False
            )
            self.maxpool = nn.Identity()
        for stage, stride in zip(self.stages, config.strides, strict=True):
            for layer in stage.modules():
                if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                    layer.stride = (stride, stride)
                if isinstance(layer, nn.AvgPool2d):  # odd sizes round up, as strides do
                    layer.kernel_size = layer.stride = stride
                    layer.ceil_mode, layer.count_include_pad = True, False
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch output"]:
        """Give the logits; a ResNet has no attention, so a tape stays empty."""
        return super().forward(images)

    def features(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Give what the head reads: the mean of the last feature map."""
        return self.forward_head(self.forward_features(images), pre_logits=True)

    def regions(
        self, images: Float[Tensor, "batch channel height width"], tape: Tape | None = None
    ) -> Float[Tensor, "batch region dim"]:
        """Give the positions of the last feature map, row by row."""
        return self.forward_features(images).flatten(2).transpose(1, 2)

    @property
    def region_dim(self) -> int:
        """Width of a region."""
        return self.num_features

    def region_grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Tell the grid of regions of an image of (rows, columns) pixels."""
        stem = 4 if self.config.stem == "imagenet" else self.config.stem_stride
        stride = stem * math.prod(self.config.strides)
        return math.ceil(image_size[0] / stride), math.ceil(image_size[1] / stride)

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """Give the four stages, fine to coarse."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    @property
    def cam_layer(self) -> nn.Module:
        """Where CAM methods listen: the last feature map."""
        return self.layer4

    @property
    def readout(self) -> None:
        """A ResNet has no tokens."""
        return None

    def to_map(
        self, activation: Tensor, image_size: tuple[int, int]
    ) -> Float[Tensor, "batch channel row column"]:
        """Hand the feature map on: it is laid out as an image already."""
        if activation.ndim != 4:
            raise ValueError(
                f"an activation of a ResNet has shape (batch, channel, row, column), got "
                f"{tuple(activation.shape)}"
            )
        return activation
