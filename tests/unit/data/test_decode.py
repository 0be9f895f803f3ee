"""Image files of any size, good and bad, to pixels of one size."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sigdca.data import decode
from sigdca.data.decode import decode_image
from sigdca.errors import FormatError


def encoded(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()


def test_the_right_size_is_left_as_it_is():
    assert np.array_equal(decode_image(encoded(GREY), (1, 12, 20)), GREY[np.newaxis])
    assert np.array_equal(decode_image(encoded(RGB), (3, 12, 20)), RGB.transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "PPM", "WEBP"])
def test_every_format(kind):
    pixels = decode_image(encoded(RGB, kind), (3, 6, 6))
    assert (pixels.shape, pixels.dtype) == ((3, 6, 6), np.uint8)


def test_the_centre_is_kept():
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255
    assert (decode_image(encoded(wide), (1, 10, 10)) == 255).all()
    assert (decode_image(encoded(wide.T.copy()), (1, 10, 10)) == 255).all()


def test_the_shorter_side_goes_to_what_was_asked():
    bars = np.zeros((40, 80), np.uint8)
    bars[10:30, 30:50] = 255  # the middle 20 x 20 of 40 x 80
    middle = decode_image(encoded(bars), (1, 10, 10), shorter_side=20)[:, 1:-1, 1:-1]
    assert (middle == 255).all()
    assert decode_image(encoded(bars), (1, 10, 10))[0, 0, 0] == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 3), (300, 200)])
@pytest.mark.parametrize("shape", [(1, 5, 9), (3, 9, 5), (1, 1, 1)])
def test_any_size_gives_the_shape(size, shape):
    assert decode_image(encoded(np.full(size, 77, np.uint8)), shape).shape == shape
    assert (decode_image(encoded(np.full(size, 77, np.uint8)), shape) == 77).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode(mode, channels):
    buffer = io.BytesIO()
    Image.new(mode, (4, 4)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    assert decode_image(buffer.getvalue(), (channels, 4, 4)).shape == (channels, 4, 4)


def bomb(width, height):
    """A PNG of a few bytes that promises any number of pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PNG, JPEG = encoded(RGB), encoded(RGB, "JPEG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not one of JPEG, PNG"),
        (b"hello", "not one of JPEG, PNG"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (PNG[: len(PNG) // 2], "damaged"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (PNG[:60] + bytes(30) + PNG[90:], "damaged"),
        (bomb(60_000, 60_000), "more than 100000000 pixels"),
        (bomb(12_000, 12_000), "more than 100000000 pixels"),
        (bomb(2**31 - 1, 2**31 - 1), "more than 100000000 pixels"),
        (bomb(50, 50), "damaged"),
        (encoded(np.zeros((4, 4), np.uint16)), "more than 8 bits"),
        (encoded(GREY, "GIF"), "not one of JPEG, PNG"),
    ],
)
def test_bad_files_are_one_line(content, message):
    with pytest.raises(FormatError) as caught:
        decode_image(content, (3, 6, 6))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_thin_line_is_not_made_into_gigabytes():
    line = encoded(np.zeros((1, 60_000), np.uint8))
    with pytest.raises(FormatError, match="resized it would have"):
        decode_image(line, (1, 16_000, 16_000))


def test_a_file_may_not_be_of_any_length(monkeypatch):
    monkeypatch.setattr(decode, "MAX_FILE_BYTES", 100)
    with pytest.raises(FormatError, match="bytes, at most 100"):
        decode_image(PNG, (3, 6, 6))
