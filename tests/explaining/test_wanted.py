import pytest
import torch

from vision_attn.explaining.wanted import class_index, wants

NAMES = ("ant", "bee", "crane", "crane", "4", "12")


def test_each_want_names_a_class_of_every_image():
    logits = torch.tensor([[0.1, 0.9, 0.5, 0, 0, 0], [3.0, 2, 1, 0, 0, 4]])
    chosen = wants(["predicted", "label", "bee", "3", "bee"], 2, NAMES, labelled=True)
    labels = torch.tensor([2, 0])
    found = {want.words: want.targets(logits, labels).tolist() for want in chosen}
    assert found == {
        "predicted": [1, 5],
        "predicted 2": [2, 0],
        "label": [2, 0],
        "class 1": [1, 1],
        "class 3": [3, 3],
    }


def test_a_want_has_the_same_folder_whatever_else_is_wanted():
    alone = {
        want.words: want.part
        for word in NAMES[:2]
        for want in wants([word], 1, NAMES, labelled=False)
    }
    every = {
        want.words: want.part for want in wants(["predicted", *NAMES[:2]], 3, NAMES, labelled=False)
    }
    assert alone.items() <= every.items()
    assert len(set(every.values())) == len(every) == 5


def test_a_name_comes_before_a_number():
    assert class_index("4", NAMES) == 4
    assert class_index("12", NAMES) == 5
    assert class_index("2", NAMES) == 2


@pytest.mark.parametrize(
    ("chosen", "top_k", "message"),
    [
        ([], 1, "must say what to explain"),
        (["predicted"], 7, r"--top-k must be in \[1, 6\], got 7"),
        (["bee"], 2, "--top-k counts predicted classes, got --targets bee"),
        (["label"], 1, "labels are known for"),
        (["be"], 1, "got be; did you mean bee"),
        (["predictd"], 1, "did you mean predicted"),
        (["6"], 1, "numbers below 6, got 6"),
        (["crane"], 1, r"the name crane is that of classes \[2, 3\]; give the number"),
    ],
)
def test_what_cannot_be_wanted_is_refused(chosen, top_k, message):
    with pytest.raises(ValueError, match=message):
        wants(chosen, top_k, NAMES, labelled=False)
