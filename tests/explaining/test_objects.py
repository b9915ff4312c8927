import json

import numpy as np
import pytest
import torch

from vision_attn.explain.localisation import box_masks
from vision_attn.explaining.objects import Objects, polygon, run_lengths
from vision_attn.spec import Spec

SIZE = (7, 11)
AS_IT_IS = Spec(image_size=SIZE, names=("x",))
BOX = {"image_id": 3, "category_id": 1, "bbox": [2.0, 1.0, 4.0, 3.0]}
IMAGE = {"id": 3, "file_name": "folder/a.jpg", "height": 7, "width": 11}


def objects(path, *annotations, image=IMAGE):
    content = {"images": [image], "annotations": annotations, "categories": []}
    path.write_text(json.dumps(content))
    return Objects(path)


def encode(mask):
    """Compress run lengths the way the COCO API does: counts, differences, then letters."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    counts = np.diff([0, *edges, len(flat)]).tolist()
    text = ""
    for place, count in enumerate(counts):
        number, more = count - (counts[place - 2] if place > 2 else 0), True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(bits + 32 * more + 48)
    return counts, text


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_come_back_from_either_form(seed):
    generator = np.random.default_rng(seed)
    mask = (generator.random((61, 83)) < (0.5, 0.02, 0.001, 0.98)[seed]).astype(np.uint8)
    counts, text = encode(mask)
    for form in (counts, text):
        drawn = run_lengths({"size": list(mask.shape), "counts": form})
        np.testing.assert_array_equal(drawn, mask)


def test_run_lengths_of_another_size_are_refused():
    with pytest.raises(ValueError, match="must cover 7x11 pixels, got 76"):
        run_lengths({"size": SIZE, "counts": [70, 6]})


def test_a_polygon_takes_the_pixels_whose_centres_are_inside():
    triangle = np.array([[1.0, 0.0], [9.5, 3.0], [2.0, 6.6]])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    sides = []
    for (x, y), (to_x, to_y) in zip(triangle, np.roll(triangle, -1, 0), strict=True):
        sides.append((to_x - x) * (rows - y) - (to_y - y) * (columns - x) > 0)
    expected = np.logical_and.reduce(sides)
    assert 15 < expected.sum() < 40
    np.testing.assert_array_equal(polygon(triangle, SIZE), expected)


def test_a_box_is_drawn_where_there_is_no_outline(tmp_path):
    mask = objects(tmp_path / "o.json", BOX).mask("a.jpg", SIZE, AS_IT_IS)
    expected = box_masks(torch.tensor([[2.0, 1.0, 6.0, 4.0]]), SIZE)[0]
    assert torch.equal(mask, expected)


def test_all_objects_of_an_image_are_one_mask(tmp_path):
    square = BOX | {"segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [9, 5, 11, 5, 11, 7, 9, 7]]}
    code = BOX | {"segmentation": {"size": SIZE, "counts": [70, 7]}}
    mask = objects(tmp_path / "o.json", square, code).mask("a.jpg", SIZE, AS_IT_IS)
    expected = torch.zeros(SIZE, dtype=torch.bool)
    expected[:2, :2] = expected[5:, 9:] = expected[:, 10] = True
    assert torch.equal(mask, expected)


def test_a_mask_is_cropped_as_its_image_is(tmp_path):
    spec = Spec(image_size=(14, 14), names=("x",))  # the image is doubled, then cut to the centre
    found = objects(tmp_path / "o.json", BOX)
    mask = found.mask("a.jpg", SIZE, spec)
    expected = box_masks(torch.tensor([[0.0, 2.0, 8.0, 8.0]]), (14, 14))[0]
    assert torch.equal(mask, expected)
    # A decoder may have read the file at a smaller scale, which changes little.
    smaller = found.mask("a.jpg", (14, 22), spec)
    assert torch.equal(smaller, expected)


@pytest.mark.parametrize(
    ("image", "name", "box", "message"),
    [
        ({}, "b.jpg", BOX["bbox"], "lists no object in it"),
        ({}, "a.jpg", [0, 0, 1, 7], "is seen in the central crop"),
        ({"height": 11, "width": 7}, "a.jpg", BOX["bbox"], "has the proportions of 7x11"),
    ],
)
def test_images_without_a_mask_are_told(tmp_path, image, name, box, message):
    found = objects(tmp_path / "o.json", BOX | {"bbox": box}, image=IMAGE | image)
    with pytest.raises(ValueError, match=message):
        found.mask(name, SIZE, Spec(image_size=(7, 7), names=("x",)))


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"images": [{}], "annotations": []}'])
def test_files_of_another_format_are_refused(tmp_path, content):
    (tmp_path / "o.json").write_text(content)
    with pytest.raises(ValueError, match="in the format of COCO"):
        Objects(tmp_path / "o.json")


def test_two_images_of_one_name_are_refused(tmp_path):
    content = {"images": [IMAGE, IMAGE | {"id": 4}], "annotations": []}
    (tmp_path / "o.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="two images have the same file name"):
        Objects(tmp_path / "o.json")
