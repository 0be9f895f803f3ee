"""Video4Linux 2's structures and request numbers (linux/videodev2.h), as 64-bit Linux has them."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int64, c_uint8, c_uint32, c_uint64

CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
MMAP = 1  # V4L2_MEMORY_MMAP
CAN_CAPTURE, CAN_STREAM, HAS_DEVICE_CAPS = 0x1, 0x0400_0000, 0x8000_0000
CLOCK_MASK, CLOCK_MONOTONIC = 0xE000, 0x2000
BUFFER_ERROR = 0x40


class Capability(ctypes.Structure):
    """v4l2_capability."""

    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class Format(ctypes.Structure):
    """v4l2_format with v4l2_pix_format in it."""

    _fields_ = (
        ("type", c_uint32),
        ("padding", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("rest", c_uint8 * 176),
    )


class StreamParameters(ctypes.Structure):
    """v4l2_streamparm with v4l2_captureparm in it."""

    _fields_ = (
        ("type", c_uint32),
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("numerator", c_uint32),
        ("denominator", c_uint32),
        ("rest", c_uint8 * 184),
    )


class RequestBuffers(ctypes.Structure):
    """v4l2_requestbuffers."""

    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("reserved", c_uint32),
    )


class Buffer(ctypes.Structure):
    """v4l2_buffer."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("seconds", c_int64),
        ("microseconds", c_int64),
        ("timecode", c_uint32 * 4),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("offset", c_uint64),  # of the union; the driver sets its lower half
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_uint32),
    )


def _request(direction: int, number: int, size: int) -> int:
    """An ioctl's number (asm-generic/ioctl.h)."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


_WRITE, _READ = 1, 2
QUERYCAP = _request(_READ, 0, ctypes.sizeof(Capability))
S_FMT = _request(_READ | _WRITE, 5, ctypes.sizeof(Format))
REQBUFS = _request(_READ | _WRITE, 8, ctypes.sizeof(RequestBuffers))
QUERYBUF = _request(_READ | _WRITE, 9, ctypes.sizeof(Buffer))
QBUF = _request(_READ | _WRITE, 15, ctypes.sizeof(Buffer))
DQBUF = _request(_READ | _WRITE, 17, ctypes.sizeof(Buffer))
STREAMON = _request(_WRITE, 18, 4)
STREAMOFF = _request(_WRITE, 19, 4)
S_PARM = _request(_READ | _WRITE, 22, ctypes.sizeof(StreamParameters))


def fourcc(name: str) -> int:
    """A pixel format's code, such as that of `GREY`."""
    return int.from_bytes(name.encode(), "little")
