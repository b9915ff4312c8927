"""From what is seen to words: an LSTM that looks before every word."""

from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from vision_attn.language.vocabulary import PAD, START
from vision_attn.models.caption_config import GlimpseDecoderConfig, LSTMDecoderConfig
from vision_attn.models.gaze import STEADY, Manner, RegionGaze, Seen, Sight
from vision_attn.models.glimpse_gaze import GlimpseGaze
from vision_attn.models.wording import draw, log_probabilities
from vision_attn.tape import Tape

State: TypeAlias = tuple[Tensor, ...]
"""What a decoder remembers of the words so far, each (batch query ...)."""
Words: TypeAlias = Int64[Tensor, "batch caption word"]
Logits: TypeAlias = Float[Tensor, "batch caption word vocabulary"]


class Step(NamedTuple):
    """What comes of one word: what may follow it, and what was seen for that."""

    logits: Float[Tensor, "batch query vocabulary"]
    state: State
    seen: Seen


class Decoder(Protocol):
    """Say words one after the other, or all at once where they are given."""

    def begin(self, sight: Any, queries: int) -> State:
        """Give the state before the first word of so many captions of every image."""

    def step(
        self,
        words: Int64[Tensor, "batch query"],
        state: State,
        sight: Any,
        word: int,
        manner: Manner,
    ) -> Step:
        """Take the previous word of every caption and say what may be word number `word`."""

    def __call__(
        self, words: Words, sight: Any, tape: Tape | None, manner: Manner, own_words: float
    ) -> Logits:
        """Say for every word what might have stood there, given those before it."""


def preceding(words: Words) -> Words:
    """Give the word before each word: the start, then all but the last."""
    return F.pad(words[..., :-1], (1, 0), value=START)


