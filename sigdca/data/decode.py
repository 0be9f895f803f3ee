"""An image file of any size -> pixels of one size. Files are from anywhere: nothing is trusted."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt

from sigdca.errors import FormatError

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")
MAX_FILE_BYTES = 256 << 20
MAX_SOURCE_PIXELS = 100_000_000  # a file of a few kilobytes may promise gigabytes
# Conversions of these lose what is beyond 8 bits, in ways of their own.
WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def decode_image(
    content: bytes, shape: tuple[int, int, int], shorter_side: int | None = None
) -> npt.NDArray[np.uint8]:
    """Decodes, resizes (bilinear, antialiased) and crops the centre.

    Args:
        content: a JPEG, PNG, BMP, PPM or WebP file.
        shape: (C, H, W) to give; C is 1 (grey) or 3 (RGB).
        shorter_side: pixels to which the shorter side is brought before the crop, not below H or
            W. None: as small as the crop allows.

    Returns:
        uint8 [C, H, W].

    Raises:
        FormatError: the file is no such image, is damaged or too large.
    """
    from PIL import Image

    if len(content) > MAX_FILE_BYTES:
        raise FormatError(f"{len(content)} bytes, at most {MAX_FILE_BYTES}")
    channels, height, width = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; sizes are checked here
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MAX_SOURCE_PIXELS:
                    raise FormatError(f"more than {MAX_SOURCE_PIXELS} pixels")
                if image.mode in WIDE_MODES:
                    raise FormatError(f"pixels of more than 8 bits (mode {image.mode})")
                plain = image.convert("L" if channels == 1 else "RGB")
    except FormatError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit is a higher one
        raise FormatError(f"more than {MAX_SOURCE_PIXELS} pixels") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        if "cannot identify" in reason:
            reason = f"not one of {', '.join(FORMATS)}"
        raise FormatError(f"damaged: {reason}") from error
    if shorter_side is None:
        scale = max(height / plain.height, width / plain.width)
    else:
        scale = shorter_side / min(plain.height, plain.width)
    size = (max(width, round(plain.width * scale)), max(height, round(plain.height * scale)))
    if plain.size != size:
        _refuse_thin(size)
        plain = plain.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    pixels = np.asarray(plain.crop((left, top, left + width, top + height)), np.uint8)
    return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))


def _refuse_thin(size: tuple[int, int]) -> None:
    """A line of pixels, made as high as the crop, would be as wide as memory is not."""
    if size[0] * size[1] > MAX_SOURCE_PIXELS:
        raise FormatError(
            f"resized it would have {size[0]} x {size[1]} pixels, at most {MAX_SOURCE_PIXELS}"
        )
