"""k-NN and few labels on features, against scikit-learn; and the command on real files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recipe_text import TINY, write
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vision_attn.__main__ import main
from vision_attn.commands.probe import Features, describe, few, linear, nearest, probe
from vision_attn.models.config import ResNetConfig, ViTConfig
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.recipe import read
from vision_attn.spec import Spec

SPEC = Spec(image_size=(12, 12), names=("a", "b", "c"))
NETWORKS = {
    "head": ViTConfig(dim=12, depth=1, heads=2, patch_size=4, pool="mean", fc_norm=True),
    "fc": ResNetConfig(depths=(1, 1, 1, 1), channels=(4, 6, 8, 10), stem="small"),
}


def clouds(count: int, seed: int) -> Features:
    """Three clouds in eleven dimensions, one of which never varies."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    vectors = torch.randn(count, 11, generator=generator)
    vectors[torch.arange(count), labels] += 1.0
    vectors[:, 10] = 5.0
    return Features(vectors, labels)


KNOWN, ASKED = clouds(97, seed=0), clouds(53, seed=1)


@pytest.mark.parametrize("neighbours", [1, 7, 97])
def test_neighbours_vote_as_in_scikit_learn(neighbours):
    oracle = KNeighborsClassifier(
        neighbours, metric="cosine", weights=lambda distances: np.exp((1 - distances) / 0.07)
    ).fit(KNOWN.vectors.double(), KNOWN.labels)
    votes = nearest(KNOWN, ASKED.vectors, neighbours, 3)
    expected = oracle.predict_proba(ASKED.vectors.double())
    shares = votes / votes.sum(1, keepdim=True)
    np.testing.assert_allclose(shares.numpy(), expected, atol=1e-5)
    assert (votes.argmax(1).numpy() == oracle.predict(ASKED.vectors.double())).all()


def test_many_queries_are_answered_as_few():
    vectors = clouds(301, seed=2).vectors
    votes = nearest(KNOWN, vectors, 7, 3)
    torch.testing.assert_close(votes[255:259], nearest(KNOWN, vectors[255:259], 7, 3))


@pytest.mark.parametrize("neighbours", [0, 98])
def test_there_must_be_as_many_neighbours(neighbours):
    with pytest.raises(ValueError, match=rf"neighbours must be in 1\.\.97, got {neighbours}"):
        nearest(KNOWN, ASKED.vectors, neighbours, 3)


@pytest.mark.parametrize("shots", [1, 5, 30])
def test_few_labels_are_read_as_by_scikit_learns_ridge(shots):
    chosen = few(KNOWN, shots, seed=3)
    oracle = make_pipeline(StandardScaler(), RidgeClassifier(alpha=11))
    oracle.fit(chosen.vectors.double(), chosen.labels)
    expected = oracle.decision_function(ASKED.vectors.double())
    np.testing.assert_allclose(linear(chosen, ASKED.vectors, 3).numpy(), expected, atol=1e-9)


def test_few_takes_so_many_of_each_class_or_all():
    known = Features(KNOWN.vectors[:20], torch.tensor([0] * 12 + [2] * 6 + [3] * 2))
    chosen = few(known, 5, seed=0)
    assert chosen.labels.tolist() == [0] * 5 + [2] * 5 + [3] * 2
    assert len(chosen.vectors.unique(dim=0)) == 12
    rows = {tuple(row) for row in known.vectors[:12].tolist()}
    assert {tuple(row) for row in chosen.vectors[:5].tolist()} <= rows
    assert torch.equal(few(known, 5, seed=0).vectors, chosen.vectors)
    assert not torch.equal(few(known, 5, seed=1).vectors, chosen.vectors)


@pytest.mark.parametrize("head", NETWORKS)
def test_features_are_what_the_head_reads(head):
    torch.manual_seed(0)
    model = NETWORKS[head].build(SPEC).eval()
    images = torch.randn(5, 3, 12, 12)
    torch.testing.assert_close(getattr(model, head)(model.features(images)), model(images))


def test_a_network_that_reads_no_features_is_refused():
    model = GlimpseConfig(size=4, hidden=8).build(SPEC)
    with pytest.raises(ValueError, match="a probe needs a ViT or a ResNet, got GlimpseNet"):
        describe(model, [])


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run of three steps, on data that was augmented."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    import train

    train.train(read(write(tmp_path, TINY), f"run={tmp_path / 'run'}", "data.augment.erase=1"))
    return tmp_path / "run"


SMALL = {"neighbours": 3, "shots": 2}


def test_a_run_and_a_recipe_that_starts_from_it_have_the_same_features(run, capsys):
    numbers, remarks = probe(run, **SMALL)
    assert numbers.keys() == {"knn", "few_shot", "few_shot_deviation", "images"}
    assert numbers["images"] == 11
    assert remarks == []
    recipe = write(run.parent, TINY)
    assert probe(recipe, f"init={run}", **SMALL) == (numbers, [])
    assert main(["probe", str(run), "--neighbours", "3", "--shots", "2"]) == 0
    assert f"test knn = {numbers['knn']:.6g}\n" in capsys.readouterr().out


def test_other_classes_will_do_but_not_other_preprocessing(run, tmp_path):
    for number in range(20):
        place = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 24), (200 * (number % 2), 90, number)).save(place)
    data = f"name: folder, root: {tmp_path}/photos, image_size: 24, valid_share: 0.3"
    mean = "mean: [0.5, 0.5, 0.5]"
    numbers, _ = probe(
        run, f"data={{{data}, {mean}, std: [0.5, 0.5, 0.5]}}", **SMALL, split="valid"
    )
    assert (numbers["knn"], numbers["few_shot"], numbers["images"]) == (1.0, 1.0, 6)
    with pytest.raises(ValueError, match="data must be prepared as in training"):
        probe(run, f"data={{{data}, {mean}, std: [0.1, 0.5, 0.5]}}", **SMALL, split="valid")
    with pytest.raises(ValueError, match="no test split; take --split valid"):
        probe(run, f"data={{{data}, {mean}, std: [0.5, 0.5, 0.5]}}", **SMALL)


def test_images_that_judge_and_are_known_too_are_told(run, tmp_path):
    for number in range(12):
        place = tmp_path / "photos" / ("train", "val")[number // 8] / "ab"[number % 2] / "1.png"
        place = place.with_stem(str(number % 8))
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 24), (20 * (number % 8), 90, 7)).save(place)
    data = f"data={{name: folder, root: {tmp_path}/photos, image_size: 24}}"
    _, remarks = probe(write(run.parent, TINY), f"init={run}", data, **SMALL, split="valid")
    assert "4 of 4 validation images are training images too, byte for byte" in remarks[0]


def test_features_of_random_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"give .* an init=WEIGHTS"):
        probe(write(tmp_path, TINY), **SMALL)
