"""Keys: their files' modes, what is refused, and that no message shows one."""

import pytest

from sigdca.edge.keys import load_private_key, load_public_key, make_keys
from sigdca.errors import FormatError, StorageError


def test_a_pair(tmp_path):
    make_keys(tmp_path / "k.key", tmp_path / "k.pub")
    assert (tmp_path / "k.key").stat().st_mode & 0o777 == 0o600
    signature = load_private_key(tmp_path / "k.key").sign(b"x")
    load_public_key(tmp_path / "k.pub").verify(signature, b"x")


def test_nothing_is_overwritten(tmp_path):
    make_keys(tmp_path / "k.key", tmp_path / "k.pub")
    before = (tmp_path / "k.key").read_bytes()
    with pytest.raises(StorageError, match="a key is never overwritten"):
        make_keys(tmp_path / "k.key", tmp_path / "other.pub")
    with pytest.raises(StorageError, match="a key is never overwritten"):
        make_keys(tmp_path / "other.key", tmp_path / "k.pub")
    assert (tmp_path / "k.key").read_bytes() == before
    assert not (tmp_path / "other.key").exists()


def test_a_private_key_that_others_may_read(tmp_path):
    make_keys(tmp_path / "k.key", tmp_path / "k.pub")
    (tmp_path / "k.key").chmod(0o640)
    with pytest.raises(StorageError, match=r"others may read this private key \(mode 0640\)"):
        load_private_key(tmp_path / "k.key")


def test_what_is_no_key(tmp_path):
    path = tmp_path / "k"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(FormatError, match="must be an Ed25519 private key in PEM") as caught:
        load_private_key(path)
    assert "c2Vj" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(FormatError, match="must be an Ed25519 public key in PEM"):
        load_public_key(path)
    with pytest.raises(StorageError, match="cannot read: No such file"):
        load_public_key(tmp_path / "none")
