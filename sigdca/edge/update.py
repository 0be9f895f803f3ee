"""Updates that cannot brick a device: two slots, a trial, and the way back.

An update is verified, proves itself in the self-test, and only then is put into the slot that is
not known to be good and made live on trial. It becomes good by running well for a while. If it
crashes again and again, or misses deadlines, the good one is live again. Needs neither Ray nor
torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sigdca.edge.bundle import (
    CHANNELS,
    Bundle,
    Manifest,
    UpdateRefusedError,
    get_bundle,
)
from sigdca.edge.keys import parse_public_key
from sigdca.edge.self_test import self_test_apart
from sigdca.edge.slots import SLOTS, Slots, State, durable_write, explained, other, read_bundle
from sigdca.errors import FormatError, StorageError, TargetError

_SETTINGS = "device.json"
_MAX_SETTINGS_BYTES = 100_000


class OlderError(UpdateRefusedError):
    """The update is not newer than what was live here."""


class WrongTargetError(UpdateRefusedError):
    """The update is for another kind of device."""


class WrongChannelError(UpdateRefusedError):
    """The update is of another channel than the device follows."""


class SelfTestError(UpdateRefusedError):
    """On this device the update's model gives other logits than its signer saw."""


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


@dataclass(frozen=True)
class Live:
    """What a device runs.

    Attributes:
        manifest: signed.
        container: verified.
        on_trial: whether it must still prove itself.
    """

    manifest: Manifest
    container: bytes
    on_trial: bool


@dataclass(frozen=True)
class Health:
    """What whoever runs a model has seen since it was started.

    Attributes:
        uptime_s: how long it runs.
        met: frames done within their deadline.
        late: done after it.
        dropped: not done.
    """

    uptime_s: float
    met: int
    late: int
    dropped: int

    @property
    def total(self) -> int:
        """All frames."""
        return self.met + self.late + self.dropped

    @property
    def missed_share(self) -> float:
        """Frames not done in time, 0 to 1."""
        return (self.late + self.dropped) / self.total if self.total else 0.0


