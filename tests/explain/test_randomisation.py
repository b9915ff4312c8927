from collections import Counter

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from toys import SIZE, Smooth, batch

from vision_attn.explain.gradients import saliency
from vision_attn.explain.randomisation import cascade, randomisation, rank_correlation


def blind(model, images, targets):
    """Show edges whatever the network: what the check is there to find out."""
    return images.diff(dim=2, append=images[:, :, -1:]).abs().sum(1)


def broken(model, images, targets):
    raise KeyError("mine")


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_an_explanation_blind_to_the_weights_stays_the_same():
    images, targets = batch()
    maps = blind(None, images, targets)
    found = randomisation(Smooth(), images, targets, maps, explainer=blind)
    torch.testing.assert_close(found, torch.ones(len(images)))


def test_an_explanation_that_reads_the_weights_changes():
    network, (images, targets) = Smooth(), batch()
    maps = saliency(network, images, targets)
    found = cascade(network, images, targets, maps, explainer=saliency)
    assert found.similarity.shape == (len(found.layers), len(images))
    assert found.similarity[-1].max() < 0.9


def test_layers_go_from_the_last_to_the_first_and_stay_random():
    network, (images, targets) = Smooth(), batch()
    before, changed = weights(network), []

    def watch(model, images, targets):
        changed.append({n for n, v in model.state_dict().items() if not torch.equal(v, before[n])})
        return images[:, 0]

    found = cascade(network, images, targets, images[:, 0], explainer=watch)
    assert found.layers == ["head", "second", "norm", "first"]
    head, second = {"head.weight", "head.bias"}, {"second.weight", "second.bias"}
    first = {"first.weight", "first.bias"}
    # The batch norm is as initialised: all ones and zeros, which no shuffling changes.
    assert changed == [head, head | second, head | second, head | second | first]


def test_few_steps_cover_all_layers():
    network, (images, targets) = Smooth(), batch()
    maps = saliency(network, images, targets)
    two = cascade(network, images, targets, maps, explainer=saliency, steps=2)
    four = cascade(network, images, targets, maps, explainer=saliency, steps=4)
    assert two.layers == ["second", "first"]
    torch.testing.assert_close(two.similarity, four.similarity[[1, 3]])


def test_shuffling_keeps_the_values_of_each_tensor():
    network, (images, targets) = Smooth(), batch()
    before = weights(network)

    def watch(model, images, targets):
        for name, value in model.state_dict().items():
            assert Counter(value.flatten().tolist()) == Counter(before[name].flatten().tolist())
        return images[:, 0]

    cascade(network, images, targets, images[:, 0], explainer=watch)


@pytest.mark.parametrize("explainer", [saliency, broken])
def test_the_network_is_as_before_also_after_an_error(explainer):
    network, (images, targets) = Smooth().train(), batch()
    before, random = weights(network), torch.get_rng_state()
    if explainer is broken:
        with pytest.raises(KeyError, match="mine"):
            cascade(network, images, targets, images[:, 0], explainer=explainer)
    else:
        cascade(network, images, targets, images[:, 0], explainer=explainer)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_changes_no_score(batch_size):
    network, (images, targets) = Smooth(), batch()
    maps = saliency(network, images, targets)
    network.largest = 0
    found = randomisation(network, images, targets, maps, explainer=saliency, batch_size=batch_size)
    assert network.largest <= batch_size
    whole = randomisation(network, images, targets, maps, explainer=saliency)
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=0)


def test_the_seed_decides_the_weights():
    network, (images, targets) = Smooth(), batch()
    maps = saliency(network, images, targets)
    first, again, other = (
        randomisation(network, images, targets, maps, explainer=saliency, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rank_correlation_equals_that_of_scipy_with_equal_values():
    generator = torch.Generator().manual_seed(11)
    first, second = torch.randint(6, (2, 3, *SIZE), generator=generator).float()
    second[2] = 4.0
    found = rank_correlation(first, second)
    for i in range(2):
        expected = spearmanr(first[i].flatten(), second[i].flatten()).statistic
        assert found[i].item() == pytest.approx(expected, abs=1e-6)
    assert found[2].item() == 0


def test_what_is_no_module_raises():
    images, targets = batch()
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        cascade(lambda x: x, images, targets, images[:, 0], explainer=blind)


def test_a_network_without_weights_raises():
    images, targets = batch()
    with pytest.raises(ValueError, match="no weights"):
        cascade(nn.Identity(), images, targets, images[:, 0], explainer=blind)
