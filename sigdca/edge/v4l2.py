"""Frames from a camera, by Video4Linux 2's streaming interface. On 64-bit Linux.

The driver fills a few mapped buffers in turn; what it had to leave out shows in its own frame
numbers. The picture's middle is cut to the model's proportions and sampled at the model's size, by
the nearest pixel.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigdca.edge import v4l2_abi as abi
from sigdca.edge.frames import IDLE, WAIT_S, FrameShapeError, Pixels, Shape
from sigdca.errors import FormatError, StorageError

NUM_BUFFERS = 4

# What a camera is asked for in turn, by the model's channels. YUYV has two pixels in four bytes.
_FORMATS = {1: ("GREY", "YUYV"), 3: ("RGB3", "YUYV")}
_PIXEL_BYTES = {"GREY": 1, "RGB3": 3, "YUYV": 2}


@dataclass(frozen=True)
class PictureFormat:
    """What a camera gives."""

    name: str
    width: int
    height: int
    line_bytes: int


class Camera:
    """A camera.

    Attributes:
        lost: frames that the driver had to leave out.
        label: empty.
        format: what it was set to.
    """

    def __init__(
        self,
        path: str,
        shape: Shape,
        fps: float | None,
        *,
        ioctl: Callable[[int, int, Any], object] = fcntl.ioctl,
        size: tuple[int, int] = (640, 480),
    ) -> None:
        """Sets a camera up and starts it.

        Args:
            path: such as `/dev/video0`.
            shape: the model's (C, H, W), with 1 or 3 channels.
            fps: frames a second to ask for; None: the driver's own.
            ioctl: the system call.
            size: width and height to ask for.

        Raises:
            StorageError: it cannot be opened or set up.
            FormatError: it is no camera.
            FrameShapeError: it has no format that fits the model.
        """
        self.lost, self.label = 0, ""
        self._path, self._ioctl_of, self._shape = path, ioctl, shape
        self._buffers: list[mmap.mmap] = []
        self._views: list[NDArray[np.uint8]] = []
        self._sequence: int | None = None
        if shape[0] not in _FORMATS:
            raise FrameShapeError(
                f"{path}: the model takes {shape[0]} channels, a camera has 1 or 3"
            )
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"{path}: cannot open: {error.strerror}") from error
        try:
            self._check_capability()
            self.format = self._set_format(size)
            self._places = _places(self.format, shape)
            if fps:
                self._set_rate(fps)
            self._map_buffers()
            self._ioctl(abi.STREAMON, ctypes.c_int(abi.CAPTURE), "start")
        except BaseException:
            self.close()
            raise

    def take(self, pixels: Pixels) -> int:
        """See `Frames.take`."""
        if not select.select([self._descriptor], [], [], WAIT_S)[0]:
            return IDLE
        buffer = abi.Buffer(type=abi.CAPTURE, memory=abi.MMAP)
        try:
            self._ioctl_of(self._descriptor, abi.DQBUF, buffer)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return IDLE
            raise StorageError(f"{self._path}: cannot take a frame: {error.strerror}") from error
        if self._sequence is not None:
            self.lost += (buffer.sequence - self._sequence - 1) % 2**32
        self._sequence = buffer.sequence
        sound = not buffer.flags & abi.BUFFER_ERROR
        if sound:
            _sample(self._views[buffer.index], self.format.name, self._places, pixels)
        self._ioctl(abi.QBUF, buffer, "give a buffer back")
        if not sound:
            self.lost += 1
            return IDLE
        if buffer.flags & abi.CLOCK_MASK == abi.CLOCK_MONOTONIC:
            return int(buffer.seconds) * 10**9 + int(buffer.microseconds) * 1000
        return time.monotonic_ns()

    def close(self) -> None:
        """Stops the camera."""
        if self._descriptor < 0:
            return
        if self._buffers:
            with contextlib.suppress(OSError):  # it may have been unplugged
                self._ioctl_of(self._descriptor, abi.STREAMOFF, ctypes.c_int(abi.CAPTURE))
        self._views.clear()
        for one in self._buffers:
            one.close()
        self._buffers.clear()
        os.close(self._descriptor)
        self._descriptor = -1

    def _ioctl(self, request: int, argument: Any, what: str) -> None:
        try:
            self._ioctl_of(self._descriptor, request, argument)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot {what}: {error.strerror}") from error

    def _check_capability(self) -> None:
        found = abi.Capability()
        self._ioctl(abi.QUERYCAP, found, "ask what it is")
        can = found.capabilities
        can = found.device_caps if can & abi.HAS_DEVICE_CAPS else can
        if not can & abi.CAN_CAPTURE or not can & abi.CAN_STREAM:
            raise FormatError(f"{self._path}: is no camera that streams")

    def _set_format(self, size: tuple[int, int]) -> PictureFormat:
        names = _FORMATS[self._shape[0]]
        for name in names:
            wanted = abi.Format(
                type=abi.CAPTURE, width=size[0], height=size[1], pixelformat=abi.fourcc(name)
            )
            self._ioctl(abi.S_FMT, wanted, "set its format")
            if wanted.pixelformat != abi.fourcc(name):
                continue  # a driver sets what it can, and says what
            least = wanted.width * _PIXEL_BYTES[name]
            if 0 < least <= wanted.bytesperline and wanted.height > 0:
                return PictureFormat(name, wanted.width, wanted.height, wanted.bytesperline)
        raise FrameShapeError(f"{self._path}: has none of the formats {', '.join(names)}")

    def _set_rate(self, fps: float) -> None:
        rate = abi.StreamParameters(
            type=abi.CAPTURE, numerator=1000, denominator=max(1, round(1000 * fps))
        )
        self._ioctl(abi.S_PARM, rate, f"set {fps:g} frames a second")

    def _map_buffers(self) -> None:
        wanted = abi.RequestBuffers(count=NUM_BUFFERS, type=abi.CAPTURE, memory=abi.MMAP)
        self._ioctl(abi.REQBUFS, wanted, "get buffers")
        shown = self.format
        for index in range(wanted.count):
            buffer = abi.Buffer(index=index, type=abi.CAPTURE, memory=abi.MMAP)
            self._ioctl(abi.QUERYBUF, buffer, "get a buffer")
            if buffer.length < shown.line_bytes * shown.height:
                raise FormatError(f"{self._path}: its buffers are smaller than its pictures")
            offset = buffer.offset & 0xFFFF_FFFF
            mapped = mmap.mmap(self._descriptor, buffer.length, offset=offset)
            self._buffers.append(mapped)
            pixels = np.frombuffer(mapped, np.uint8, shown.line_bytes * shown.height)
            self._views.append(pixels.reshape(shown.height, shown.line_bytes))
            self._ioctl(abi.QBUF, buffer, "give a buffer")


@dataclass(frozen=True)
class _Places:
    """Which rows and columns of the picture the model sees."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


