"""Updates that cannot brick a device: two slots, a trial, and the way back.

An update is verified, proves itself in the self-test, and only then is put into the slot that is
not known to be good and made live on trial. It becomes good by running well for a while. If it
crashes again and again, or misses deadlines, the good one is live again. Needs neither Ray nor
torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sigdca.edge.bundle import (
    Bundle,
    Manifest,
    TamperedError,
    UnsignedError,
    UpdateRefusedError,
    get_bundle,
)
from sigdca.edge.keys import parse_public_key
from sigdca.edge.self_test import self_test_apart
from sigdca.edge.settings import Settings as Settings
from sigdca.edge.settings import read_settings
from sigdca.edge.slots import SLOTS, Slots, State, durable_write, explained, other, read_bundle
from sigdca.errors import FormatError, SigdcaError, StorageError, TargetError

_SETTINGS = "device.json"


class OlderError(UpdateRefusedError):
    """The update is not newer than what was live here."""


class WrongTargetError(UpdateRefusedError):
    """The update is for another kind of device."""


class WrongChannelError(UpdateRefusedError):
    """The update is of another channel than the device follows."""


class SelfTestError(UpdateRefusedError):
    """On this device the update's model gives other logits than its signer saw."""


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

    `set_up` may change the settings while a device runs: they are read anew where they count.

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
        self._slots = Slots(root)
        self._prove = prove
        self._read_settings()

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
            self._read_settings()
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

        Starts of an update on trial are counted, before it is read: that may end the process. A
        slot that is damaged gives way to the other for good; one that cannot be taken now, to
        which other keys may belong, for this time, and such a start does not count.

        Raises:
            TargetError: there is no sound slot at all: nothing was ever installed.
            FormatError: the settings are not what they must be.
            StorageError: the folder cannot be read or locked.
        """
        with self._current() as state:
            if state.trial and state.starts >= self.settings.max_starts:
                note = f"version {state.trial_version} rolled back: {state.starts} starts"
                state = self._save(state, trial=None, starts=0, trial_version=0, note=note)
            elif state.trial:
                state = self._save(state, starts=state.starts + 1)
            try:
                slot, live, are_lost = self._first_sound(state)
            except TargetError:
                self._take_back_start(state)
                raise
            if slot == state.live:
                return live
            if are_lost:
                version = live.manifest.version
                self._save(
                    state,
                    good=slot,
                    trial=None,
                    starts=0,
                    trial_version=0,
                    floor=max(state.floor, version),
                    note=f"version {version} is live instead of a damaged slot {state.live}",
                )
            else:
                self._take_back_start(state)
            return live

    def uncount(self, version: int) -> None:
        """Takes back a start of a version on trial that has ended by no fault of its own.

        Raises:
            StorageError: the folder cannot be locked.
        """
        with self._slots.lock("state"):
            state = self._slots.state()
            if state.trial_version == version:
                self._take_back_start(state)

    def report(self, version: int, health: Health) -> str:
        """Says how a version runs, and hears what becomes of it.

        Returns:
            `good`, `trial`, or `rolled back`: then another version is live.

        Raises:
            FormatError: the settings are not what they must be.
            StorageError: the folder cannot be read, locked or written; report again later.
        """
        if self._slots.state().trial_version != version:
            return "good"
        with self._current() as state:
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
        """What `start` would give. No start is counted, and nothing is written.

        Raises:
            TargetError, FormatError, StorageError: as `start`.
        """
        with self._current() as state:
            return self._first_sound(state)[1]

    def _read_settings(self) -> None:
        self.settings = read_settings(self._slots.root / _SETTINGS)
        self._keys = _public_keys(self.settings.keys)
        self._past_keys = _public_keys(self.settings.past_keys)

    @contextmanager
    def _current(self) -> Iterator[State]:
        """Settings and record as they are now; nobody else changes the record meanwhile."""
        with self._slots.lock("state"):
            self._read_settings()
            yield self._slots.state()

    def _take_back_start(self, state: State) -> None:
        if state.trial and state.starts:
            self._save(state, starts=state.starts - 1)

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
            before = self._slots.state()
            state = self._without_trial(before)
            self._check(manifest, state)
            if state != before:  # the other slot is about to change: until then this one is live
                good, floor = state.good, state.floor
                self._slots.save(good=good, floor=floor, trial=None, starts=0, trial_version=0)
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

    def _without_trial(self, state: State) -> State:
        """The record with none on trial, and with the slot that then runs as the good one.

        It is another one where the record's cannot be taken: no update may be written over it.
        """
        state = replace(state, trial=None, starts=0, trial_version=0)
        try:
            slot, live, _ = self._first_sound(state)
        except TargetError:  # there is nothing to go back to
            return state
        return replace(state, good=slot, floor=max(state.floor, live.manifest.version))

    def _save(self, state: State, **changes: Any) -> State:
        """A disk that refuses must not keep a device from starting."""
        try:
            return self._slots.save(**changes)
        except StorageError:
            return State(**(asdict(state) | changes))

    def _first_sound(self, state: State) -> tuple[str, Live, bool]:
        """The live slot; if it is not sound, the good one; if that is not either, any that is.

        Returns:
            Its name, what is in it, and whether none of those before it will be sound again.
        """
        tried, are_lost = [], True
        for slot in dict.fromkeys([state.trial, state.good, *SLOTS]):
            if slot is None:
                continue
            try:
                bundle = self._read(slot)
            except (FormatError, UpdateRefusedError, StorageError) as error:
                tried.append(str(error))
                are_lost = are_lost and _is_damage(error)
                continue
            live = Live(bundle.manifest, bundle.container, slot == state.trial)
            return slot, live, are_lost
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


def _is_damage(error: SigdcaError) -> bool:
    """Whether a slot will not be sound again; other settings or another try may mend the rest."""
    if isinstance(error, StorageError):
        return isinstance(error.__cause__, FileNotFoundError)
    return isinstance(error, (FormatError, UnsignedError, TamperedError))


def _trusted_before(root: Path, settings: Settings) -> list[str]:
    try:
        before = read_settings(root / _SETTINGS)
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
