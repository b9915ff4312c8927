import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from vision_attn.data.decode import decode

ROWS, COLUMNS = 31, 23


def ramp(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Smooth, so that JPEG hardly changes it; no two corners are alike."""
    y, x = np.mgrid[0 : 200 : rows * 1j, 0 : 200 : columns * 1j]
    return np.stack([y, x, 200 - (x + y) / 2], -1).round().astype(np.uint8)


def encoded(image: Pillow.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def jpeg(pixels: np.ndarray, **settings) -> bytes:
    return encoded(Pillow.fromarray(pixels), "JPEG", quality=98, subsampling=0, **settings)


def close(found: np.ndarray, wanted: np.ndarray, tolerance: int) -> bool:
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    return np.abs(found.astype(int) - wanted.astype(int)).max() <= tolerance


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Pillow.fromarray(pixels).convert("L"))[..., None]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_usual_formats(kind: str):
    settings = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}
    data = encoded(Pillow.fromarray(ramp()), kind, **settings.get(kind, {}))
    tolerance = {"JPEG": 4, "GIF": 30}.get(kind, 0)  # 256 colours in a GIF
    assert close(decode(data, 3), ramp(), tolerance)
    assert close(decode(data, 1), grey(ramp()), tolerance + 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_files_become_three_equal_channels(kind: str):
    data = encoded(Pillow.fromarray(grey(ramp())[..., 0]), kind)
    found = decode(data, 3)
    assert close(found, grey(ramp()).repeat(3, 2), 3)
    assert np.ptp(found, axis=2).max() == 0


@pytest.mark.parametrize(("kind", "order"), [("PNG", "<"), ("TIFF", "<"), ("TIFF", ">")])
def test_sixteen_bits_are_scaled_not_clipped(kind: str, order: str):
    deep = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) * 91).astype(f"{order}u2")
    mode = "I;16" if order == "<" else "I;16B"
    data = encoded(Pillow.frombytes(mode, (COLUMNS, ROWS), deep.tobytes()), kind)
    assert close(decode(data, 1), (deep >> 8)[..., None].astype(np.uint8), 0)


def test_sixteen_bit_colours_keep_their_upper_byte():
    deep = (ramp().astype(int) * 256 + 77).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", COLUMNS, ROWS, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + name + body
        data += struct.pack(">I", zlib.crc32(name + body))
    assert close(decode(data, 3), ramp(), 0)


def test_cmyk_is_converted():
    data = encoded(Pillow.fromarray(ramp()).convert("CMYK"), "JPEG", quality=98, subsampling=0)
    assert close(decode(data, 3), ramp(), 6)


def test_palettes_and_single_bits():
    flat = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    flat[:9], flat[9:, :7] = (250, 10, 30), (0, 200, 90)
    data = encoded(Pillow.fromarray(flat).convert("P", palette=Pillow.Palette.ADAPTIVE), "PNG")
    assert close(decode(data, 3), flat, 0)
    dots = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 3 == 0
    data = encoded(Pillow.fromarray(dots), "PNG")
    assert close(decode(data, 1), (dots * 255)[..., None].astype(np.uint8), 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_shows_white(mode: str):
    colours = ramp() if mode == "RGBA" else grey(ramp()).repeat(3, 2)
    alpha = np.zeros((ROWS, COLUMNS, 1), np.uint8)
    alpha[:11], alpha[11:17] = 255, 128
    if mode == "P":  # one colour of the palette is transparent
        alpha[11:17] = 0
        image = Pillow.fromarray(np.where(alpha == 255, 7, 3)[..., 0].astype(np.uint8), "P")
        image.putpalette([value for i in range(16) for value in (i * 10, i * 5, i)])
        data, colours = encoded(image, "PNG", transparency=3), np.full_like(colours, (70, 35, 7))
    else:
        image = Pillow.fromarray(np.concatenate([colours, alpha], 2)).convert(mode)
        data = encoded(image, "PNG")
    wanted = (colours.astype(float) * alpha + 255.0 * (255 - alpha)) / 255
    assert close(decode(data, 3), wanted.round(), 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_photographs_are_put_upright(kind: str, orientation: int):
    turned = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        8: lambda x: np.rot90(x, -1),
    }[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = Pillow.fromarray(np.ascontiguousarray(turned(ramp(97, 71))))
    settings = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(stored, kind, exif=exif, **settings)
    assert close(decode(data, 3), ramp(97, 71), 4)
    if kind == "JPEG":
        assert decode(data, 3, at_least=33).shape == (49, 36, 3)


@pytest.mark.parametrize(
    ("at_least", "side"), [(0, 400), (201, 400), (200, 200), (100, 100), (51, 100), (3, 50)]
)
def test_large_jpegs_are_read_smaller_but_never_too_small(at_least: int, side: int):
    pixels = ramp(400, 600)
    found = decode(jpeg(pixels), 3, at_least)
    assert found.shape == (side, side * 3 // 2, 3)
    factor = 400 // side
    wanted = pixels.reshape(side, factor, side * 3 // 2, factor, 3).mean((1, 3))
    assert np.abs(found - wanted).max() < 4


def test_bytes_after_a_jpeg_do_no_harm():
    assert close(decode(jpeg(ramp()) + b"trailer", 3), ramp(), 4)


def test_odd_metadata_is_no_reason_to_refuse():
    data = jpeg(ramp(), exif=b"Exif\0\0II*\0\x08\0\0\0\xff\x7f\x12\x01")  # says too many entries
    assert close(decode(data, 3), ramp(), 4)


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + name + body
        data += struct.pack(">I", zlib.crc32(name + body))
    return data


def damaged(kind: str) -> bytes:
    rng = np.random.default_rng(0)
    data = encoded(Pillow.fromarray(rng.integers(0, 256, (97, 89, 3), dtype=np.uint8)), kind)
    return data[: len(data) * 2 // 3]


BAD = {
    "empty": (lambda: b"", "empty file"),
    "text": (lambda: b"path,label\na.png,cat\n", "not an image"),
    "zeros": (lambda: bytes(1000), "not an image"),
    "truncated JPEG": (lambda: damaged("JPEG"), "damaged"),
    "truncated PNG": (lambda: damaged("PNG"), "damaged"),
    "truncated GIF": (lambda: damaged("GIF"), "damaged"),
    "header of a JPEG": (lambda: jpeg(ramp())[:160], "damaged|not an image"),
    "gigantic": (bomb, "too large"),
    "floats": (lambda: encoded(Pillow.fromarray(ramp()[..., 0] / 7), "TIFF"), "no known range"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_files_are_refused_with_the_reason(name: str):
    make, reason = BAD[name]
    with pytest.raises(ValueError, match=reason):
        decode(make(), 3)


def test_any_damage_is_reported_as_a_value_error():
    rng = np.random.default_rng(0)
    files = [encoded(Pillow.fromarray(ramp()), kind) for kind in ("PNG", "GIF", "TIFF", "BMP")]
    outcomes = set()
    for number in range(400):
        data = bytearray(files[number % 4])
        for place in rng.integers(0, len(data), 5):
            data[place] = rng.integers(256)
        try:
            decode(bytes(data), 3)
            outcomes.add("decoded")
        except ValueError:
            outcomes.add("refused")
    assert outcomes == {"decoded", "refused"}
