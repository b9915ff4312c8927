"""Canvases: made on demand from (seed, epoch, index), with the label of their picture."""

import gzip
import time

import cv2
import numpy as np
import pytest
import torch

from vision_attn.data.canvas import GREY
from vision_attn.data.canvas_config import ON_BLACK, CanvasConfig
from vision_attn.data.chance import uniforms

LIGHT = 40
"""Level of the strokes of a picture; its label is the row of a brighter pixel."""


def write_idx(path, values):
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A set in MNIST's format: in row `label` and column 5 a bright pixel, a dim border around."""
    folder = tmp_path_factory.mktemp("digits")
    labels = (np.arange(70) % 10).astype(np.uint8)
    images = np.zeros((70, 28, 28), np.uint8)
    images[:, [0, -1], :] = images[:, :, [0, -1]] = LIGHT
    images[np.arange(70), labels + 3, 5] = 200
    write_idx(folder / "train-images-idx3-ubyte.gz", images)
    write_idx(folder / "train-labels-idx1-ubyte.gz", labels)
    return str(folder)


def keys(epoch, count):
    return [(epoch, index) for index in range(count)]


def corner(canvas):
    """Find the top left corner of the only picture on a canvas."""
    rows, columns = np.nonzero(canvas.numpy())
    return rows.min(), columns.min()


@pytest.mark.parametrize("source", ON_BLACK)
def test_a_picture_lies_whole_somewhere_and_keeps_its_label(source, root):
    data = CanvasConfig(source=source, root=root, image_size=41).build()
    images, labels = data.train.__getitems__(keys(0, len(data.train)))
    drawn = data.train.images(keys(0, len(data.train)))[..., 0]
    pictures = data.train.album.images(list(range(len(data.train))))[..., 0]
    found = set()
    for canvas, picture, label in zip(drawn, pictures, labels, strict=True):
        top, left = corner(canvas)
        found.add((top, left))
        part = canvas[top : top + 28, left : left + 28]
        assert torch.equal(part, picture)
        assert canvas.sum() == picture.sum()
        assert part[label + 3, 5] == 200
    assert len(found) > 30
    assert max(max(place) for place in found) <= 13
    assert torch.equal(labels, data.train.album.labels)
    assert images.shape == (len(data.train), 1, 41, 41)


def test_a_canvas_is_told_by_what_is_on_it(root):
    one, same, other = (CanvasConfig(root=root, seed=seed).build().valid for seed in (0, 0, 1))
    assert one.digests() == same.digests()
    assert len(set(one.digests())) == len(one)
    assert not set(one.digests()) & set(other.digests())


def laid_pixel_by_pixel(data, config, key):
    """Lay a training canvas as the first version did: one pixel of one picture after the other."""
    size, draws = config.image_size, uniforms(data.train.seed, [key], 2 + 5 * config.clutter)[0]
    adds = config.source in ON_BLACK
    canvas = np.full((size, size, data.spec.channels), 0 if adds else GREY, int)

    def lay(picture, top, left):
        for (row, column), light in np.ndenumerate(np.empty(picture.shape[:2])):
            y, x = top + row, left + column
            if 0 <= y < size and 0 <= x < size:
                light = picture[row, column].astype(int)
                canvas[y, x] = np.minimum(canvas[y, x] + light, 255) if adds else light

    for which, *place in draws[2:].reshape(-1, 5):
        which = int(which * (len(data.train) - 1))
        which += which >= key[1]
        room = config.picture_size - config.piece_size + 1
        top, left = (int(x * room) for x in place[:2])
        piece = data.train.album.images([which])[0].numpy()
        piece = piece[top : top + config.piece_size, left : left + config.piece_size]
        lay(piece, *(int(x * (size - config.piece_size + 1)) for x in place[2:]))
    room, shift = size - config.picture_size, config.shift
    if config.place == "anywhere":
        corner = [int(x * (room + 1)) for x in draws[:2]]
    else:
        corner = [room // 2 - shift + int(x * (2 * shift + 1)) for x in draws[:2]]
    lay(data.train.album.images([key[1]])[0].numpy(), *corner)
    return torch.from_numpy(canvas.astype(np.uint8))


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 31, "clutter": 29},
        {"image_size": 29, "clutter": 7, "piece_size": 13, "place": "centre", "shift": 5},
        {"image_size": 31, "clutter": 5, "piece_size": 11, "picture_size": 24, "scenes": 11},
    ],
    ids=["anywhere", "shifted", "colour"],
)
def test_a_batch_of_canvases_is_laid_out_as_pixel_by_pixel(root, settings):
    source = {"source": "scenes"} if "scenes" in settings else {"root": root}
    config = CanvasConfig(**source, **settings)
    data, some = config.build(), [(0, 3), (2, 7), (1, 0), (5, 7), (3, 10)]
    for canvas, key in zip(data.train.images(some), some, strict=True):
        assert torch.equal(canvas, laid_pixel_by_pixel(data, config, key))