def _places(shown: PictureFormat, shape: Shape) -> _Places:
    """The largest middle part with the model's proportions, evenly sampled."""
    _, height, width = shape
    scale = min(shown.height / height, shown.width / width)
    top = (shown.height - height * scale) / 2
    left = (shown.width - width * scale) / 2
    rows = (top + (np.arange(height) + 0.5) * scale).astype(np.intp)
    columns = (left + (np.arange(width) + 0.5) * scale).astype(np.intp)
    last = shown.height - 1, shown.width - 1
    return _Places(np.minimum(rows, last[0])[:, None], np.minimum(columns, last[1])[None])


def _sample(picture: NDArray[np.uint8], name: str, places: _Places, pixels: Pixels) -> None:
    """The picture at the model's size, as the model's channels."""
    rows, columns = places.rows, places.columns
    if name == "GREY":
        pixels[0] = picture[rows, columns]
    elif name == "RGB3":
        for channel in range(3):
            pixels[channel] = picture[rows, 3 * columns + channel]
    elif len(pixels) == 1:
        pixels[0] = picture[rows, 2 * columns]
    else:
        pairs = columns // 2 * 4
        light = picture[rows, 2 * columns].astype(np.float32)
        blue = picture[rows, pairs + 1].astype(np.float32) - 128
        red = picture[rows, pairs + 3].astype(np.float32) - 128
        # ITU-R BT.601 in the full range, as JFIF and most cameras have it.
        pixels[0] = np.clip(light + 1.402 * red + 0.5, 0, 255)
        pixels[1] = np.clip(light - 0.344136 * blue - 0.714136 * red + 0.5, 0, 255)
        pixels[2] = np.clip(light + 1.772 * blue + 0.5, 0, 255)
