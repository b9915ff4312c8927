"""Every image of a split recognised by what is kept of it, read by several processes."""

from typing import Any

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from vision_attn.data.batch import Key
from vision_attn.data.duplicates import Prints, print_of
from vision_attn.data.images import Photographs
from vision_attn.data.loader import read_ahead
from vision_attn.data.reading import CHUNK, digest, processes


class _Printing:
    """Recognise images in chunks, so that workers share the reading of a split."""

    def __init__(self, split: Photographs):
        self.split = split

    def __getitems__(self, keys: list[Key]) -> Any:
        """Give digests, hashes and small copies; as numpy, which goes through a pipe."""
        places = [place for _, place in keys]
        images = self.split.images(places).numpy()
        found = [print_of(image) for image in images]
        digests = [digest(self._content(*pair)) for pair in zip(places, images, strict=True)]
        hashes, copies = zip(*found, strict=True)
        return np.array(digests, np.uint64), np.array(hashes, np.uint64), np.stack(copies)

    def _content(self, place: int, image: UInt8[np.ndarray, "row column channel"]) -> bytes:
        file = self.split.file(place)
        return image.tobytes() if file is None else file.read()


def prints(split: Photographs, what: str) -> Prints:
    """Recognise every image of a split as it is brought to size; `what` names the split."""
    keys = [(0, place) for place in range(len(split))]
    order = [keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK)]
    parts = []
    with tqdm(desc=what, total=len(keys), unit="image", delay=1, disable=None) as bar:
        for part in read_ahead(_Printing(split), order, processes(len(order))):
            parts.append(part)
            bar.update(len(part[0]))
    return Prints(*(np.concatenate(column) for column in zip(*parts, strict=True)))
