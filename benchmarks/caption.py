"""Captioning against the loops that captioning code usually has, where both give the same captions.

Those loops take one image after the other, copy its regions for every beam, and project the keys of
attention again for every word: from regions as wide as the encoder gives them, or, as ours, brought
to the decoder's width once. A ratio above 1 means faster than the loop; all on one thread.
"""

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import ratios
from vision_attn.attention.score import Additive
from vision_attn.data.loader import Loader
from vision_attn.language.vocabulary import END, PAD, SPECIALS, START
from vision_attn.models.caption_config import CaptionerConfig, LSTMDecoderConfig
from vision_attn.models.captioner import Captioner
from vision_attn.models.config import ResNetConfig
from vision_attn.models.decoders import LSTMDecoder, State, preceding
from vision_attn.models.wording import log_probabilities
from vision_attn.recipe import read
from vision_attn.spec import Spec

IMAGES, BEAMS, LONGEST = 32, 5, 20
GRID, WIDTH, HIDDEN, VOCABULARY = (14, 14), 512, 256, 2000
SMALL = "configs/scenes_caption_soft.yaml"
Rows = list[tuple[int, ...]]


class Case(NamedTuple):
    """A captioner, images that it knows something about, and how much faster it has to be."""

    name: str
    model: Captioner
    images: Tensor
    target: float


