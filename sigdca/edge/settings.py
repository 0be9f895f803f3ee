"""What a device is and whom it trusts: `device.json` in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from sigdca.edge.bundle import CHANNELS
from sigdca.errors import FormatError, StorageError

_MAX_BYTES = 100_000


@dataclass(frozen=True)
class Settings:
    """What a device is, and whom it trusts.

    Attributes:
        target: the target that it is.
        channel: the channel that it follows.
        keys: the public keys, as PEM, of those who may sign for it.
        max_starts: starts of an update on trial before it counts as a crash loop.
        trial_s: how long an update must run well to become good.
        give_up_s: how long it may take for that.
        max_missed: the largest share of frames that may miss their deadline, 0 to 1.
        min_frames: frames of which that share is taken.
        past_keys: keys that were trusted before. They sign no update any more; what they have
            signed and is in a slot goes on, for a device must never be left without a model.
    """

    target: str
    channel: str
    keys: tuple[str, ...]
    max_starts: int = 3
    trial_s: float = 60.0
    give_up_s: float = 600.0
    max_missed: float = 0.01
    min_frames: int = 1000
    past_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, sound, limit in (
            ("target", self.target, "a target's name"),
            ("channel", self.channel in CHANNELS, " or ".join(CHANNELS)),
            ("keys", 1 <= len(self.keys) <= 16, "1 to 16 public keys"),
            ("max_starts", self.max_starts >= 1, "at least 1"),
            ("trial_s", 0 <= self.trial_s <= self.give_up_s, "0 to give_up_s"),
            ("max_missed", 0 <= self.max_missed <= 1, "0 to 1"),
            ("min_frames", self.min_frames >= 1, "at least 1"),
        ):
            if not sound:
                raise FormatError(f"device: {name} must be {limit}, got {getattr(self, name)!r}")


def read_settings(path: Path) -> Settings:
    """Reads them from a file.

    Raises:
        StorageError: it is not there, or cannot be read.
        FormatError: they are not what they must be.
    """
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
        names = {field.name for field in fields(Settings)}
        if set(found) - names:
            unknown = ", ".join(sorted(set(found) - names))
            raise FormatError(f"{path}: unknown setting {unknown}")
        tuples = {name: tuple(found.get(name, ())) for name in ("keys", "past_keys")}
        return Settings(**(found | tuples))
    except FileNotFoundError as error:
        raise StorageError(f"{path}: is not there; see `sigdca edge setup`") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: not a device's settings: {error}") from error
