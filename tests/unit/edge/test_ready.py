"""A device's models: the way back to other frames, and starts that fail by no fault of a model."""

import pytest

from sigdca.edge.infer import main
from sigdca.edge.metrics import Counts
from sigdca.edge.ready import DeviceModels
from sigdca.edge.update import Health
from sigdca.errors import EngineError

OTHER_SHAPE = (1, 2, 2)
BADLY = Health(uptime_s=1, met=0, late=1000, dropped=0)


def test_a_version_whose_frames_are_not_to_be_had_ends_the_process(device, bundle, capsys):
    device.install(bundle(1))
    device.install(bundle(2, OTHER_SHAPE))
    models = DeviceModels(device, "fast", 1, Counts())
    assert models.current().version == 2
    assert device.report(2, BADLY) == "rolled back"
    models._follow()
    said = r"version 1 cannot be run: frames are \(1, 2, 2\), the model takes \(1, 4, 4\)"
    with pytest.raises(EngineError, match=said) as caught:
        models.current()
    assert caught.value.exit_code == 3
    assert capsys.readouterr().err == "", "it is said once: by whoever ends"
    assert DeviceModels(device, "fast", 1, Counts()).current().version == 1


def test_an_update_on_trial_that_takes_other_frames_gives_way(device, bundle, capsys):
    device.install(bundle(1))
    models = DeviceModels(device, "fast", 1, Counts())
    device.install(bundle(2, OTHER_SHAPE))
    models._follow()
    models._follow()
    assert models.current().version == 1
    assert "version 2 cannot be run: frames are" in capsys.readouterr().err


@pytest.mark.parametrize("given", [("--frames", "none"), ("--to", "nowhere")])
def test_starts_that_fail_by_what_is_around_the_model_do_not_count(device, bundle, given):
    device.install(bundle(1))
    device.install(bundle(2))
    for _ in range(device.settings.max_starts + 1):
        assert main(["--device", str(device._slots.root), *given]) in (2, 3)
    state = device.state()
    assert (state.trial_version, state.starts) == (2, 0)
    assert device.start().manifest.version == 2


def test_starts_that_fail_by_frames_no_camera_gives_do_count(device, bundle):
    device.install(bundle(1))
    device.install(bundle(2, (2, 4, 4)))
    given = ["--device", str(device._slots.root), "--frames", f"camera:{device._slots.root}/none"]
    for _ in range(device.settings.max_starts):
        assert device.state().trial_version == 2
        assert main(given) == 2
    assert main(given) == 3, "version 1 misses the camera"
    assert device.state().note == "version 2 rolled back: 3 starts"
