"""Any course of updates, starts, reports and damage, beside a model of what a device should do."""

import hashlib
import tempfile
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sigdca.edge.bundle import Manifest, UpdateRefusedError, put_bundle
from sigdca.edge.keys import public_text
from sigdca.edge.slots import other
from sigdca.edge.update import Device, Health, Settings, set_up
from sigdca.errors import TargetError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STARTS = 2
WELL = Health(uptime_s=61, met=1000, late=0, dropped=0)
EARLY = Health(uptime_s=1, met=10, late=0, dropped=0)
BADLY = Health(uptime_s=1, met=0, late=1000, dropped=0)


def logits_of(path: Path) -> str:
    """Stands for the self-test: what is asked here is what becomes of its result."""
    return path.read_bytes().hex()[:2] * 32


@cache
def bundle(version: int, kind: str) -> bytes:
    content = bytes([version % 256]) * 9
    manifest = Manifest(
        model="m",
        version=version,
        channel="canary" if kind == "channel" else "stable",
        targets=("other",) if kind == "target" else ("board",),
        container_bytes=len(content),
        container_sha256=hashlib.sha256(content).hexdigest(),
        logits_sha256=("ff" if kind == "self-test" else content.hex()[:2]) * 32,
    )
    data = put_bundle(manifest, content, KEY)
    return data[:-1] + b"!" if kind == "tampered" else data


class Updates(RuleBasedStateMachine):
    """The model: what lies in the slots (None: damaged), which is good, which is on trial.

    A slot may be away: what lies there cannot be taken, until it is back.
    """

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        keys = (public_text(KEY.public_key()),)
        told = Settings("board", "stable", keys, max_starts=STARTS)
        set_up(Path(self.folder.name), told)
        self.device = Device(Path(self.folder.name), prove=logits_of)
        self.slots: dict[str, int | None] = {"a": None, "b": None}
        self.away: dict[str, bytes] = {}
        self.good: str | None = None
        self.trial: str | None = None
        self.floor = self.starts = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def path(self, slot: str) -> Path:
        return Path(self.folder.name, f"slot-{slot}.dcu")

    @property
    def sound(self) -> str | None:
        """The slot that runs."""
        for slot in (self.trial, self.good, "a", "b"):
            if slot and self.slots[slot] and slot not in self.away:
                return slot
        return None

    @property
    def live(self) -> int | None:
        return self.slots[self.sound] if self.sound else None

    def settle(self) -> None:
        """Whoever starts what is live goes over to what is sound, unless the other may be back."""
        if self.sound != (self.trial or self.good) and not self.away:
            self.good, self.trial, self.starts = self.sound, None, 0

    @rule(step=st.integers(-1, 2), kind=st.sampled_from(["sound"] * 3 + ["tampered", "target"]))
    def install(self, step: int, kind: str) -> None:
        version = max(self.floor + step, 1)
        sound = kind == "sound" and version > self.floor
        if not sound:
            with pytest.raises(UpdateRefusedError):
                self.device.install(bundle(version, kind))
            return
        self.device.install(bundle(version, kind))
        self.trial, self.starts = None, 0
        self.good = self.sound  # never is an update written over what runs
        slot = other(self.good)
        self.away.pop(slot, None)
        self.slots[slot] = self.floor = version
        if self.good is None:
            self.good = slot
        else:
            self.trial, self.starts = slot, 0

    @rule(kind=st.sampled_from(["channel", "self-test"]))
    def refuse(self, kind: str) -> None:
        with pytest.raises(UpdateRefusedError):
            self.device.install(bundle(self.floor + 1, kind))

    @rule()
    def start(self) -> None:
        if self.trial and self.starts >= STARTS:
            self.trial, self.starts = None, 0
        elif self.trial and self.trial not in self.away:  # else another one is started
            self.starts += 1
        if self.live is None:
            with pytest.raises(TargetError):
                self.device.start()
            return
        assert self.device.start().manifest.version == self.live
        self.settle()

    @rule(health=st.sampled_from([WELL, EARLY, BADLY]))
    @precondition(lambda self: self.trial is not None)
    def report(self, health: Health) -> None:
        version = self.device.state().trial_version
        self.device.report(version, health)
        if health is WELL:
            self.good, self.trial, self.starts = self.trial, None, 0
        elif health is BADLY:
            self.trial, self.starts = None, 0

    @rule(slot=st.sampled_from(["a", "b"]))
    @precondition(lambda self: all(self.slots.values()) and not self.away)
    def damage(self, slot: str) -> None:
        """One slot at a time: of two, nobody has a third."""
        self.path(slot).write_bytes(self.path(slot).read_bytes()[:-1])
        self.slots[slot] = None

    @rule(slot=st.sampled_from(["a", "b"]))
    @precondition(lambda self: all(self.slots.values()) and not self.away)
    def take_away(self, slot: str) -> None:
        self.away[slot] = self.path(slot).read_bytes()
        self.path(slot).write_bytes(bundle(1, "target"))

    @rule()
    @precondition(lambda self: self.away)
    def bring_back(self) -> None:
        slot, content = self.away.popitem()
        self.path(slot).write_bytes(content)

    @invariant()
    def is_as_the_model(self) -> None:
        if not hasattr(self, "device"):
            return
        if self.live is None:
            assert self.floor == 0, "a device that ever had a model has one"
            return
        live = self.device.live()
        assert live.manifest.version == self.live
        state = self.device.state()
        assert (state.good, state.trial, state.floor) == (self.good, self.trial, self.floor)


TestUpdates = Updates.TestCase
TestUpdates.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
