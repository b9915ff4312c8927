import numpy as np
import pytest
import torch
from toys import CHANNELS, OUTPUTS, SIZE, Linear, Smooth, batch

from vision_attn.explain.gradients import (
    class_maps,
    input_gradient,
    input_x_gradient,
    integrated_gradients,
    jacobian,
    jacobian_map,
    saliency,
    smoothgrad,
)

EXPLAINERS = [saliency, input_x_gradient, smoothgrad, integrated_gradients, jacobian_map]
AVERAGES = [smoothgrad, integrated_gradients]


def target_logit(network, image, target):
    with torch.no_grad():
        return network.eval()(image[None])[0, target]


def test_the_input_gradient_equals_finite_differences():
    network, (images, targets) = Smooth(), batch()
    gradient = input_gradient(network, images, targets)
    for place in [(0, 0, 0, 0), (1, 2, 5, 3), (3, 1, 10, 6)]:
        step = torch.zeros_like(images)
        step[place] = 1e-5
        rise = target_logit(network, (images + step)[place[0]], targets[place[0]])
        fall = target_logit(network, (images - step)[place[0]], targets[place[0]])
        assert gradient[place].item() == pytest.approx((rise - fall).item() / 2e-5, abs=1e-8)


def test_saliency_is_the_largest_absolute_weight_of_a_linear_network():
    network, (images, targets) = Linear(), batch()
    expected = [network.weight[t].abs().max(0).values for t in targets]
    torch.testing.assert_close(saliency(network, images, targets), torch.stack(expected).detach())


@pytest.mark.parametrize("steps", [1, 6])
def test_integrated_gradients_of_a_linear_network_are_input_x_gradient(steps):
    network, (images, targets) = Linear(), batch()
    found = integrated_gradients(network, images, targets, steps=steps)
    torch.testing.assert_close(found, input_x_gradient(network, images, targets))


def test_integrated_gradients_add_up_to_the_change_of_the_logit():
    network, (images, targets) = Smooth(), batch()
    baseline = torch.randn(CHANNELS, 1, 1, generator=torch.Generator().manual_seed(5)).double()
    maps = integrated_gradients(network, images, targets, baseline=baseline, steps=24)
    for one, image, target in zip(maps, images, targets, strict=True):
        start = target_logit(network, baseline.expand_as(image), target)
        change = target_logit(network, image, target) - start
        assert one.sum().item() == pytest.approx(change.item(), abs=1e-7)


def test_integrated_gradients_equal_a_fine_riemann_sum():
    network, (images, targets) = Smooth(), batch(1)
    steps = 800
    total = torch.zeros_like(images)
    for step in range(steps):
        share = (step + 0.5) / steps
        total += input_gradient(network, 0.25 + share * (images - 0.25), targets) / steps
    found = integrated_gradients(network, images, targets, baseline=0.25)
    torch.testing.assert_close(found, ((images - 0.25) * total).sum(1), atol=1e-6, rtol=0)


def test_smoothgrad_equals_a_loop_over_noisy_copies():
    network, (images, targets) = Smooth(), batch()
    total = torch.zeros_like(images)
    for sample in range(6):
        noise = np.random.default_rng((19, sample)).standard_normal(
            images.shape[1:], dtype=np.float32
        )
        for i, image in enumerate(images):
            spread = 0.3 * (image.max() - image.min())
            noisy = image + spread * torch.from_numpy(noise)
            total[i] += input_gradient(network, noisy[None], targets[i : i + 1])[0] / 6
    found = smoothgrad(network, images, targets, samples=6, noise=0.3, seed=19)
    torch.testing.assert_close(found, total.abs().amax(1))


def test_smoothgrad_of_a_linear_network_is_its_saliency():
    network, (images, targets) = Linear(), batch()
    found = smoothgrad(network, images, targets, noise=1.0)
    torch.testing.assert_close(found, saliency(network, images, targets))


