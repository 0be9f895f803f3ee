"""The update bundle (`.dcu`): a container, what it is for, and a signature over both.

All numbers little-endian; nothing between or behind the parts.

| bytes | part |
| --- | --- |
| 8 | `89 44 43 55 0D 0A 1A 0A` |
| u16, u32 | version = 1; bytes of the manifest, at most 65,536 |
| | manifest: a JSON object in UTF-8, keys sorted, no spaces |
| 64 | Ed25519 signature of all before |
| | the container: as many bytes, and of that sha256, as the manifest says |

The signature is checked before a byte of the manifest is looked at, the manifest before a byte of
the container: whoever has no key reaches nothing but a length.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sigdca.errors import FormatError, SigdcaError

MAGIC = b"\x89DCU\r\n\x1a\n"
VERSION = 1
MAX_MANIFEST_BYTES = 65_536
MAX_CONTAINER_BYTES = 2**32 - 1  # a container's own limit
MAX_VERSION = 2**53  # what every JSON reader takes for a whole number
CHANNELS = ("stable", "canary")

_HEAD = struct.Struct("<8sHI")
_SIGNATURE_BYTES = 64
_CONTAINER_MAGIC = b"\x89DCA\r\n\x1a\n"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}\Z")


class BundleError(FormatError):
    """The file is no update bundle, or not a whole one."""


class UpdateRefusedError(SigdcaError):
    """A device does not take this bundle. Nothing has changed on the device."""

    exit_code = 2


class UnsignedError(UpdateRefusedError):
    """The file carries no signature."""


class SignatureError(UpdateRefusedError):
    """No key that the device trusts has signed these bytes."""


class TamperedError(SignatureError):
    """A trusted key has signed another container than the one that is here."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle's signature vouches for.

    Attributes:
        model: the model's name, for people.
        version: counts up; a device takes only what is newer than all that was live there.
        channel: one of `CHANNELS`.
        targets: the targets that it is for.
        container_bytes: bytes of the container.
        container_sha256: its sha256.
        logits_sha256: what the self-test's logits must hash to (`sigdca.edge.self_test`).
    """

    model: str
    version: int
    channel: str
    targets: tuple[str, ...]
    container_bytes: int
    container_sha256: str
    logits_sha256: str

    def __post_init__(self) -> None:
        for name, sound, limit in (
            ("model", _NAME.match(self.model), "a name of up to 63 letters, digits and ._+-"),
            ("version", 1 <= self.version <= MAX_VERSION, f"1 to {MAX_VERSION}"),
            ("channel", self.channel in CHANNELS, " or ".join(CHANNELS)),
            ("targets", 1 <= len(self.targets) <= 64, "1 to 64 names"),
            ("targets", all(map(_NAME.match, self.targets)), "names of targets"),
            ("container_bytes", 1 <= self.container_bytes <= MAX_CONTAINER_BYTES, "below 4 GiB"),
            ("container_sha256", _SHA256.match(self.container_sha256), "64 hex digits"),
            ("logits_sha256", _SHA256.match(self.logits_sha256), "64 hex digits"),
        ):
            if not sound:
                got = str(getattr(self, name))[:80]
                raise BundleError(f"bundle: manifest: {name} must be {limit}, got {got!r}")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose signature and container have been found right."""

    manifest: Manifest
    container: bytes


def put_bundle(manifest: Manifest, container: bytes, key: Ed25519PrivateKey) -> bytes:
    """A whole bundle.

    Raises:
        BundleError: manifest and container do not belong together.
    """
    _check_container(manifest, container)
    text = json.dumps(asdict(manifest), sort_keys=True, separators=(",", ":")).encode()
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError(f"bundle: manifest of {len(text)} bytes, limit {MAX_MANIFEST_BYTES}")
    head = _HEAD.pack(MAGIC, VERSION, len(text)) + text
    return b"".join([head, key.sign(head), container])


def get_bundle(data: bytes, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """Reads a bundle that one of the keys has signed.

    Raises:
        BundleError: it is none, is cut off, or goes on behind its end.
        UnsignedError: it is a bare container, or its signature is left empty.
        SignatureError: none of the keys has signed its manifest, or the container is not the one
            that was signed.
    """
    manifest, at = _get_signed(data, keys)
    container = data[at:]
    if len(container) != manifest.container_bytes:
        raise BundleError(
            f"bundle: has {len(container)} bytes of container, its manifest promises "
            f"{manifest.container_bytes}"
        )
    _check_container(manifest, container)
    return Bundle(manifest, container)


def _get_signed(data: bytes, keys: Sequence[Ed25519PublicKey]) -> tuple[Manifest, int]:
    """The manifest, and where the container begins."""
    if data.startswith(_CONTAINER_MAGIC):
        raise UnsignedError("bundle: a bare container, which is not signed; see `sigdca sign`")
    if data[: len(MAGIC)] != MAGIC:
        begin = data[: len(MAGIC)].hex(" ") or "nothing"
        raise BundleError(f"bundle: begins with {begin}, must with {MAGIC.hex(' ')}")
    if len(data) < _HEAD.size:
        raise BundleError(f"bundle: has {len(data)} bytes, a head alone has {_HEAD.size}")
    _, version, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BundleError(f"bundle: is of version {version}, this reader knows {VERSION}")
    if length > MAX_MANIFEST_BYTES:
        raise BundleError(f"bundle: manifest of {length} bytes, limit {MAX_MANIFEST_BYTES}")
    end = _HEAD.size + length
    signature = data[end : end + _SIGNATURE_BYTES]
    if len(signature) < _SIGNATURE_BYTES:
        raise BundleError(
            f"bundle: has {len(data)} bytes, its signature ends at byte {end + _SIGNATURE_BYTES}"
        )
    if not any(signature):
        raise UnsignedError("bundle: its signature is empty; see `sigdca sign`")
    _check_signature(data[:end], signature, keys)
    return _get_manifest(data[_HEAD.size : end]), end + _SIGNATURE_BYTES


def _check_signature(head: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> None:
    for key in keys:
        try:
            key.verify(signature, head)
        except InvalidSignature:
            continue
        return
    raise SignatureError(
        f"bundle: tampered with, or signed by a stranger: none of {len(keys)} trusted keys has "
        "signed its manifest"
    )


def _get_manifest(text: bytes) -> Manifest:
    """Only signed text comes here; it is still held to its form, as a signer may be older."""
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError("bundle: manifest is not JSON") from error
    names = {field.name for field in fields(Manifest)}
    if not isinstance(content, dict) or set(content) != names:
        raise BundleError(f"bundle: manifest must have just {', '.join(sorted(names))}")
    targets = content["targets"]
    whole = [content["version"], content["container_bytes"]]
    texts = [value for name, value in content.items() if name not in _NO_TEXTS]
    texts += targets if isinstance(targets, list) else [None]
    if any(type(number) is not int for number in whole) or not all(
        isinstance(one, str) for one in texts
    ):
        raise BundleError("bundle: manifest has a value of another kind than it must be")
    return Manifest(**(content | {"targets": tuple(targets)}))


_NO_TEXTS = ("version", "container_bytes", "targets")


def _check_container(manifest: Manifest, container: bytes) -> None:
    got = hashlib.sha256(container).hexdigest()
    if got != manifest.container_sha256:
        raise TamperedError(
            f"bundle: tampered with: its container's sha256 is {got}, the signed one is "
            f"{manifest.container_sha256}"
        )
