from pathlib import Path

import pytest
import torch
from tiny_runs import draw

from vision_attn.data.batch import Problem
from vision_attn.data.decode import decode
from vision_attn.data.transforms import evaluate_batch
from vision_attn.explaining.sources import open_source
from vision_attn.report.digest import of_bytes
from vision_attn.spec import Spec

SPEC = Spec(image_size=(16, 16), names=("ant", "star"))
SCENES = Spec(image_size=(24, 24), names=("ant", "star"), mean=(0.4,) * 3, std=(0.2,) * 3)


def paths(source):
    return [str(path) for path in source.paths]


def test_folders_are_searched_for_files_that_are_not_hidden(pictures):
    found = open_source([str(pictures)], SPEC, pictures / "out")
    names = ["a.jpg", "copy.jpg", "cut.jpg", "empty.png", "notes.txt", "star/a.jpg", "wide.png"]
    assert paths(found) == [str(pictures / name) for name in names]


def test_patterns_and_files_add_up_and_come_once(pictures):
    words = [str(pictures / "**/*.jpg"), str(pictures / "wide.png"), str(pictures / "a.jpg")]
    found = open_source(words, SPEC, pictures / "out")
    names = ["a.jpg", "copy.jpg", "cut.jpg", "star/a.jpg", "wide.png"]
    assert paths(found) == [str(pictures / name) for name in names]


def test_a_name_that_looks_like_a_pattern_is_a_name_first(tmp_path):
    draw(tmp_path / "[a].png", 0)
    assert paths(open_source([str(tmp_path / "[a].png")], SPEC, tmp_path / "out"))


def test_maps_already_written_are_no_source(pictures):
    (pictures / "out").mkdir()
    draw(pictures / "out" / "overlay.png", 5)
    found = open_source([str(pictures)], SPEC, pictures / "out")
    assert not [path for path in paths(found) if "overlay" in path]


def test_a_file_gives_its_content_and_the_picture_every_network_wants(pictures):
    first, second = SPEC, Spec(image_size=(16, 16), names=("x",), mean=(0.1,) * 3, crop=0.5)
    (item,) = open_source([str(pictures / "wide.png")], first, pictures / "out")
    assert (item.name, item.label) == ("wide", None)
    assert item.hash == of_bytes((pictures / "wide.png").read_bytes())
    views, mask = item.prepare([first, second])
    assert mask is None
    pixels = decode((pictures / "wide.png").read_bytes(), 3)
    for view, spec in zip(views, (first, second), strict=True):
        assert torch.equal(view, evaluate_batch([pixels], spec)[0])


def test_a_file_of_the_networks_size_is_fitted_without_a_warning(tmp_path):
    draw(tmp_path / "a.png", 3, size=(11, 13))  # whose pixels Pillow keeps for itself
    spec = Spec(image_size=(11, 13), names=("ant",))
    (item,) = open_source([str(tmp_path)], spec, tmp_path / "out")
    pixels = torch.tensor(decode((tmp_path / "a.png").read_bytes(), 3))
    assert torch.equal(item.fitted(spec), pixels)


def test_files_are_labelled_if_every_folder_is_named_like_a_class(pictures):
    labelled = open_source([str(pictures / "star")], SPEC, pictures / "out")
    assert labelled.labelled
    assert [item.label for item in labelled] == [1]
    mixed = open_source([str(pictures)], SPEC, pictures / "out")
    assert not mixed.labelled
    assert {item.label for item in mixed} == {None}


def test_a_file_that_cannot_be_read_is_a_problem(pictures, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (found,) = open_source([str(pictures / "a.jpg")], SPEC, pictures / "out")
    assert found == Problem(str(pictures / "a.jpg"), "cannot be read: Permission denied")


def test_links_are_followed_and_those_that_lead_nowhere_are_problems(pictures, tmp_path):
    home = tmp_path / "links"
    home.mkdir()
    (home / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (home / "star").symlink_to(pictures / "star")
    source = open_source([str(home)], SPEC, home / "out")
    assert paths(source) == [str(home / "lost.jpg"), str(home / "star/a.jpg")]
    lost, found = source
    assert lost == Problem(str(home / "lost.jpg"), "cannot be read: No such file or directory")
    assert found.content == (pictures / "star/a.jpg").read_bytes()


def test_a_recipe_gives_its_test_scenes_with_masks(recipe, tmp_path):
    source = open_source([str(recipe)], SCENES, tmp_path)
    items = list(source)
    assert [item.name for item in items] == [f"test-{index:05d}" for index in range(5)]
    assert not source.labelled  # its classes are not those of the network
    assert {item.label for item in items} == {None}
    assert len({item.hash for item in items}) == 5
    assert all(item.mask.any() and not item.mask.all() for item in items)
    data = items[0].spec
    own, other = items[0].prepare([data, SCENES]).views
    assert torch.equal(own, items[0].image)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (data.mean, data.std))
    torch.testing.assert_close(other * 0.2 + 0.4, own * std + mean)


def test_a_recipe_of_the_networks_classes_is_labelled(recipe, tmp_path):
    names = next(iter(open_source([str(recipe)], SCENES, tmp_path))).spec.names
    source = open_source([str(recipe)], Spec(image_size=(24, 24), names=names), tmp_path)
    assert source.labelled
    assert all(0 <= item.label < len(names) for item in source)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["PICTURES/nothing.jpg"], "nothing.jpg: no such file"),
        (["PICTURES/*.gif"], "no such file"),
        (["PICTURES/.thumbnails/none"], "no such file"),
        (["RECIPE", "PICTURES"], "a recipe stands alone as the source"),
        (["PICTURES/none.yaml"], "none.yaml: no such file"),
    ],
)
def test_what_is_no_source_is_refused(pictures, recipe, words, message):
    words = [
        word.replace("PICTURES", str(pictures)).replace("RECIPE", str(recipe)) for word in words
    ]
    with pytest.raises(ValueError, match=message):
        open_source(words, SPEC, pictures / "out")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold image files, got none"):
        open_source([str(tmp_path)], SPEC, tmp_path / "out")


def test_scenes_of_another_size_are_refused(recipe, tmp_path):
    with pytest.raises(ValueError, match=r"must give images of image_size=\(16, 16\)"):
        open_source([str(recipe)], SPEC, tmp_path)


def test_masks_of_scenes_are_known_already(recipe, tmp_path):
    with pytest.raises(ValueError, match=r"stands alone as the source, got .* --masks"):
        open_source([str(recipe)], SCENES, tmp_path, tmp_path / "masks.json")
