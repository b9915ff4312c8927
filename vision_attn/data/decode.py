"""From the bytes of an image file to 8-bit pixels, or to the reason why not."""

import io
import warnings

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from vision_attn.data.transforms import Image

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
"""Modes of 16-bit grey images, which Pillow would clip instead of scale."""
UNCLEAR = ("I", "F")
"""Modes whose range of values no file tells."""


def decode(data: bytes, channels: int, at_least: int = 0) -> Image:
    """Decode a file to upright 8-bit grey (1 channel) or RGB (3), transparent parts over white.

    A large JPEG is read at 1/2, 1/4 or 1/8 of its size where its shorter side keeps `at_least`
    pixels; 0 reads all of them. Raises ValueError with the reason if it cannot be used.
    """
    if not data:
        raise ValueError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(io.BytesIO(data)) as image:
                if _plain_jpeg(image, data):
                    return _by_opencv(data, channels, min(image.size), at_least)
                return _by_pillow(image, channels)
    except Pillow.UnidentifiedImageError:
        raise ValueError("not an image, or in an unknown format") from None
    except (Pillow.DecompressionBombWarning, Pillow.DecompressionBombError) as error:
        raise ValueError(f"too large: {error}") from None
    except ValueError:
        raise
    except Exception as error:  # there is none that Pillow does not raise for some damaged file
        raise ValueError(f"damaged: {error}") from None


def _plain_jpeg(image: Pillow.Image, data: bytes) -> bool:
    """Tell a whole JPEG of grey or three colours, which OpenCV decodes fastest."""
    jpeg = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
    return jpeg and data.endswith(b"\xff\xd9")  # OpenCV 4 fills up a truncated one, silently


def _by_opencv(data: bytes, channels: int, side: int, at_least: int) -> Image:
    factor = next((f for f in (8, 4, 2) if at_least and side // f >= at_least), 1)
    colour = "GRAYSCALE" if channels == 1 else "COLOR"
    flag = f"IMREAD_REDUCED_{colour}_{factor}"
    if factor == 1:
        flag = "IMREAD_GRAYSCALE" if channels == 1 else "IMREAD_COLOR_RGB"
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), getattr(cv2, flag))
    if pixels is None:
        raise OSError("no pixels could be decoded")
    if channels == 1:
        return pixels[:, :, None]
    return pixels if factor == 1 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _by_pillow(image: Pillow.Image, channels: int) -> Image:
    image = ImageOps.exif_transpose(image)
    if image.mode in UNCLEAR:
        raise ValueError(f"pixels of mode {image.mode} have no known range; store 8 or 16 bits")
    if image.mode in DEEP:
        image = Pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Pillow.new("RGBA", image.size, "white")
        image = Pillow.alpha_composite(white, image)
    image = image.convert("L" if channels == 1 else "RGB")
    return np.asarray(image).reshape(image.height, image.width, channels)