def main(repeats: int = 5) -> list[str]:
    """Print a row for each search, and one for each training step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        large, words = by_heart()
        products, _ = by_heart("general")
        lines = [searched(large, usual, repeats) for usual in (Wide, Usual)]
        lines += [searched(products, Wide, repeats), searched(small(), Usual, repeats)]
        for each in (1, 5):
            lines.append(trained(large, words[:, :each], repeats))
            print(lines[-1], flush=True)
    finally:
        torch.set_num_threads(threads)
    return lines


def searched(case: Case, usual: type["Usual"], repeats: int) -> str:
    """Time a beam search over all images at once, and the loop."""
    case.model.eval()
    subjects = {
        "loop": lambda: one_by_one(usual(case.model), case.images),
        "batched": lambda: batched(case.model, case.images),
    }
    assert subjects["loop"]() == subjects["batched"](), "both must find the same captions"
    measured = ratios(subjects, "loop", repeats, warmup=1)
    loop = "wide regions" if usual is Wide else "narrow regions"
    line = _row(f"beam {BEAMS}, {case.name}, {loop}", measured, "batched", case.target)
    print(line, flush=True)
    return line


def trained(case: Case, words: Tensor, repeats: int) -> str:
    """Time the forward and backward pass of a training step, and the loop."""
    model = case.model.train()

    def step(logits: Tensor) -> float:
        loss = F.cross_entropy(logits.flatten(0, -2), words.flatten(), ignore_index=PAD)
        model.zero_grad()
        loss.backward()
        return loss.item()

    subjects = {
        "loop": lambda: step(Usual(model).say(case.images, words)),
        "hoisted": lambda: step(model(case.images, words)),
    }
    torch.testing.assert_close(subjects["loop"](), subjects["hoisted"](), atol=1e-4, rtol=1e-4)
    measured = ratios(subjects, "loop", repeats, warmup=1)
    captions = f"{words.shape[1]} caption{'s' * (words.shape[1] > 1)} an image"
    return _row(f"training step, {captions}", measured, "hoisted", 1.9)


def batched(model: Captioner, images: Tensor) -> Rows:
    """Caption all images at once."""
    return [own[0].words for own in model.search(images, beams=BEAMS, longest=LONGEST)]


@torch.no_grad()
def one_by_one(usual: "Usual", images: Tensor) -> Rows:
    """Caption one image after the other."""
    return [usual.search(image.unsqueeze(0)) for image in images]


class Usual:
    """The LSTM decoder as it is usually written, on a captioner's weights."""

    def __init__(self, model: Captioner):
        assert model.encoder is not None
        self.encoder = model.encoder
        assert isinstance(model.decoder, LSTMDecoder)
        self.decoder = model.decoder
        self.score: Any = model.decoder.gaze.alignment.score

    def search(self, image: Tensor) -> tuple[int, ...]:
        """Find the likeliest caption by beam search, no longer than it can still get better."""
        regions = self.encode(image)
        state = self.begin(regions)
        live: list[tuple[int, ...]] = [(START,)]
        totals = torch.zeros(1)
        best, caption = -torch.inf, live[0]
        for _ in range(LONGEST):
            copies = regions.expand(len(live), -1, -1)
            words = torch.tensor([row[-1] for row in live])
            logits, state = self.step(words, state, copies)
            scores = totals.unsqueeze(1) + log_probabilities(logits)
            likeliest, places = scores.flatten().topk(BEAMS)
            parents, said = places // logits.shape[-1], places % logits.shape[-1]
            rows = [(*live[i], w) for i, w in zip(parents.tolist(), said.tolist(), strict=True)]
            for row, total in zip(rows, likeliest.tolist(), strict=True):
                if row[-1] == END and total > best:
                    best, caption = total, row
            kept = said != END
            live = [row for row, keep in zip(rows, kept.tolist(), strict=True) if keep]
            totals, state = likeliest[kept], tuple(x[parents[kept]] for x in state)
            if not live or best >= totals.max():
                break
        return caption[1:] if best > -torch.inf else live[0][1:]

    def say(self, images: Tensor, words: Tensor) -> Tensor:
        """Give the logits of given words, each caption with regions of its own."""
        regions = self.encode(images).repeat_interleave(words.shape[1], 0)
        given, state, told = preceding(words).flatten(0, 1), self.begin(regions), []
        for word in given.unbind(1):
            logits, state = self.step(word, state, regions)
            told.append(logits)
        return torch.stack(told, 1).unflatten(0, words.shape[:2])

    def encode(self, images: Tensor) -> Tensor:
        """Give the regions that are looked at."""
        return self.encoder(images)[0]

    def key(self, regions: Tensor) -> Tensor:
        """Project regions to what the score compares."""
        return self.score.key(regions)

    def compare(self, keys: Tensor, hidden: Tensor) -> Tensor:
        """Score regions against the state by a network with one hidden layer, or by a product."""
        if isinstance(self.score, Additive):
            return self.score.compared((keys + self.score.query(hidden)).tanh())
        return (keys * hidden).sum(-1, keepdim=True)

    def narrow(self, seen: Tensor) -> Tensor:
        """Bring a mean of regions to the decoder's width."""
        return seen

    def begin(self, regions: Tensor) -> State:
        """Start from the mean of the regions; nothing has been seen."""
        hidden, cell = self.decoder.start(self.narrow(regions.mean(1))).tanh().chunk(2, -1)
        return hidden, cell, torch.zeros_like(cell)

    def step(self, words: Tensor, state: State, regions: Tensor) -> tuple[Tensor, State]:
        """Move on by a word, look, and say what the next one may be."""
        (hidden, cell, seen), decoder = state, self.decoder
        heard = decoder.embed(words)
        gates = decoder.word(heard) + decoder.recurrent(torch.cat([seen, hidden], 1))
        enter, forget, content, leave = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * content.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        weights = self.compare(self.key(regions), hidden.unsqueeze(1)).softmax(1)
        assert decoder.gate is not None
        seen = decoder.gate(hidden).sigmoid() * self.narrow((weights * regions).sum(1))
        both = heard + decoder.from_hidden(hidden) + decoder.from_seen(seen)
        return decoder.head(both), (hidden, cell, seen)


