"""Where frames come from: files, or raw pixels on standard input. Cameras are in `v4l2`."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigdca.errors import FormatError, JobError, StorageError

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]

IDLE, END = 0, -1
WAIT_S = 0.1  # how long a source waits at most before it lets others have a look
NUM_QUEUED = 8
_MAX_HEADER_BYTES = 1000
_MAX_READ_BYTES = 2**22
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_GAP = rb"\s(?:\s|#[^\n]*\n)*"  # between the numbers of a netpbm header
_NETPBM = re.compile(
    _GAP.join([rb"(P[56])", rb"(\d{1,5})", rb"(\d{1,5})", rb"(\d{1,5})"]) + rb"\s"
)


class FrameShapeError(FormatError):
    """A source is there, but has no frames of the shape that the model takes."""


class Frames(Protocol):
    """A source of frames.

    Attributes:
        lost: frames that were there and are gone, because nobody took them in time.
        label: where the last frame comes from, if it has a name.
    """

    lost: int
    label: str

    def take(self, pixels: Pixels) -> int:
        """Waits for a frame, a tenth of a second at most.

        Args:
            pixels: uint8 [C, H, W], contiguous; the frame is written there.

        Returns:
            When the frame arrived, in nanoseconds of `time.monotonic_ns`; IDLE if none has; END
            if none ever will.

        Raises:
            FormatError: a frame is not what it must be.
            StorageError: it cannot be read.
        """
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...


class FileFrames:
    """Images of files, in the order of their names, at a pace.

    At a pace a frame arrives when it is due, whether or not anyone is ready for it. Without, the
    next one arrives when it is asked for.
    """

    def __init__(self, path: Path, shape: Shape, fps: float | None, *, repeat: bool) -> None:
        """Looks the files up.

        Args:
            path: a file, or a folder of files: `.npy`, `.pgm`, `.ppm`, MNIST's idx, or raw pixels.
            shape: (C, H, W).
            fps: frames a second; None: no pace.
            repeat: begin again after the last.

        Raises:
            StorageError: it is not there.
            FormatError: a folder holds no files.
        """
        self.lost, self.label = 0, ""
        try:
            paths = sorted(one for one in path.iterdir() if one.is_file())
        except NotADirectoryError:
            paths = [path]
        except OSError as error:
            raise StorageError(f"{path}: cannot read: {error.strerror}") from error
        if not paths:
            raise FormatError(f"{path}: holds no files")
        self._images = _images(paths, shape, repeat)
        self._period_ns = int(1e9 / fps) if fps else 0
        self._due_ns = 0

    def take(self, pixels: Pixels) -> int:
        """See `Frames.take`."""
        if self._period_ns and (wait := self._due_ns - time.monotonic_ns()) > 0:
            time.sleep(min(wait / 1e9, WAIT_S))
            if wait > WAIT_S * 1e9:
                return IDLE
        image = next(self._images, None)
        if image is None:
            return END
        np.copyto(pixels, image[1])
        self.label = image[0]
        now = time.monotonic_ns()
        if not self._period_ns:
            return now
        arrived = self._due_ns or now
        self._due_ns = arrived + self._period_ns
        return arrived

    def close(self) -> None:
        """Nothing is held."""


def _images(paths: list[Path], shape: Shape, repeat: bool) -> Iterator[tuple[str, Pixels]]:
    while True:
        for path in paths:
            for number, image in enumerate(read_images(path, shape)):
                yield f"{path.name}#{number}", image
        if not repeat:
            return


def read_images(path: Path, shape: Shape) -> Pixels:
    """The images of a file.

    Returns:
        uint8 [n, C, H, W].

    Raises:
        FormatError: it holds something else.
        StorageError: it cannot be read.
    """
    data = _content(path)
    head = data[:_MAX_HEADER_BYTES].tobytes()
    if head.startswith(b"\x93NUMPY"):
        return _npy(path, head, data, shape)
    if head[:2] in (b"P5", b"P6"):
        return _netpbm(path, head, data, shape)
    if head[:3] == b"\0\0\x08":
        end = 4 + 4 * int.from_bytes(head[3:4], "little")
        sizes = [int.from_bytes(head[at : at + 4], "big") for at in range(4, end, 4)]
        return _of_sizes(path, data[end:], tuple(sizes), shape)
    return _of_shape(path, data, shape)


def _content(path: Path) -> Pixels:
    """A file's bytes; a large one is mapped, and must not become shorter while it is used."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_READ_BYTES + 1)
        if len(content) > _MAX_READ_BYTES:
            return np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise StorageError(f"{path}: cannot read: {error.strerror or error}") from error
    if not content:
        raise FormatError(f"{path}: is empty")
    return np.frombuffer(content, np.uint8)


def _npy(path: Path, head: bytes, data: Pixels, shape: Shape) -> Pixels:
    stream = BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        read = _NPY_HEADERS[version]
        sizes, fortran, kind = read(stream)
    except Exception as error:  # numpy's parser lets through whatever the file provokes
        reason = str(error).partition("\n")[0][:200]
        raise FormatError(f"{path}: not a .npy file of images: {reason}") from error
    if kind != np.uint8 or fortran:
        order = " in Fortran's order" if fortran else ""
        raise FormatError(f"{path}: images must be uint8, got {kind}{order}")
    return _of_sizes(path, data[stream.tell() :], sizes, shape)


def _netpbm(path: Path, head: bytes, data: Pixels, shape: Shape) -> Pixels:
    """P5 (grey) or P6 (colour, pixel by pixel), 8 bits."""
    found = _NETPBM.match(head)
    kind = b"P6" if shape[0] == 3 else b"P5"
    wanted = (kind, b"%d" % shape[2], b"%d" % shape[1], b"255")
    if found is None or found.groups() != wanted:
        got = b" ".join(found.groups()).decode() if found else "another header"
        raise FormatError(f"{path}: must be {b' '.join(wanted).decode()}, got {got}")
    channels = 3 if kind == b"P6" else 1
    rows = _of_shape(path, data[found.end() :], (shape[1], shape[2], channels))
    return np.moveaxis(rows, 3, 1)


