"""The network with a moving eye: what it records, where gradients go, and when it has enough."""

import pytest
import torch
import torch.nn.functional as F

from vision_attn.models.glimpse_config import SAMPLED, SOFT, GlimpseConfig
from vision_attn.spec import Spec
from vision_attn.tape import Tape

SPEC = Spec(image_size=(13, 17), names=tuple("abcde"), channels=2, mean=(0, 0), std=(1, 1))
IMAGES = torch.randn(7, 2, 13, 17, generator=torch.Generator().manual_seed(8))
LABELS = torch.arange(7) % 5
POLICIES = ("gaussian", "categorical", "random", "centre", "draw", "spatial_transformer")


def build(**settings):
    torch.manual_seed(9)
    defaults = {"glimpses": 4, "size": 3, "hidden": 12, "grid": 3}
    return GlimpseConfig(**(defaults | settings)).build(SPEC)


def run(network):
    tape = Tape()
    torch.manual_seed(10)
    return network(IMAGES, tape), tape


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("core", ["rnn", "lstm", "transformer"])
def test_a_tape_tells_of_every_glimpse(policy, core):
    logits, tape = run(build(policy=policy, core=core))
    assert logits.shape == (7, 5)
    assert len(tape.centres) == len(tape.extents) == len(tape.answers) == 4
    assert all(centre.shape == (7, 2) and centre.abs().max() <= 1 for centre in tape.centres)
    assert all(extent.shape == (7, 2) and (extent > 0).all() for extent in tape.extents)
    assert all(patches.shape == (7, 2, 3, 3) for patches in tape.patches)
    assert len(tape.patches) == 4
    assert torch.equal(tape.answers[-1], logits)
    assert not tape.stops
    # The first place is given, and the one after the last glimpse is never asked for.
    chosen = 3 if policy in SAMPLED else 0
    assert len(tape.log_probs) == len(tape.values) == chosen
    assert len(tape.looks) == (chosen if policy == "categorical" else 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_convolutions_may_see_what_the_retina_has(policy):
    network = build(policy=policy, size=5, channels=(4, 6))
    (first, _, second, _, _, last) = network.sensor.what
    patches = torch.randn(7, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    seen = first(patches).relu()
    assert seen.shape == (7, 4, 3, 3)
    seen = second(seen).relu()
    assert seen.shape == (7, 6, 2, 2)
    torch.testing.assert_close(network.sensor._what(patches), last(seen.flatten(1)))
    loss = F.cross_entropy(run(network)[0], LABELS)
    assert all(x.abs().sum() > 0 for x in torch.autograd.grad(loss, [first.weight, last.weight]))


@pytest.mark.parametrize("channels", [(), (4,)])
def test_a_sensor_joins_what_and_where(channels):
    draw = torch.Generator().manual_seed(1)
    given = torch.randn(7, 2, 3, 3, generator=draw), torch.randn(7, 2, generator=draw)
    for part in given:
        part.requires_grad_()
    seen = build(channels=channels).sensor(*given)
    assert all(part.abs().sum() > 0 for part in torch.autograd.grad(seen.sum(), given))


@pytest.mark.parametrize("policy", SAMPLED)
def test_cross_entropy_never_reaches_the_policy_and_rewards_do(policy):
    network = build(policy=policy, first="context", scales=2)
    logits, tape = run(network)
    places = [*network.eye.policy.parameters(), *network.eye.context.parameters()]
    loss = F.cross_entropy(logits, LABELS)
    gradients = torch.autograd.grad(loss, places, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in gradients)
    reward = -torch.stack(tape.log_probs).sum()
    gradients = torch.autograd.grad(reward, places, retain_graph=True)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    (gradient,) = torch.autograd.grad(reward, [network.head.weight], allow_unused=True)
    assert gradient is None


@pytest.mark.parametrize("policy", SAMPLED)
def test_what_is_expected_shapes_nothing_but_the_expectation(policy):
    network = build(policy=policy, first="context")
    _, tape = run(network)
    torch.stack(tape.values).square().sum().backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    assert moved == {"value.weight", "value.bias"}


@pytest.mark.parametrize("policy", SAMPLED)
def test_pathwise_gradients_pass_through_the_places(policy):
    network = build(policy=policy, scales=2)
    network.anneal(0.5, pathwise=True)
    logits, tape = run(network)
    assert not tape.log_probs
    assert len(tape.values) == 3
    F.cross_entropy(logits, LABELS).backward()
    assert all(p.grad.abs().sum() > 0 for p in network.eye.policy.parameters())
    network.anneal(0.6)
    assert run(network)[1].log_probs


@pytest.mark.parametrize("policy", SOFT)
def test_soft_windows_learn_from_cross_entropy(policy):
    network = build(policy=policy)
    logits, _ = run(network)
    F.cross_entropy(logits, LABELS).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert network.eye.reader.window.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("policy", POLICIES)
def test_evaluation_is_the_same_every_time_and_for_any_batch(policy):
    network = build(policy=policy, first="random" if policy in SAMPLED else "centre").eval()
    before = torch.get_rng_state()
    logits, tape = run(network)
    again, _ = run(network)
    assert torch.equal(logits, again)
    torch.manual_seed(10)
    network(IMAGES)
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(10).get_state())
    torch.set_rng_state(before)
    alone = Tape()
    one = network(IMAGES[3:4], alone)
    torch.testing.assert_close(one[0], logits[3])
    for centre, other in zip(alone.centres, tape.centres, strict=True):
        torch.testing.assert_close(centre[0], other[3])
    assert torch.equal(network(IMAGES), logits)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("policy", POLICIES)
def test_weights_and_images_may_be_of_another_type(policy, dtype, tolerance):
    network = build(policy=policy, **({} if policy in SOFT else {"scales": 2})).eval()
    wanted = run(network)[0].detach()
    torch.manual_seed(10)
    found = network.to(dtype)(IMAGES.to(dtype)).detach()
    assert found.dtype == dtype
    assert (found.double() - wanted).abs().max() < tolerance * wanted.abs().max()


def test_the_eye_rests_moves_by_chance_or_begins_in_the_middle():
    centre = run(build(policy="centre"))[1].centres
    assert not torch.stack(centre).any()
    chance = torch.stack(run(build(policy="random", first="random"))[1].centres)
    assert len(chance.unique()) == 4 * 7 * 2
    middle = run(build(policy="random"))[1].centres
    assert not middle[0].any()
    assert middle[1].all()
    assert not run(build())[1].centres[0].any()
    assert run(build(first="random"))[1].centres[0].all()


def test_extents_are_those_of_the_finest_patch():
    _, tape = run(build(scales=3))
    torch.testing.assert_close(tape.extents[0][0], torch.tensor([2 * 3 / 17, 2 * 3 / 13]))


def test_who_has_enough_keeps_the_answer():
    network = build(policy="centre", stop=True).eval()
    with torch.no_grad():
        for parameter in network.sensor.parameters():
            parameter.mul_(6)  # fresh weights see all images alike
        network.enough.weight.normal_(std=3.0, generator=torch.Generator().manual_seed(1))
    logits, tape = run(network)
    free = build(policy="centre")
    free.load_state_dict({k: v for k, v in network.state_dict().items() if "enough" not in k})
    _, other = run(free.eval())
    steps = []
    for image in range(7):
        looking, last = 1.0, 0
        for step in range(4):
            if looking >= 0.5:
                last = step
            looking *= 1 - tape.stops[step][image].item()
            assert torch.equal(tape.answers[step][image], other.answers[last][image])
        steps.append(last)
        assert torch.equal(logits[image], other.answers[last][image])
    assert len(set(steps)) > 1
    _, training = run(network.train())
    assert torch.equal(training.answers[-1], other.answers[-1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"glimpses": 0}, "glimpses must be 1 or more"),
        ({"growth": 0.5}, "growth must be at least 1"),
        ({"channels": (4, 0)}, r"channels must be 1 or more each, got \(4, 0\)"),
        ({"hidden": 7}, "hidden must be a positive even number"),
        ({"core": "transformer", "heads": 5}, "heads must divide hidden"),
        ({"depth": 2}, "depth belongs to core=transformer"),
        ({"policy": "draw", "scales": 2}, "policy=draw reads one patch"),
        ({"policy": "random", "first": "context"}, "first=context needs a policy"),
        ({"policy": "centre", "first": "random"}, "policy=centre never looks elsewhere"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"policy": "centre", "sigma_final": 0.1}, "sigma_final belongs to policy=gaussian"),
        ({"temperature_final": 0.0}, "temperature_final must be in"),
    ],
)
def test_wrong_settings_are_named_for_glimpses(settings, message):
    with pytest.raises(ValueError, match=message):
        GlimpseConfig(**settings)
