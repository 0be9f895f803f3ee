"""Hostile input: mutated bundles, containers, frames, a broker that lies; deltas for a server."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from claims import Claim, at_least, at_most
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigdca.codec import Graph, Op, encode_container
from sigdca.edge.bundle import get_bundle
from sigdca.edge.delta import apply_delta, make_delta
from sigdca.edge.frames import END, IDLE, StreamFrames, read_images
from sigdca.edge.mqtt import Mqtt
from sigdca.edge.signing import sign_container
from sigdca.errors import SigdcaError
from sigdca.native import Model, Session

SHAPE = (1, 28, 28)
Tally = dict[str, int]


def hostile_claims(container: bytes, num_inputs: int, against: str) -> list[Claim]:
    """Some of each kind; every input ends in one of our own errors, or is no harm.

    Args:
        container: a sound container that takes SHAPE.
        num_inputs: mutated inputs in all.
        against: whose bounds they are.
    """
    rng = random.Random(0)
    kinds: dict[str, tuple[float, Callable[[bytes, int, random.Random], Tally]]] = {
        "bundles: crashes or accepted": (0.48, _bundles),
        "deltas: crashes or accepted": (0.02, _deltas),
        "containers: crashes or logits that are not finite": (0.2, _containers),
        "frames: crashes": (0.29, _frames),
        "broker's messages: crashes": (0.01, _broker),
    }
    claims = []
    total = 0
    for name, (share, run) in kinds.items():
        tally = run(container, int(share * num_inputs), rng)
        total += tally["inputs"]
        bad = tally["crashes"] + tally["accepted"]
        claim = at_most(f"hostile {name}", [bad], 0, "inputs", against)
        claims.append(replace(claim, n=tally["inputs"]))
    claims.append(at_least("hostile inputs", [total], 0.98 * num_inputs, "inputs", against))
    return claims


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A few changes of the kinds that break parsers; never what it was."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = min(int(rng.expovariate(4 / len(data))), max(len(content) - 1, 0))
        kind = rng.randrange(6)
        if kind == 0 and content:
            content[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[place:]
        elif kind == 2:
            content[place:place] = rng.randbytes(rng.randint(1, 9))
        elif kind == 3:
            del content[place : place + rng.randint(1, 9)]
        elif kind == 4:
            content[place : place + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
        else:
            content[place : place + 8] = content[: rng.randint(0, 64)]
    return bytes(content) if content != data else data + b"\0"


def _tally() -> Tally:
    return {"inputs": 0, "crashes": 0, "accepted": 0}


def _count(tally: Tally, take: Callable[[], bool]) -> None:
    """`take` says whether it accepted what it should not have."""
    tally["inputs"] += 1
    try:
        tally["accepted"] += take()
    except SigdcaError:
        pass
    except Exception as error:
        print(f"crash: {error!r}", flush=True)
        tally["crashes"] += 1


def _bundles(container: bytes, count: int, rng: random.Random) -> Tally:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    told = {"version": 1, "channel": "stable", "targets": ["board"], "model": "m"}
    bundle = sign_container(container, key=key, **told)  # type: ignore[arg-type]
    keys, tally = [key.public_key()], _tally()
    for _ in range(count):
        data = mutated(bundle, rng)
        _count(tally, lambda data=data: bool(get_bundle(data, keys)))
    return tally


def _deltas(_container: bytes, count: int, rng: random.Random) -> Tally:
    """Some have a sound checksum; whatever is taken must lead to what the board had."""
    fc = Op("fc", "f", (1,), {"out_features": 8, "bias": 1})
    graph = Graph((1, 4, 4), 1 / 256, (Op("flatten", "", (0,)), fc))
    weight = np.array([[rng.randrange(-3, 4) for _ in range(16)] for _ in range(8)], np.float32)
    base, tuned = (
        encode_container(graph, {"f.weight": some, "f.bias": np.arange(8, dtype=np.float32)})
        for some in (weight, np.where(weight == 0, 0, weight + np.float32(0.25)))
    )
    delta, tally = make_delta(base, tuned), _tally()
    for number in range(count):
        data = mutated(delta, rng)
        if number % 2:
            data = data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")
        _count(tally, lambda data=data: apply_delta(base, data) != tuned)
    return tally


def _containers(container: bytes, count: int, rng: random.Random) -> Tally:
    """What a signer may have let pass: no crash is asked for, and no other logits than finite."""
    image, tally = np.zeros((1, *SHAPE), np.uint8), _tally()

    def take(data: bytes) -> bool:
        session = Session(Model(data))
        if session.model.info.input_shape == SHAPE:
            return not np.isfinite(session.run(image)).all()
        return False

    for _ in range(count):
        data = mutated(container, rng)
        _count(tally, lambda data=data: take(data))
    return tally


def _frames(_container: bytes, count: int, rng: random.Random) -> Tally:
    """Files and streams. What has the right number of bytes is a frame, whatever it shows."""
    pixels = rng.randbytes(int(np.prod(SHAPE)))
    saved = BytesIO()
    np.save(saved, np.frombuffer(pixels, np.uint8).reshape(1, *SHAPE))
    idx = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in SHAPE)
    files = (saved.getvalue(), b"P5 28 28 255\n" + pixels, idx + pixels)
    stream = len(pixels).to_bytes(4, "little") + pixels
    tally = _tally()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        path = Path(name, "x")

        def read(data: bytes) -> bool:
            path.write_bytes(data)
            return bool(read_images(path, SHAPE).shape[1:] != SHAPE)

        for number in range(count):
            if number % 50 == 0:
                _count(tally, lambda: _read_stream(mutated(stream * 3, rng)))
            else:
                data = mutated(files[number % 3], rng)
                _count(tally, lambda data=data: read(data))
    return tally


def _read_stream(data: bytes) -> bool:
    reader, writer = os.pipe()
    try:
        frames = StreamFrames(reader, SHAPE, prefixed=True, drop=False)
        os.write(writer, data)
        os.close(writer)
        pixels, patience = np.empty(SHAPE, np.uint8), 100
        while (found := frames.take(pixels)) != END:
            patience -= found == IDLE
            if patience == 0:
                raise TimeoutError("a stream that does not end")
        return False
    finally:
        os.close(reader)


def _broker(_container: bytes, count: int, rng: random.Random) -> Tally:
    """What a broker may send to one who only publishes, broken."""
    sound = (
        b"\x20\x02\x00\x00",  # CONNACK
        b"\x20\x02\x00\x00\x40\x02\x00\x01",  # and a PUBACK
        b"\x20\x02\x00\x00\x30\x07\x00\x01thello\x00",  # and a message that nobody asked for
        b"\x20\x02\x00\x00\xd0\x00",  # and a PINGRESP
    )
    tally = _tally()
    thread_errors: list[object] = []
    threading.excepthook = lambda hooked: thread_errors.append(hooked.exc_value)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        for _ in range(count):
            data = mutated(rng.choice(sound), rng)
            _count(tally, lambda data=data: _lied_to(server, data))
    threading.excepthook = threading.__excepthook__
    for error in thread_errors:
        print(f"crash in a thread: {error!r}", flush=True)
    tally["crashes"] += len(thread_errors)
    return tally


def _lied_to(server: socket.socket, data: bytes) -> bool:
    output = Mqtt(f"mqtt://127.0.0.1:{server.getsockname()[1]}/t")
    try:
        connection, _ = server.accept()
        with connection:
            connection.sendall(data)
            for _ in range(3):
                output.put(b"x\n")
                time.sleep(0.002)
    finally:
        output._client.disconnect()
        output._client.loop_stop()
    return False
