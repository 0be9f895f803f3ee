"""Frames from files and from a pipe: what they hold, when they arrive, what is refused."""

import contextlib
import os
import time

import numpy as np
import pytest

from sigdca.edge.frames import END, IDLE, FileFrames, StreamFrames, open_frames, read_images
from sigdca.errors import FormatError, JobError, StorageError

GREY, COLOUR = (1, 2, 3), (3, 2, 3)
IMAGES = np.arange(24, dtype=np.uint8).reshape(4, *GREY)


def taken(frames, shape=GREY, patience: int = 50) -> list[list[int]]:
    """All frames to the end, as lists of pixels."""
    pixels, found = np.empty(shape, np.uint8), []
    while patience:
        arrived = frames.take(pixels)
        if arrived == END:
            return found
        if arrived == IDLE:
            patience -= 1
        else:
            assert 0 < arrived <= time.monotonic_ns()
            found.append(pixels.ravel().tolist())
    raise AssertionError("no end")


EXPECTED = IMAGES.reshape(4, -1).tolist()


@pytest.mark.parametrize("form", ["npy", "npy-flat", "idx", "raw"])
def test_files_of_many_images(tmp_path, form):
    path = tmp_path / "images"
    if form.startswith("npy"):
        with open(path, "wb") as file:
            np.save(file, IMAGES[:, 0] if form == "npy-flat" else IMAGES)
    else:
        head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (4, 2, 3))
        path.write_bytes((head if form == "idx" else b"") + IMAGES.tobytes())
    assert taken(FileFrames(path, GREY, None, repeat=False)) == EXPECTED


def test_a_folder_in_the_order_of_names(tmp_path):
    for number in (2, 0, 3, 1):
        head = b"P5 # a comment\n3\n# another\n2 255\n"
        (tmp_path / f"{number}.pgm").write_bytes(head + IMAGES[number].tobytes())
    frames = FileFrames(tmp_path, GREY, None, repeat=False)
    assert taken(frames) == EXPECTED
    assert frames.label == "3.pgm#0"


def test_colours_become_planes(tmp_path):
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    path = tmp_path / "x.ppm"
    path.write_bytes(b"P6\n3 2\n255\n" + pixels.tobytes())
    assert np.array_equal(read_images(path, COLOUR)[0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\1\2\3", "has 3 bytes of pixels, must have a multiple of 6"),
        (b"\0\0\x08", r"must be \[n, 1, 2, 3\] or \[n, 2, 3\], got \[\]"),
        (b"\0\0\x08\xff", r"got \[0, 0, "),
        (b"\0\0\x08\3\0\0\0\1\0\0\0\2\0\0\0\3" + bytes(12), r"promises \[1, 2, 3\]"),
        (b"\0\0\x08\3\0\0\0\0\0\0\0\2\0\0\0\3", "has 0 bytes of pixels, must"),
        (b"\x93NUMPY\x01\0\xff\xff", "not a .npy file of images"),
        (b"\x93NUMPY\x01\0\x03\0{(\n", "not a .npy file of images"),
        (b"P5 3 2 65535\n123456", "must be P5 3 2 255, got P5 3 2 65535"),
        (b"P5 30 2 255\n123456", "must be P5 3 2 255, got P5 30 2 255"),
        (b"P6 3 2 255\n" + bytes(18), "must be P5 3 2 255, got P6 3 2 255"),
        (b"P5 3 2 255\n12345", "has 5 bytes of pixels"),
        (b"P5 # without an end", "must be P5 3 2 255, got another header"),
    ],
)
def test_what_is_no_image(tmp_path, content, message):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_images(path, GREY)


def test_numbers_of_another_kind(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(GREY, np.float32))
    with pytest.raises(FormatError, match="images must be uint8, got float32"):
        read_images(tmp_path / "x.npy", GREY)


def idx(images):
    sizes = b"".join(size.to_bytes(4, "big") for size in images.shape)
    return b"\0\0\x08" + bytes([images.ndim]) + sizes + images.tobytes()


FORMS = pytest.mark.parametrize("form", ["npy", "idx"])


@FORMS
@pytest.mark.parametrize("sizes", [(2, 2, 3, 3), (1, 4, 6), (4, 6), (2, 3, 1), (24,)])
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_images_of_other_sizes(tmp_path, shape, sizes, form):
    path, images = tmp_path / "x.npy", np.zeros(sizes, np.uint8)
    np.save(path, images) if form == "npy" else path.write_bytes(idx(images))
    with pytest.raises(FormatError) as caught:
        read_images(path, shape)
    wanted = "[n, 1, 2, 3] or [n, 2, 3]" if shape is GREY else "[n, 3, 2, 3]"
    assert str(caught.value) == f"{path}: images must be {wanted}, got {list(sizes)}"


