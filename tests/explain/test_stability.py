import numpy as np
import pytest
import torch
from toys import Smooth, batch

from vision_attn.explain.gradients import saliency
from vision_attn.explain.stability import max_sensitivity


def constant(model, images, targets):
    return torch.ones_like(images[:, 0])


def first_channel(model, images, targets):
    return images[:, 0]


def test_a_constant_explanation_is_perfectly_stable():
    images, targets = batch()
    maps = constant(None, images, targets)
    found = max_sensitivity(Smooth(), images, targets, maps, explainer=constant)
    assert found.tolist() == [0] * len(images)


def test_the_largest_change_equals_that_of_a_loop():
    images, targets = batch()
    found = max_sensitivity(
        Smooth(),
        images,
        targets,
        images[:, 0],
        explainer=first_channel,
        radius=0.3,
        samples=6,
        seed=2,
    )
    moves = [
        np.random.default_rng((2, s)).uniform(-0.3, 0.3, images.shape[1:])[0] for s in range(6)
    ]
    largest = max(np.linalg.norm(move) for move in moves)
    expected = [largest / np.linalg.norm(image) for image in images[:, 0]]
    np.testing.assert_allclose(found, expected)


def test_an_all_zero_map_has_no_relative_change():
    images, targets = batch()
    maps = torch.zeros_like(images[:, 0])
    found = max_sensitivity(Smooth(), images, targets, maps, explainer=first_channel)
    assert found.isnan().all()


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_no_score(batch_size):
    network, (images, targets) = Smooth(), batch()
    maps = saliency(network, images, targets)
    network.largest = 0
    found = max_sensitivity(
        network, images, targets, maps, explainer=saliency, batch_size=batch_size
    )
    assert network.largest <= batch_size
    alone = [
        max_sensitivity(
            network, *(x[i : i + 1] for x in (images, targets, maps)), explainer=saliency
        )
        for i in range(len(images))
    ]
    torch.testing.assert_close(found, torch.cat(alone))
    assert found.min() > 0
