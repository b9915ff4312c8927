"""The embedded data set of captions: drawn scenes and true sentences about them."""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import UInt8

from vision_attn.data.batch import Captioned, Data, Key
from vision_attn.data.caption_config import SceneCaptionsConfig
from vision_attn.data.describe import VOCABULARY, sentences
from vision_attn.data.pictures import Album, pictures
from vision_attn.data.scene import Scene
from vision_attn.data.scenes import Drawings
from vision_attn.language.vocabulary import PAD
from vision_attn.spec import Spec

MEMORY = 2**28
"""Bytes of scenes that a split keeps once it has drawn them with all that is known of them."""


class SceneCaptions(Drawings):
    """One split of the drawn scenes, each with its five sentences; `told` adds texts and scenes."""

    def __init__(
        self, split: str, length: int, spec: Spec, *, seed: int, fresh: bool = False, told: bool
    ):
        super().__init__(split, length, spec, seed=seed, fresh=fresh)
        self.told = told
        self._known: dict[int, Scene] = {}

    def __getitems__(self, keys: list[Key]) -> Captioned:
        """Give a batch of normalised images with their captions."""
        numbers = [self.number(key) for key in keys]
        written = self._written(numbers)
        lengths = (written != PAD).sum(-1)
        words = torch.from_numpy(written[..., : lengths.max()].astype(np.int64))
        scenes = [self.known(number) for number in numbers] if self.told else []
        texts = [scene.captions for scene in scenes]
        return Captioned(self.prepared(keys), words, torch.from_numpy(lengths), texts, scenes)

    def __getstate__(self) -> dict:
        """Leave out what another process can draw or map itself."""
        return super().__getstate__() | {"_known": {}}

    def references(self) -> list[list[list[str]]]:
        """Give the words of all captions of all images, in order."""
        written = self._written(list(range(self.length)))
        return [[VOCABULARY.decode(row.tolist()) for row in captions] for captions in written]

    def known(self, number: int) -> Scene:
        """Draw a scene with all that is known of it, or remember it."""
        if number in self._known:
            return self._known[number]
        scene = self.scene(number)
        size = scene.image.nbytes + sum(item.mask.nbytes for item in scene.objects)
        if (len(self._known) + 1) * size <= MEMORY:
            self._known[number] = scene
        return scene

    def _written(self, numbers: list[int]) -> UInt8[np.ndarray, "batch caption word"]:
        """Read sentences from the file, or write them now."""
        if not self.fresh:
            return self._sentences[numbers]
        size = self.spec.image_size[0]
        return np.stack([sentences(self.seed, self.split, number, size) for number in numbers])

    @cached_property
    def _sentences(self) -> UInt8[np.ndarray, "scene caption word"]:
        size = self.spec.image_size[0]
        return pictures(Album(self.seed, self.split, self.length, size, "captions"))


def build(config: SceneCaptionsConfig) -> Data:
    """Open the three splits; nothing is drawn or written before it is read.

    The vocabulary is that of the language, known without a look at any split.
    """
    size = (config.image_size, config.image_size)
    spec = Spec(image_size=size, names=VOCABULARY.names)
    seed = config.seed
    train = SceneCaptions("train", config.train, spec, seed=seed, fresh=config.fresh, told=False)
    valid = SceneCaptions("valid", config.valid, spec, seed=seed, told=True)
    test = SceneCaptions("test", config.test, spec, seed=seed, told=True)
    return Data(spec, train, valid, test)
