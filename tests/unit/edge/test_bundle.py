"""Bundles: what is signed comes out, and nothing else does."""

import hashlib
import json
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sigdca.edge.bundle import (
    BundleError,
    Manifest,
    SignatureError,
    UnsignedError,
    UpdateRefusedError,
    get_bundle,
    put_bundle,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CONTAINER = b"\x89DCA\r\n\x1a\nno container, but it could be one"
SHA256 = "39d06adf79a01af1a31c6f7f6a0f9ff6c2b75e1f8ac95b1a1b3c6fc4ca5a14c0"


def manifest(**changes: object) -> Manifest:
    told = {
        "model": "lenet-5",
        "version": 7,
        "channel": "stable",
        "targets": ("atom-x5-e3940",),
        "container_bytes": len(CONTAINER),
        "container_sha256": hashlib.sha256(CONTAINER).hexdigest(),
        "logits_sha256": SHA256,
    }
    return Manifest(**(told | changes))


BUNDLE = put_bundle(manifest(), CONTAINER, KEY)
PUBLIC = [KEY.public_key()]


def signed(text: bytes) -> bytes:
    """A bundle whose manifest is any text, properly signed."""
    head = b"\x89DCU\r\n\x1a\n" + struct.pack("<HI", 1, len(text)) + text
    return head + KEY.sign(head) + CONTAINER


def test_what_went_in_comes_out():
    found = get_bundle(BUNDLE, PUBLIC)
    assert found.manifest == manifest()
    assert found.container == CONTAINER


def test_bytes_of_the_layout():
    assert BUNDLE.startswith(b"\x89DCU\r\n\x1a\n\x01\x00")
    assert BUNDLE[14:].startswith(b'{"channel":"stable","container_bytes":')
    assert BUNDLE.endswith(CONTAINER)


def test_any_of_several_keys_will_do():
    others = [Ed25519PrivateKey.generate().public_key() for _ in range(2)]
    assert get_bundle(BUNDLE, [*others, *PUBLIC]).manifest.version == 7


def test_a_stranger_s_key():
    stranger = [Ed25519PrivateKey.generate().public_key()]
    with pytest.raises(SignatureError, match="none of 1 trusted keys has signed its manifest"):
        get_bundle(BUNDLE, stranger)


@settings(deadline=None)
@given(st.integers(0, len(BUNDLE) - 1), st.integers(1, 255))
def test_no_changed_byte_is_taken(place, change):
    data = bytearray(BUNDLE)
    data[place] ^= change
    with pytest.raises((BundleError, UpdateRefusedError)):
        get_bundle(bytes(data), PUBLIC)


@settings(deadline=None)
@given(st.integers(0, len(BUNDLE) - 1))
def test_no_cut_is_taken(length):
    with pytest.raises((BundleError, UpdateRefusedError)):
        get_bundle(BUNDLE[:length], PUBLIC)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_other_bytes_are_taken(data):
    for content in (data, BUNDLE[:8] + data, BUNDLE + data[:1] + b"x"):
        with pytest.raises((BundleError, UpdateRefusedError)):
            get_bundle(content, PUBLIC)


def test_a_bare_container_is_unsigned():
    with pytest.raises(UnsignedError, match="a bare container, which is not signed"):
        get_bundle(CONTAINER, PUBLIC)


def test_an_empty_signature_is_unsigned():
    end = BUNDLE.index(CONTAINER)
    with pytest.raises(UnsignedError, match="its signature is empty"):
        get_bundle(BUNDLE[: end - 64] + bytes(64) + CONTAINER, PUBLIC)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with nothing, must with 89 44 43 55"),
        (b"\x89PNG\r\n\x1a\n", "begins with 89 50 4e 47"),
        (BUNDLE[:10], "has 10 bytes, a head alone has 14"),
        (BUNDLE[:8] + b"\x02\0" + BUNDLE[10:], "is of version 2, this reader knows 1"),
        (BUNDLE[:10] + b"\xff\xff\xff\xff", "manifest of 4294967295 bytes, limit 65536"),
        (BUNDLE[:100], r"has 100 bytes, its signature ends at byte \d+"),
        (BUNDLE + b"x", "has 42 bytes of container, its manifest promises 41"),
        (signed(b"[" * 60_000), "manifest is not JSON"),
        (signed(b"{}"), "manifest must have just channel, container_bytes"),
        (signed(b"7"), "manifest must have just channel, container_bytes"),
    ],
)
def test_each_breach_is_named(data, message):
    with pytest.raises(BundleError, match=message):
        get_bundle(data, PUBLIC)


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", True), ("version", 7.0), ("targets", "atom"), ("targets", [1]), ("model", None)],
)
def test_a_value_of_another_kind(name, value):
    content = json.loads(BUNDLE[14 : BUNDLE.index(CONTAINER) - 64]) | {name: value}
    with pytest.raises(BundleError, match="a value of another kind"):
        get_bundle(signed(json.dumps(content).encode()), PUBLIC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 0}, "version must be 1 to 9007199254740992, got '0'"),
        ({"channel": "beta"}, "channel must be stable or canary, got 'beta'"),
        ({"targets": ()}, "targets must be 1 to 64 names"),
        ({"targets": ("a b",)}, "targets must be names of targets"),
        ({"model": "x\n"}, "model must be a name"),
        ({"logits_sha256": "00"}, "logits_sha256 must be 64 hex digits, got '00'"),
    ],
)
def test_limits_of_the_manifest(changes, message):
    with pytest.raises(BundleError, match=message):
        manifest(**changes)


def test_only_the_container_of_the_manifest_is_signed():
    with pytest.raises(SignatureError, match="its container's sha256 is"):
        put_bundle(manifest(), CONTAINER + b"x", KEY)
