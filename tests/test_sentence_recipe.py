"""Rules about sets of captions and of sentences across the sections of a recipe."""

import json
from pathlib import Path

import pytest

from vision_attn.checking.mistakes import RecipeError
from vision_attn.data.caption_config import CocoCaptionsConfig
from vision_attn.data.sequence_config import DatesConfig, ReversalConfig
from vision_attn.recipe import read

GOOD = """\
data: {name: reversal, longest: 9}
model: {name: captioner, encoder: {name: tokens, dim: 8}, decoder: {name: lstm, dim: 8}}
task: {name: captioning}
"""


def write(folder: Path) -> Path:
    (folder / "r.yaml").write_text(GOOD)
    return folder / "r.yaml"


def mistakes(folder: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read(write(folder), *overrides)
    return [line.split(": ", 1)[1] for line in str(caught.value).splitlines()]


def test_made_up_sentences_are_read_by_the_encoder_of_tokens(tmp_path: Path):
    assert read(write(tmp_path)).data == ReversalConfig(longest=9)
    assert read(write(tmp_path), "data={name: dates}").data == DatesConfig()
    (line,) = mistakes(tmp_path, "model.encoder={name: resnet}")
    assert line == (
        "model.encoder.name: tokens and made-up sentences belong together, got resnet and reversal"
    )
    (line,) = mistakes(tmp_path, "data={name: scene_captions}")
    assert line.endswith("belong together, got tokens and scene_captions")


def test_other_networks_read_no_sentences(tmp_path: Path):
    assert mistakes(tmp_path, "model={name: vit}") == [
        "model.name: captioner and the task captioning belong together, got vit and captioning"
    ]
    lines = mistakes(tmp_path, "model={name: glimpse}", "task={name: glimpse}")
    assert lines[0].startswith("data.name: a set of captions and the task captioning belong")


def test_files_of_captions_must_be_there(tmp_path: Path):
    file = tmp_path / "captions.json"
    data = {"name": "coco_captions", "file": str(file), "root": str(tmp_path)}
    encoder = "model.encoder={name: resnet}"
    (line,) = mistakes(tmp_path, encoder, f"data={json.dumps(data)}")
    assert line.startswith("data.file: no such file or folder")
    file.touch()
    more = data | {"valid_file": "no/valid.json", "test_file": "no/test.json"}
    lines = mistakes(tmp_path, encoder, f"data={json.dumps(more)}")
    assert [line.split(":")[0] for line in lines] == ["data.valid_file", "data.test_file"]
    recipe = read(write(tmp_path), encoder, f"data={json.dumps(data)}")
    assert recipe.data == CocoCaptionsConfig(file=str(file), root=str(tmp_path))
