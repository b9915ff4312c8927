"""Self-critical training against all captions that can be drawn, and its baselines."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch.autograd import grad

from vision_attn.data.batch import Captioned
from vision_attn.language.cider import CiderD
from vision_attn.language.vocabulary import END, Vocabulary
from vision_attn.models.caption_config import (
    CaptionerConfig,
    LSTMDecoderConfig,
    TransformerDecoderConfig,
)
from vision_attn.models.config import ResNetConfig
from vision_attn.models.generate import Caption
from vision_attn.models.wording import FORBIDDEN
from vision_attn.spec import Spec
from vision_attn.tasks.caption_config import CaptioningConfig
from vision_attn.tasks.self_critical import SelfCritic, references

NAMES = ("<pad>", "<start>", "<end>", "<unknown>", "a", "red", "ring")
SPEC = Spec(image_size=(4, 12), names=NAMES)
RESNET = ResNetConfig(
    depths=(1, 1, 1, 1), channels=(4, 4, 4, 8), stem="small", stem_stride=2, strides=(1, 2, 1, 1)
)
PICTURE = torch.randn(1, 3, 4, 12, generator=torch.Generator().manual_seed(5))
GIVEN = torch.tensor([[[4, 6, 2], [5, 6, 2], [0, 0, 0]]])
TRAIN = [[["a", "ring"], ["red", "ring"]], [["red"], ["a", "a"]], [["a"]]]


class Train:
    def references(self):
        return TRAIN


def make(decoder=None, **task):
    torch.manual_seed(2)
    decoder = decoder or LSTMDecoderConfig(dim=8)
    model = CaptionerConfig(encoder=RESNET, decoder=decoder).build(SPEC)
    with torch.no_grad():
        model.decoder.head.weight *= 3
    settings = {"self_critical": "greedy", "longest": 3} | task
    built = CaptioningConfig(**settings).build(model, SPEC).train()
    model.encoder.eval()
    built.meet(Train())
    return built


def batch(count):
    return Captioned(
        PICTURE.expand(count, -1, -1, -1),
        GIVEN.expand(count, -1, -1),
        torch.tensor([[3, 3, 0]]).expand(count, -1),
        [],
        [],
    )


def every_caption(longest):
    plain = [word for word in range(len(NAMES)) if word not in (*FORBIDDEN, END)]
    for length in range(longest):
        yield from ((*x, END) for x in itertools.product(plain, repeat=length))
    yield from itertools.product(plain, repeat=longest)


def expected_gradient(task, parameters):
    """Differentiate the expected reward over all captions, each by its probability."""
    model, total, mass = task.model, 0.0, 0.0
    for words in every_caption(3):
        logits = model(PICTURE, torch.tensor([[words]]))[0, 0]
        logits[:, FORBIDDEN] = -torch.inf
        log_probs = logits.log_softmax(-1).gather(1, torch.tensor(words)[:, None])
        reward = task.critic.rewards([[words]], references(GIVEN))
        total = total + log_probs.sum().exp() * reward.item()
        mass = mass + log_probs.sum().exp().item()
    assert mass == pytest.approx(1, abs=1e-4)
    return grad(total, parameters)


@pytest.mark.parametrize("baseline", ["greedy", "leave_one_out"])
@pytest.mark.parametrize(
    "decoder", [LSTMDecoderConfig(dim=8), TransformerDecoderConfig(dim=8, depth=1, heads=2)]
)
def test_the_gradient_is_that_of_the_expected_reward(baseline, decoder):
    task = make(decoder, self_critical=baseline, samples=20)
    parameters = [task.model.decoder.head.bias, task.model.decoder.head.weight]
    expected = expected_gradient(task, parameters)
    assert expected[0].abs().max() > 0.05
    torch.manual_seed(7)
    found = [grad(-task(batch(10))["loss"], parameters) for _ in range(40)]
    for place, exact in enumerate(expected):
        each = torch.stack([x[place] for x in found])
        error = each.std(0) / len(each) ** 0.5
        assert ((each.mean(0) - exact).abs() <= 5 * error + 1e-5).all()
        assert error.max() < 0.3 * exact.abs().max()


def test_rewards_are_cider_with_the_end_as_a_word():
    critic = make().critic
    vocabulary = Vocabulary(NAMES)
    cider = CiderD([[[*words, "<end>"] for words in own] for own in TRAIN])
    truths = references(GIVEN)
    assert truths == [[(4, 6, 2), (5, 6, 2)]]
    named = [[[*vocabulary.decode(x), "<end>"] for x in own] for own in truths]
    captions = [(4, 6, 2), (4, 6), (6, 2), (5, 5, 5)]
    found = critic.rewards([captions], truths)[0].tolist()
    for caption, reward in zip(captions, found, strict=True):
        words = [NAMES[x] for x in caption]
        assert reward == pytest.approx(cider.scores([words], named)[0], rel=1e-5)
    assert found[0] > found[1]  # to be cut costs


@pytest.mark.parametrize("baseline", ["greedy", "leave_one_out"])
def test_drawn_captions_count_by_what_they_gain_over_the_baseline(baseline):
    task, drawn, greedy = make(self_critical=baseline), [(4, 6, 2), (5, 2)], (6, 2)
    task.model.sample = lambda *_, **settings: [[Caption(x, 0.0, 0.0, True) for x in drawn]]
    task.model.search = lambda *_, **settings: [[Caption(greedy, 0.0, 0.0, True)]]
    task.critic.config = replace(task.config, samples=2)
    truths = references(GIVEN)
    rewards = task.critic.rewards([drawn], truths)[0]
    over = task.critic.rewards([[greedy]], truths)[0]
    gained = rewards - (over if baseline == "greedy" else rewards.flip(0))
    assert over.item() > 0
    total = 0.0
    for words, gain in zip(drawn, gained.tolist(), strict=True):
        logits = task.model(PICTURE, torch.tensor([[words]]))[0, 0]
        logits[:, FORBIDDEN] = -torch.inf
        total += gain * logits.log_softmax(-1).gather(1, torch.tensor(words)[:, None]).sum()
    numbers = task(batch(1))
    torch.testing.assert_close(numbers["loss"], -total / 2)
    torch.testing.assert_close(numbers["reward"], rewards.mean())
    assert set(numbers) == {"loss", "reward"}


def test_the_training_captions_are_needed():
    task = make()
    task.critic = None
    with pytest.raises(ValueError, match=r"call meet\(\) first"):
        task(batch(2))


def test_copies_share_what_never_changes():
    from copy import deepcopy

    task = make()
    assert deepcopy(task).critic is task.critic
    assert isinstance(task.critic, SelfCritic)


def test_evaluation_loss_is_of_given_words():
    task = make().eval()
    assert set(task(batch(2))) == {"loss", "word_loss"}
