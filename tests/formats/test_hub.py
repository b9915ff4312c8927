"""The hub without a network: its cache, its refusals, and what would be sent to it."""

import json

import huggingface_hub
import pytest
import timm
from huggingface_hub import constants
from tiny_formats import SPEC, files, tiny, write

from vision_attn.formats.checkpoint import open_path
from vision_attn.formats.hub import FETCHED, fetch, from_timm_hub, push, timm_network


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no way to the hub itself."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def keep(cache, name, files):
    """Put a repository into the cache, as a download leaves it there."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    return write(folder / "snapshots" / ("0" * 40), files)


def test_what_was_downloaded_once_needs_no_network(cache):
    _, trained = tiny("plain")
    folder = keep(cache, "ann/tiny", files("hf", trained))
    assert fetch("ann/tiny") == folder
    assert open_path(fetch("ann/tiny")).told.mean == SPEC.mean


def test_without_a_network_one_line_says_so(cache):
    for name in ("ann/other", "not a name"):
        with pytest.raises(ValueError) as caught:
            fetch(name)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"hf:{name} could not be downloaded and is not in the cache")


def test_timm_without_a_network_says_so_in_one_line(cache):
    with pytest.raises(ValueError) as caught:
        from_timm_hub("test_vit")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("the weights of timm:test_vit could not be downloaded; give a file")


def test_timm_brings_weights_and_preprocessing(cache, monkeypatch):
    keep(cache, "timm/test_vit.r160_in1k", {"config.json": b"{}"})
    network = timm.create_model("test_vit")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: network)
    found = from_timm_hub("test_vit")
    assert (found.told.mean, found.told.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (found.told.image_size, found.told.interpolation) == ((160, 160), "bicubic")
    assert found.told.unseen == {"heads": network.blocks[0].attn.num_heads, "norm_eps": 1e-6}
    assert found.grid == network.patch_embed.grid_size
    assert found.state.keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_vitt", "did you mean timm:test_vit"),
        ("botnet50ts_256", "timm has no weights of botnet50ts_256; REMEDY"),
        ("test_vit.none_such", "timm cannot build test_vit.none_such"),
    ],
)
def test_networks_that_timm_cannot_give_are_named(cache, name, reason):
    with pytest.raises(ValueError, match=reason):
        timm_network(name, remedy="REMEDY")


def test_no_pickle_is_fetched():
    assert not [name for name in FETCHED if name.endswith((".bin", ".pth", ".pt", "*"))]


class Hub:
    """What stands in for the hub: it writes down what it is asked for."""

    def __init__(self, asked):
        self.asked = asked

    def create_repo(self, name, *, exist_ok):
        self.asked.append(("create", name, exist_ok))
        return f"https://huggingface.co/{name}"

    def upload_folder(self, *, repo_id, folder_path):
        self.asked.append(("upload", repo_id, sorted(x.name for x in folder_path.iterdir())))


def test_a_folder_is_pushed_as_it_is(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: Hub(asked))
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert push(tmp_path, "ann/tiny") == "https://huggingface.co/ann/tiny"
    assert asked == [
        ("create", "ann/tiny", True),
        ("upload", "ann/tiny", ["README.md", "config.json"]),
    ]


def test_a_push_that_the_hub_refuses_leaves_the_files_and_says_so(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: Hub([]))
    with pytest.raises(ValueError, match=r"could not be pushed to ann/tiny; .*401 Unauthorized\)$"):
        push(tmp_path, "ann/tiny")
