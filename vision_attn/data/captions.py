"""Sets of captioned photographs: images in memory or read again, captions as numbers of words."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Self

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from vision_attn.data.batch import Captioned, Data, Key, Problem
from vision_attn.data.caption_config import CaptionsConfig
from vision_attn.data.caption_listing import CaptionListing
from vision_attn.data.config import AugmentConfig
from vision_attn.data.images import Photographs, open_files, specify
from vision_attn.data.reading import Pictures, few
from vision_attn.data.splits import Indices, divide
from vision_attn.language.tokens import tokens
from vision_attn.language.vocabulary import PAD, Vocabulary
from vision_attn.spec import Spec


class Sentences:
    """Hold the numbers of the words of many captions, packed one after the other."""

    def __init__(self, images: Sequence[Sequence[list[int]]]):
        captions = [caption for image in images for caption in image]
        self.numbers = np.array([x for caption in captions for x in caption], np.int32)
        self.starts = np.array([0, *accumulate(map(len, captions))])
        """Where each caption begins, and where the last one ends."""
        self.firsts = np.array([0, *accumulate(map(len, images))])
        """The first caption of each image, and the end of the last one's."""

    def batch(
        self, images: Sequence[int]
    ) -> tuple[Int64[Tensor, "batch caption word"], Int64[Tensor, "batch caption"]]:
        """Pad the captions of some images, and give their lengths; 0 for one that is not there."""
        captions = [range(self.firsts[i], self.firsts[i + 1]) for i in images]
        lengths = np.zeros((len(images), max(1, *map(len, captions))), np.int64)
        for row, numbers in zip(lengths, captions, strict=True):
            row[: len(numbers)] = np.diff(self.starts[numbers.start : numbers.stop + 1])
        words = np.full((*lengths.shape, max(1, lengths.max())), PAD, np.int64)
        for rows, numbers in zip(words, captions, strict=True):
            for row, number in zip(rows, numbers, strict=False):
                start, stop = self.starts[number : number + 2]
                row[: stop - start] = self.numbers[start:stop]
        return torch.from_numpy(words), torch.from_numpy(lengths)

    def only(self, images: Sequence[int]) -> "Sentences":
        """Give the captions of some images."""
        captions = [self.numbers[slice(*ends)].tolist() for ends in pairwise(self.starts)]
        return Sentences([captions[self.firsts[i] : self.firsts[i + 1]] for i in images])


class Captions(Photographs):
    """One split of a set of captioned images; `told` adds the texts to every batch."""

    def __init__(
        self,
        pictures: Pictures,
        indices: Indices,
        spec: Spec,
        texts: list[tuple[str, ...]],
        sentences: Sentences,
        *,
        told: bool,
        augment: AugmentConfig | None = None,
        seed: int = 0,
    ):
        super().__init__(pictures, indices, spec, augment, seed)
        self.texts, self.sentences, self.told = texts, sentences, told

    def __getitems__(self, keys: list[Key]) -> Captioned:
        """Give a batch of prepared images with their captions."""
        places = [index for _, index in keys]
        texts = [self.texts[place] for place in places] if self.told else []
        return Captioned(self.prepared(keys), *self.sentences.batch(places), texts, [])

    def references(self) -> list[list[list[str]]]:
        """Give the words of all captions of all images, in order."""
        return [[tokens(text) for text in texts] for texts in self.texts]

    def only(self, places: list[int]) -> Self:
        """Give a split of some of the images and their captions."""
        part = super().only(places)
        part.texts = [self.texts[place] for place in places]
        part.sentences = self.sentences.only(places)
        return part


def build(config: CaptionsConfig, listing: CaptionListing) -> Data:
    """Open a set of captioned images, and divide those that are usable.

    Captions longer than `longest` words teach nothing, but remain references. Raises ValueError if
    more than `bad_share` of entries or of images are unusable.
    """
    few(listing.problems, listing.entries, config.bad_share, "entries")
    spec = specify(config, ())
    opened = open_files(config, listing.files, spec)
    words = [[tokens(text) for text in texts] for texts in listing.texts]
    short = [[caption for caption in image if len(caption) <= config.longest] for image in words]
    parts = divide(
        np.zeros(len(listing.files), np.int64),
        [file.split for file in listing.files],
        opened.usable,
        seed=config.split_seed,
        valid_share=config.valid_share,
        test_share=config.test_share,
    )
    taught = np.array([bool(captions) for captions in short])
    parts["train"] = parts["train"][taught[parts["train"]]]
    vocabulary = Vocabulary.of((x for i in parts["train"] for x in short[i]), config.minimum)
    spec = replace(spec, names=vocabulary.names)

    def split(pictures: Pictures, indices: Indices, told: bool) -> Captions:
        return Captions(
            pictures,
            indices,
            spec,
            [listing.texts[i] for i in indices],
            Sentences([[vocabulary.encode(caption) for caption in short[i]] for i in indices]),
            told=told,
            augment=None if told else config.augment,
            seed=config.split_seed,
        )

    problems = listing.strays + listing.problems + opened.problems + _long(listing, words, config)
    return Data(
        spec,
        split(opened.train, parts["train"], told=False),
        split(opened.rest, parts["valid"], told=True),
        split(opened.rest, parts["test"], told=True) if len(parts["test"]) else None,
        problems,
    )


def _long(
    listing: CaptionListing, words: list[list[list[str]]], config: CaptionsConfig
) -> list[Problem]:
    """List the captions that are too long to learn from."""
    return [
        Problem(
            str(file),
            f"{len(caption)} words, more than longest={config.longest}: a reference only",
        )
        for file, captions in zip(listing.files, words, strict=True)
        for caption in captions
        if len(caption) > config.longest
    ]
