"""The camera, up to the kernel's boundary: structures by its header, calls to a stand-in.

The stand-in is a file in place of the device: its content is the mapped buffers. No camera was
ever seen by this code.
"""

import ctypes
import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sigdca.edge import v4l2_abi as abi
from sigdca.edge.frames import IDLE, FrameShapeError
from sigdca.edge.v4l2 import Camera
from sigdca.errors import FormatError, StorageError

HEADER = Path("/usr/include/linux/videodev2.h")
FIELDS = {
    "v4l2_capability": (abi.Capability, ("capabilities", "device_caps")),
    "v4l2_requestbuffers": (abi.RequestBuffers, ("count", "type", "memory")),
    "v4l2_buffer": (
        abi.Buffer,
        ("index", "bytesused", "flags", "field", "sequence", "memory", "length"),
    ),
}
OFFSETS = {
    "v4l2_format": (abi.Format, {"fmt.pix.width": "width", "fmt.pix.sizeimage": "sizeimage"}),
    "v4l2_buffer": (abi.Buffer, {"timestamp.tv_sec": "seconds", "m.offset": "offset"}),
    "v4l2_streamparm": (
        abi.StreamParameters,
        {"parm.capture.timeperframe.denominator": "denominator"},
    ),
}
REQUESTS = ("QUERYCAP", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "S_PARM")


@pytest.mark.skipif(not HEADER.is_file() or not shutil.which("cc"), reason="no kernel headers")
def test_structures_are_the_kernel_s(tmp_path):
    expected, lines = [], []
    for name, (kind, names) in FIELDS.items():
        for field in names:
            expected.append(getattr(kind, field).offset)
            lines.append(f"offsetof(struct {name}, {field})")
    for name, (kind, places) in OFFSETS.items():
        for place, field in places.items():
            expected.append(getattr(kind, field).offset)
            lines.append(f"offsetof(struct {name}, {place})")
    for name in REQUESTS:
        expected.append(getattr(abi, name))
        lines.append(f"(unsigned long)(unsigned)VIDIOC_{name}")
    code = "\n".join(f'printf("%lu\\n", (unsigned long){line});' for line in lines)
    source = tmp_path / "x.c"
    source.write_text(
        "#include <linux/videodev2.h>\n#include <stddef.h>\n#include <stdio.h>\n"
        f"int main(void) {{\n{code}\n}}\n"
    )
    subprocess.run(["cc", source, "-o", tmp_path / "x"], check=True)
    told = subprocess.run([tmp_path / "x"], check=True, capture_output=True, text=True).stdout
    assert dict(zip(lines, map(int, told.split()), strict=True)) == dict(
        zip(lines, expected, strict=True)
    )


class Driver:
    """What a driver answers, by the documentation of Video4Linux."""

    def __init__(self, path: Path, formats=("YUYV",), size=(8, 4)) -> None:
        self.path, self.formats, self.size = path, formats, size
        self.pixel_bytes = {"YUYV": 2, "GREY": 1, "RGB3": 3}
        self.queued: list[int] = []
        self.sequence, self.running, self.flags = 0, False, abi.CLOCK_MONOTONIC
        self.capabilities = abi.CAN_CAPTURE | abi.CAN_STREAM
        self.rate = None
        path.write_bytes(bytes(4 * 4096))

    def __call__(self, _descriptor, request, argument):
        if request == abi.QUERYCAP:
            argument.capabilities = self.capabilities | abi.HAS_DEVICE_CAPS
            argument.device_caps = self.capabilities
        elif request == abi.S_FMT:
            assert (argument.type, argument.width, argument.height) == (1, 640, 480)
            self._format(argument)
        elif request == abi.S_PARM:
            self.rate = argument.denominator / argument.numerator
        elif request == abi.REQBUFS:
            assert argument.memory == 1
            argument.count = 4
        elif request == abi.QUERYBUF:
            argument.length, argument.offset = 4096, 4096 * argument.index
        elif request == abi.QBUF:
            self.queued.append(argument.index)
        elif request == abi.STREAMON:
            self.running = True
        elif request == abi.STREAMOFF:
            self.running = False
        elif request == abi.DQBUF:
            self._give(argument)
        else:
            raise OSError(errno.ENOTTY, "no such request")

    def _format(self, argument) -> None:
        known = {abi.fourcc(name): name for name in self.formats}
        name = known.get(argument.pixelformat, self.formats[0])
        argument.pixelformat = abi.fourcc(name)
        argument.width, argument.height = self.size
        argument.bytesperline = self.size[0] * self.pixel_bytes[name] + 4  # lines have ends

    def picture(self, picture: np.ndarray) -> None:
        lines = np.pad(picture.reshape(len(picture), -1), ((0, 0), (0, 4)))
        with open(self.path, "r+b") as file:
            for index in range(4):
                file.seek(4096 * index)
                file.write(lines.tobytes())

    def _give(self, argument) -> None:
        if not self.running or not self.queued:
            raise BlockingIOError(errno.EAGAIN, "nothing yet")
        argument.index = self.queued.pop(0)
        argument.sequence, argument.flags = self.sequence, self.flags
        argument.seconds, argument.microseconds = 12, 345_678
        self.sequence += 1


