"""Settings that say where files lie are known, checked and never shown to others."""

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from vision_attn.checking.mistakes import RecipeError
from vision_attn.data.config import FolderConfig, ScenesConfig
from vision_attn.data.places import places
from vision_attn.data.stored_config import ShardsConfig
from vision_attn.recipe import SECTIONS, read

WORDS = {"separator", "image", "label"}
"""Settings of data that are free words and no places."""


def test_every_free_word_of_every_data_set_is_known_to_be_a_place_or_none():
    for config in SECTIONS["data"].values():
        hints = get_type_hints(config)
        free = {x.name for x in fields(config) if str in (hints[x.name], *get_args(hints[x.name]))}
        assert places(dict.fromkeys(free, "/home/ann")).keys() == free - WORDS


def test_what_names_a_place_in_one_set_may_count_images_in_another():
    assert places(vars(ScenesConfig(train=7, valid=5, test=5))) == {}
    assert places(vars(FolderConfig(root="photos"))) == {"root": "photos"}
    shards = ShardsConfig(train="a/{00..02}.tar", valid="b/*.tar")
    assert places(vars(shards)) == {"train": "a/{00..02}.tar", "valid": "b/*.tar"}


def test_patterns_without_shards_are_told_with_all_other_mistakes(tmp_path):
    (tmp_path / "train-01.tar").touch()
    recipe = tmp_path / "r.yaml"
    settings = f'train: "{tmp_path}/train-{{00..02}}.tar", valid: "{tmp_path}/valid-*.tar"'
    recipe.write_text(f"data: {{name: webdataset, {settings}}}\nmodel: {{name: vit}}\n")
    with pytest.raises(RecipeError) as caught:
        read(recipe)
    said = str(caught.value)
    assert "data.valid: no such file or folder" in said
    assert "data.train" not in said
