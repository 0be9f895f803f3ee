"""Signing a container for a target: what a device will hold it to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigdca.edge.bundle import Manifest, put_bundle
from sigdca.edge.self_test import self_test


def sign_container(
    container: bytes,
    *,
    key: Ed25519PrivateKey,
    version: int,
    channel: str,
    targets: Sequence[str],
    model: str,
) -> bytes:
    """A bundle of the container, with the self-test's hash as it comes out here.

    Args:
        container: the content of a `.dca` file.
        key: whom the devices trust.
        version: higher than all before it.
        channel: `stable` or `canary`.
        targets: the names of the targets that it is for.
        model: the model's name, for people.

    Raises:
        FormatError: the container is not sound, or one of the others is not what it must be.
        EngineError: the native library is missing, or a logit is not finite.
    """
    manifest = Manifest(
        model=model,
        version=version,
        channel=channel,
        targets=tuple(targets),
        container_bytes=len(container),
        container_sha256=hashlib.sha256(container).hexdigest(),
        logits_sha256=self_test(container),
    )
    return put_bundle(manifest, container, key)
