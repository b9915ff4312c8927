import subprocess
import sys

import numpy as np
import pytest

from vision_attn.data import pictures as module
from vision_attn.data.describe import sentences
from vision_attn.data.draw import paint
from vision_attn.data.layout import plan
from vision_attn.data.pictures import Album, cache_folder, pictures

ALBUM = Album(seed=2, split="valid", length=13, size=31)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VISION_ATTN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def drawn(album):
    return np.stack(
        [paint(plan(album.seed, album.split, i), album.size) for i in range(album.length)]
    )


def test_pictures_are_drawn_once(folder, monkeypatch):
    images = pictures(ALBUM)
    assert (images == drawn(ALBUM)).all()
    assert [path.suffix for path in sorted(folder.iterdir())] == [".lock", ".npy"]
    monkeypatch.setattr(module, "paint", None)
    again = pictures(ALBUM)
    assert isinstance(again, np.memmap)
    assert (again == images).all()


def test_many_processes_draw_what_one_draws(monkeypatch):
    monkeypatch.setattr(module, "_ALONE", 5)
    monkeypatch.setattr(module, "_cores", lambda: 2)
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # would let print tear lines apart
    album = ALBUM._replace(length=module._SPAN * 2 + 3, size=24)
    assert (pictures(album) == drawn(album)).all()


def test_processes_that_start_together_share_one_file(folder):
    script = f"from vision_attn.data.pictures import *; print(pictures({ALBUM!r}).sum())"
    runs = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    sums = [int(run.communicate()[0]) for run in runs]
    assert sums == [drawn(ALBUM).sum()] * 2
    assert len(list(folder.glob("*.npy"))) == 1


def test_another_drawing_version_seed_or_size_has_another_file(monkeypatch):
    paths = {ALBUM.path, ALBUM._replace(seed=3).path, ALBUM._replace(size=32).path}
    monkeypatch.setattr(module, "VERSION", -1)
    paths.add(ALBUM.path)
    assert len(paths) == 4


def test_captions_are_kept_beside_pictures(folder, monkeypatch):
    monkeypatch.setattr(module, "_ALONE", 5)
    monkeypatch.setattr(module, "_cores", lambda: 2)
    album = ALBUM._replace(kind="captions")
    found = pictures(album)
    wanted = [sentences(album.seed, album.split, i, album.size) for i in range(album.length)]
    assert (found == np.stack(wanted)).all()
    assert {path.name.split("-")[0] for path in folder.iterdir()} == {"captions"}
    before = album.path
    monkeypatch.setattr(module, "GRAMMAR", -1)
    assert album.path != before


def test_without_a_writable_folder_pictures_stay_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VISION_ATTN_CACHE", str(tmp_path / "file" / "below"))
    with pytest.warns(UserWarning, match="set VISION_ATTN_CACHE to a folder with room"):
        images = pictures(ALBUM)
    assert (images == drawn(ALBUM)).all()


def test_a_process_that_fails_leaves_nothing_behind(folder, monkeypatch):
    monkeypatch.setattr(module, "_ALONE", 5)
    monkeypatch.setattr(module, "_cores", lambda: 2)
    monkeypatch.setattr(module.sys, "executable", "false")
    with pytest.warns(UserWarning, match="failed"):
        pictures(ALBUM)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_the_folder_follows_the_system(monkeypatch, tmp_path):
    monkeypatch.delenv("VISION_ATTN_CACHE")
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vision_attn"