class Wide(Usual):
    """Look at regions as wide as the encoder gives them, by keys projected from that width.

    Ours are narrowed and normalised once. Given each region's deviation, that is one linear map,
    which commutes with means whose weights sum to 1; so it can wait until after the look.
    """

    def __init__(self, model: Captioner):
        super().__init__(model)
        norm, proj = self.encoder.norm, self.encoder.proj
        centred = torch.cat([proj.weight, proj.bias[:, None]], 1)
        self.map = norm.weight[:, None] * (centred - centred.mean(0))
        self.bias = norm.bias
        self.key_map = self.score.key.weight @ self.map
        self.key_bias = F.linear(self.bias, self.score.key.weight, self.score.key.bias)

    def encode(self, images: Tensor) -> Tensor:
        """Divide by the deviation that each narrowed region would have; the last feature is 1."""
        network: Any = self.encoder.network
        features = F.pad(network.regions(images), (0, 1), value=1.0)
        narrowed = self.encoder.proj(features[..., :-1])
        variance = narrowed.var(-1, correction=0, keepdim=True)
        return features / (variance + self.encoder.norm.eps).sqrt()

    def key(self, regions: Tensor) -> Tensor:
        """Project wide regions to what the score compares."""
        return F.linear(regions, self.key_map, self.key_bias)

    def narrow(self, seen: Tensor) -> Tensor:
        """Bring a mean of wide regions to the decoder's width."""
        return F.linear(seen, self.map, self.bias)


class Given(nn.Module):
    """Hand features on as regions, as if an encoder had made them."""

    def region_grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Every pixel is a region."""
        return image_size

    def regions(self, images: Tensor, tape: object = None) -> Tensor:
        """Lay the pixels out row by row."""
        return images.flatten(2).mT


def by_heart(score: Literal["additive", "general"] = "additive") -> tuple[Case, Tensor]:
    """Learn made-up captions of random features by heart, so that a search has something to find.

    Gives also the captions, five an image.
    """
    names = (*SPECIALS, *(f"w{number}" for number in range(VOCABULARY - len(SPECIALS))))
    torch.manual_seed(0)
    config = CaptionerConfig(
        encoder=ResNetConfig(depths=(1, 1, 1, 1), channels=(4, 4, 4, WIDTH), stem="small"),
        decoder=LSTMDecoderConfig(dim=HIDDEN, score=score),
        positions=False,
    )
    model = config.build(Spec(image_size=(8 * GRID[0], 8 * GRID[1]), names=names))
    assert model.encoder is not None
    model.encoder.network = Given()
    features = torch.randn(IMAGES, WIDTH, *GRID)
    words = torch.randint(len(SPECIALS), VOCABULARY, (IMAGES, 5, 14))
    lengths = torch.randint(7, 13, (IMAGES * 5,)).tolist()
    for caption, length in zip(words.flatten(0, 1), lengths, strict=True):
        caption[length], caption[length + 1 :] = END, PAD
    _learn(model, [(features, words)] * 60, rate=3e-3)
    return Case(f"{GRID[0] * GRID[1]} regions of {WIDTH}, {score}", model, features, 10.0), words


def small(steps: int = 150) -> Case:
    """Train the small network of a recipe for a moment, images included in what is timed."""
    data = read(SMALL, "data.train=2000", f"data.test={IMAGES}", "model.decoder.score=additive")
    splits = data.data.build()
    torch.manual_seed(0)
    model = data.model.build(splits.spec)
    assert isinstance(model, Captioner)
    batches = iter(Loader(splits.train, 16, seed=0).batches())
    pairs = ((batch.image, batch.words) for batch, _ in zip(batches, range(steps), strict=False))
    _learn(model, pairs, rate=2e-3)
    assert splits.test is not None
    images = splits.test.__getitems__([(0, index) for index in range(IMAGES)])[0]
    assert model.encoder is not None
    rows, columns = model.encoder.grid
    return Case(f"{rows * columns} regions, small network", model, images, 3.0)


def _learn(model: Captioner, batches: Any, rate: float) -> None:
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for images, words in batches:
        logits = model.train()(images, words)
        loss = F.cross_entropy(logits.flatten(0, 2), words.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _row(name: str, measured: dict[str, tuple[float, float]], ours: str, target: float) -> str:
    seconds, ratio = measured[ours]
    verdict = "" if ratio >= target else f"  below the target of {target:g}"
    return f"{name:58} loop {measured['loop'][0]:7.3f} s  {ours} {seconds:7.3f} s  " + (
        f"ratio {ratio:5.1f}{verdict}"
    )


if __name__ == "__main__":
    main()