@pytest.fixture
def driver(tmp_path):
    return Driver(tmp_path / "video0")


def opened(driver: Driver, shape, fps=None) -> Camera:
    return Camera(str(driver.path), shape, fps, ioctl=driver)


def test_grey_from_yuyv(driver):
    camera = opened(driver, (1, 2, 2), fps=30)
    assert driver.rate == 30
    light = np.arange(32, dtype=np.uint8).reshape(4, 8)
    driver.picture(np.stack([light, np.full_like(light, 128)], axis=2))
    pixels = np.zeros((1, 2, 2), np.uint8)
    assert camera.take(pixels) == 12_345_678_000
    # The middle 4 x 4 of 8 x 4, every second pixel.
    assert pixels[0].tolist() == [[light[1, 3], light[1, 5]], [light[3, 3], light[3, 5]]]
    assert driver.queued == [1, 2, 3, 0], "the buffer was given back"
    camera.close()
    assert not driver.running


def test_colours_from_yuyv(driver):
    camera = opened(driver, (3, 4, 4))
    picture = np.zeros((4, 8, 2), np.uint8)
    picture[:, :, 0], picture[:, 0::2, 1], picture[:, 1::2, 1] = 76, 85, 255  # pure red in JFIF
    driver.picture(picture)
    pixels = np.zeros((3, 4, 4), np.uint8)
    camera.take(pixels)
    assert np.abs(pixels.astype(int) - np.array([254, 0, 0])[:, None, None]).max() <= 1
    camera.close()


def test_colours_pixel_by_pixel(tmp_path):
    driver = Driver(tmp_path / "video0", formats=("RGB3",))
    camera = opened(driver, (3, 4, 8))
    picture = np.arange(96, dtype=np.uint8).reshape(4, 8, 3)
    driver.picture(picture)
    pixels = np.zeros((3, 4, 8), np.uint8)
    camera.take(pixels)
    assert np.array_equal(pixels, picture.transpose(2, 0, 1))
    camera.close()


def test_frames_that_the_driver_left_out(driver):
    camera = opened(driver, (1, 2, 2))
    pixels = np.zeros((1, 2, 2), np.uint8)
    camera.take(pixels)
    driver.sequence += 3
    camera.take(pixels)
    assert camera.lost == 3
    driver.flags |= abi.BUFFER_ERROR
    assert camera.take(pixels) == IDLE
    assert camera.lost == 4
    assert len(driver.queued) == 4
    camera.close()


def test_another_clock(driver):
    driver.flags = 0
    camera = opened(driver, (1, 2, 2))
    assert camera.take(np.zeros((1, 2, 2), np.uint8)) > 12_345_678_000
    camera.close()


def test_nothing_yet(driver):
    camera = opened(driver, (1, 2, 2))
    driver.queued.clear()
    assert camera.take(np.zeros((1, 2, 2), np.uint8)) == IDLE
    camera.close()


def test_unplugged(driver):
    camera = opened(driver, (1, 2, 2))

    def gone(*_):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    camera._ioctl_of = gone
    with pytest.raises(StorageError, match="cannot take a frame: No such device"):
        camera.take(np.zeros((1, 2, 2), np.uint8))
    camera.close()


def test_what_is_no_camera(driver, tmp_path):
    with pytest.raises(FrameShapeError, match="the model takes 4 channels, a camera has 1 or 3"):
        opened(driver, (4, 2, 2))
    with pytest.raises(StorageError, match="cannot open: No such file"):
        Camera(str(tmp_path / "none"), (1, 2, 2), None)
    with pytest.raises(StorageError, match="cannot ask what it is: Inappropriate ioctl"):
        Camera(str(driver.path), (1, 2, 2), None)
    driver.capabilities = abi.CAN_CAPTURE
    with pytest.raises(FormatError, match="is no camera that streams"):
        opened(driver, (1, 2, 2))


def test_no_format_that_fits(tmp_path):
    driver = Driver(tmp_path / "video0", formats=("RGB3",))
    with pytest.raises(FrameShapeError, match="has none of the formats GREY, YUYV"):
        opened(driver, (1, 2, 2))


def test_buffers_that_are_too_small(driver, monkeypatch):
    driver.size = (640, 480)
    with pytest.raises(FormatError, match="its buffers are smaller than its pictures"):
        opened(driver, (1, 2, 2))


def test_sizes_of_the_structures():
    kinds = (abi.Capability, abi.Format, abi.StreamParameters, abi.RequestBuffers, abi.Buffer)
    assert [ctypes.sizeof(kind) for kind in kinds] == [104, 208, 204, 20, 88]