class LSTMDecoder(nn.Module):
    """Look, move on by a word, and say what the next one may be.

    What is seen is scaled by a gate sigmoid(w · h) and enters the LSTM and the deep output
    L(E y + L_h h + L_z z). In the order look_first, the state that asks where to look has not yet
    read the previous word: after "a red" it cannot know which of two objects is meant. In the order
    read_first it has, and what is seen enters the LSTM with the next word.

    Xu 2015, section 3.1 (arXiv:1502.03044); read_first: Luong 2015, section 3.3, input feeding
    (arXiv:1508.04025).
    """

    def __init__(
        self,
        gaze: RegionGaze | GlimpseGaze,
        config: LSTMDecoderConfig | GlimpseDecoderConfig,
        vocabulary: int,
    ):
        super().__init__()
        dim = config.dim
        self.gaze, self.reads_first = gaze, config.order == "read_first"
        self.embed = nn.Embedding(vocabulary, dim, padding_idx=PAD)
        self.start = nn.Linear(dim, 2 * dim)
        self.word = nn.Linear(dim, 4 * dim)
        self.recurrent = nn.Linear(2 * dim, 4 * dim, bias=False)
        self.gate = nn.Linear(dim, 1) if config.gate else None
        self.from_hidden = nn.Linear(dim, dim)
        self.from_seen = nn.Linear(dim, dim, bias=False)
        self.drop, self.feed_drop = nn.Dropout(config.dropout), nn.Dropout(config.feed_dropout)
        self.head = nn.Linear(dim, vocabulary)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)
        with torch.no_grad():
            self.word.bias[dim : 2 * dim] += 1  # remember at first: Jozefowicz 2015

    def begin(self, sight: Any, queries: int) -> State:
        """Start from a summary of the image: a linear map and tanh for each part of the state."""
        parts = self.start(self.gaze.summary(sight)).tanh().unsqueeze(1)
        hidden, cell = parts.expand(-1, queries, -1).chunk(2, -1)
        return (hidden, cell, torch.zeros_like(cell)) if self.reads_first else (hidden, cell)

    def step(
        self,
        words: Int64[Tensor, "batch query"],
        state: State,
        sight: Any,
        word: int,
        manner: Manner,
    ) -> Step:
        """Take the previous word of every caption and say what may be word number `word`."""
        heard = self.drop(self.embed(words))
        state, seen = self._advance(self.word(heard), state, sight, word, manner)
        return Step(self._say(heard, state[0], seen.context), state, seen)

    def forward(
        self,
        words: Words,
        sight: Any,
        tape: Tape | None = None,
        manner: Manner = STEADY,
        own_words: float = 0.0,
    ) -> Logits:
        """Say for every word what might have stood there, given those before it.

        With probability `own_words` a word before is replaced by one that the decoder draws itself:
        scheduled sampling, Bengio 2015 (arXiv:1506.03099).
        """
        given = preceding(words)
        embedded = self.drop(self.embed(given))
        driven = self.word(embedded).unbind(2)
        state = self.begin(sight, words.shape[1])
        hidden, seen, heard = [], list[Seen](), list(embedded.unbind(2))
        for word in range(words.shape[2]):
            drive = driven[word]
            if own_words and word:
                logits = self._say(heard[word - 1], state[0], seen[-1].context)
                said = draw(log_probabilities(logits.detach()), None)
                own = torch.rand(said.shape, device=said.device) < own_words
                heard[word] = self.drop(self.embed(torch.where(own, said, given[..., word])))
                drive = self.word(heard[word])
            state, look = self._advance(drive, state, sight, word, manner)
            hidden.append(state[0])
            seen.append(look)
        if tape is not None:
            record(tape, seen)
        contexts = torch.stack([look.context for look in seen], 2)
        return self._say(torch.stack(heard, 2), torch.stack(hidden, 2), contexts)

    def _advance(
        self, drive: Tensor, state: State, sight: Sight, word: int, manner: Manner
    ) -> tuple[State, Seen]:
        """Look and move the LSTM on; `drive` is what the previous word adds to its gates."""
        if self.reads_first:
            hidden, cell, context = state
            hidden, cell = self._moved(drive, context, hidden, cell)
            seen = self._look(hidden, sight, word, manner)
            return (hidden, cell, seen.context), seen
        seen = self._look(state[0], sight, word, manner)
        return self._moved(drive, seen.context, *state), seen

    def _look(self, hidden: Tensor, sight: Sight, word: int, manner: Manner) -> Seen:
        """Look where the state asks for, and let the gate through what it likes."""
        seen = self.gaze(hidden, sight, word, manner)
        if self.gate is None:
            return seen
        return seen._replace(context=self.gate(hidden).sigmoid() * seen.context)

    def _moved(
        self, drive: Tensor, context: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Move the LSTM on by a word; in training it is not always told what was seen."""
        if self.training and self.feed_drop.p:
            context = context * self.feed_drop(torch.ones_like(context[..., :1]))
        gates = drive + self.recurrent(torch.cat([context, hidden], -1))
        enter, forget, content, leave = gates.chunk(4, -1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * content.tanh()
        return leave.sigmoid() * cell.tanh(), cell

    def _say(self, heard: Tensor, hidden: Tensor, context: Tensor) -> Tensor:
        """Give the deep output."""
        both = heard + self.from_hidden(self.drop(hidden)) + self.from_seen(context)
        return self.head(self.drop(both))


def record(tape: Tape, seen: list[Seen]) -> None:
    """Write the looks of all words on a tape; captions of an image become entries of the batch."""
    if all(look.weights is not None for look in seen):
        weights = torch.stack([look.weights for look in seen if look.weights is not None], 3)
        tape.looks.append(weights.flatten(0, 1))
    for look in seen:
        for entries, found in (
            (tape.log_probs, look.log_prob),
            (tape.entropies, look.entropy),
            (tape.centres, look.centre),
            (tape.extents, look.extent),
            (tape.values, look.value),
        ):
            if found is not None:
                entries.append(found.flatten(0, 1))
