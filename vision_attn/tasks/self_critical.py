"""Learning from the CIDEr-D of captions that the model draws itself."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vision_attn.data.batch import Captioned
from vision_attn.language.cider import CiderD
from vision_attn.language.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from vision_attn.tasks.caption_config import CaptioningConfig
from vision_attn.tasks.caption_losses import said
from vision_attn.tasks.reinforce import over_others
from vision_attn.tasks.task import evaluating

Numbers = tuple[int, ...]


class SelfCritic:
    """Reward drawn captions by their CIDEr-D over that of the greedy one, or of the other draws.

    Runs of words are as rare as the training captions say, and the end is one of the words: without
    it in the reward, cut captions would pay. Rennie 2017 (arXiv:1612.00563).
    """

    def __init__(
        self,
        config: CaptioningConfig,
        references: Sequence[Sequence[Sequence[str]]],
        vocabulary: Vocabulary,
    ):
        self.config = config
        numbers = [[vocabulary.encode(words) for words in own] for own in references]
        self.cider = CiderD(numbers)

    def __deepcopy__(self, memo: dict) -> "SelfCritic":
        """Share what never changes with copies of the task."""
        return self

    def __call__(self, model: Any, batch: Captioned) -> dict[str, Tensor]:
        """Draw captions and give the loss whose gradient is REINFORCE's, and mean rewards."""
        config = self.config
        drawn = model.sample(
            batch.image, generator=None, samples=config.samples, longest=config.longest
        )
        words = padded([[caption.words for caption in own] for own in drawn])
        truths = references(batch.words)
        rewards = self.rewards([[x.words for x in own] for own in drawn], truths)
        if config.self_critical == "greedy":
            with evaluating(model):
                greedy = model.search(batch.image, longest=config.longest)
            baseline = self.rewards([[own[0].words] for own in greedy], truths)
            advantages = rewards - baseline
        else:
            advantages = over_others(rewards.flatten()[:, None], config.samples).view_as(rewards)
        words = words.to(batch.image.device)
        logits = model(batch.image, words)
        logits[..., [PAD, START, UNKNOWN]] = -torch.inf  # as in the draw
        kept = torch.where(words == PAD, END, words)  # of weight 0, yet finite
        log_probs = said(logits.flatten(0, 1), kept.flatten(0, 1)) * (words != PAD).flatten(0, 1)
        gained = advantages.flatten().to(log_probs) * log_probs.sum(1)
        return {"loss": -gained.mean(), "reward": rewards.mean().to(log_probs)}

    def rewards(
        self, captions: list[list[Numbers]], truths: list[list[Numbers]]
    ) -> Float[Tensor, "batch caption"]:
        """Score captions of every image against the given ones."""
        each = len(captions[0])
        candidates = [words for own in captions for words in own]
        scores = self.cider.scores(candidates, [own for own in truths for _ in range(each)])
        return torch.from_numpy(scores).float().view(-1, each)


def references(words: Int64[Tensor, "batch caption word"]) -> list[list[Numbers]]:
    """Take the given captions of every image off a batch, their ends included."""
    return [
        [tuple(x for x in row if x != PAD) for row in own if row[0] != PAD]
        for own in words.tolist()
    ]


def padded(captions: list[list[Numbers]]) -> Int64[Tensor, "batch caption word"]:
    """Put captions of unequal length into one tensor."""
    longest = max(len(words) for own in captions for words in own)
    rows = [[(*words, *[PAD] * (longest - len(words))) for words in own] for own in captions]
    return torch.tensor(rows)