def test_the_ground_is_what_lies_beyond_the_border(root):
    """Else the border of a normalised image would tell the eye where it is."""
    images, _ = CanvasConfig(root=root, clutter=3).build().train.__getitems__(keys(0, 7))
    assert (images.amin((1, 2, 3)) == 0).all()
    assert (images == 0).float().mean() > 0.9


def test_canvases_are_a_function_of_seed_epoch_and_index(root):
    config = CanvasConfig(root=root, image_size=50, clutter=4)
    first, again = config.build(), config.build()
    some = [(2, 3), (0, 5), (2, 3), (1, 5)]
    images = first.train.images(some)
    assert torch.equal(images, again.train.images(some))
    assert torch.equal(images[0], images[2])
    assert torch.equal(images[3], first.train.images([(1, 5)])[0])
    other = CanvasConfig(root=root, image_size=50, clutter=4, seed=1).build()
    assert not torch.equal(images, other.train.images(some))
    assert (first.train._draws([(0, 5)]) != first.valid._draws([(0, 5)])).all()


def test_training_never_repeats_unless_asked_and_evaluation_always_does(root):
    data = CanvasConfig(root=root, clutter=4).build()
    repeating = CanvasConfig(root=root, clutter=4, fresh=False).build()
    drawn = torch.cat([data.train.images(keys(epoch, 11)) for epoch in range(5)])
    assert len({canvas.numpy().tobytes() for canvas in drawn}) == 55
    assert torch.equal(repeating.train.images(keys(0, 11)), repeating.train.images(keys(4, 11)))
    assert torch.equal(data.valid.images(keys(0, 5)), data.valid.images(keys(4, 5)))


def test_clutter_adds_pieces_of_other_training_pictures_and_hides_nothing(root):
    bare = CanvasConfig(root=root, image_size=60).build()
    full = CanvasConfig(root=root, image_size=60, clutter=5).build()
    for split in ("train", "valid"):
        count = len(getattr(bare, split))
        pictures = getattr(bare, split).images(keys(0, count)).int()
        canvases = getattr(full, split).images(keys(0, count)).int()
        added = canvases - pictures
        assert (added >= 0).all()
        assert (added.flatten(1).sum(1) > 0).float().mean() > 0.6
        assert ((added > 0).flatten(1).sum(1) <= 5 * 64).all()
        assert canvases.max() <= 255


def test_pieces_never_come_from_the_picture_they_lie_about(root):
    full = CanvasConfig(root=root, clutter=50).build()
    asked = []
    images = full.train.others.images
    full.train.others.images = lambda indices: (asked.append(indices), images(indices))[1]
    for part, count in ((full.train, 9), (full.valid, 7)):
        part._pieces(part._draws(keys(0, count))[:, 2:], list(range(count)))
    which, about_valid = asked
    assert all(index not in which[50 * index : 50 * index + 50] for index in range(9))
    assert set(which) <= set(range(len(full.train)))
    assert len(set(which)) > 40
    assert 40 < len(set(about_valid)) <= len(full.train)


