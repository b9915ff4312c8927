"""Settings hold their rules when they are made in Python, as they do when read from a recipe."""

import pytest

from vision_attn.data.config import ScenesConfig
from vision_attn.engine.config import TrainConfig
from vision_attn.models.caption_config import LSTMDecoderConfig
from vision_attn.models.config import ResNetConfig, ViTConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ViTConfig(dim=64, depth=2, heads=2, pool="mena"),
            "pool must be one of cls, mean, attention, sequence, got mena; did you mean mean?",
        ),
        (
            lambda: LSTMDecoderConfig(window="global"),
            "window must be one of everywhere, monotonic, predictive, got global",
        ),
        (
            lambda: ResNetConfig(stem="tiny", depths=(1, 1)),
            "stem must be one of imagenet, small, got tiny\ndepths and channels need",
        ),
        (lambda: TrainConfig(steps=3, optimizer="adam"), "optimizer must be one of "),
        (lambda: ScenesConfig(image_size=3), "image_size must be 24 or more"),
    ],
)
def test_what_is_no_choice_is_told_with_all_other_rules(make, message):
    with pytest.raises(ValueError) as raised:
        make()
    assert str(raised.value).startswith(message)
