"""How captions are found: by a search for the likeliest, or by drawing words and looks.

What is left open is done as in the evaluations of the run.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from vision_attn.models.captioner import Captioner
from vision_attn.models.gaze import Manner
from vision_attn.models.generate import Caption, Images
from vision_attn.tasks.caption_config import CaptioningConfig


@dataclass(frozen=True, kw_only=True)
class Search:
    """Search for the likeliest captions; see `beam_search`."""

    best: int = 1
    """Captions an image."""
    beams: int | None = None
    """Left open, at least `best`."""
    penalty: float | None = None
    longest: int | None = None

    def __call__(
        self, model: Captioner, images: Images, batch: int, task: CaptioningConfig
    ) -> list[list[Caption]]:
        """Give the captions of every image of a batch, the best one first."""
        beams = max(task.beams, self.best) if self.beams is None else self.beams
        if self.penalty and beams == 1:
            raise ValueError(
                f"a length penalty ranks beams, got penalty={self.penalty} with one beam; give "
                f"more beams"
            )
        return model.search(
            images,
            best=self.best,
            beams=beams,
            penalty=task.penalty if self.penalty is None else self.penalty,
            longest=task.longest if self.longest is None else self.longest,
        )


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Draw captions word by word; see `sampling.sample`.

    Looks that are drawn in training are drawn as at its end.
    """

    best: int = 1
    """Captions an image."""
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    longest: int | None = None
    seed: int = 0

    def __call__(
        self, model: Captioner, images: Images, batch: int, task: CaptioningConfig
    ) -> list[list[Caption]]:
        """Give the captions of every image in the order they were drawn; batches count from 0."""
        state = int(np.random.SeedSequence([self.seed, batch]).generate_state(1)[0])
        generator = torch.Generator(images.device).manual_seed(state)
        model.anneal(1.0)
        return model.sample(
            images,
            generator=generator,
            manner=Manner(draws=True, generator=generator),
            samples=self.best,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            longest=task.longest if self.longest is None else self.longest,
        )


Way: TypeAlias = Search | Draws
