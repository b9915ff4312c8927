"""The moving eye's task: the estimator against all that could have happened, and evaluation."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from vision_attn.data.batch import Labelled
from vision_attn.models.glimpse_config import GlimpseConfig
from vision_attn.spec import Spec
from vision_attn.tape import Tape
from vision_attn.tasks.glimpse_config import GlimpseTaskConfig

SPEC = Spec(image_size=(8, 8), names=tuple("abc"), channels=1, mean=(0,), std=(1,))


def make_batch(count):
    draw = torch.Generator().manual_seed(count)
    labels = torch.randint(3, (count,), generator=draw)
    return Labelled(torch.randn(count, 1, 8, 8, generator=draw), labels)


def make_task(model=None, **task):
    torch.manual_seed(4)
    settings = {"glimpses": 3, "size": 3, "hidden": 8, "grid": 2} | (model or {})
    network = GlimpseConfig(**settings).build(SPEC)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # so that places differ in worth
    return GlimpseTaskConfig(**task).build(network, SPEC)


def gradient(task, loss):
    return torch.autograd.grad(loss, list(task.model.eye.policy.parameters()))


def enumerated(task, batch):
    """Differentiate the expected reward over every sequence of places, each by its probability."""
    network, policy = task.model, task.model.eye.policy
    cells, total = policy.places, torch.zeros(())
    view = network.eye.open(batch.images)
    for path in itertools.product(range(len(cells)), repeat=2):
        memory = network.core.start(batch.images)
        log_prob, losses = torch.zeros(len(batch.labels)), []
        for step in range(3):
            where = cells[path[step - 1]] if step else torch.zeros(2)
            if step:
                scores = policy.score(memory[0].float()).log_softmax(-1)
                log_prob = log_prob + scores[:, path[step - 1]]
            where = where.expand(len(batch.labels), -1)
            memory = network.core(network.sensor(view.retina(where), where), memory)
            answer = network.head(memory[0])
            losses.append(F.cross_entropy(answer, batch.labels, reduction="none"))
        weights = [0, 0, 1] if task.config.answers == "last" else [1 / 3] * 3
        reward = sum(-w * x.detach() for w, x in zip(weights, losses, strict=True))
        total = total - (log_prob.exp() * reward).mean()
    return gradient(task, total)


@pytest.mark.parametrize(
    "settings",
    [
        {"baseline": "none"},
        {"baseline": "value", "answers": "all"},
        {"baseline": "rollouts", "rollouts": 4},
        {"baseline": "both", "rollouts": 2, "answers": "all"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_the_estimator_is_the_gradient_of_the_expected_reward(settings):
    """On average over many draws, within five standard errors in every entry."""
    batch, quiet = make_batch(3), {"reward": "likelihood", "value_weight": 0.0}
    task = make_task({"policy": "categorical"}, **quiet, **settings)
    expected = enumerated(task, batch)
    copies = Labelled(*(x.repeat_interleave(300, 0) for x in batch))
    estimates = []
    for draw in range(8):
        torch.manual_seed(draw)
        estimates.append(torch.cat([g.flatten() for g in gradient(task, task(copies)["loss"])]))
    found = torch.stack(estimates)
    errors = found.std(0) / math.sqrt(len(found))
    truth = torch.cat([g.flatten() for g in expected])
    assert truth.abs().max() > 5 * errors.median()
    assert ((found.mean(0) - truth).abs() < 5 * errors + 1e-7).all()


def spread(**settings):
    """Measure how much estimates of the policy's gradient scatter around their mean."""
    quiet = {"reward": "likelihood", "value_weight": 0.0}
    task, batch = make_task({"policy": "categorical"}, **quiet, **settings), make_batch(3)
    count = 24 // settings.get("rollouts", 1)
    copies = Labelled(*(x.repeat_interleave(count, 0) for x in batch))
    estimates = []
    for draw in range(24):
        torch.manual_seed(draw)
        estimates.append(torch.cat([g.flatten() for g in gradient(task, task(copies)["loss"])]))
    return torch.stack(estimates).var(0).sum().item()


def test_other_rollouts_make_a_better_baseline_than_none():
    assert spread(baseline="rollouts", rollouts=8) < 0.5 * spread(baseline="none")


def test_policy_learns_from_rewards_and_value_head_from_what_came():
    task, batch = make_task({"first": "context"}), make_batch(5)
    torch.manual_seed(2)
    tape = Tape()
    task.model(batch.images, tape)
    right = (tape.answers[-1].argmax(1) == batch.labels).float()
    advantages = right[:, None] - torch.stack(tape.values, 1)
    expected = F.cross_entropy(tape.answers[-1], batch.labels) + advantages.square().mean()
    chosen = (torch.stack(tape.log_probs, 1) * advantages.detach()).sum(1).mean()
    torch.manual_seed(2)
    torch.testing.assert_close(task(batch)["loss"], expected - chosen)


