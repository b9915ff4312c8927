"""Labels of other data by the numbers that a network has for their names."""

import pickle

import pytest
import torch

from vision_attn.data.batch import Labelled, Tagged
from vision_attn.data.renamed import renamed


class Told:
    """A split of three images."""

    def __init__(self, labels, batch):
        self.labels, self.batch = torch.tensor(labels), batch

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, keys):
        return self.batch(torch.zeros(len(keys), 1, 1, 1), self.labels[[i for _, i in keys]])


KEYS = [(0, 0), (0, 1), (0, 2)]


def test_labels_are_renumbered_by_name():
    one = pickle.loads(pickle.dumps(renamed(Told([2, 0, 3], Labelled), "dxba", "abcd", "it")))
    assert one.__getitems__(KEYS).labels.tolist() == [1, 3, 0]
    same = Told([1, 0, 3], Labelled)
    assert renamed(same, "abcd", "abcd", "it") is same
    with pytest.raises(ValueError, match="got x in it; it knows a, b, c, d; rename"):
        renamed(Told([1, 0, 3], Labelled), "dxba", "abcd", "it")


def test_labels_that_stand_together_are_renumbered_too():
    tags = [[1.0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    found = renamed(Told(tags, Tagged), "dxba", "abcde", "it").__getitems__(KEYS).labels
    assert found.tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    tags[2][1] = 1.0
    with pytest.raises(ValueError, match="got x in it"):
        renamed(Told(tags, Tagged), "dxba", "abcde", "it")
