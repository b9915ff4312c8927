"""Large sets are listed without being read: a file is decoded when its turn comes, by one rank."""

from itertools import islice
from pathlib import Path

import pytest
from picture_files import encoded, write_tar

from vision_attn.commands.data import inspect
from vision_attn.data import images, reading
from vision_attn.data.config import FolderConfig, TarConfig
from vision_attn.data.division import BY_PLACE, hold_out, keep_division
from vision_attn.data.files import File
from vision_attn.data.loader import Loader, share
from vision_attn.data.stored_config import ShardsConfig

COUNT = 24
BAD = "not an image, or in an unknown format"


@pytest.fixture
def sets(tmp_path) -> dict:
    """The same pictures in shards, in a tar and in a folder; which labels they have."""
    pictures = {number: encoded(number) for number in range(COUNT)}
    for shard in range(3):
        samples = {}
        for number in range(8 * shard, 8 * shard + 8):
            samples |= {f"{number:02d}.png": pictures[number]}
            samples |= {f"{number:02d}.cls": b"%d" % (number % 2)}
        write_tar(tmp_path / f"train-{shard}.tar", samples)
    named = {f"set/{number % 2}/{number:02d}.png": x for number, x in pictures.items()}
    write_tar(tmp_path / "all.tar", named)
    for name, content in named.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    sizes = {"image_size": 7, "valid_share": 0.25, "split_seed": 3}
    return {
        "shards": ShardsConfig(train=f"{tmp_path}/train-*.tar", check="never", **sizes),
        "tar": TarConfig(file=f"{tmp_path}/all.tar", check="never", **sizes),
        "folder": FolderConfig(root=f"{tmp_path}/set", check="never", **sizes),
    }


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """What was decoded, file by file."""
    found: list[bytes] = []
    real = reading.decode

    def counting(content, *settings):
        found.append(content)
        return real(content, *settings)

    monkeypatch.setattr(reading, "decode", counting)
    return found


KINDS = ("shards", "tar", "folder")


@pytest.mark.parametrize("kind", KINDS)
def test_opening_decodes_nothing_and_reads_no_picture(kind, sets, decoded, monkeypatch):
    read: list[str] = []
    real = File.read
    monkeypatch.setattr(File, "read", lambda self: read.append(str(self)) or real(self))
    data = sets[kind].build()
    assert decoded == []
    assert all(name.endswith(".cls") for name in read)
    assert (len(data.train), len(data.valid)) == (18, 6)
    (said,) = data.remarks
    assert said.startswith("data: files are read when their turn comes")


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_decode_each_training_image_once_between_them(kind, sets, decoded):
    data = sets[kind].build()
    shares = []
    for rank in (0, 1):
        loader = Loader(data.train, 6, seed=5, rank=rank, world=2)
        batches = list(islice(loader.batches(), 3))
        assert sum(len(batch.labels) for batch in batches) == 9
        shares.append(decoded[:])
        decoded.clear()
    first, second = map(set, shares)
    assert (len(shares[0]), len(shares[1])) == (9, 9)
    assert not first & second
    assert len(first | second) == 18
    for rank in (0, 1):
        list(share(data.valid, 2, rank=rank, world=2))
    assert len(decoded) == len(set(decoded)) == 6
    assert not set(decoded) & (first | second)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_those_of_a_checked_set(kind, sets):
    lazy = sets[kind].build()
    settings = {**vars(sets[kind]), "check": "always"}
    checked = type(sets[kind])(**settings).build()
    for name in ("train", "valid"):
        pairs = zip(share(getattr(lazy, name), 5), share(getattr(checked, name), 5), strict=True)
        for one, other in pairs:
            assert one.images.equal(other.images)
            assert one.labels.equal(other.labels)
        assert getattr(lazy, name).digests() == getattr(checked, name).digests()


def test_small_sets_are_checked_unless_told_and_large_ones_are_not(sets, decoded, monkeypatch):
    small = FolderConfig(root=sets["folder"].root, image_size=7)
    small.build()
    assert len(decoded) == COUNT
    decoded.clear()
    monkeypatch.setattr(images, "MEMORY", COUNT * 7 * 7 * 3 - 1)
    small.build()
    assert decoded == []
    FolderConfig(root=sets["folder"].root, image_size=7, check="always").build()
    assert len(decoded) == COUNT
    with pytest.raises(ValueError, match="memory=always decodes every file to begin with"):
        FolderConfig(root="x", memory="always", check="never")


def test_a_bad_file_is_named_when_its_turn_comes_and_found_by_the_command(sets, tmp_path):
    train = sets["folder"].build().train
    bad = Path(train.file(7).path)
    bad.write_bytes(b"spoilt")
    with pytest.raises(ValueError) as caught:
        list(share(train, 4))
    assert str(caught.value).startswith(f"{bad}: {BAD}; `vision-attn data` lists all such files")
    recipe = tmp_path / "r.yaml"
    section = f"{{name: folder, root: {tmp_path}/set, image_size: 16, check: never, bad_share: 1}}"
    recipe.write_text(f"data: {section}\nmodel: {{name: vit}}\n")
    (problem,) = inspect(recipe).problems
    assert (problem.path, problem.reason) == (str(bad), BAD)


def test_the_division_is_kept_by_place_where_no_content_was_read(sets, tmp_path, decoded):
    data = sets["tar"].build()
    keep_division(tmp_path, data, fresh=True)
    keep_division(tmp_path, data, fresh=False)
    held = hold_out(tmp_path, data.valid, "valid")
    assert held.words == BY_PLACE
    assert len(held.source) == len(data.valid)
    with pytest.raises(ValueError, match="18 of these 18 images trained the network"):
        hold_out(tmp_path, data.train, "valid")
    assert decoded == []


def test_images_that_nobody_checked_are_held_against_a_run_by_content(sets, tmp_path):
    checked = FolderConfig(root=f"{tmp_path}/set", image_size=7, valid_share=0.25).build()
    keep_division(tmp_path, checked, fresh=True)
    with pytest.raises(ValueError, match="trained the network"):
        hold_out(tmp_path, sets["shards"].build().train, "valid")