def test_every_setting_of_rewards_has_its_part_in_the_loss():
    """And gradients pass neither through a reward nor, into the value head, through a baseline."""
    settings = {"answers": "all", "reward": "likelihood", "rollouts": 2, "baseline": "both"}
    weights = {"policy_weight": 0.3, "value_weight": 0.7}
    task, batch, tape = make_task(**settings, **weights, normalise=True), make_batch(5), Tape()
    torch.manual_seed(2)
    task.model(batch.images.repeat_interleave(2, 0), tape)
    labels = batch.labels.repeat_interleave(2)
    losses = torch.stack([F.cross_entropy(x, labels, reduction="none") / 3 for x in tape.answers])
    # The first place is given: the second can still change two answers, the third one.
    returns = -torch.stack([losses[1] + losses[2], losses[2]], 1).detach()
    values = torch.stack(tape.values, 1)
    over = (returns - values).detach()
    over = over - over.unflatten(0, (5, 2)).flip(1).flatten(0, 1)  # what the other rollout had
    advantages = over / over.square().mean().sqrt()
    chosen = (torch.stack(tape.log_probs, 1) * advantages).sum(1).mean()
    expected = losses.sum(0).mean() + 0.7 * F.mse_loss(values, returns) - 0.3 * chosen
    torch.manual_seed(2)
    found = task(batch)["loss"]
    torch.testing.assert_close(found, expected)
    parameters = list(task.parameters())
    gradients = (torch.autograd.grad(loss, parameters) for loss in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_images_are_seen_through_several_rollouts_side_by_side():
    task, batch = make_task(rollouts=3, baseline="rollouts", normalise=True), make_batch(5)
    seen = []
    task.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    task(batch)
    assert torch.equal(seen[0], batch.images.repeat_interleave(3, 0))


def test_stopping_weighs_answers_and_has_its_price():
    task, batch = make_task({"policy": "centre", "stop": True}, cost=0.1), make_batch(5)
    tape = Tape()
    task.model(batch.images, tape)
    expected, taken = 0.0, 0
    for image in range(5):
        going = 1.0
        for step in range(3):
            taken += going >= 0.5
            stop = tape.stops[step][image].item() if step < 2 else 1.0
            loss = F.cross_entropy(tape.answers[step][image], batch.labels[image]).item()
            expected += going * stop * (loss + 0.1 * (step + 1)) / 5
            going *= 1 - stop
    assert task(batch)["loss"].item() == pytest.approx(expected, rel=1e-5)
    numbers = task.evaluate([batch])
    assert numbers["glimpses"] == pytest.approx(taken / 5)


def test_entropy_is_rewarded_where_places_can_be_listed():
    batch, losses = make_batch(5), []
    for weight in (0.0, 0.5):
        task = make_task({"policy": "categorical"}, entropy_weight=weight)
        torch.manual_seed(2)
        losses.append(task(batch)["loss"])
    tape = Tape()
    torch.manual_seed(2)
    task.model(batch.images, tape)
    weights = torch.stack(tape.looks)[:, :, 0, 0]
    entropy = -(weights * weights.log()).sum(-1).mean()
    torch.testing.assert_close(losses[0] - losses[1], 0.5 * entropy)


def test_time_moves_the_policy_and_ends_the_pathwise_phase():
    task = make_task({"sigma": 0.4, "sigma_final": 0.1}, pathwise=0.25)
    policy = task.model.eye.policy
    for step, sigma, pathwise in ((0, 0.4, True), (24, 0.287, True), (25, 0.283, False)):
        task.at(step, 100)
        assert policy.sigma == pytest.approx(sigma, abs=1e-3)
        assert policy.pathwise is pathwise


def test_evaluation_is_one_pass_over_uneven_batches():
    task = make_task({"first": "random"})
    batches = [make_batch(5), make_batch(5), make_batch(3)]
    numbers = task.evaluate(batches)
    task.model.eval()
    right, losses, border = [], [], 0
    for images, labels in batches:
        tape = Tape()
        logits = task.model(images, tape)
        losses += F.cross_entropy(logits, labels, reduction="none").tolist()
        right += (torch.stack(tape.answers, 1).argmax(-1) == labels[:, None]).tolist()
        border += (torch.stack(tape.centres[1:]).abs().amax(-1) >= 0.95).sum().item()
    after = [sum(row[step] for row in right) / 13 for step in range(3)]
    assert numbers == pytest.approx(
        {
            "accuracy": after[-1],
            "error": 1 - after[-1],
            "loss": sum(losses) / 13,
            "border": border / 26,
            **{f"accuracy_after_{step + 1}": share for step, share in enumerate(after)},
            "images": 13,
        },
        rel=1e-5,
    )
    assert task.training


def test_a_policy_at_the_border_is_told():
    task = make_task()
    with torch.no_grad():
        task.model.eye.policy.mean.bias.fill_(9.0)
    assert task.evaluate([make_batch(5)])["border"] == 1.0
    assert task(make_batch(5))["cut_off"] > 0.3


def test_an_empty_split_is_refused_for_glimpses():
    with pytest.raises(ValueError, match="at least one image"):
        make_task().evaluate([])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rollouts": 0}, "rollouts must be 1 or more"),
        ({"baseline": "rollouts"}, "needs other rollouts"),
        ({"cost": -1.0}, "cost must be 0 or more"),
        ({"pathwise": 1.5}, "pathwise must be in"),
    ],
)
def test_wrong_settings_are_named_for_the_glimpse_task(settings, message):
    with pytest.raises(ValueError, match=message):
        GlimpseTaskConfig(**settings)