@FORMS
@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (GREY, (2, 3)),
        (GREY, (1, 2, 3)),
        (GREY, (5, 2, 3)),
        (GREY, (5, 1, 2, 3)),
        (COLOUR, (3, 2, 3)),
        (COLOUR, (5, 3, 2, 3)),
    ],
)
def test_images_with_or_without_a_number_of_them(tmp_path, shape, sizes, form):
    path, images = tmp_path / "x.npy", np.arange(np.prod(sizes)).astype(np.uint8).reshape(sizes)
    np.save(path, images) if form == "npy" else path.write_bytes(idx(images))
    assert np.array_equal(read_images(path, shape), images.reshape(-1, *shape))


def test_a_promise_that_is_not_kept(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-6])
    with pytest.raises(FormatError, match=r"has 18 bytes of pixels, promises \[4, 1, 2, 3\]"):
        read_images(tmp_path / "x.npy", GREY)
    np.save(tmp_path / "x.npy", np.asfortranarray(IMAGES))
    with pytest.raises(FormatError, match="got uint8 in Fortran's order"):
        read_images(tmp_path / "x.npy", GREY)


def test_a_large_file_is_mapped(tmp_path):
    images = np.resize(IMAGES, (2**20, *GREY))
    np.save(tmp_path / "x.npy", images)
    found = read_images(tmp_path / "x.npy", GREY)
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, images)


def test_nothing_there(tmp_path):
    with pytest.raises(FormatError, match="holds no files"):
        FileFrames(tmp_path, GREY, None, repeat=False)
    with pytest.raises(StorageError, match="cannot read: No such file"):
        FileFrames(tmp_path / "none", GREY, None, repeat=False)


def test_at_a_pace_a_frame_arrives_when_it_is_due(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    frames = FileFrames(tmp_path / "x.npy", GREY, 100, repeat=True)
    pixels = np.empty(GREY, np.uint8)
    arrived = [frames.take(pixels) for _ in range(2)]
    time.sleep(0.05)  # nobody is ready for the next ones
    arrived += [frames.take(pixels) for _ in range(4)]
    assert np.diff(arrived).tolist() == [10_000_000] * 5
    assert pixels.ravel().tolist() == EXPECTED[1], "began again"


def test_a_slow_pace_lets_others_have_a_look(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    frames = FileFrames(tmp_path / "x.npy", GREY, 1, repeat=True)
    pixels = np.empty(GREY, np.uint8)
    assert frames.take(pixels) > 0
    assert frames.take(pixels) == IDLE


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def prefixed(length: int = 6) -> bytes:
    return b"".join(length.to_bytes(4, "little") + one.tobytes() for one in IMAGES)


@pytest.mark.parametrize("content", [IMAGES.tobytes(), prefixed()], ids=["fixed", "prefixed"])
def test_a_stream_in_pieces(pipe, content):
    frames = StreamFrames(pipe[0], GREY, prefixed=len(content) > 24, drop=False)
    for start in range(0, len(content), 5):
        os.write(pipe[1], content[start : start + 5])
    os.close(pipe[1])
    assert taken(frames) == EXPECTED
    assert frames.lost == 0


def test_a_stream_that_waits_loses_nothing(pipe):
    frames = StreamFrames(pipe[0], GREY, prefixed=False, drop=False)
    sent = np.arange(6 * 40, dtype=np.uint8)
    os.write(pipe[1], sent.tobytes())
    os.close(pipe[1])
    time.sleep(0.05)
    assert taken(frames) == sent.reshape(40, 6).tolist()


def test_a_stream_that_drops_keeps_the_newest(pipe):
    frames = StreamFrames(pipe[0], GREY, prefixed=False, drop=True)
    sent = np.arange(6 * 40, dtype=np.uint8)
    os.write(pipe[1], sent.tobytes())
    os.close(pipe[1])
    deadline = time.monotonic() + 5
    while frames.lost < 32 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert frames.lost == 32
    assert taken(frames) == sent.reshape(40, 6)[-8:].tolist()


@pytest.mark.parametrize(
    ("content", "with_length", "message"),
    [
        (IMAGES.tobytes()[:-1], False, "frame 3 is cut off: 5 of 6 bytes of its pixels"),
        (prefixed()[:-1], True, "frame 3 is cut off: 5 of 6 bytes of its pixels"),
        (prefixed()[:-6], True, "frame 3 is cut off behind its length"),
        (prefixed()[:-8], True, "frame 3 is cut off: 2 of 4 bytes of its length"),
        (prefixed(2**32 - 1), True, "frame 0 has 4294967295 bytes, the model takes 6"),
    ],
)
def test_a_stream_that_is_not_what_it_must_be(pipe, content, with_length, message):
    frames = StreamFrames(pipe[0], GREY, prefixed=with_length, drop=False)
    os.write(pipe[1], content)
    os.close(pipe[1])
    with pytest.raises(FormatError, match=message):
        taken(frames)


def test_options_that_do_not_fit():
    with pytest.raises(JobError, match="standard input has its own pace"):
        open_frames("-", GREY, fps=5, repeat=False, prefixed=False, drop=False)