def _of_sizes(path: Path, data: Pixels, sizes: tuple[int, ...], shape: Shape) -> Pixels:
    """The pixels behind a header with their sizes; an only channel need not be among these."""
    images: tuple[tuple[int, ...], ...] = (shape, shape[1:]) if shape[0] == 1 else (shape,)
    if not any(one in (sizes, sizes[1:]) for one in images):
        wanted = " or ".join(f"[n, {', '.join(map(str, one))}]" for one in images)
        raise FormatError(f"{path}: images must be {wanted}, got {list(sizes)}"[:300])
    if math.prod(sizes) != data.size:
        raise FormatError(f"{path}: has {data.size} bytes of pixels, promises {list(sizes)}")
    return _of_shape(path, data, shape)


def _of_shape(path: Path, data: Pixels, shape: Shape) -> Pixels:
    count = int(np.prod(shape))
    if data.size == 0 or data.size % count:
        raise FormatError(
            f"{path}: has {data.size} bytes of pixels, must have a multiple of {count}"
        )
    return data.reshape(-1, *shape)


class StreamFrames:
    """Raw pixels from a file descriptor, read by a thread of its own as they come.

    A few frames wait in memory that is reserved at the start. When it is full, the reader waits,
    or the oldest frame is lost.
    """

    def __init__(self, descriptor: int, shape: Shape, *, prefixed: bool, drop: bool) -> None:
        """Begins to read.

        Args:
            descriptor: such as that of standard input.
            shape: (C, H, W).
            prefixed: before each frame, its bytes as a little-endian u32.
            drop: lose the oldest frame rather than make the sender wait.
        """
        self.lost, self.label = 0, ""
        self._descriptor, self._prefixed, self._drop = descriptor, prefixed, drop
        # One more than can wait: the reader's own.
        self._ring = np.empty((NUM_QUEUED + 1, *shape), np.uint8)
        self._arrived = [0] * (NUM_QUEUED + 1)
        self._first = self._count = 0
        self._ended = False
        self._error: FormatError | StorageError | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._read, name="frames", daemon=True).start()

    def take(self, pixels: Pixels) -> int:
        """See `Frames.take`."""
        with self._changed:
            if not self._count and not self._ended:
                self._changed.wait(WAIT_S)
            if not self._count:
                if self._error is not None:
                    raise self._error
                return END if self._ended else IDLE
            np.copyto(pixels, self._ring[self._first])
            arrived = self._arrived[self._first]
            self._first = (self._first + 1) % len(self._ring)
            self._count -= 1
            self._changed.notify()
        return arrived

    def close(self) -> None:
        """The thread ends with the process: it may hang in a read that nothing ends."""

    def _read(self) -> None:
        number, at = 0, 0
        try:
            while self._fill(at, number):
                with self._changed:
                    self._arrived[at] = time.monotonic_ns()
                    if self._drop and self._count == NUM_QUEUED:
                        self._first = (self._first + 1) % len(self._ring)
                        self._count -= 1
                        self.lost += 1
                    while self._count == NUM_QUEUED:
                        self._changed.wait()
                    self._count += 1
                    at = (self._first + self._count) % len(self._ring)
                    self._changed.notify()
                number += 1
        except (FormatError, StorageError) as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _fill(self, at: int, number: int) -> bool:
        """Reads a frame into the ring; False at the end of all."""
        frame = memoryview(self._ring[at]).cast("B")
        if self._prefixed:
            head = bytearray(4)
            if not self._read_into(memoryview(head), number, "length"):
                return False
            length = int.from_bytes(head, "little")
            if length != len(frame):
                raise FormatError(
                    f"standard input: frame {number} has {length} bytes, the model takes "
                    f"{len(frame)}"
                )
        if not self._read_into(frame, number, "pixels"):
            if self._prefixed:
                raise FormatError(f"standard input: frame {number} is cut off behind its length")
            return False
        return True

    def _read_into(self, place: memoryview, number: int, what: str) -> bool:
        filled = 0
        while filled < len(place):
            try:
                got = os.readv(self._descriptor, [place[filled:]])
            except OSError as error:
                raise StorageError(f"standard input: cannot read: {error.strerror}") from error
            if got == 0 and filled:
                raise FormatError(
                    f"standard input: frame {number} is cut off: {filled} of {len(place)} bytes "
                    f"of its {what}"
                )
            if got == 0:
                return False
            filled += got
        return True


def open_frames(
    where: str, shape: Shape, *, fps: float | None, repeat: bool, prefixed: bool, drop: bool
) -> Frames:
    """A source by what a user calls it.

    Args:
        where: `-` for standard input, `camera:/dev/videoN`, or the path of a file or folder.
        shape: (C, H, W).
        fps: frames a second; of standard input there is no choosing.
        repeat: files begin again after the last.
        prefixed: on standard input, each frame has its length before it.
        drop: frames are lost rather than late.

    Raises:
        JobError: an option does not fit the source.
        FrameShapeError: a camera cannot give what the model takes.
        SigdcaError: it cannot be opened.
    """
    if where == "-":
        if fps or repeat:
            raise JobError("frames: standard input has its own pace and end")
        return StreamFrames(0, shape, prefixed=prefixed, drop=drop)
    if where.startswith("camera:"):
        from sigdca.edge.v4l2 import Camera

        return Camera(where.removeprefix("camera:"), shape, fps)
    return FileFrames(Path(where), shape, fps, repeat=repeat)
