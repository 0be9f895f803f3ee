"""Releases: which version of a model each channel is at, and all versions before it."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sigdca.errors import JobError, StorageError
from sigdca.storage.store import Store

_NAME = re.compile(r"\d{16}\.json\Z")


class Release(BaseModel):
    """One version in one channel.

    Attributes:
        channel: such as `stable` or `canary`.
        version: counts up within a channel.
        targets: whom it is for.
        bundle: sha256 of the signed bundle, an artifact of the store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str = Field(pattern=r"^[a-z]{1,32}$")
    version: int = Field(ge=1, lt=10**16)
    targets: tuple[str, ...] = Field(min_length=1)
    bundle: str


class Releases:
    """The releases in a store."""

    def __init__(self, store: Store) -> None:
        """Looks nothing up yet."""
        self._store = store

    def publish(
        self, bundle: bytes, *, channel: str, version: int, targets: tuple[str, ...]
    ) -> Release:
        """Makes a bundle the newest of a channel. What is in it is the caller's to check.

        Raises:
            JobError: the channel has this version already, or a newer one.
            StorageError: the store cannot be read or written.
        """
        with self._store.lock("releases"):
            before = self.latest(channel)
            if before is not None and version <= before.version:
                raise JobError(
                    f"{self._store.root}: channel '{channel}' is at version {before.version}; "
                    f"{version} is not newer"
                )
            digest = self._store.put(bundle)
            release = Release(channel=channel, version=version, targets=targets, bundle=digest)
            # The record comes last: who sees it finds the bundle.
            text = release.model_dump_json(indent=1)
            self._store.write(f"releases/{channel}/{version:016d}.json", text.encode())
        return release

    def latest(self, channel: str, target: str | None = None) -> Release | None:
        """The newest release of a channel, for a target or for any; None if there is none.

        Raises:
            StorageError: the store cannot be read, or a record is damaged.
        """
        for release in reversed(self.all(channel)):
            if target is None or target in release.targets:
                return release
        return None

    def all(self, channel: str) -> list[Release]:
        """All releases of a channel, oldest first.

        Raises:
            StorageError: as above.
        """
        folder = self._store.child(f"releases/{channel}")
        return [self._read(folder, name) for name in folder.names() if _NAME.match(name)]

    def fetch(self, release: Release) -> bytes:
        """The bundle of a release, its sha256 verified.

        Raises:
            StorageError: it is missing or damaged.
        """
        return self._store.get(release.bundle)

    def _read(self, folder: Store, name: str) -> Release:
        try:
            return Release.model_validate_json(folder.read(name, at_most=100_000))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise StorageError(f"{folder.path(name)}: not a release: {reason}") from error
