"""Updates on a device: what is refused and why, trials, the way back, damage."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sigdca.edge.bundle import SignatureError, UnsignedError
from sigdca.edge.keys import public_text
from sigdca.edge.self_test import built_in_images, self_test, self_test_apart
from sigdca.edge.update import (
    Device,
    Health,
    OlderError,
    SelfTestError,
    Settings,
    WrongChannelError,
    WrongTargetError,
    set_up,
)
from sigdca.errors import EngineError, FormatError, StorageError, TargetError

WELL = Health(uptime_s=61, met=1000, late=0, dropped=0)


def version(device: Device) -> int:
    return device.live().manifest.version


def good(device: Device, content: bytes) -> None:
    """Installs an update and lets it prove itself."""
    number = device.install(content).version
    device.start()
    device.report(number, WELL)
    assert device.state().trial is None


def test_first_update_is_live_for_good(device, bundle):
    device.install(bundle(1))
    assert device.start().manifest.version == 1
    assert device.state().trial is None


def test_nothing_installed(device):
    with pytest.raises(TargetError, match="no sound model in either slot"):
        device.start()


def test_a_trial_passed(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    assert device.start().on_trial
    assert device.report(2, Health(59, 900, 0, 0)) == "trial"
    assert device.report(2, Health(61, 0, 0, 0)) == "trial", "no frame was done"
    assert device.report(2, WELL) == "good"
    assert not device.start().on_trial
    assert version(device) == 2


def test_a_crash_loop_is_rolled_back(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    assert [device.start().manifest.version for _ in range(5)] == [2, 2, 2, 1, 1]
    assert device.state().note == "version 2 rolled back: 3 starts"


def test_missed_deadlines_are_rolled_back(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    device.start()
    assert device.report(2, Health(1, 900, 5, 4)) == "trial", "too few frames to tell"
    assert device.report(2, Health(1, 985, 10, 5)) == "rolled back"
    assert version(device) == 1
    assert device.state().note == "version 2 rolled back: 15 of 1000 deadlines missed"


def test_frames_that_never_end_are_rolled_back(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    device.start()
    assert device.report(2, Health(600, 0, 0, 0)) == "rolled back"
    assert device.state().note == "version 2 rolled back: no frame done in 600 s"


def test_reports_of_another_version_change_nothing(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    assert device.report(1, Health(1, 0, 5000, 0)) == "good"
    assert version(device) == 2


def test_an_update_during_a_trial_keeps_the_good_one(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    device.install(bundle(3))
    assert version(device) == 3
    device.report(3, Health(1, 0, 5000, 0))
    assert version(device) == 1


def refused(device: Device, content: bytes, kind: type[Exception], message: str) -> None:
    before = device.state(), version(device)
    with pytest.raises(kind, match=message) as caught:
        device.install(content)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert (device.state(), version(device)) == before


def test_unsigned_is_refused(device, bundle):
    good(device, bundle(1))
    refused(device, bundle(2)[-100:], FormatError, "begins with")
    container = device.live().container
    refused(device, container, UnsignedError, "a bare container, which is not signed")


def test_tampered_is_refused(device, bundle):
    good(device, bundle(1))
    content = bytearray(bundle(2))
    content[-1] ^= 1
    refused(device, bytes(content), SignatureError, "its container's sha256 is")


def test_a_stranger_s_is_refused(device, bundle):
    good(device, bundle(1))
    stranger = Ed25519PrivateKey.generate()
    refused(device, bundle(2, key=stranger), SignatureError, "signed by a stranger")


def test_older_is_refused(device, bundle):
    good(device, bundle(3))
    refused(device, bundle(2), OlderError, "version 2 is not newer than 3, which was live here")
    refused(device, bundle(3), OlderError, "version 3 is not newer than 3")


def test_what_was_rolled_back_is_refused(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    device.report(2, Health(1, 0, 5000, 0))
    refused(device, bundle(2), OlderError, "version 2 is not newer than 2")


def test_wrong_target_is_refused(device, bundle):
    good(device, bundle(1))
    content = bundle(2, targets=("jetson-tx2", "cortex-a57"))
    message = "version 2 is for jetson-tx2, cortex-a57, this device is 'atom-x5-e3940'"
    refused(device, content, WrongTargetError, message)


def test_wrong_channel_is_refused(device, bundle):
    good(device, bundle(1))
    content = bundle(2, channel="canary")
    message = "version 2 is of channel 'canary', this device follows 'stable'"
    refused(device, content, WrongChannelError, message)


def test_failed_self_test_is_refused(device, bundle, tmp_path):
    good(device, bundle(1))
    broken = Device(tmp_path / "device", prove=lambda path: "0" * 64)
    refused(broken, bundle(2), SelfTestError, "version 2 failed its self-test")


def test_self_test_in_a_process_of_its_own(device, bundle, tmp_path):
    path = tmp_path / "m.dca"
    device.install(bundle(1))
    path.write_bytes(device.live().container)
    assert self_test_apart(path) == self_test(path) == device.live().manifest.logits_sha256
    path.write_bytes(b"none")
    with pytest.raises(EngineError, match=r"ended with code 2: .*begins with"):
        self_test_apart(path)


def test_built_in_images_never_change():
    digest = hashlib.sha256(built_in_images((3, 5, 7)).tobytes()).hexdigest()
    assert digest == "dd8aee5aea89d08f34143db97e81be0f825e26624c9c8d32b0c4020897f55d2b"


@pytest.mark.parametrize("record", ["state.0", "state.1"])
def test_a_damaged_record_is_the_one_before_or_none(device, bundle, tmp_path, record):
    good(device, bundle(1))
    path = tmp_path / "device" / record
    path.write_bytes(b"x" + path.read_bytes()[1:])
    assert version(device) == 1
    good(device, bundle(2))
    assert version(device) == 2


def test_both_records_lost(device, bundle, tmp_path):
    good(device, bundle(1))
    for number in (0, 1):
        (tmp_path / "device" / f"state.{number}").unlink()
    assert device.start().manifest.version == 1
    assert device.state().floor == 1


@pytest.mark.parametrize("damage", [b"", b"\x89DCU\r\n\x1a\n", None])
def test_a_damaged_slot_gives_way_to_the_other(device, bundle, tmp_path, damage):
    good(device, bundle(1))
    good(device, bundle(2))
    path = tmp_path / "device" / f"slot-{device.state().live}.dcu"
    path.unlink() if damage is None else path.write_bytes(damage)
    assert device.start().manifest.version == 1
    assert "instead of a damaged slot" in device.state().note
    refused(device, bundle(2), OlderError, "version 2 is not newer than 2")


def test_a_slot_takes_as_much_memory_as_it_is_large(device, bundle, monkeypatch):
    good(device, bundle(1))
    monkeypatch.setattr("sigdca.edge.slots.MAX_SLOT_BYTES", 2**62)  # which no machine has
    assert version(device) == 1
    monkeypatch.setattr("sigdca.edge.slots.MAX_SLOT_BYTES", 99)
    with pytest.raises(TargetError, match=r"slot-a.dcu: \d+ bytes, an update has at most 99"):
        device.live()


def test_a_device_that_is_not_set_up(tmp_path):
    with pytest.raises(StorageError, match=r"device.json: is not there; see `sigdca edge setup`"):
        Device(tmp_path)


def test_settings_that_cannot_be(tmp_path, settings):
    told = {"target": "t", "channel": "stable", "keys": settings.keys}
    for changes, message in (
        ({"channel": "beta"}, "channel must be stable or canary"),
        ({"keys": ()}, "keys must be 1 to 16"),
        ({"max_missed": 2}, "max_missed must be 0 to 1, got 2"),
        ({"keys": ("x",)}, "device: must be an Ed25519 public key"),
    ):
        with pytest.raises(FormatError, match=message):
            set_up(tmp_path, Settings(**(told | changes)))


def test_set_up_again_keeps_what_is_live(device, bundle, tmp_path, settings):
    good(device, bundle(1))
    set_up(tmp_path / "device", settings)
    assert version(Device(tmp_path / "device")) == 1


def test_set_up_with_another_key_keeps_what_is_live(device, bundle, tmp_path, settings):
    root, new = tmp_path / "device", Ed25519PrivateKey.generate()
    good(device, bundle(1))
    for _ in range(2):  # once more changes nothing
        set_up(root, replace(settings, keys=(public_text(new.public_key()),)))
        device = Device(root, prove=self_test)
        assert device.start().manifest.version == 1
        with pytest.raises(SignatureError):
            device.install(bundle(2))
    device.install(bundle(2, key=new))
    assert device.start().manifest.version == 2
    assert device.report(2, Health(61, 0, 0, 1000)) == "rolled back"
    assert device.start().manifest.version == 1, "the way back is open"
    good(device, bundle(3, key=new))
    good(device, bundle(4, key=new))
    assert not set_up(root, device.settings).settings.past_keys, "nothing of the old key is left"


def test_a_device_that_runs_hears_of_another_key(device, bundle, tmp_path, settings):
    root, new = tmp_path / "device", Ed25519PrivateKey.generate()
    good(device, bundle(1))
    set_up(root, replace(settings, keys=(public_text(new.public_key()),)))
    Device(root, prove=self_test).install(bundle(2, key=new))
    assert version(device) == 2
    assert device.start().on_trial
    assert device.report(2, WELL) == "good"
    set_up(root, replace(device.settings, max_missed=1.0))
    device.install(bundle(3, key=new))
    assert device.report(3, Health(1, 1, 5000, 0)) == "trial", "its limits are the new ones"


def test_whoever_looks_at_a_damaged_slot_changes_nothing(device, bundle, tmp_path):
    good(device, bundle(1))
    device.install(bundle(2))
    before = device.state()
    (tmp_path / "device" / f"slot-{before.trial}.dcu").write_bytes(b"")
    assert version(device) == 1
    assert device.state() == before
    assert device.start().manifest.version == 1
    assert "instead of a damaged slot" in device.state().note


def test_a_slot_that_may_be_sound_again_is_not_given_up(device, bundle, tmp_path, monkeypatch):
    good(device, bundle(1))
    device.install(bundle(2))
    path = tmp_path / "device" / f"slot-{device.state().trial}.dcu"
    content = path.read_bytes()
    stranger = Ed25519PrivateKey.generate()
    for other in (bundle(2, key=stranger), bundle(2, targets=("another",))):
        path.write_bytes(other)
        assert not device.start().on_trial
        assert device.state().trial is not None
    path.write_bytes(content)

    def fails(one):
        if one == path:
            raise StorageError(f"{one}: cannot read: Input/output error")
        return one.read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr("sigdca.edge.update.read_bundle", fails)
        assert device.start().manifest.version == 1
    assert device.live().on_trial


def test_a_start_in_which_no_slot_can_be_taken_does_not_count(device, bundle, tmp_path, settings):
    good(device, bundle(1))
    device.install(bundle(2))
    set_up(tmp_path / "device", replace(settings, target="another"))
    for _ in range(5):
        with pytest.raises(TargetError, match="is for another target"):
            device.start()
    set_up(tmp_path / "device", settings)
    assert [device.start().manifest.version for _ in range(4)] == [2, 2, 2, 1]


def test_a_start_in_which_the_good_one_runs_instead_does_not_count(device, bundle, tmp_path):
    good(device, bundle(1))
    device.install(bundle(2))
    path = tmp_path / "device" / f"slot-{device.state().trial}.dcu"
    content = path.read_bytes()
    path.write_bytes(bundle(2, targets=("another",)))
    for _ in range(5):
        assert device.start().manifest.version == 1
        device.uncount(1)
    path.write_bytes(content)
    assert [device.start().manifest.version for _ in range(4)] == [2, 2, 2, 1]


def test_a_start_that_ends_while_the_slot_is_read_counts(device, bundle, tmp_path, monkeypatch):
    good(device, bundle(1))
    device.install(bundle(2))
    path = tmp_path / "device" / f"slot-{device.state().trial}.dcu"

    def read(one):
        if one == path:
            raise MemoryError
        return one.read_bytes()

    monkeypatch.setattr("sigdca.edge.update.read_bundle", read)
    for _ in range(3):
        with pytest.raises(MemoryError):
            device.start()
    assert device.start().manifest.version == 1
    assert device.state().note == "version 2 rolled back: 3 starts"


@pytest.mark.parametrize("spoilt", ["a stranger's", "of another target", "not to be read"])
def test_an_update_is_never_written_over_the_only_slot_that_runs(
    device, bundle, tmp_path, monkeypatch, spoilt
):
    good(device, bundle(1))
    good(device, bundle(2))
    path = tmp_path / "device" / f"slot-{device.state().good}.dcu"
    if spoilt == "not to be read":
        damage = b"bad blocks"
    elif spoilt == "of another target":
        damage = bundle(2, targets=("another",))
    else:
        damage = bundle(2, key=Ed25519PrivateKey.generate())
    path.write_bytes(damage)

    def read(one):
        content = one.read_bytes()
        if content == b"bad blocks":
            raise StorageError(f"{one}: cannot read: Input/output error")
        return content

    monkeypatch.setattr("sigdca.edge.update.read_bundle", read)
    assert device.start().manifest.version == 1
    device.install(bundle(3))
    assert [device.start().manifest.version for _ in range(4)] == [3, 3, 3, 1]
    assert device.state().note == "version 3 rolled back: 3 starts"
    device.install(bundle(4))
    assert device.report(4, WELL) == "good"
    assert version(device) == 4


def test_an_update_during_a_trial_whose_good_slot_is_lost(device, bundle, tmp_path):
    good(device, bundle(1))
    path = tmp_path / "device" / f"slot-{device.state().good}.dcu"
    device.install(bundle(2))
    path.write_bytes(bundle(1, targets=("another",)))
    device.install(bundle(3))
    assert device.report(3, Health(1, 0, 5000, 0)) == "rolled back"
    assert version(device) == 2, "there was no other"


def test_an_update_when_both_records_are_lost(device, bundle, tmp_path):
    good(device, bundle(2))
    for number in (0, 1):
        (tmp_path / "device" / f"state.{number}").unlink()
    refused(device, bundle(1), OlderError, "version 1 is not newer than 2, which was live here")
    device.install(bundle(3))
    assert device.start().on_trial
    assert device.report(3, Health(1, 0, 5000, 0)) == "rolled back"
    assert version(device) == 2


def test_a_start_that_is_taken_back_is_none(device, bundle):
    good(device, bundle(1))
    device.install(bundle(2))
    for _ in range(5):
        assert device.start().manifest.version == 2
        device.uncount(1)
        assert device.state().starts == 1
        device.uncount(2)
    device.uncount(2)
    assert device.state().starts == 0


def test_set_up_mends_settings_that_are_damaged(device, tmp_path, settings):
    path = tmp_path / "device/device.json"
    for damage in (path.read_text().replace("PUBLIC KEY", "PUBLIC", 1), "{", ""):
        path.write_text(damage)
        set_up(tmp_path / "device", settings)
        assert Device(tmp_path / "device").settings == settings


def test_a_full_disk_leaves_what_was_live(device, bundle, tmp_path: Path, monkeypatch):
    good(device, bundle(1))

    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StorageError, match="cannot write: No space left on device"):
        device.install(bundle(2))
    assert version(device) == 1
