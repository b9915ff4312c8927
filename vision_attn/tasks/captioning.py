"""Captions: likelihood of given words, rewards for drawn looks, CIDEr-D of drawn captions."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from vision_attn.attention.look import entropy
from vision_attn.data.batch import Captioned, to
from vision_attn.language.scores import Scorer, diversity, scores
from vision_attn.language.tokens import tokens
from vision_attn.language.vocabulary import PAD, SPECIALS, Vocabulary
from vision_attn.spec import Spec
from vision_attn.tape import Tape
from vision_attn.tasks.caption_config import CaptioningConfig
from vision_attn.tasks.caption_losses import (
    MovingBaseline,
    Words,
    doubly_stochastic,
    returns,
    said,
    smoothed,
)
from vision_attn.tasks.gathering import gathered
from vision_attn.tasks.reinforce import over_others
from vision_attn.tasks.self_critical import SelfCritic
from vision_attn.tasks.task import Task, evaluating
from vision_attn.tasks.truth import Judge, summarised


class Captioning(Task):
    """Learn to say what is on an image; the settings tell which number decides what is best.

    The model says on its tape where it looked, how likely drawn looks were, and what a policy
    expected. Xu 2015 (arXiv:1502.03044), equations 10 to 14.
    """

    model: Any

    def __init__(self, config: CaptioningConfig, model: Any, spec: Spec):
        super().__init__()
        self.config, self.model, self.spec = config, model, spec
        self.monitor = config.monitor
        self.vocabulary = Vocabulary(spec.names)
        self.baseline = MovingBaseline(shared=config.reward == "caption")
        self.critic: SelfCritic | None = None
        self.progress = 0.0

    def meet(self, train: Any) -> None:
        """Learn from all training captions how rare each run of words is, if rewards need it."""
        if self.config.self_critical != "none":
            self.critic = SelfCritic(self.config, train.references(), self.vocabulary)

    def at(self, step: int, steps: int) -> None:
        """Note how far the training is, as a share."""
        self.progress = step / steps
        self.model.anneal(self.progress)

    def forward(self, batch: Captioned) -> dict[str, Tensor]:
        """Give the loss, a mean over captions of sums over words, and what it is made of."""
        if self.training and self.config.self_critical != "none":
            if self.critic is None:
                raise ValueError("self_critical needs the training captions: call meet() first")
            return self.critic(self.model, batch)
        config, given, tape = self.config, batch.words, Tape()
        if self.training:
            given = given.repeat_interleave(config.rollouts, 1)
        words = given.flatten(0, 1)
        logits = self.model(batch.image, given, tape, **self._practice()).flatten(0, 1)
        real = words != PAD
        count = real.any(1).sum().clamp_min(1)
        log_probs = said(logits, words)
        numbers = {"word_loss": -log_probs.sum() / real.sum().clamp_min(1)}
        if not self.training:
            return {"loss": -log_probs.sum() / count, **numbers}
        loss = smoothed(logits, words, config.label_smoothing).sum()
        if config.doubly_stochastic and tape.looks:
            uneven = doubly_stochastic(torch.cat(tape.looks, 1), real, config.attention_target)
            loss = loss + config.doubly_stochastic * (uneven * real.any(1)).sum()
        if tape.log_probs:
            gained, told = self._policy(log_probs, real, tape)
            loss, numbers = loss - gained, numbers | told
        return {"loss": loss / count, **numbers}

    def _practice(self) -> dict[str, float]:
        """Say how looks and words are drawn at this point of the training."""
        if not self.training:
            return {}
        config = self.config
        return {
            "temperature": 1 - self.progress * (1 - config.temperature_final),
            "expected_share": config.expected_share,
            "own_words": self.progress * config.own_words,
        }

    def _policy(
        self, log_probs: Words, real: Tensor, tape: Tape
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Give what the loss is lowered by, whose gradient is REINFORCE's, and numbers to log."""
        config = self.config
        looked = torch.stack(tape.log_probs, 1)
        drawn = real & (looked != 0)  # 0 where the expected value stood in for the draw
        gains = returns(log_probs, config.reward)
        gained, told = log_probs.new_zeros(()), dict[str, Tensor]()
        advantages = None
        if config.rollouts > 1:  # against those of the same caption's other rollouts
            advantages = over_others(gains, config.rollouts) * drawn
        if tape.values:
            expected, error = self._expected(gains, real, drawn, torch.stack(tape.values, 1))
            advantages = (gains - expected) * drawn if advantages is None else advantages
            gained = gained - config.value * error
            told["value_error"] = error / drawn.sum().clamp_min(1)
        elif advantages is None:
            advantages = self.baseline.advantages(gains, drawn)
        gained = gained + config.reinforce * (advantages * looked).sum()
        count = real.sum().clamp_min(1)
        spread = _spread(tape)
        if spread is not None:
            gained = gained + config.entropy * (spread * real).sum()
            told["look_entropy"] = (spread * real).sum() / count
        else:
            cut_off = (torch.stack(tape.centres, 1).abs() == 1).any(-1)
            told["cut_off"] = (cut_off * real).sum() / count
        return gained, told

    def _expected(
        self, gains: Words, real: Tensor, drawn: Tensor, values: Words
    ) -> tuple[Words, Tensor]:
        """Give what a policy expects of its draws, without a gradient, and its squared error.

        It expects so much a word, whatever the caption's length.
        """
        ahead = real.flip(1).cumsum(1).flip(1).clamp_min(1)
        if self.config.reward == "caption":
            ahead = real.sum(1, keepdim=True).clamp_min(1).expand_as(ahead)
        error = ((values - gains / ahead).square() * drawn).sum()
        return ahead * values.detach(), error

    def evaluate(
        self, batches: Iterable[Captioned], meteor: Scorer | None = None
    ) -> dict[str, float]:
        """Let the model caption every image by itself, and score that over all ranks.

        Gives the language scores, with that of METEOR's own program where it is given, the loss of
        given words, how varied captions are and which share is word for word a given one (`exact`).
        Where scenes are known, `exact` is the share that is true instead, and there is also where
        looks fell.
        """
        device = next(self.parameters()).device
        told: list[tuple[list[str], list[list[str]]]] = []
        losses: list[tuple[float, int]] = []
        judge = Judge()
        with evaluating(self):
            for batch in batches:
                batch = to(batch, device)
                losses.append(self._loss(batch))
                config = self.config
                captions = self.model.search(
                    batch.image, beams=config.beams, penalty=config.penalty, longest=config.longest
                )
                for place, (caption, *_) in enumerate(captions):
                    words = self.vocabulary.decode(caption.words)
                    told.append((words, [tokens(text) for text in batch.texts[place]]))
                    if batch.scenes:
                        judge.hear(caption, words, batch.scenes[place])
        found = self._numbers(gathered(told), gathered(losses), meteor)
        if true := gathered(judge.true):
            found["exact"] = sum(true) / len(true)
            found |= summarised(gathered(judge.rows))
        return found

    def _loss(self, batch: Captioned) -> tuple[float, int]:
        """Sum the losses of given words, and count these."""
        count = int((batch.words != PAD).sum())
        return self(batch)["word_loss"].item() * count, count

    def _numbers(
        self,
        told: list[tuple[list[str], list[list[str]]]],
        losses: list[tuple[float, int]],
        meteor: Scorer | None,
    ) -> dict[str, float]:
        if not told:
            raise ValueError("evaluation needs at least one image, got an empty split")
        candidates, references = [x for x, _ in told], [x for _, x in told]
        found = scores(candidates, references, meteor)
        found |= diversity(candidates, len(self.vocabulary) - len(SPECIALS))
        found["word_loss"] = sum(x for x, _ in losses) / sum(n for _, n in losses)
        found["words"] = sum(map(len, candidates)) / len(candidates)
        found["exact"] = sum(x in own for x, own in told) / len(told)
        return found | {"images": len(told)}


def _spread(tape: Tape) -> Words | None:
    """Give the entropy of the places that looks were drawn from, if these can be listed."""
    if tape.entropies:
        return torch.stack(tape.entropies, 1)
    return entropy(tape.looks[0]).sum(1) if tape.looks else None
