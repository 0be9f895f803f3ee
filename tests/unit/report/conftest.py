import json
from pathlib import Path
from typing import Any

import pytest

SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture
def lenet_300_100() -> dict[str, Any]:
    """One iteration, budget met, one emulated target and one that needs a device."""
    return json.loads((SAMPLES / "lenet-300-100.json").read_text())


@pytest.fixture
def lenet_5() -> dict[str, Any]:
    """Two training rounds, two iterations, budget missed, one target tested on a board."""
    return json.loads((SAMPLES / "lenet-5.json").read_text())


@pytest.fixture
def incomplete() -> dict[str, Any]:
    """Lost a worker in RETRAIN: no container, no layers, no targets."""
    return json.loads((SAMPLES / "incomplete.json").read_text())


@pytest.fixture(params=["lenet-300-100", "lenet-5", "incomplete"])
def any_report(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads((SAMPLES / f"{request.param}.json").read_text())