class Device:
    """The updates of this device.

    Attributes:
        settings: what it is, and whom it trusts.
    """

    def __init__(self, root: Path, prove: Callable[[Path], str] = self_test_apart) -> None:
        """Opens the folder that `set_up` has made.

        Args:
            root: the folder.
            prove: makes the self-test's hash of a container's file.

        Raises:
            StorageError: it is not set up, or cannot be read.
            FormatError: its settings are not what they must be.
        """
        self.settings = _read_settings(root / _SETTINGS)
        self._keys = _public_keys(self.settings.keys)
        self._past_keys = _public_keys(self.settings.past_keys)
        self._slots = Slots(root)
        self._prove = prove

    def install(self, content: bytes) -> Manifest:
        """Makes an update live, on trial; the first one on a device at once for good.

        Args:
            content: a bundle.

        Raises:
            BundleError: it is none.
            UpdateRefusedError: one of its kinds, each for a reason; nothing has changed.
            EngineError: the self-test could not be run; nothing has changed.
            StorageError: the disk is full or refuses; what was live still is.
        """
        with self._slots.lock("install"):
            bundle = get_bundle(content, self._keys)
            self._check(bundle.manifest, self._slots.state())
            self._self_test(bundle)
            received = self._slots.receive(content)
            try:
                self._go_live(bundle.manifest, received)
            finally:
                received.unlink(missing_ok=True)
        return bundle.manifest

    def start(self) -> Live:
        """What to run from now on; to be called once by whoever starts to run it.

        Starts of an update on trial are counted. A slot that is damaged gives way to the other.

        Raises:
            TargetError: there is no sound slot at all: nothing was ever installed.
            StorageError: the folder cannot be locked.
        """
        with self._slots.lock("state"):
            state = self._slots.state()
            if state.trial and state.starts >= self.settings.max_starts:
                note = f"version {state.trial_version} rolled back: {state.starts} starts"
                state = self._save(state, trial=None, starts=0, trial_version=0, note=note)
            elif state.trial:
                state = self._save(state, starts=state.starts + 1)
            return self._first_sound(state)

    def report(self, version: int, health: Health) -> str:
        """Says how a version runs, and hears what becomes of it.

        Returns:
            `good`, `trial`, or `rolled back`: then another version is live.

        Raises:
            StorageError: the folder cannot be locked or written; report again later.
        """
        if self._slots.state().trial_version != version:
            return "good"
        with self._slots.lock("state"):
            state = self._slots.state()
            if not state.trial or state.trial_version != version:
                return "good"
            why = self._why_bad(health)
            if why:
                self._give_up(version, why)
                return "rolled back"
            if health.uptime_s < self.settings.trial_s or not health.met:
                return "trial"
            note = f"version {version} has proven itself"
            self._slots.save(good=state.trial, trial=None, starts=0, trial_version=0, note=note)
            return "good"

    def roll_back(self, version: int, why: str) -> None:
        """Gives up a version on trial; one that is not on trial stays.

        Raises:
            StorageError: the folder cannot be locked or written.
        """
        with self._slots.lock("state"):
            if self._slots.state().trial_version == version:
                self._give_up(version, why)

    def state(self) -> State:
        """Which slot is live, and how it came to be. Cheap, and needs no lock."""
        return self._slots.state()

    def live(self) -> Live:
        """What is live, without counting a start.

        Raises:
            TargetError, StorageError: as `start`.
        """
        with self._slots.lock("state"):
            return self._first_sound(self._slots.state())

    def _give_up(self, version: int, why: str) -> None:
        note = f"version {version} rolled back: {why}"
        self._slots.save(trial=None, starts=0, trial_version=0, note=note)

    def _check(self, manifest: Manifest, state: State) -> None:
        wanted = self.settings
        if wanted.target not in manifest.targets:
            raise WrongTargetError(
                f"update: version {manifest.version} is for {', '.join(manifest.targets)}, this "
                f"device is '{wanted.target}'"
            )
        if manifest.channel != wanted.channel:
            raise WrongChannelError(
                f"update: version {manifest.version} is of channel '{manifest.channel}', this "
                f"device follows '{wanted.channel}'"
            )
        if manifest.version <= state.floor:
            raise OlderError(
                f"update: version {manifest.version} is not newer than {state.floor}, which was "
                "live here"
            )

    def _self_test(self, bundle: Bundle) -> None:
        path = self._slots.root / "self-test.dca"
        try:
            with explained("write", path):
                path.write_bytes(bundle.container)
            got = self._prove(path)
        finally:
            path.unlink(missing_ok=True)
        if got != bundle.manifest.logits_sha256:
            raise SelfTestError(
                f"update: version {bundle.manifest.version} failed its self-test: its logits' "
                f"sha256 is {got[:64]} here, {bundle.manifest.logits_sha256} where it was signed"
            )

    def _go_live(self, manifest: Manifest, received: Path) -> None:
        with self._slots.lock("state"):
            state = self._slots.state()
            self._check(manifest, state)
            if state.trial:  # its slot is about to change: until then the good one is live
                state = self._slots.save(trial=None, starts=0, trial_version=0)
            slot = other(state.good)
            self._slots.place(received, slot)
            note = f"version {manifest.version} is live"
            if state.good is None:  # there is nothing to go back to
                self._slots.save(good=slot, floor=manifest.version, note=note)
            else:
                self._slots.save(
                    trial=slot,
                    trial_version=manifest.version,
                    floor=manifest.version,
                    starts=0,
                    note=f"{note}, on trial",
                )

    def _save(self, state: State, **changes: Any) -> State:
        """A disk that refuses must not keep a device from starting."""
        try:
            return self._slots.save(**changes)
        except StorageError:
            return State(**(asdict(state) | changes))

    def _first_sound(self, state: State) -> Live:
        """The live slot; if that is damaged, the good one; if that is too, any that is sound."""
        tried = []
        for slot in dict.fromkeys([state.trial, state.good, *SLOTS]):
            if slot is None:
                continue
            try:
                bundle = self._read(slot)
            except (FormatError, UpdateRefusedError, StorageError) as error:
                tried.append(str(error))
                continue
            if slot != state.live:
                version = bundle.manifest.version
                note = f"version {version} is live instead of a damaged slot {state.live}"
                self._save(
                    state,
                    good=slot,
                    trial=None,
                    starts=0,
                    trial_version=0,
                    floor=max(state.floor, version),
                    note=note,
                )
            return Live(bundle.manifest, bundle.container, slot == state.trial)
        why = "; ".join(tried)
        raise TargetError(f"update: {self._slots.root}: no sound model in either slot: {why}")

    def _read(self, slot: str) -> Bundle:
        path = self._slots.slot(slot)
        bundle = get_bundle(read_bundle(path), [*self._keys, *self._past_keys])
        if self.settings.target not in bundle.manifest.targets:
            raise WrongTargetError(f"{path}: is for another target")
        return bundle

    def _why_bad(self, health: Health) -> str | None:
        limits = self.settings
        enough = health.total >= limits.min_frames or health.uptime_s >= limits.trial_s
        if enough and health.missed_share > limits.max_missed:
            missed = health.late + health.dropped
            return f"{missed} of {health.total} deadlines missed"
        if health.uptime_s >= limits.give_up_s and not health.met:
            return f"no frame done in {health.uptime_s:.0f} s"
        return None


def set_up(root: Path, settings: Settings) -> Device:
    """Makes a folder into one that takes updates; done again, it changes the settings alone.

    With other keys, what the slots hold goes on until an update by one of these.

    Raises:
        FormatError: a key is none.
        StorageError: the folder cannot be written.
    """
    _public_keys(settings.keys)
    slots = Slots(root)
    slots.create()
    with slots.lock("install"), explained("write", root / _SETTINGS):
        past = tuple(key for key in _trusted_before(root, settings) if _has_signed(key, slots))
        text = json.dumps(asdict(replace(settings, past_keys=past)), indent=1)
        durable_write(root / _SETTINGS, text.encode())
    return Device(root)


def _public_keys(keys: Iterable[str]) -> list[Ed25519PublicKey]:
    return [parse_public_key(key.encode(), "device") for key in keys]


def _trusted_before(root: Path, settings: Settings) -> list[str]:
    try:
        before = _read_settings(root / _SETTINGS)
    except (FormatError, StorageError):  # none, or damaged: the new ones are all that there is
        return []
    return [key for key in (*before.keys, *before.past_keys) if key not in settings.keys]


def _has_signed(key: str, slots: Slots) -> bool:
    """Whether a slot's model is of this key, if it is one."""
    for slot in SLOTS:
        with suppress(FormatError, UpdateRefusedError, StorageError):
            get_bundle(read_bundle(slots.slot(slot)), _public_keys([key]))
            return True
    return False


def _read_settings(path: Path) -> Settings:
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(_MAX_SETTINGS_BYTES))
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
