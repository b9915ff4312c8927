import pytest

from vision_attn.data.config import AugmentConfig, FolderConfig, ImagesConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "image_size"),
        ({"mean": (0.5,)}, "mean needs one number a channel"),
        ({"valid_share": 1.0}, "valid_share"),
        ({"train_share": 0.0}, "train_share must be in"),
        ({"share_seed": -1, "train_share": 0.5}, "share_seed must be 0 or more"),
        ({"share_seed": 1}, "share_seed chooses among images only where train_share is below 1"),
        ({"image_size": 8, "augment": AugmentConfig(shift=8)}, "shift must be smaller"),
        ({"workers": -1}, "workers"),
    ],
)
def test_impossible_settings_are_refused(settings, message: str):
    with pytest.raises(ValueError, match=message):
        ImagesConfig(**settings)


@pytest.mark.parametrize(
    "settings", [{"shift": -1}, {"crop_scale": 0.0}, {"randaugment": 11}, {"erase": 1.5}]
)
def test_impossible_augmentation_is_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        AugmentConfig(**settings)


@pytest.mark.parametrize(
    "settings", [{"crop": 0.0}, {"test_share": 1.0}, {"bad_share": -0.1}, {"image_size": 0}]
)
def test_impossible_settings_of_files_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be"):
        FolderConfig(root="anywhere", **settings)