def test_the_seed_changes_smoothgrad():
    network, (images, targets) = Smooth(), batch()
    first, second = (smoothgrad(network, images, targets, seed=seed) for seed in (0, 1))
    assert not torch.allclose(first, second)


def test_the_jacobian_equals_that_of_torch():
    network, (images, _) = Smooth().eval(), batch(3)
    found = jacobian(network, images)
    assert found.shape == (3, OUTPUTS, CHANNELS, *SIZE)
    for i in range(3):
        expected = torch.autograd.functional.jacobian(network, images[i : i + 1])[0, :, 0]
        torch.testing.assert_close(found[i], expected)


def test_asked_rows_of_the_jacobian_come_in_the_order_asked():
    network, (images, _) = Smooth(), batch()
    expected = jacobian(network, images)[:, [4, 1]]
    torch.testing.assert_close(jacobian(network, images, outputs=[4, 1]), expected)


def test_a_row_that_does_not_exist_raises():
    with pytest.raises(ValueError, match="targets must be in"):
        jacobian(Smooth(), batch()[0], outputs=[OUTPUTS])


def test_the_jacobian_map_is_the_targets_class_map():
    network, (images, targets) = Smooth(), batch()
    maps = class_maps(jacobian(network, images))
    expected = torch.stack([maps[i, target] for i, target in enumerate(targets)])
    torch.testing.assert_close(jacobian_map(network, images, targets), expected)


@pytest.mark.parametrize("explainer", AVERAGES)
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_no_map(explainer, batch_size):
    network, (images, targets) = Smooth(), batch()
    found = explainer(network, images, targets, batch_size=batch_size)
    torch.testing.assert_close(found, explainer(network, images, targets))
    assert network.largest <= max(batch_size, 32)


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_an_image_alone_has_the_map_it_has_in_a_batch(explainer):
    network, (images, targets) = Smooth(), batch()
    together = explainer(network, images, targets)
    alone = [explainer(network, images[i : i + 1], targets[i : i + 1]) for i in range(len(images))]
    torch.testing.assert_close(together, torch.cat(alone))
    assert together.shape == (len(images), *SIZE)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("explainer", AVERAGES)
def test_an_average_costs_one_pass_a_step_and_image(explainer):
    network, (images, targets) = Smooth(), batch()
    explainer(network, images, targets)
    assert network.seen == 32 * len(images)


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_an_explainer_leaves_no_trace(explainer):
    network, (images, targets) = Smooth().train(), batch()
    images.requires_grad_()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    with torch.no_grad():
        maps = explainer(network, images, targets)
    assert torch.equal(maps, explainer(network, images, targets))
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    assert network.drop.training
    assert not maps.requires_grad
    assert images.grad is None
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_inference_mode_does_not_matter(explainer):
    network, (images, targets) = Smooth(), batch()
    with torch.inference_mode():
        maps = explainer(network, images.clone(), targets.clone())
    assert torch.equal(maps, explainer(network, images, targets))


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_half_precision_gives_finite_float32_maps(explainer):
    network, (images, targets) = Smooth().bfloat16(), batch()
    maps = explainer(network, images.bfloat16(), targets)
    exact = explainer(network.double(), images.bfloat16().double(), targets)
    assert maps.dtype == torch.float32
    correlations = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(maps, exact)]
    assert min(correlations) > 0.9


@pytest.mark.parametrize("explainer", EXPLAINERS)
@pytest.mark.parametrize("targets", [[0, 1, 2], [0, 1, 2, OUTPUTS], [0, 1, 2, -1]])
def test_wrong_targets_raise(explainer, targets):
    network = Smooth().train()
    with pytest.raises(ValueError, match="targets must"):
        explainer(network, batch()[0], torch.tensor(targets))
    assert network.training
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"samples": 0}])
def test_no_steps_and_no_batch_raise(settings):
    with pytest.raises(ValueError, match="must be positive"):
        smoothgrad(Smooth(), *batch(), **settings)
