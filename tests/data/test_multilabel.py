"""Sets with several labels an image: tables of both kinds, and splits that keep the shares."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vision_attn.data.multilabel import list_tagged, rarest
from vision_attn.data.multilabel_config import MultilabelCsvConfig

NAMES = ("cat", "dog", "rain")


def table(folder: Path, separated: bool, count: int = 60) -> str:
    """Write pictures, and a table of what is on them: rain is rare."""
    draw = np.random.default_rng(0)
    tags = draw.random((count, 3)) < (0.5, 0.4, 0.15)
    lines = ["path,labels" if separated else f"path,{','.join(NAMES)}"]
    for number, row in enumerate(tags):
        cv2.imwrite(str(folder / f"{number}.png"), draw.integers(0, 256, (9, 9, 3), np.uint8))
        own = [name for name, there in zip(NAMES, row, strict=True) if there]
        cells = " | ".join(own) if separated else ",".join(str(int(there)) for there in row)
        lines.append(f"{number}.png,{cells}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "table.csv")


def test_both_kinds_of_table_say_the_same(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = list_tagged(table(tmp_path / "one", separated=True), "|")
    two = list_tagged(table(tmp_path / "two", separated=False), "|")
    assert one.names == two.names == NAMES
    np.testing.assert_array_equal(one.tags, two.tags)
    assert [file.label for file in one.files] == [file.label for file in two.files]
    assert not one.tags.any(1).all()


def test_splits_keep_the_shares_of_rare_labels(tmp_path):
    file = table(tmp_path, separated=True, count=200)
    config = MultilabelCsvConfig(file=file, image_size=7, valid_share=0.2, test_share=0.2)
    data, again = config.build(), config.build()
    assert data.spec.several
    listing = list_tagged(file, "|")
    for split in (data.train, data.valid, data.test):
        share = split.labels.mean(0)
        assert share.tolist() == pytest.approx(listing.tags.mean(0).tolist(), abs=0.1)
        assert share[2] == pytest.approx(listing.tags[:, 2].mean(), abs=0.03)
    assert torch.equal(data.test.labels, again.test.labels)
    batch = data.valid.__getitems__([(0, 3), (0, 1)])
    assert batch.images.shape == (2, 3, 7, 7)
    assert torch.equal(batch.labels, data.valid.labels[[3, 1]])


def test_an_image_belongs_to_its_rarest_label():
    tags = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], bool)
    assert rarest(tags).tolist() == [1, 2, 0, 3, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,cat,dog\na.png,1,2\nb.png,,0\n", r"2 of 2 rows are wrong\n  line 2: dog must be 0"),
        ("path,labels,split\na.png,cat|dog,tset\n", "line 2: split must be one of .*, got tset"),
        ("path,labels\na.png,cat\n", "two or more labels, got cat"),
        ("path,labels\n,cat|dog\nb.png\n", r"line 2: path is empty\n  line 3: more or fewer cells"),
        ("labels\ncat\n", "a header with path"),
        ("path,labels,split\na.png,a,train\nb.png,a|b,val\n", "every label needs a training image"),
    ],
)
def test_wrong_tables_are_refused_row_by_row(tmp_path, text, message):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        MultilabelCsvConfig(file=str(tmp_path / "table.csv"), image_size=7).build()


def test_a_blank_separator_is_refused():
    with pytest.raises(ValueError, match="separator must not be blank"):
        MultilabelCsvConfig(file="t.csv", separator=" ")
