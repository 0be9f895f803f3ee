"""Releases: versions count up in each channel, and each target finds its own."""

import pytest

from sigdca.errors import JobError, StorageError
from sigdca.storage import Releases, open_store


@pytest.fixture
def releases(tmp_path):
    return Releases(open_store(str(tmp_path)))


def test_the_newest_for_a_target(releases):
    releases.publish(b"one", channel="stable", version=1, targets=("a", "b"))
    releases.publish(b"two", channel="stable", version=12, targets=("a",))
    releases.publish(b"three", channel="canary", version=3, targets=("a",))
    assert releases.latest("stable").version == 12
    assert releases.fetch(releases.latest("stable", "b")) == b"one"
    assert releases.latest("canary", "b") is None
    assert [one.version for one in releases.all("stable")] == [1, 12]


@pytest.mark.parametrize("version", [4, 5])
def test_versions_count_up(releases, version):
    releases.publish(b"x", channel="stable", version=5, targets=("a",))
    with pytest.raises(JobError, match=f"'stable' is at version 5; {version} is not newer"):
        releases.publish(b"y", channel="stable", version=version, targets=("a",))
    releases.publish(b"y", channel="canary", version=version, targets=("a",))


def test_damage_is_seen(releases, tmp_path):
    release = releases.publish(b"x", channel="stable", version=1, targets=("a",))
    (tmp_path / "artifacts" / release.bundle).write_bytes(b"y")
    with pytest.raises(StorageError, match="damaged: its sha256 is"):
        releases.fetch(release)
    (tmp_path / "releases/stable/0000000000000001.json").write_text("{}")
    with pytest.raises(StorageError, match="not a release: Field required"):
        releases.latest("stable")