def test_a_centred_picture_is_off_by_a_shift_while_training_only(root):
    data = CanvasConfig(root=root, image_size=28, place="centre", shift=2).build()
    pictures = data.train.album.images(list(range(60)))
    shown = data.train.images(keys(1, 60))
    offsets = set()
    for canvas, picture in zip(shown[..., 0].numpy(), pictures[..., 0].numpy(), strict=True):
        padded = np.pad(picture, 2)
        fits = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(padded[y : y + 28, x : x + 28], canvas)
        ]
        assert len(fits) == 1
        offsets.add(fits[0])
    assert len(offsets) > 15
    assert torch.equal(data.valid.images(keys(3, 7)), data.valid.album.images(list(range(7))))


def test_scenes_cover_clutter_and_masks_move_along():
    data = CanvasConfig(
        source="scenes", scenes=9, image_size=50, picture_size=24, clutter=6
    ).build()
    canvases, masks = data.valid.images(keys(0, 5)), data.valid.masks(list(range(5)))
    pictures, parts = data.valid.album.images(list(range(5))), data.valid.album.masks([*range(5)])
    for canvas, mask, picture, part in zip(canvases, masks, pictures, parts, strict=True):
        assert mask.sum() == part.sum()
        rows, columns = (np.nonzero(mask.any(axis).numpy())[0][0] for axis in (1, 0))
        top, left = (np.nonzero(part.any(axis).numpy())[0][0] for axis in (1, 0))
        place = slice(rows - top, rows - top + 24), slice(columns - left, columns - left + 24)
        assert torch.equal(canvas[place], picture)
        assert (canvas == GREY).all(-1).float().mean() > 0.3
    images, labels = data.valid.__getitems__(keys(0, 5))
    assert (images == 0).float().mean() > 0.3
    assert labels.tolist() == [0, 1, 2, 3, 4]


def test_class_folders_lie_on_canvases(tmp_path):
    for name, level in (("bright", 250), ("dark", 30)):
        (tmp_path / name).mkdir()
        for number in range(4):
            picture = np.full((9, 11, 3), level + number, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    config = CanvasConfig(
        source="folder", root=str(tmp_path), image_size=20, picture_size=7, piece_size=3
    )
    data = config.build()
    assert data.spec.names == ("bright", "dark")
    images, labels = data.train.__getitems__(keys(0, 6))
    assert images.shape == (6, 3, 20, 20)
    assert ((images.amax((1, 2, 3)) > 0) == (labels == 0)).all()
    assert not hasattr(data.train, "masks")


def test_validation_holds_out_the_same_share_of_each_class(root):
    data = CanvasConfig(root=root, valid_share=1 / 7).build()
    assert len(data.train) == 60
    assert sorted(data.valid.labels.tolist()) == list(range(10))
    assert data.test is None


def test_thousands_of_canvases_a_second(root):
    data = CanvasConfig(root=root, clutter=4).build()
    many = keys(0, 60) * 4
    seconds = []
    for _ in range(5):
        start = time.process_time()
        data.train.__getitems__(many)
        seconds.append(time.process_time() - start)
    assert len(many) / min(seconds) > 20_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "root belongs to all sources but scenes"),
        ({"source": "scenes", "root": "x"}, "root belongs to all sources but scenes"),
        ({"root": "x", "scenes": 5}, "scenes belongs to source=scenes"),
        ({"source": "scenes", "scenes": 1}, "scenes must be 2 or more"),
        ({"source": "folder", "root": "x", "download": True}, "download is for mnist"),
        ({"root": "x", "picture_size": 61}, "picture_size must be in"),
        ({"root": "x", "shift": 2}, "shift belongs to place=centre"),
        ({"root": "x", "shift": 28, "place": "centre"}, "shift must be in"),
        ({"root": "x", "piece_size": 29}, "piece_size must be in"),
        ({"root": "x", "clutter": -1}, "clutter must be 0 or more"),
        ({"root": "x", "valid_share": 1.0}, "valid_share must be in"),
        ({"source": "scenes", "valid_share": 0.1}, "valid_share is not for scenes"),
    ],
)
def test_wrong_settings_are_named_for_canvases(settings, message):
    with pytest.raises(ValueError, match=message):
        CanvasConfig(**settings)
