"""Ed25519 keys in PEM files, as `openssl genpkey -algorithm ed25519` writes them too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sigdca.errors import FormatError, StorageError

MAX_KEY_BYTES = 10_000


def make_keys(private: Path, public: Path) -> None:
    """Makes a pair of keys; the private one's file can be read by its owner alone.

    Raises:
        StorageError: a file is there already (a key is never overwritten) or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(private, secret, 0o600)
    try:
        _write_new(public, public_text(key.public_key()).encode(), 0o644)
    except StorageError:
        private.unlink()
        raise


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Reads a private key.

    Raises:
        StorageError: it cannot be read, or others than its owner may read it.
        FormatError: it is no Ed25519 private key in PEM.
    """
    content = _read(path, secret=True)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # neither the cause nor the traceback of an error may show a key
    if not isinstance(key, Ed25519PrivateKey):
        raise FormatError(f"{path}: must be an Ed25519 private key in PEM without a passphrase")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Reads a public key.

    Raises:
        StorageError: it cannot be read.
        FormatError: it is no Ed25519 public key in PEM.
    """
    return parse_public_key(_read(path, secret=False), str(path))


def parse_public_key(content: bytes, where: str) -> Ed25519PublicKey:
    """A public key from PEM.

    Raises:
        FormatError: it is none; `where` opens the message.
    """
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise FormatError(f"{where}: must be an Ed25519 public key in PEM")
    return key


def _read(path: Path, *, secret: bool) -> bytes:
    try:
        with open(path, "rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if secret and mode & 0o077:
                raise StorageError(
                    f"{path}: others may read this private key (mode {mode:04o}); chmod 600 it, "
                    "or better make a new one"
                )
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise StorageError(f"{path}: cannot read: {error.strerror}") from error


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except FileExistsError as error:
        raise StorageError(f"{path}: is there already; a key is never overwritten") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot write: {error.strerror}") from error
