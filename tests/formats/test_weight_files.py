"""A file is read whole or refused, and nothing in it is ever run."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vision_attn.formats.checkpoint import open_path
from vision_attn.formats.files import read_state

STATE = {"head.weight": torch.arange(6.0).view(2, 3), "head.bias": torch.ones(2)}


def stored(path):
    if path.suffix == ".safetensors":
        save_file(STATE, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: x.numpy() for name, x in STATE.items()})
    else:
        torch.save({"model": {f"module.{name}": x for name, x in STATE.items()}}, path)
    return path


class Trap:
    """What runs a command as soon as it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pth"])
def test_every_kind_of_file_gives_its_tensors(name, tmp_path):
    found = read_state(stored(tmp_path / name))
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pth"])
def test_a_file_that_is_half_downloaded_is_refused(name, share, tmp_path):
    path = stored(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"{name} is none, or not complete"):
        read_state(path)


def test_a_file_of_an_early_torch_is_refused_wherever_it_was_cut(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert read_state(path).keys() == STATE.keys()
    for size in range(0, len(content), 3):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"w\.pth is none, or not complete"):
            read_state(path)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "w.pth"
    torch.save({"model": Trap(mark)}, path)
    with pytest.raises(ValueError, match=r"weights_only=True.*more than tensors") as caught:
        read_state(path)
    assert "likely succeed" not in str(caught.value)
    path.write_bytes(pickle.dumps(Trap(mark), protocol=2))
    with pytest.raises(ValueError, match="weights_only=True"):
        read_state(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()  # the trap works


def test_a_pickle_among_arrays_is_refused_and_not_run(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "w.npz"
    np.savez(path, head=np.array([Trap(mark)], dtype=object))
    with pytest.raises(ValueError, match="plain arrays"):
        read_state(path)
    assert not mark.exists()


def test_a_damaged_archive_of_arrays_is_refused(tmp_path):
    path = stored(tmp_path / "w.npz")
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[0].header_offset
    content = bytearray(path.read_bytes())
    content[start + 200] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not complete"):
        read_state(path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_settings_that_are_half_downloaded_are_refused_by_name(name, tmp_path):
    if name == "config.json":
        stored(tmp_path / "model.safetensors")
    (tmp_path / name).write_text('{"weight_map": {"head.weig')
    with pytest.raises(ValueError, match=rf"{name} must hold JSON, and may not be complete"):
        open_path(tmp_path)


def test_a_folder_that_has_pickles_alone_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no model\.safetensors, and a pickle is not read"):
        open_path(tmp_path)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("resnet/root_block/standardized_conv2d/kernel",), "no hybrid, mixer or BiT"),
        (("MixerBlock_0/LayerNorm_0/scale", "stem/kernel"), "no hybrid, mixer or BiT"),
    ],
)
def test_other_networks_of_the_same_authors_are_refused_by_name(names, reason, tmp_path):
    np.savez(tmp_path / "w.npz", **{name: np.zeros(2, np.float32) for name in names})
    with pytest.raises(ValueError, match=reason):
        open_path(tmp_path / "w.npz")


def test_a_parameter_of_which_a_part_is_missing_is_named(tmp_path):
    names = ("embeddings.cls_token", "encoder.layer.0.attention.attention.query.weight")
    save_file({name: torch.zeros(1, 1, 4) for name in names}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"blocks\.0\.attn\.qkv\.weight is made of .*only 1 are"):
        open_path(tmp_path / "w.safetensors")


def test_an_activation_that_is_not_ours_is_refused(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "vit", "hidden_act": "quick_gelu"}')
    with pytest.raises(ValueError, match="hidden_act=gelu to be like ours, got quick_gelu"):
        open_path(tmp_path)
